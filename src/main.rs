//! The `bootdisk` command. Everything is in the library.

fn main() -> std::process::ExitCode {
    bootdisk::cli::main()
}
