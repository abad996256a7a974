//! See [`bootdisk_fuzz::machine::smoke_toml`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::smoke_toml(data));
