//! See [`bootdisk_fuzz::disks::ext4`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::ext4(data));
