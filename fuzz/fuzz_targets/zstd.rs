//! See [`bootdisk_fuzz::image::zstd`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::image::zstd(data));
