//! See [`bootdisk_fuzz::kernels::lz4`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::lz4(data));
