//! See [`bootdisk_fuzz::disks::forms`]. One target has all forms: what a file begins with decides which one it is, a change there
//! leads from one to the other, and the corpus begins with a file of each that qemu-img writes. What is compressed has targets of
//! its own.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::disks::forms(data));
