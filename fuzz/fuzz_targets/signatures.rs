//! See [`bootdisk_fuzz::kernels::signatures`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::signatures(data));
