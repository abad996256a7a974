//! See [`bootdisk_fuzz::disks::disk`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::disk(data));
