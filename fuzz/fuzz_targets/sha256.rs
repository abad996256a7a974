//! See [`bootdisk_fuzz::image::sha256`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::image::sha256(data));
