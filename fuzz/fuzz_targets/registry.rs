//! See [`bootdisk_fuzz::image::registry`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::image::registry(data));
