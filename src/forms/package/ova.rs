//! OVA: an OVF package in one archive. The OVF comes first and says what the disk behind it takes; so the disk is
//! written to its place, and what stands before it afterwards. The OVF ends with empty lines up to a whole block.
//!
//! Specification: DMTF DSP0243 (OVF 1.1), and VMware's words for hardware, which VirtualBox and Proxmox read too.

use super::hash;
use super::machine::{Hardware, Machine};
use super::tar::{self, BLOCK, Dialect, END};
use crate::forms::{Source, vmdk};
use crate::output::{Output, Slice};
use std::io;

const OVF: &str = "disk.ovf";
const MANIFEST: &str = "disk.mf";
const DISK: &str = "disk.vmdk";

/// Writes a disk; see [`crate::forms::write`].
pub fn write(source: &dyn Source, output: &dyn Output, hardware: Hardware, threads: usize) -> io::Result<u64> {
    let machine = Machine::of(source)?;
    let text = |length: u64| ovf(source.size(), length, &machine, hardware);
    let room = text(u64::MAX).len().next_multiple_of(BLOCK as usize);
    let manifest_at = BLOCK + room as u64;
    // The manifest fits one block.
    let disk_at = manifest_at + 2 * BLOCK;
    let slice = Slice::new(output, disk_at + BLOCK);
    let length = vmdk::write_stream(source, &slice, threads)?;

    let mut ovf = text(length).into_bytes();
    ovf.resize(room, b'\n');
    let manifest = format!("SHA256({OVF})= {}\nSHA256({DISK})= {}\n", hash::of(&ovf), hash::sum(&slice, length)?);
    tar::member(output, 0, OVF, &ovf)?;
    tar::member(output, manifest_at, MANIFEST, manifest.as_bytes())?;
    output.write_at(disk_at, &tar::sealed(tar::header(Dialect::Ustar, DISK, length)))?;
    Ok(disk_at + BLOCK + length.next_multiple_of(BLOCK) + END)
}

/// The machine. Elements of an item are in the order of their names, as the schema has them.
fn ovf(size: u64, length: u64, machine: &Machine, hardware: Hardware) -> String {
    let (controller, kind) = match hardware.ide {
        true => ("IDE controller", "<rasd:ResourceType>5</rasd:ResourceType>"),
        false => (
            "SATA controller",
            "<rasd:ResourceSubType>AHCI</rasd:ResourceSubType>\n        <rasd:ResourceType>20</rasd:ResourceType>",
        ),
    };
    let card = if hardware.vmxnet3 { "VmxNet3" } else { "E1000" };
    let system = if machine.arm { "arm-other5xlinux-64Guest" } else { "otherLinux64Guest" };
    let firmware = if machine.bios { "bios" } else { "efi" };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="{DISK}" ovf:id="file1" ovf:size="{length}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:capacity="{size}" ovf:capacityAllocationUnits="byte" ovf:diskId="disk1" ovf:fileRef="file1" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The network</Info>
    <Network ovf:name="network">
      <Description>A network with DHCP</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="disk">
    <Info>A machine for the disk</Info>
    <Name>disk</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="{system}">
      <Info>Linux, 64 bits</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>What the disk's kernel has drivers for</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>disk</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:AllocationUnits>hertz * 10^6</rasd:AllocationUnits>
        <rasd:ElementName>1 processor</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>1</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:ElementName>1024 MiB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>1024</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:ElementName>{controller}</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        {kind}
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>
        <rasd:Connection>network</rasd:Connection>
        <rasd:ElementName>network card</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>{card}</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{firmware}"/>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"#
    )
}
