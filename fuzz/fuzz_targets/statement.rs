//! See [`bootdisk_fuzz::machine::statement`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::statement(data));
