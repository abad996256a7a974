//! See [`bootdisk_fuzz::machine::channel_of_host`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::channel_of_host(data));
