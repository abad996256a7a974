//! A domain of libvirt. Specification: libvirt, "Domain XML format".

use super::Accel;
use super::machine::Machine;
use crate::arch::Architecture;

/// The domain, with comments where it may be otherwise.
pub fn render(machine: &Machine, accel: Accel) -> String {
    let Machine { name, memory, bus, card, format, .. } = machine;
    let (arch, kind) = match machine.architecture {
        Architecture::X86_64 => ("x86_64", "q35"),
        Architecture::Aarch64 => ("aarch64", "virt"),
    };
    // An IDE controller is on the older machine alone.
    let kind = if *bus == "ide" { "pc" } else { kind };
    let firmware = if machine.bios { "" } else { " firmware='efi'" };
    // Left to itself libvirt takes the one with Secure Boot and Microsoft's keys, which starts no disk of ours.
    let features = if machine.bios { "" } else { UNSIGNED };
    let target = if *bus == "virtio" { "vda" } else { "sda" };
    let target = if *bus == "ide" { "hda" } else { target };
    let (domain, cpu) = match accel {
        Accel::Kvm => ("kvm", "host-passthrough"),
        Accel::Hvf => ("hvf", "host-passthrough"),
        Accel::Tcg => ("qemu", "maximum"),
    };
    // The usual one of its machine is no 64-bit processor there.
    let model = match machine.architecture {
        Architecture::X86_64 => String::new(),
        Architecture::Aarch64 => format!("\n  <cpu mode='{cpu}'/>"),
    };
    let disk = text(&machine.disk);
    format!(
        "<domain type='{domain}'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os{firmware}>
    <type arch='{arch}' machine='{kind}'>hvm</type>{features}
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
    <!-- Without this network, as a user: type='user', and no source. -->
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

/// Firmware that asks for no signature.
const UNSIGNED: &str = "
    <firmware>
      <feature enabled='no' name='secure-boot'/>
      <feature enabled='no' name='enrolled-keys'/>
    </firmware>";

/// As text of an attribute.
fn text(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;");
    crate::escape::escape(escaped.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uefi_is_asked_for_without_secure_boot_and_a_bios_without_either() {
        let rendered = |bios| {
            let (bus, card, format) = ("virtio", "virtio", "qcow2");
            let (name, disk) = ("a".into(), "/a.qcow2".into());
            let architecture = Architecture::X86_64;
            render(&Machine { name, disk, format, architecture, bios, bus, card, memory: 1024 }, Accel::Kvm)
        };
        let uefi = rendered(false);
        assert!(uefi.contains("<os firmware='efi'>") && uefi.contains("enabled='no' name='secure-boot'"), "{uefi}");
        assert!(rendered(true).contains("<os>") && !rendered(true).contains("secure-boot"));
    }
}
