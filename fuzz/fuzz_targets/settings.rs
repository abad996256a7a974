//! See [`bootdisk_fuzz::machine::settings`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::settings(data));
