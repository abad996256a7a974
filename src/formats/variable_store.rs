//! UEFI variables as EDK II keeps them in flash, where OVMF and AAVMF read them: a file that QEMU maps.
//!
//! ```text
//! firmware volume header   zeros (16), type (16), length (8), "_FVH", attributes (4), header's length (2), checksum, …
//! variable store header    type (16), bytes of the store (4), format 5a, state fe, 0 (6)
//! variables, each at a multiple of 4
//!   55aa (2), state (1), 0, attributes (4), count (8), time (16), key (4), bytes of name and of data (4, 4), vendor (16),
//!   name in UTF-16 with its NUL, data
//! ff …                     free
//! ```
//!
//! Variables are appended; none is changed or removed. Not supported: stores without authentication, NVRAM of another
//! firmware.
//!
//! The template of an aarch64 firmware is a flash without a volume, zeros alone: the firmware makes one when it starts
//! ([`VariableStore::of_flash`]).
//!
//! Source: EDK II, MdePkg/Include/Pi/PiFirmwareVolume.h, MdeModulePkg/Include/Guid/VariableFormat.h; for a flash
//! OvmfPkg/VirtNorFlashDxe (InitializeFvAndVariableStoreHeaders) and ArmVirtPkg/VarStore.fdf.inc.

use super::gpt::Guid;
use super::signature_list::{self, Variable};
use super::{u16_at, u32_at, u64_at};
use crate::escape::escape;
use std::ops::Range;
use thiserror::Error;

/// `EFI_SYSTEM_NV_DATA_FV_GUID`.
const VOLUME: [u8; 16] = Guid::new(0xfff1_2b8d, 0x7696, 0x4c8b, 0xa985_2747_075b_4f50).0;
/// `EFI_AUTHENTICATED_VARIABLE_GUID`.
const STORE: [u8; 16] = Guid::new(0xaaf3_2c78, 0x947b, 0x439a, 0xa180_2e14_4ec3_7792).0;
/// `EFI_SECURE_BOOT_ENABLE_DISABLE`.
const SECURE_BOOT_ENABLE: [u8; 16] = Guid::new(0xf0a3_0bc7, 0xaf08, 0x4556, 0x99c4_0010_09c9_3a44).0;
/// Bytes of the two kinds of headers.
const STORE_HEADER: usize = 28;
const HEADER: usize = 60;
/// `VARIABLE_STORE_FORMATTED` and `VARIABLE_STORE_HEALTHY`.
const HEALTHY: [u8; 2] = [0x5a, 0xfe];
/// `VARIABLE_DATA`.
const START: u16 = 0x55aa;
/// `VAR_ADDED`: the state of a variable that counts. Bits are cleared as it is deleted.
const ADDED: u8 = 0x3f;
const IN_DELETED_TRANSITION: u8 = 0xfe & ADDED;
/// `NON_VOLATILE` and `BOOTSERVICE_ACCESS`.
const BOOT_SERVICE: u32 = 0x03;
/// Bytes that QEMU's flash erases at a time, on aarch64.
const FLASH_BLOCK: usize = 256 << 10;
/// Blocks of a firmware volume in it: variables, work on what replaces them, and its spare.
const FLASH_VOLUME: usize = 3;
/// Bytes of the volume's header, with a map of one kind of blocks.
const VOLUME_HEADER: usize = 72;
/// `EFI_FVB2` attributes: can be read and written, and now is; sticky writes, memory mapped, erased to ones.
const ATTRIBUTES: u32 = 0x0e36;
/// Most bytes of a variable's data that OVMF takes.
const LARGEST: usize = 0x8400;

/// Why there are no variables to be read or added.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin as a firmware volume of variables does.
    #[error("it is no firmware volume of variables")]
    NoVolume,
    /// It has another kind of store, or a damaged one.
    #[error("it has no store of authenticated variables, or one that is damaged")]
    NoStore,
    /// A variable that ends behind the store.
    #[error("its variable at byte {0} is damaged")]
    Variable(usize),
    /// A variable is there that was to be added.
    #[error("it has a variable already that is to be added: {}", escape(.0.as_bytes()))]
    There(String),
    /// What is added has no room.
    #[error("it has {free} bytes free for variables, and {needed} are needed")]
    Full {
        /// Bytes free.
        free: usize,
        /// Bytes needed.
        needed: usize,
    },
}

