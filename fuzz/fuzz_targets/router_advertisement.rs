//! See [`bootdisk_fuzz::machine::router_advertisement`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::router_advertisement(data));
