//! See [`bootdisk_fuzz::kernels::fnmatch`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::fnmatch(data));
