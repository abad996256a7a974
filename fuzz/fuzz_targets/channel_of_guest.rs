//! See [`bootdisk_fuzz::machine::channel_of_guest`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bootdisk_fuzz::machine::channel_of_guest(data));
