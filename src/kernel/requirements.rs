//! What a kernel must have, read from the Kconfig fragments in `kernel-configs/`, which are compiled in.
//!
//! A block is comment lines (the reason), at most one line of marks (`#! required; module ext4`) and options;
//! `kernel-configs/README.md` has the grammar. Text and tool cannot drift: they are one file.

use super::config;
use crate::arch::Arch;

/// The fragments of an architecture by topic.
macro_rules! fragments {
    ($arch:literal) => {
        fragments!($arch: "base", "console", "block", "filesystems", "network", "containers", "firmware", "result-channel")
    };
    ($arch:literal: $($topic:literal),*) => {
        &[$(($topic, include_str!(concat!("../../kernel-configs/", $arch, "/", $topic, ".config")))),*]
    };
}

const X86_64: &[(&str, &str)] = fragments!("x86_64");
const AARCH64: &[(&str, &str)] = fragments!("aarch64");
const RISCV64: &[(&str, &str)] = fragments!("riscv64");

/// How much an option matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Without it the disk does not boot.
    Required,
    /// Without it something is missing.
    Recommended,
    /// A bus needs it, and one bus is enough.
    Bus,
    /// It makes a kernel better and is not tested for.
    Optional,
}

/// A property of a disk that makes an option matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The disk boots under BIOS.
    Bios,
    /// The disk boots under UEFI.
    Uefi,
    /// Its initramfs is packed with gzip.
    Gzip,
    /// Its initramfs is packed with zstd.
    Zstd,
    /// Its root is verified block by block.
    Verity,
}

/// An option of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Without `CONFIG_`.
    pub option: &'static str,
    /// The fragment's name.
    pub topic: &'static str,
    /// The reason, one line.
    pub why: String,
    /// How much it matters.
    pub level: Level,
    /// If set, it matters only then.
    pub when: Option<When>,
    /// The buses that need it.
    pub buses: Vec<&'static str>,
    /// Modules that do the same, normalised names; empty when the option cannot be a module.
    pub modules: Vec<&'static str>,
}

/// The options that fragments ask for on `arch`, in their order; none for an architecture without fragments.
pub fn requirements(arch: Arch) -> Vec<Requirement> {
    match arch {
        Arch::X86_64 => X86_64,
        Arch::Aarch64 => AARCH64,
        Arch::Riscv64 => RISCV64,
        Arch::X86 => &[],
    }
    .iter()
    .flat_map(|(topic, text)| parse(topic, text))
    .collect()
}

/// Reads one fragment.
fn parse(topic: &'static str, text: &'static str) -> Vec<Requirement> {
    let (mut out, mut last_reason) = (Vec::new(), String::new());
    for block in text.split("\n\n") {
        let mut template = Requirement {
            option: "",
            topic,
            why: String::new(),
            level: Level::Optional,
            when: None,
            buses: Vec::new(),
            modules: Vec::new(),
        };
        for line in block.lines() {
            if let Some(marks) = line.strip_prefix("#!") {
                marks.split(';').for_each(|mark| template.mark(mark.trim()));
            } else if let Some((option, _)) = config::line(line) {
                if template.why == "As above." {
                    template.why.clone_from(&last_reason);
                }
                out.push(Requirement { option, ..template.clone() });
            } else if let Some(comment) = line.strip_prefix("# ").filter(|text| !text.ends_with(" is not set")) {
                if !template.why.is_empty() {
                    template.why.push(' ');
                }
                template.why.push_str(comment);
            }
        }
        last_reason = template.why;
    }
    out
}

impl Requirement {
    fn mark(&mut self, mark: &'static str) {
        let mut words = mark.split_ascii_whitespace();
        match words.next() {
            Some("required") => self.level = Level::Required,
            Some("recommended") => self.level = Level::Recommended,
            Some("bus") => {
                self.level = Level::Bus;
                self.buses = words.collect();
                return;
            }
            Some("module") => {
                self.modules = words.collect();
                return;
            }
            // The fragments are part of the program; a test reads every mark of them.
            other => debug_assert!(false, "unknown mark {other:?}"),
        }
        self.when = match words.nth(1) {
            Some("bios") => Some(When::Bios),
            Some("uefi") => Some(When::Uefi),
            Some("gzip") => Some(When::Gzip),
            Some("zstd") => Some(When::Zstd),
            Some("verity") => Some(When::Verity),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Arch; 3] = [Arch::X86_64, Arch::Aarch64, Arch::Riscv64];

    fn get(option: &str) -> Requirement {
        requirements(Arch::X86_64).into_iter().find(|r| r.option == option).unwrap()
    }

    #[test]
    fn marks_are_read() {
        let ext4 = get("EXT4_FS");
        assert_eq!(
            (ext4.level, ext4.topic, ext4.why.as_str()),
            (Level::Required, "filesystems", "The root partition is ext4.")
        );
        assert_eq!(ext4.modules, ["ext4"]);
        assert_eq!(get("RD_ZSTD").when, Some(When::Zstd));
        assert_eq!(get("EFI_STUB").when, Some(When::Uefi));
        assert_eq!(get("VIRTIO_PCI").buses, ["virtio-blk", "virtio-scsi"]);
        assert_eq!(get("PID_NS").level, Level::Recommended);
        assert_eq!(get("TUN").level, Level::Optional);
    }

    #[test]
    fn every_option_has_a_reason_and_stands_once() {
        for arch in ALL {
            let all = requirements(arch);
            let mut seen = std::collections::BTreeSet::new();
            for requirement in &all {
                assert!(requirement.why.ends_with('.'), "{}: {:?}", requirement.option, requirement.why);
                assert!(requirement.why != "As above.", "{}", requirement.option);
                assert!(seen.insert(requirement.option), "{} twice", requirement.option);
            }
            assert!(all.len() > 110, "{arch}: {}", all.len());
        }
    }

    #[test]
    fn every_module_of_a_mark_is_one_an_initramfs_gets() {
        for requirement in ALL.into_iter().flat_map(requirements) {
            for module in requirement.modules {
                assert!(super::super::modules::wanted::is_likely(module), "{module}");
            }
        }
    }

    #[test]
    fn every_mark_of_every_fragment_is_known() {
        for (topic, text) in X86_64.iter().chain(AARCH64).chain(RISCV64) {
            for mark in text.lines().filter_map(|line| line.strip_prefix("#!")).flat_map(|line| line.split(';')) {
                let words: Vec<&str> = mark.split_ascii_whitespace().collect();
                let known = match words.as_slice() {
                    ["required" | "recommended"] => true,
                    ["required" | "recommended", "when", when] => {
                        ["bios", "uefi", "gzip", "zstd", "verity"].contains(when)
                    }
                    ["bus", buses @ ..] => {
                        !buses.is_empty() && buses.iter().all(|bus| super::super::preflight::BUSES.contains(bus))
                    }
                    ["module", modules @ ..] => !modules.is_empty(),
                    _ => false,
                };
                assert!(known, "{topic}: {mark}");
            }
        }
    }
}
