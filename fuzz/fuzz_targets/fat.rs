//! See [`bootdisk_fuzz::disks::fat`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::fat(data));