/// A file of variables.
#[derive(Clone, Debug)]
pub struct VariableStore {
    bytes: Vec<u8>,
    /// Where variables are.
    store: Range<usize>,
    /// Where the next one goes.
    free: usize,
}

/// What a variable is called, and what it has.
struct Found<'a> {
    state: u8,
    name: &'a [u8],
    data: &'a [u8],
    vendor: &'a [u8],
}

impl VariableStore {
    /// Reads all of a file.
    pub fn parse(bytes: Vec<u8>) -> Result<VariableStore, Fault> {
        let volume = || {
            let length = usize::try_from(u64_at(&bytes, 32)?).ok()?;
            let header = usize::from(u16_at(&bytes, 48)?);
            let is_volume = bytes.get(16..32)? == VOLUME && bytes.get(40..44)? == b"_FVH";
            (is_volume && length <= bytes.len() && header % 2 == 0 && header >= 56).then_some(header)
        };
        let header = volume().ok_or(Fault::NoVolume)?;
        // The words of a right header add up to nothing.
        let sum = sum(bytes.get(..header).ok_or(Fault::NoVolume)?);
        if sum != 0 {
            return Err(Fault::NoVolume);
        }
        let store = || {
            let size = u32_at(&bytes, header + 16)? as usize;
            let is_store = bytes.get(header..header + 16)? == STORE && bytes.get(header + 20..header + 22)? == HEALTHY;
            let end = header.checked_add(size).filter(|end| *end <= bytes.len() && size >= STORE_HEADER)?;
            is_store.then_some(header + STORE_HEADER..end)
        };
        let store = store().ok_or(Fault::NoStore)?;
        let mut free = store.start;
        while let Some((_, end)) = variable(&bytes, free, store.end)? {
            free = end;
        }
        Ok(VariableStore { bytes, store, free })
    }

    /// Reads all of a file, or makes the volume that an aarch64 firmware would make in a flash that was never written.
    pub fn of_flash(mut bytes: Vec<u8>) -> Result<VariableStore, Fault> {
        let volume = FLASH_VOLUME * FLASH_BLOCK;
        let is_blank = bytes.len() >= volume && bytes.iter().all(|byte| *byte == 0 || *byte == 0xff);
        if is_blank && bytes.len().is_multiple_of(FLASH_BLOCK) {
            let blocks = (bytes.len() / FLASH_BLOCK) as u32;
            bytes[..volume].fill(0xff);
            bytes[..VOLUME_HEADER].copy_from_slice(&volume_header(volume as u64, blocks));
            let store = VOLUME_HEADER..VOLUME_HEADER + STORE_HEADER;
            bytes[store].copy_from_slice(&store_header((FLASH_BLOCK - VOLUME_HEADER) as u32));
        }
        VariableStore::parse(bytes)
    }

    /// The data of a variable that counts.
    pub fn get(&self, variable_name: &str, vendor: [u8; 16]) -> Option<&[u8]> {
        let mut at = self.store.start;
        let mut found = None;
        let name = utf16(variable_name);
        while let Ok(Some((one, end))) = variable(&self.bytes, at, self.store.end) {
            let counts = matches!(one.state, ADDED | IN_DELETED_TRANSITION);
            if counts && one.name == name && one.vendor == vendor {
                found = Some(one.data);
            }
            at = end;
        }
        found
    }

    /// Whether keys are enrolled, so that the firmware asks for signatures.
    pub fn has_keys(&self) -> bool {
        self.get(Variable::Pk.name(), Variable::Pk.vendor()).is_some()
    }

