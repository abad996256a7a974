//! See [`bootdisk_fuzz::kernels::kernel_config`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::kernel_config(data));
