//! The machine code of the boot stage, before anything is filled in.
//!
//! On a build host of the same processor family it is assembled from `mbr.s`, `slots.s` and `stage2.s`; elsewhere the
//! checked-in `mbr.bin`, `slots.bin` and `stage2.bin` are taken. A test keeps the two equal. After a change of the assembly:
//! `BOOTDISK_BLESS=1 cargo test --lib boot::bios`.

/// Bytes of LBA 0 that are code: the rest is the disk signature and the partition table.
pub const MBR_BYTES: usize = 440;

#[cfg(target_arch = "x86_64")]
mod assembled {
    use std::arch::global_asm;

    global_asm!(include_str!("mbr.s"), options(att_syntax, raw));
    global_asm!(include_str!("slots.s"), options(att_syntax, raw));
    global_asm!(include_str!("stage2.s"), options(att_syntax, raw));

    unsafe extern "C" {
        static bootdisk_mbr: u8;
        static bootdisk_mbr_end: u8;
        static bootdisk_slots: u8;
        static bootdisk_slots_end: u8;
        static bootdisk_stage2: u8;
        static bootdisk_stage2_end: u8;
    }

    /// The bytes between two labels of one section.
    ///
    /// # Safety
    /// Both must lie in one read-only section, `start` not behind `end`.
    unsafe fn between(start: *const u8, end: *const u8) -> &'static [u8] {
        // SAFETY: the caller's promise; the section is part of this program and never changes.
        unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
    }

    pub fn mbr() -> &'static [u8] {
        // SAFETY: mbr.s defines both labels in .rodata.bootdisk_mbr, in this order.
        unsafe { between(&raw const bootdisk_mbr, &raw const bootdisk_mbr_end) }
    }

    pub fn slots() -> &'static [u8] {
        // SAFETY: slots.s defines both labels in .rodata.bootdisk_slots, in this order.
        unsafe { between(&raw const bootdisk_slots, &raw const bootdisk_slots_end) }
    }

    pub fn stage2() -> &'static [u8] {
        // SAFETY: stage2.s defines both labels in .rodata.bootdisk_stage2, in this order.
        unsafe { between(&raw const bootdisk_stage2, &raw const bootdisk_stage2_end) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod assembled {
    pub fn mbr() -> &'static [u8] {
        include_bytes!("mbr.bin")
    }

    pub fn slots() -> &'static [u8] {
        include_bytes!("slots.bin")
    }

    pub fn stage2() -> &'static [u8] {
        include_bytes!("stage2.bin")
    }
}

/// Code of LBA 0; [`MBR_BYTES`] long.
pub fn mbr() -> &'static [u8] {
    assembled::mbr()
}

/// Code of the chooser between two slots: two sectors; the slots' places are still empty.
pub fn slots() -> &'static [u8] {
    assembled::slots()
}

/// Code of the second stage; its table is still empty.
pub fn stage2() -> &'static [u8] {
    assembled::stage2()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn checked_in_copy_is(code: &[u8], name: &str) {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/boot/bios").join(name);
        if std::env::var_os("BOOTDISK_BLESS").is_some() {
            std::fs::write(&path, code).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == code, "{name} is not what the assembly gives; see code.rs");
    }

    #[test]
    fn checked_in_code_is_the_assembled_code() {
        checked_in_copy_is(mbr(), "mbr.bin");
        checked_in_copy_is(slots(), "slots.bin");
        checked_in_copy_is(stage2(), "stage2.bin");
    }

    #[test]
    fn the_code_fits_its_places() {
        assert_eq!(mbr().len(), MBR_BYTES);
        assert_eq!(slots().len(), 1024);
        assert_eq!(stage2().len() % 4, 0);
    }
}
