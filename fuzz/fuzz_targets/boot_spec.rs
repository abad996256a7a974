//! See [`bootdisk_fuzz::machine::boot_spec`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::boot_spec(data));
