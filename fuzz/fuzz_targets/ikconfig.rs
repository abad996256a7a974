//! See [`bootdisk_fuzz::kernels::ikconfig`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::kernels::ikconfig(data));
