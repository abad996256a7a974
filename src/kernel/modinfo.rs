//! `.modinfo`: what a kernel module says about itself.
//!
//! ```text
//! section ".modinfo": key=value NUL key=value NUL ...
//! ```
//!
//! Specification: Linux include/linux/module.h (`MODULE_INFO`).

use crate::formats::elf::sections::{self, Fault};
use serde::{Deserialize, Serialize};

/// What a module needs and provides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Modinfo {
    /// `name`: as `/proc/modules` has it.
    pub name: Option<String>,
    /// `depends`: modules whose symbols it uses, names normalised.
    pub depends: Vec<String>,
    /// `softdep`, the part after `pre:`: modules or aliases to load before it, in order.
    pub softdep_pre: Vec<String>,
    /// `softdep`, whole: one text for each.
    pub softdeps: Vec<String>,
    /// `alias`: patterns for what it drives.
    pub aliases: Vec<String>,
    /// First word of `vermagic`: the release it was built for.
    pub release: Option<String>,
}

/// Why bytes are not a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not an ELF-64 little-endian file.
    #[error("not a 64-bit little-endian ELF object")]
    NotElf,
    /// A table or section lies outside the file.
    #[error("section headers lie outside the file")]
    Truncated,
    /// No section of that name.
    #[error("it has no .modinfo section")]
    NoModinfo,
}

/// The name as the kernel writes it: `-` becomes `_`.
pub fn normal_name(name: &str) -> String {
    name.replace('-', "_")
}

/// Reads the `.modinfo` section of an uncompressed module.
pub fn parse(elf: &[u8]) -> Result<Modinfo, Invalid> {
    let section = section(elf, b".modinfo")?;
    let mut info = Modinfo::default();
    for field in section.split(|&b| b == 0) {
        let Ok(field) = std::str::from_utf8(field) else { continue };
        let Some((key, value)) = field.split_once('=') else { continue };
        match key {
            "name" => info.name = Some(normal_name(value)),
            "depends" => info.depends.extend(value.split(',').filter(|name| !name.is_empty()).map(normal_name)),
            "alias" => info.aliases.push(value.to_owned()),
            "softdep" => {
                info.softdep_pre.extend(softdep_pre(value));
                info.softdeps.push(value.to_owned());
            }
            "vermagic" => info.release = value.split(' ').next().map(str::to_owned),
            _ => {}
        }
    }
    Ok(info)
}

/// The names of the symbols that a module exports; none for what is no module. Each has an entry called `__ksymtab_NAME`;
/// the section with the plain names has those of name spaces too, so it only serves where the string table was stripped.
pub fn exported(elf: &[u8]) -> Vec<String> {
    const ENTRY: &[u8] = b"__ksymtab_";
    let texts = |name: &[u8]| section(elf, name).unwrap_or_default().split(|&byte| byte == 0);
    let entries: Vec<&[u8]> = texts(b".strtab").filter_map(|text| text.strip_prefix(ENTRY)).collect();
    let names = if entries.is_empty() { texts(b"__ksymtab_strings").collect() } else { entries };
    let names = names.into_iter().filter(|name| !name.is_empty());
    names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect()
}

/// The words between `pre:` and `post:` (modprobe.d(5), "softdep").
fn softdep_pre(value: &str) -> impl Iterator<Item = String> + '_ {
    let mut before = false;
    value.split_ascii_whitespace().filter_map(move |word| match word {
        "pre:" | "post:" => {
            before = word == "pre:";
            None
        }
        _ => before.then(|| normal_name(word)),
    })
}

/// The bytes of the section called `name`.
fn section<'a>(elf: &'a [u8], name: &[u8]) -> Result<&'a [u8], Invalid> {
    sections::section(elf, name).map_err(|fault| match fault {
        Fault::NotElf => Invalid::NotElf,
        Fault::Truncated => Invalid::Truncated,
        Fault::Missing => Invalid::NoModinfo,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const ELF_HEADER: usize = 64;
    const SECTION_HEADER: usize = 64;

    /// An ELF object with the given `.modinfo` and nothing else.
    pub(crate) fn sample(fields: &[&str]) -> Vec<u8> {
        let names = b"\0.shstrtab\0.modinfo\0";
        let modinfo: Vec<u8> = fields.iter().flat_map(|field| field.bytes().chain([0])).collect();
        let mut elf = vec![0u8; ELF_HEADER];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        let table = ELF_HEADER + names.len() + modinfo.len();
        elf[0x28..0x30].copy_from_slice(&(table as u64).to_le_bytes());
        elf[0x3a..0x40].copy_from_slice(&[64, 0, 3, 0, 1, 0]);
        elf.extend_from_slice(names);
        elf.extend_from_slice(&modinfo);
        elf.extend_from_slice(&[0; SECTION_HEADER]);
        for (name, offset, size) in [(1u32, 64, names.len()), (11, 64 + names.len(), modinfo.len())] {
            let mut header = [0u8; SECTION_HEADER];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(offset as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            elf.extend_from_slice(&header);
        }
        elf
    }

    #[test]
    fn fields_are_read_and_names_normalised() {
        let info = parse(&sample(&[
            "name=virtio-rng",
            "depends=virtio,rng-core",
            "softdep=pre: crypto-crc32c  b post: c pre: d",
            "alias=virtio:d00000004v*",
            "alias=x",
            "vermagic=6.1.0 SMP",
            "nonsense",
        ]));
        let info = info.unwrap();
        assert_eq!(info.name.as_deref(), Some("virtio_rng"));
        assert_eq!(info.depends, ["virtio", "rng_core"]);
        assert_eq!(info.softdep_pre, ["crypto_crc32c", "b", "d"]);
        assert_eq!(info.softdeps, ["pre: crypto-crc32c  b post: c pre: d"]);
        assert_eq!(info.aliases, ["virtio:d00000004v*", "x"]);
        assert_eq!(info.release.as_deref(), Some("6.1.0"));
        assert_eq!(parse(&sample(&["depends="])).unwrap().depends, [""; 0]);
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert_eq!(parse(b""), Err(Invalid::NotElf));
        assert_eq!(parse(&[0; 100]), Err(Invalid::NotElf));
        let mut other = sample(&["name=x"]);
        let at = other.windows(8).position(|w| w == b".modinfo").unwrap();
        other[at + 1] = b'M';
        assert_eq!(parse(&other), Err(Invalid::NoModinfo));
    }

    #[test]
    fn cuts_and_mutations_never_panic() {
        let elf = sample(&["name=virtio-rng", "depends=virtio"]);
        for length in 0..elf.len() {
            assert!(parse(&elf[..length]).is_err(), "{length}");
        }
        let mut seed = 7u64;
        for _ in 0..20_000 {
            let mut copy = elf.clone();
            for _ in 0..3 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % copy.len();
                copy[at] = (seed >> 24) as u8;
            }
            _ = parse(&copy);
        }
    }
}
