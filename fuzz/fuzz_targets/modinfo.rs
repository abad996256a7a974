//! See [`bootdisk_fuzz::kernels::modinfo`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::modinfo(data));
