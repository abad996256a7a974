//! See [`bootdisk_fuzz::disks::fat_edit`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::fat_edit(data));
