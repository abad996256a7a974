//! See [`bootdisk_fuzz::disks::boot_entry`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::boot_entry(data));
