//! See [`bootdisk_fuzz::disks::verity`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::verity(data));
