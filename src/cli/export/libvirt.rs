//! A domain of libvirt. Specification: libvirt, "Domain XML format".

use super::Accel;
use super::machine::{Machine, SecureBoot};
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
    let firmware = if machine.bios || machine.secure_boot.is_some() { "" } else { " firmware='efi'" };
    // Left to itself libvirt takes the one with Secure Boot and Microsoft's keys, which starts no disk of ours.
    let features = match &machine.secure_boot {
        Some(files) => secure(files),
        None if machine.bios => String::new(),
        None => UNSIGNED.to_owned(),
    };
    // Only firmware in system management mode may write the variables then.
    let smm = if machine.secure_boot.is_some() && machine.architecture == Architecture::X86_64 {
        "<smm state='on'/>"
    } else {
        ""
    };
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
  <features><acpi/>{smm}</features>{model}
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

/// Firmware that asks for signatures, and a copy of these variables for each domain.
fn secure(files: &SecureBoot) -> String {
    let (code, variables) = (text(&files.code), text(&files.variables));
    format!(
        "
    <loader readonly='yes' secure='yes' type='pflash'>{code}</loader>
    <nvram template='{variables}'/>"
    )
}

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
        let rendered = |bios, secure: bool| {
            let (bus, card, format) = ("virtio", "virtio", "qcow2");
            let (name, disk) = ("a".into(), "/a.qcow2".into());
            let architecture = Architecture::X86_64;
            let secure_boot = secure.then(|| SecureBoot { code: "/code".into(), variables: "/a<.vars".into() });
            render(
                &Machine { name, disk, format, architecture, bios, bus, card, memory: 1024, secure_boot },
                Accel::Kvm,
            )
        };
        let uefi = rendered(false, false);
        assert!(uefi.contains("<os firmware='efi'>") && uefi.contains("enabled='no' name='secure-boot'"), "{uefi}");
        let bios = rendered(true, false);
        assert!(
            bios.contains("<os>") && !bios.contains("secure-boot") && bios.contains("<features><acpi/></features>")
        );
        let secure = rendered(true, true);
        assert!(secure.contains("<loader readonly='yes' secure='yes' type='pflash'>/code</loader>"), "{secure}");
        assert!(secure.contains("<nvram template='/a&lt;.vars'/>") && secure.contains("<smm state='on'/>"), "{secure}");
    }
}
