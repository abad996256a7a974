//! A domain of libvirt. Specification: libvirt, "Domain XML format".

use super::machine::Machine;
use crate::arch::Architecture;

/// The domain, with comments where it may be otherwise.
pub fn render(machine: &Machine) -> String {
    let Machine { name, memory, bus, card, format, .. } = machine;
    let (arch, kind) = match machine.architecture {
        Architecture::X86_64 => ("x86_64", "q35"),
        Architecture::Aarch64 => ("aarch64", "virt"),
    };
    // An IDE controller is on the older machine alone.
    let kind = if *bus == "ide" { "pc" } else { kind };
    let firmware = if machine.bios { "" } else { " firmware='efi'" };
    let target = if *bus == "virtio" { "vda" } else { "sda" };
    let target = if *bus == "ide" { "hda" } else { target };
    let model = if machine.architecture == Architecture::X86_64 { "" } else { "\n  <cpu mode='host-passthrough'/>" };
    let disk = text(&machine.disk);
    format!(
        "<!-- Without KVM the type is qemu. -->
<domain type='kvm'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os{firmware}>
    <type arch='{arch}' machine='{kind}'>hvm</type>
  </os>
  <!-- The power button ends the workload as its image says. -->
  <features><acpi/></features>{model}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='{format}'/>
      <source file='{disk}'/>
      <target dev='{target}' bus='{bus}'/>
    </disk>
    <interface type='network'>
      <source network='default'/>
      <model type='{card}'/>
    </interface>
    <!-- virsh console {name} -->
    <console type='pty'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>
"
    )
}

/// As text of an attribute.
fn text(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;");
    crate::escape::escape(escaped.as_bytes())
}
