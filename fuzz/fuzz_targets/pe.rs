//! See [`bootdisk_fuzz::kernels::pe`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::pe(data));
