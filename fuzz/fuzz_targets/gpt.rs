//! See [`bootdisk_fuzz::disks::gpt`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::gpt(data));
