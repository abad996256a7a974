//! Unified kernel images: a boot stub, and what it starts as sections of one EFI program.
//!
//! ```text
//!  systemd's stub: .text … .sbat .sdmagic │ .osrel  .cmdline  .uname  .initrd  .linux
//! ```
//!
//! Measured boot: the stub extends the TPM's register 11, which is zero before, by each section that it knows, in an order
//! of its own: first by the digest of the section's name with the zero at its end, then by the digest of its contents. A
//! stub measures the sections that its version knows and no other.
//!
//! Not supported: more profiles than the first, addons. What a userland of systemd measures into the same register later
//! is not predicted. Specifications: UAPI.5 Unified Kernel Image; systemd-stub(7); systemd's src/fundamental/uki.h;
//! TCG PC Client Platform Firmware Profile, section 3.3.4 (PCR).

use super::loader_info::loader_info;
use super::pe::{self, Headers, Section};
use sha2::Digest;
use std::ops::Range;

/// Sections that stubs measure, in the order they do, and the first version of systemd whose stub knows each.
const MEASURED: [(&[u8], u32); 12] = [
    (b".linux", 252),
    (b".osrel", 252),
    (b".cmdline", 252),
    (b".initrd", 252),
    (b".ucode", 256),
    (b".splash", 252),
    (b".dtb", 252),
    (b".uname", 254),
    (b".sbat", 254),
    (b".pcrpkey", 252),
    (b".profile", 257),
    (b".hwids", 257),
];
/// What systemd's stub calls itself.
const STUB: &str = "systemd-stub";
/// Most bytes of a stub that this is looked for in; systemd's have 100 KB.
const MAX_STUB: usize = 16 << 20;
/// Sections of which a machine measures those that are for it, so that nobody else knows.
const CHOSEN: [&[u8]; 2] = [b".dtbauto", b".efifw"];
/// The section with the kernel, which makes a program a unified kernel image.
pub const LINUX: &[u8] = b".linux";
/// Most zeros that are measured behind a section's contents, in bytes: there may be more in memory than in the file.
const MAX_ZEROS: u64 = 1 << 30;

/// A unified kernel image, in a file that was read.
#[derive(Clone, Debug)]
pub struct Uki<'a> {
    /// The whole file.
    pub file: &'a [u8],
    /// Its headers.
    pub headers: Headers,
}

/// The headers of one in a file of `size` bytes that begins with these; `None` for a file that is none, or is damaged.
pub fn headers(start: &[u8], size: u64) -> Option<Headers> {
    let headers = Headers::parse(start).ok().filter(|headers| headers.check(size).is_ok())?;
    headers.section(LINUX)?;
    Some(headers)
}

impl<'a> Uki<'a> {
    /// `None` for a file that is none, or is damaged.
    pub fn parse(file: &'a [u8]) -> Option<Uki<'a>> {
        Some(Uki { file, headers: headers(file, file.len() as u64)? })
    }

    /// Where the contents of a section are in the file; the first section of the name counts.
    pub fn place(&self, name: &[u8]) -> Option<Range<usize>> {
        self.headers.section(name).map(Section::body)
    }

    /// The contents of a section.
    pub fn section(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.file.get(self.place(name)?)
    }

    /// A section as text, without the zeros that may follow it.
    pub fn text(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.headers.section(name).and_then(|_| pe::text(self.file, name))
    }

    /// What the stub says of itself: `systemd-stub 252.39-1`; `None` of another maker's.
    pub fn stub(&self) -> Option<&'a [u8]> {
        let added = |section: &&Section| MEASURED.iter().any(|(name, _)| *name != b".sbat" && *name == section.name());
        let end = self.headers.sections.iter().filter(added).map(|section| section.offset as usize).min();
        loader_info(self.file.get(..end.unwrap_or(self.file.len()).min(MAX_STUB))?, STUB)
    }

    /// The version of systemd that the stub is of, such as 252; `None` for another maker's.
    pub fn stub_version(&self) -> Option<u32> {
        let version = self.stub()?.strip_prefix(STUB.as_bytes())?.strip_prefix(b" ")?;
        let digits: Vec<u8> = version.iter().take_while(|byte| byte.is_ascii_digit()).take(6).copied().collect();
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }

    /// The value of the TPM's register 11 in the bank of this digest, once the stub has measured everything. `None` for
    /// another stub than systemd's, of 252 or later, and where what is measured depends on the machine.
    pub fn pcr11<D: Digest>(&self) -> Option<Vec<u8>> {
        let version = self.stub_version().filter(|version| *version >= 252)?;
        let profiles = self.headers.sections.iter().filter(|section| section.name() == b".profile").count();
        if profiles > 1 || CHOSEN.iter().any(|name| self.headers.section(name).is_some()) {
            return None;
        }
        let mut register = vec![0; <D as Digest>::output_size()];
        for (name, _) in MEASURED.iter().filter(|(_, since)| *since <= version) {
            let Some(section) = self.headers.section(name) else { continue };
            // What has no bytes is not there.
            if section.memory_size == 0 {
                continue;
            }
            register = extend(&register, D::new_with_prefix(name).chain_update([0]));
            register = extend(&register, self.contents::<D>(section)?);
        }
        Some(register)
    }