    /// Makes the signature lists PK, KEK and db, and switches Secure Boot on. `time` is that of the variables.
    ///
    /// # Errors
    /// One of them is there already, or there is no room. Then nothing is added.
    pub fn enroll(&mut self, lists: &[u8], time: &[u8; 16]) -> Result<(), Fault> {
        let mut new = Vec::new();
        let keys = [Variable::Pk, Variable::Kek, Variable::Db];
        for key in keys {
            new.push((key.name(), key.vendor(), signature_list::ATTRIBUTES, *time, lists));
        }
        new.push(("SecureBootEnable", SECURE_BOOT_ENABLE, BOOT_SERVICE, [0; 16], &[1][..]));
        if let Some((name, ..)) = new.iter().find(|(name, vendor, ..)| self.get(name, *vendor).is_some()) {
            return Err(Fault::There((*name).to_owned()));
        }
        let mut added = Vec::new();
        for (name, vendor, attributes, time, data) in new {
            if data.len() > LARGEST {
                return Err(Fault::Full { free: LARGEST, needed: data.len() });
            }
            let name = utf16(name);
            added.extend_from_slice(&START.to_le_bytes());
            added.extend_from_slice(&[ADDED, 0]);
            added.extend_from_slice(&attributes.to_le_bytes());
            added.extend_from_slice(&[0; 8]);
            added.extend_from_slice(&time);
            added.extend_from_slice(&[0; 4]);
            added.extend_from_slice(&(name.len() as u32).to_le_bytes());
            added.extend_from_slice(&(data.len() as u32).to_le_bytes());
            added.extend_from_slice(&vendor);
            added.extend_from_slice(&name);
            added.extend_from_slice(data);
            added.resize(added.len().next_multiple_of(4), 0xff);
        }
        let free = self.store.end - self.free;
        if added.len() > free {
            return Err(Fault::Full { free, needed: added.len() });
        }
        self.bytes[self.free..self.free + added.len()].copy_from_slice(&added);
        self.free += added.len();
        Ok(())
    }

    /// All of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// `EFI_FIRMWARE_VOLUME_HEADER` of a volume of `length` bytes, in a flash of so many blocks.
fn volume_header(length: u64, blocks: u32) -> [u8; VOLUME_HEADER] {
    let mut header = [0; VOLUME_HEADER];
    header[16..32].copy_from_slice(&VOLUME);
    header[32..40].copy_from_slice(&length.to_le_bytes());
    header[40..44].copy_from_slice(b"_FVH");
    header[44..48].copy_from_slice(&ATTRIBUTES.to_le_bytes());
    header[48] = VOLUME_HEADER as u8;
    header[55] = 2;
    header[56..60].copy_from_slice(&blocks.to_le_bytes());
    header[60..64].copy_from_slice(&(FLASH_BLOCK as u32).to_le_bytes());
    let sum = sum(&header);
    header[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    header
}

/// `VARIABLE_STORE_HEADER` of a store of so many bytes, itself included.
fn store_header(size: u32) -> [u8; STORE_HEADER] {
    let mut header = [0; STORE_HEADER];
    header[..16].copy_from_slice(&STORE);
    header[16..20].copy_from_slice(&size.to_le_bytes());
    header[20..22].copy_from_slice(&HEALTHY);
    header
}

/// The sum of the words of a volume's header, nothing where it is right.
fn sum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u16::from_le_bytes([word[0], word[1]]));
    words.fold(0, u16::wrapping_add)
}

/// The variable at `at`, and where the next one would be. `None` where there is none any more.
fn variable(bytes: &[u8], at: usize, end: usize) -> Result<Option<(Found<'_>, usize)>, Fault> {
    if at + HEADER > end || u16_at(bytes, at) != Some(START) {
        return Ok(None);
    }
    let found = || {
        let [name, data] = [36, 40].map(|field| u32_at(bytes, at + field).map(|length| length as usize));
        let data_at = (at + HEADER).checked_add(name?)?;
        let over = data_at.checked_add(data?).filter(|over| *over <= end)?;
        let (name, data) = (&bytes[at + HEADER..data_at], &bytes[data_at..over]);
        let found = Found { state: bytes[at + 2], name, data, vendor: &bytes[at + 44..at + 60] };
        Some((found, over.next_multiple_of(4).min(end)))
    };
    found().map(Some).ok_or(Fault::Variable(at))
}

