//! The command line: parses, dispatches, and turns the result into an exit status.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