    /// The digest of a section as it is in memory: zeros follow what the file has.
    fn contents<D: Digest>(&self, section: &Section) -> Option<D> {
        let body = self.file.get(section.body())?;
        let mut zeros = u64::from(section.memory_size).checked_sub(body.len() as u64)?;
        let mut digest = D::new_with_prefix(body);
        if zeros > MAX_ZEROS {
            return None;
        }
        while zeros > 0 {
            let some = zeros.min(ZEROS.len() as u64);
            digest.update(&ZEROS[..some as usize]);
            zeros -= some;
        }
        Some(digest)
    }
}

/// Zeros that are measured at once.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a register holds once it is extended.
fn extend<D: Digest>(register: &[u8], digest: D) -> Vec<u8> {
    D::new_with_prefix(register).chain_update(digest.finalize()).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::pe::tests::{Made, program, stub};
    use crate::formats::pe::write::{New, append};
    use sha2::{Sha256, Sha512};

    /// A unified kernel image of these sections.
    fn made(stub: &[u8], sections: &[(&str, &[u8])]) -> Vec<u8> {
        let new: Vec<New<'_>> = sections.iter().map(|(name, body)| New { name, body, code: false }).collect();
        append(stub, &new).unwrap()
    }

    fn pcr(file: &[u8]) -> Option<Vec<u8>> {
        Uki::parse(file).unwrap().pcr11::<Sha256>()
    }

    /// Extends a register as the TPM does, by these texts.
    fn by_hand(texts: &[&[u8]]) -> Vec<u8> {
        texts.iter().fold(vec![0; 32], |register, text| {
            Sha256::digest([&register[..], &Sha256::digest(text)[..]].concat()).to_vec()
        })
    }

    #[test]
    fn names_and_contents_are_measured_in_an_order_of_their_own() {
        let file = made(&stub(), &[(".initrd", b"i"), (".uname", b"u"), (".cmdline", b"c"), (".linux", b"l")]);
        let expected: [&[u8]; 6] = [b".linux\0", b"l", b".cmdline\0", b"c", b".initrd\0", b"i"];
        assert_eq!(pcr(&file), Some(by_hand(&expected)), "252 knows no .uname");
        let newer = b"#### LoaderInfo: systemd-stub 257.1 ####\0";
        let stub = program(0x8664, &[Made { name: b".data", body: newer }, Made { name: b".sbat", body: b"s" }]);
        let file = made(&stub, &[(".uname", b"u"), (".ucode", b"m"), (".linux", b"l")]);
        let expected: [&[u8]; 8] = [b".linux\0", b"l", b".ucode\0", b"m", b".uname\0", b"u", b".sbat\0", b"s"];
        assert_eq!(pcr(&file), Some(by_hand(&expected)));
        let uki = Uki::parse(&file).unwrap();
        assert_eq!((uki.stub(), uki.stub_version()), (Some(&b"systemd-stub 257.1"[..]), Some(257)));
        assert_eq!(uki.pcr11::<Sha512>().unwrap().len(), 64);
    }

    #[test]
    fn zeros_that_are_in_memory_alone_are_measured_too() {
        let mut file = made(&stub(), &[(".linux", b"l")]);
        let before = pcr(&file);
        let at = file.windows(6).position(|window| window == b".linux").unwrap() + 8;
        file[at..at + 4].copy_from_slice(&70_000u32.to_le_bytes());
        let zeros = [&b"l"[..], &vec![0; 69_999]].concat();
        assert_eq!(pcr(&file), Some(by_hand(&[b".linux\0", &zeros])));
        assert_ne!(pcr(&file), before);
        file[at..at + 4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        assert_eq!(pcr(&file), None, "nobody waits for that");
    }

    #[test]
    fn what_depends_on_the_machine_or_another_stub_is_not_predicted() {
        assert_eq!(pcr(&made(&stub(), &[(".dtbauto", b"d"), (".linux", b"l")])), None);
        assert_eq!(pcr(&made(&stub(), &[(".profile", b"a"), (".linux", b"l"), (".profile", b"b")])), None);
        let other = program(0x8664, &[Made { name: b".text", body: b"stubble 1" }]);
        assert_eq!(pcr(&made(&other, &[(".linux", b"l")])), None);
        assert!(Uki::parse(&other).is_none() && Uki::parse(b"MZ").is_none());
    }
}
