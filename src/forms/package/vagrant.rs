//! Vagrant's box for the provider libvirt: `metadata.json`, a Vagrantfile for this disk, `box.img`.
//!
//! The archive itself is not compressed, as the disk in it is. Specification: vagrant-libvirt, "Box Format" version 1.

use super::GIB;
use super::machine::Machine;
use super::tar::{self, BLOCK, Dialect, END};
use crate::forms::{Packing, Source, qcow2};
use crate::output::{Output, Slice};
use std::io;

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, threads: usize) -> io::Result<u64> {
    let gib = source.size().div_ceil(GIB);
    let metadata = format!("{{\"provider\": \"libvirt\", \"format\": \"qcow2\", \"virtual_size\": {gib}}}\n");
    let at = tar::member(output, 0, "metadata.json", metadata.as_bytes())?;
    let at = tar::member(output, at, "Vagrantfile", vagrantfile(&Machine::of(source)?).as_bytes())?;
    let body = at + BLOCK;
    let length = qcow2::write(source, &Slice::new(output, body), Packing::Zlib, threads)?;
    output.write_at(at, &tar::sealed(tar::header(Dialect::Ustar, "box.img", length)))?;
    Ok(body + length.next_multiple_of(BLOCK) + END)
}

/// What the machine needs beyond Vagrant's defaults.
fn vagrantfile(machine: &Machine) -> String {
    let firmware = match machine.bios {
        true => "",
        false => {
            "    # There is nothing on the disk for a BIOS.\n    libvirt.loader = \"/usr/share/OVMF/OVMF_CODE.fd\"\n"
        }
    };
    format!(
        "Vagrant.configure(\"2\") do |config|\n  \
           # What is in the image runs: neither a shared folder nor ssh is put into it.\n  \
           config.vm.synced_folder \".\", \"/vagrant\", disabled: true\n  \
           config.vm.provider :libvirt do |libvirt|\n    \
             libvirt.memory = 1024\n    \
             libvirt.disk_bus = \"virtio\"\n    \
             libvirt.nic_model_type = \"virtio\"\n\
         {firmware}  \
           end\n\
         end\n"
    )
}