/// With its NUL.
fn utf16(name: &str) -> Vec<u8> {
    name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume with a store of so many bytes, its header included.
    fn template(store: u32) -> Vec<u8> {
        let mut bytes = vec![0xff; VOLUME_HEADER + store as usize + 100];
        let length = bytes.len() as u64;
        bytes[..VOLUME_HEADER].copy_from_slice(&volume_header(length, 1));
        bytes[VOLUME_HEADER..VOLUME_HEADER + STORE_HEADER].copy_from_slice(&store_header(store));
        bytes
    }

    #[test]
    fn keys_are_added_once_and_found_again() {
        let mut store = VariableStore::parse(template(4096)).unwrap();
        assert!(!store.has_keys());
        store.enroll(b"lists", &[9; 16]).unwrap();
        let mut again = VariableStore::parse(store.bytes().to_vec()).unwrap();
        assert!(again.has_keys());
        for key in Variable::ALL {
            assert_eq!(again.get(key.name(), key.vendor()), Some(&b"lists"[..]));
        }
        assert_eq!(again.get("SecureBootEnable", SECURE_BOOT_ENABLE), Some(&[1][..]));
        assert_eq!(again.get("db", Variable::Pk.vendor()), None, "a name belongs to its vendor");
        assert_eq!(again.free, store.free);
        assert_eq!(again.enroll(b"x", &[0; 16]), Err(Fault::There("PK".into())));
        // One that was deleted does not count.
        let mut deleted = store.bytes().to_vec();
        deleted[100 + 2] &= 0xfd;
        assert!(!VariableStore::parse(deleted).unwrap().has_keys());
    }

    #[test]
    fn a_flash_that_was_never_written_gets_a_volume() {
        for byte in [0, 0xff] {
            let mut store = VariableStore::of_flash(vec![byte; 64 << 20]).unwrap();
            store.enroll(b"lists", &[9; 16]).unwrap();
            assert!(VariableStore::parse(store.bytes().to_vec()).unwrap().has_keys());
            assert_eq!(store.bytes().len(), 64 << 20);
            // The checksum that Debian's file with keys has, made by the firmware itself.
            assert_eq!(store.bytes()[50..52], [0xf8, 0xf8]);
        }
        for (length, byte) in [(0, 0), ((3 << 18) - 1, 0), ((3 << 18) + 1, 0), (1 << 20, 1)] {
            assert_eq!(VariableStore::of_flash(vec![byte; length]).unwrap_err(), Fault::NoVolume, "{length}");
        }
        assert!(!VariableStore::of_flash(template(4096)).unwrap().has_keys(), "one that is there is read");
    }

    #[test]
    fn what_is_no_store_or_is_full_is_refused() {
        let fault = |bytes: Vec<u8>| VariableStore::parse(bytes).unwrap_err();
        let whole = template(4096);
        assert_eq!(fault(Vec::new()), Fault::NoVolume);
        for length in 0..72 + 4096 {
            assert!(matches!(fault(whole[..length].to_vec()), Fault::NoVolume | Fault::NoStore), "{length}");
        }
        for at in (0..88).chain(92..94) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            assert!(VariableStore::parse(bytes).is_err(), "byte {at}");
        }
        let mut store = VariableStore::parse(template(300)).unwrap();
        let before = store.bytes().to_vec();
        assert_eq!(store.enroll(&[0; 10], &[0; 16]), Err(Fault::Full { free: 272, needed: 76 + 80 + 76 + 96 }));
        assert_eq!(store.bytes(), before);
        let mut damaged = VariableStore::parse(whole).unwrap();
        damaged.enroll(b"x", &[0; 16]).unwrap();
        let mut bytes = damaged.bytes().to_vec();
        bytes[100 + 40..100 + 44].fill(0xff);
        assert_eq!(fault(bytes), Fault::Variable(100));
    }
}
