//! See [`bootdisk_fuzz::kernels::boot_file`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::boot_file(data));
