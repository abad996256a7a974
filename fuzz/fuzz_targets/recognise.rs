//! See [`bootdisk_fuzz::kernels::recognise`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::recognise(data));
