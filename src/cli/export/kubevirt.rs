//! A VirtualMachine of KubeVirt with the disk as containerDisk. Specification: KubeVirt's API, kubevirt.io/v1.

use super::machine::Machine;
use crate::arch::Architecture;

/// The object, whose disk is the image of this name.
pub fn render(machine: &Machine, image: &str) -> String {
    let Machine { name, memory, .. } = machine;
    let arch = match machine.architecture {
        Architecture::X86_64 => "amd64",
        Architecture::Aarch64 => "arm64",
    };
    // It has no IDE.
    let bus = if machine.bus == "virtio" { "virtio" } else { "sata" };
    // Secure Boot is on unless it is said.
    let firmware = match machine.bios {
        true => "bios: {}",
        false => "efi: {secureBoot: false}",
    };
    let image = serde_json::Value::from(image);
    format!(
        "# The image is made by: bootdisk convert DISK -o docker://NAME
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: {name}
spec:
  runStrategy: Always
  template:
    metadata:
      labels: {{kubevirt.io/vm: {name}}}
    spec:
      architecture: {arch}
      domain:
        firmware: {{bootloader: {{{firmware}}}}}
        memory: {{guest: {memory}Mi}}
        devices:
          disks:
            - name: root
              disk: {{bus: {bus}}}
          interfaces:
            - name: default
              model: {card}
              masquerade: {{}}
          rng: {{}}
      networks:
        - name: default
          pod: {{}}
      volumes:
        # What is written to it is lost with the machine.
        - name: root
          containerDisk: {{image: {image}}}
",
        card = machine.card,
    )
}
