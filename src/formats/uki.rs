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

use super::pe::{self, Headers, Section};
use sha2::{Digest, Sha256};
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
/// What a stub of systemd says of itself somewhere, before its version. Most have a section `.sdmagic` for it.
const MAGIC: &[u8] = b"#### LoaderInfo: systemd-stub ";
/// Most bytes of a stub that it is looked for in; systemd's have 100 KB.
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

impl<'a> Uki<'a> {
    /// `None` for a file that is none, or is damaged.
    pub fn parse(file: &'a [u8]) -> Option<Uki<'a>> {
        let headers = Headers::parse(file).ok()?;
        headers.check(file.len() as u64).ok()?;
        headers.section(LINUX)?;
        Some(Uki { file, headers })
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

    /// The version of systemd that the stub is of, such as 252; `None` for another maker's.
    pub fn stub_version(&self) -> Option<u32> {
        let added = |section: &&Section| MEASURED.iter().any(|(name, _)| *name != b".sbat" && *name == section.name());
        let end = self.headers.sections.iter().filter(added).map(|section| section.offset as usize).min();
        let stub = self.file.get(..end.unwrap_or(self.file.len()).min(MAX_STUB))?;
        let at = stub.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let digits = stub[at + MAGIC.len()..].iter().take_while(|byte| byte.is_ascii_digit()).take(6);
        std::str::from_utf8(&digits.copied().collect::<Vec<u8>>()).ok()?.parse().ok()
    }

    /// The value of the TPM's register 11, bank SHA-256, once the stub has measured everything. `None` for another stub than
    /// systemd's, of 252 or later, and where what is measured depends on the machine.
    pub fn pcr11(&self) -> Option<[u8; 32]> {
        let version = self.stub_version().filter(|version| *version >= 252)?;
        let profiles = self.headers.sections.iter().filter(|section| section.name() == b".profile").count();
        if profiles > 1 || CHOSEN.iter().any(|name| self.headers.section(name).is_some()) {
            return None;
        }
        let mut register = [0; 32];
        for (name, _) in MEASURED.iter().filter(|(_, since)| *since <= version) {
            let Some(section) = self.headers.section(name) else { continue };
            // What has no bytes is not there.
            if section.memory_size == 0 {
                continue;
            }
            register = extend(&register, Sha256::new_with_prefix(name).chain_update([0]));
            register = extend(&register, self.contents(section)?);
        }
        Some(register)
    }

    /// The digest of a section as it is in memory: zeros follow what the file has.
    fn contents(&self, section: &Section) -> Option<Sha256> {
        let body = self.file.get(section.body())?;
        let mut zeros = u64::from(section.memory_size).checked_sub(body.len() as u64)?;
        let mut digest = Sha256::new_with_prefix(body);
        if zeros > MAX_ZEROS {
            return None;
        }
        while zeros > 0 {
            let some = zeros.min(64 << 10);
            digest.update(&[0; 64 << 10][..some as usize]);
            zeros -= some;
        }
        Some(digest)
    }
}

/// What a register holds once it is extended.
fn extend(register: &[u8; 32], digest: Sha256) -> [u8; 32] {
    Sha256::new_with_prefix(register).chain_update(digest.finalize()).finalize().into()
}
