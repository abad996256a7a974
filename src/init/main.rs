//! PID 1 of the guest. All of it is in the library's `init` module, where its pure parts are tested.
//!
//! No Rust `main`: the runtime's start would abort when the kernel found no console to open for the standard
//! descriptors, and PID 1 must never end.

#![no_main]

/// The C runtime's entry.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    bootdisk::init::main()
}
