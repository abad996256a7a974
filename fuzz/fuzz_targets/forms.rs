//! See [`bootdisk_fuzz::disks::forms`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::forms(data));
