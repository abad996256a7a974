//! The machine that a disk needs, as other programs want it said.

use super::super::report::WithHint;
use crate::arch::Architecture;
use crate::boot::existing::Existing;
use crate::fit::Facts;
use crate::{forms, recognise};
use anyhow::{Context, Result};
use std::path::Path;

/// MiB of memory when the disk does not need more.
const MEMORY: u64 = 1024;
/// Longest name, as Kubernetes has it for objects.
const NAME: usize = 63;

/// What the texts say.
pub struct Machine {
    /// Of letters, digits and hyphens.
    pub name: String,
    /// The disk, from the root folder on.
    pub disk: String,
    /// QEMU's name for its form.
    pub format: &'static str,
    pub architecture: Architecture,
    /// A BIOS starts it; otherwise UEFI does.
    pub bios: bool,
    /// libvirt's and KubeVirt's name of the bus.
    pub bus: &'static str,
    /// And of the network card.
    pub card: &'static str,
    /// MiB.
    pub memory: u64,
    /// It starts only what is signed.
    pub secure_boot: Option<SecureBoot>,
}

/// Firmware that asks for signatures, by its files.
pub struct SecureBoot {
    pub code: String,
    /// The template of its variables, with keys.
    pub variables: String,
}

impl Machine {
    /// For `disk`, which is kept at `path`.
    pub fn of(path: &Path, disk: &Existing) -> Result<Machine> {
        let facts = Facts::of(disk);
        let absolute = std::path::absolute(path).context("cannot find the folder it is in")?;
        let bus = [("virtio-blk", "virtio"), ("ahci", "sata")].into_iter().find(|(device, _)| !facts.lacks(device));
        let needed = facts.needs.unwrap_or(0) >> 20;
        Ok(Machine {
            name: name(path),
            disk: absolute.to_str().context("its path is no text, which other programs want")?.to_owned(),
            format: format(path)?,
            architecture: disk.architecture()?,
            bios: facts.bios,
            bus: bus.map_or("ide", |(_, bus)| bus),
            card: if facts.lacks("virtio-net") { "e1000" } else { "virtio" },
            secure_boot: None,
            memory: MEMORY.max((needed * 2).next_multiple_of(64)),
        })
    }
}

/// What the file is called, without what no name may have.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(NAME).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "disk".into() } else { name.into() }
}

/// QEMU's word for the form of the file.
fn format(path: &Path) -> Result<&'static str> {
    if recognise::path(path)?.form().is_none() {
        return Ok("raw");
    }
    let form = forms::form_of(std::fs::File::open(path)?)?.map(forms::Form::name);
    Ok(match form {
        Some("vhd" | "vhd-fixed") => "vpc",
        Some(form @ ("qcow2" | "vmdk" | "vdi" | "vhdx")) => form,
        _ => {
            return Err(WithHint {
                message: "no program starts it as it is".into(),
                hint: "make another form of it, and export that: bootdisk convert DISK -o disk.qcow2".into(),
            }
            .into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_what_every_program_takes() {
        for (path, expected) in [("a/App_1.img", "app-1"), ("--.qcow2", "disk"), ("ä.img", "disk"), ("x", "x")] {
            assert_eq!(name(Path::new(path)), expected, "{path}");
        }
        assert_eq!(name(Path::new(&"n".repeat(200))).len(), NAME);
    }
}
