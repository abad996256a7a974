//! QEMU's command line as a pure function of the machine.
//!
//! Drives are JSON `-blockdev` only, with an explicit driver, so that no byte of a file's name and no byte of a disk's
//! first sector is ever taken for an option. Files arrive as descriptor sets and sockets as descriptors ([`Wiring`]);
//! with paths instead, the same function gives a command line that can be pasted.
//!
//! Source: qemu(1); QEMU, qapi/block-core.json.

use super::extras;
use super::machine::{Accel, Access, Boot, Bus, Display, MachineOptions, Nic, Reach, Reboot};
use crate::arch::Architecture;
use crate::guest::booted::SERIAL;
use crate::guest::channel::PORT;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::os::fd::RawFd;

/// Where QEMU finds a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileAt {
    /// An open descriptor, put into a descriptor set.
    Fd(RawFd),
    /// A path, which JSON limits to UTF-8.
    Path(String),
}

/// Where QEMU finds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAt {
    /// One end of a connected pair.
    Fd(RawFd),
    /// A path that QEMU listens on.
    Path(String),
    /// QEMU's own standard input and output.
    Stdio,
    /// Nowhere: what would be joined to it is left away.
    Absent,
}

/// Everything of the command line that is not the machine itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// The accelerator that was settled upon.
    pub accel: Accel,
    /// The disk.
    pub disk: FileAt,
    /// The disk is a block device, for which QEMU has another driver.
    pub block_device: bool,
    /// An empty qcow2 file, with [`Access::Overlay`].
    pub overlay: Option<FileAt>,
    /// The firmware's code and this machine's own copy of its variables, with [`Boot::Uefi`].
    pub firmware: Option<(FileAt, FileAt)>,
    /// QEMU Machine Protocol.
    pub qmp: SocketAt,
    /// The host channel.
    pub channel: SocketAt,
    /// The serial console.
    pub console: SocketAt,
    /// QEMU gives up the system calls it does not need.
    pub sandbox: bool,
    /// SeaBIOS's debug port, of a machine that has that firmware.
    pub firmware_log: SocketAt,
    /// File systems of the host: tags, and where their daemons are.
    pub shares: Vec<(String, SocketAt)>,
    /// Disks beside the first: serial numbers, files, and whether they are only read.
    pub disks: Vec<(String, FileAt, bool)>,
    /// Items of the firmware configuration device: names, and files in memory.
    pub fw_cfg: Vec<(String, RawFd)>,
    /// A second card: one end of a pair of datagram sockets, and its Ethernet address.
    pub wire: Option<(RawFd, [u8; 6])>,
    /// A file that is the guest's memory.
    pub memory: Option<MemoryAt>,
    /// What a saved machine had written to its disk: the machine goes on from there, and waits for its state.
    pub written: Option<FileAt>,
}

/// The guest's memory in a file, by its descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryAt {
    /// What the guest writes is written to the file.
    Kept(RawFd),
    /// What the guest writes is its own; the file stays as it is.
    Copied(RawFd),
}

/// No system calls that are obsolete, get rights, start programs, or change priorities and processors.
pub(super) const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Descriptor sets, by what is in them.
#[derive(Clone, Copy)]
enum Set {
    Disk,
    Overlay,
    Code,
    Vars,
    /// What a saved machine has written.
    Written,
    /// A disk beside the first, by its number.
    More(usize),
}

impl Set {
    fn number(self) -> usize {
        match self {
            Set::Disk => 1,
            Set::Overlay => 2,
            Set::Code => 3,
            Set::Vars => 4,
            Set::More(number) => 5 + number,
            // Behind the disks, of which there are never so many.
            Set::Written => 1000,
        }
    }
}

/// QEMU's arguments, without the program's name. The machine waits for `cont`.
pub fn arguments(machine: &MachineOptions, wiring: &Wiring) -> Vec<OsString> {
    let mut args = Args::default();
    base(&mut args, machine, wiring);
    firmware(&mut args, machine, wiring);
    disk(&mut args, machine, wiring);
    network(&mut args, machine);
    devices(&mut args, machine);
    sockets(&mut args, wiring);
    shares(&mut args, wiring);
    more_disks(&mut args, wiring);
    fw_cfg(&mut args, wiring);
    second_card(&mut args, wiring);
    args.0.extend(machine.extra.iter().cloned());
    args.0
}

#[derive(Default)]
struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }
    fn pair(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.push(name.into());
        self.0.push(value.into());
    }
    fn blockdev(&mut self, node: &Value) {
        self.pair("-blockdev", node.to_string());
    }
    /// The name that opens `file`: a descriptor goes into its set first.
    fn file(&mut self, file: &FileAt, set: Set) -> String {
        match file {
            FileAt::Path(path) => path.clone(),
            FileAt::Fd(fd) => {
                self.pair("-add-fd", format!("fd={fd},set={}", set.number()));
                format!("/dev/fdset/{}", set.number())
            }
        }
    }
    /// A character device that is a socket.
    fn socket(&mut self, id: &str, at: &SocketAt) {
        self.pair(
            "-chardev",
            match at {
                SocketAt::Fd(fd) => format!("socket,id={id},fd={fd}"),
                // A comma in a value of this syntax is written twice.
                SocketAt::Path(path) => format!("socket,id={id},path={},server=on,wait=off", path.replace(',', ",,")),
                SocketAt::Stdio => format!("stdio,id={id}"),
                SocketAt::Absent => format!("null,id={id}"),
            },
        );
    }
}

fn base(args: &mut Args, machine: &MachineOptions, wiring: &Wiring) {
    // No devices but those named here, and no configuration of this host's.
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    args.pair("-name", "bootdisk");
    if wiring.sandbox {
        args.pair("-sandbox", SANDBOX);
    }
    let mut model = match (machine.arch, machine.bus) {
        (Architecture::X86_64, Bus::Ide) => "pc".to_owned(),
        (Architecture::X86_64, _) => "q35".to_owned(),
        (Architecture::Aarch64, _) if wiring.accel == Accel::Kvm => "virt,gic-version=host".to_owned(),
        (Architecture::Aarch64, _) => "virt".to_owned(),
    };
    if wiring.firmware.is_some() {
        model.push_str(",pflash0=code,pflash1=vars");
    }
    // Only code of the firmware's in system management mode may then write its variables: nothing of the guest's.
    let in_smm = machine.secure_boot.is_some() && machine.arch == Architecture::X86_64;
    if in_smm {
        model.push_str(",smm=on");
        args.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    if !wiring.shares.is_empty() {
        model.push_str(",memory-backend=ram");
        let size = machine.memory;
        args.pair("-object", format!("memory-backend-memfd,id=ram,size={size}M,share=on"));
    } else if let Some(memory) = wiring.memory {
        model.push_str(",memory-backend=ram");
        let (fd, share) = match memory {
            MemoryAt::Kept(fd) => (fd, "on"),
            MemoryAt::Copied(fd) => (fd, "off"),
        };
        let size = machine.memory;
        // A descriptor set will not do: this file is opened by its name.
        args.pair("-object", format!("memory-backend-file,id=ram,size={size}M,mem-path=/dev/fd/{fd},share={share}"));
    }
    args.pair("-machine", model);
    args.pair("-accel", wiring.accel.name());
    args.pair("-cpu", processor(machine.arch, wiring.accel));
    args.pair("-smp", machine.cpus.to_string());
    args.pair("-m", format!("{}M", machine.memory));
    args.pair("-rtc", "base=utc");
    // A guest that powers off or panics stays until its last bytes are read; `quit` ends it. See `session`.
    let reboot = if machine.reboot == Reboot::End { "shutdown" } else { "reset" };
    if wiring.qmp == SocketAt::Absent {
        // Nobody could say `cont` or `quit`.
        args.pair("-action", format!("reboot={reboot},shutdown=poweroff,panic=shutdown"));
        return;
    }
    args.pair("-action", format!("reboot={reboot},shutdown=pause,panic=pause"));
    // Nothing runs before the channel is ready: `cont` starts it.
    args.flag("-S");
    if wiring.written.is_some() {
        // Its state comes with `migrate-incoming`.
        args.pair("-incoming", "defer");
    }
}

/// Every feature there is. Pointer authentication is a cipher that costs TCG half of its time: on aarch64 QEMU uses a
/// cheaper one of its own instead.
fn processor(arch: Architecture, accel: Accel) -> &'static str {
    match (accel, arch) {
        (Accel::Kvm | Accel::Hvf, _) => "host",
        (Accel::Tcg, Architecture::X86_64) => "max",
        (Accel::Tcg, Architecture::Aarch64) => "max,pauth-impdef=on",
    }
}

fn firmware(args: &mut Args, machine: &MachineOptions, wiring: &Wiring) {
    if let Some((code, vars)) = &wiring.firmware {
        let file = args.file(code, Set::Code);
        args.blockdev(&json!({"driver": "raw", "node-name": "code", "read-only": true,
            "file": {"driver": "file", "filename": file, "read-only": true}}));
        let file = args.file(vars, Set::Vars);
        args.blockdev(&json!({"driver": "raw", "node-name": "vars",
            "file": {"driver": "file", "filename": file}}));
    }
    if let Boot::Direct { kernel, initrd, cmdline } = &machine.boot {
        // These three take the whole argument as it is: no commas, no quotes, no prefixes.
        args.pair("-kernel", kernel.clone());
        if let Some(initrd) = initrd {
            args.pair("-initrd", initrd.clone());
        }
        args.pair("-append", cmdline.clone());
    }
    // Only what has a bootindex is tried: no network boot when the disk does not start.
    args.pair("-boot", "strict=on");
}

fn disk(args: &mut Args, machine: &MachineOptions, wiring: &Wiring) {
    let file = args.file(&wiring.disk, Set::Disk);
    let driver = if wiring.block_device { "host_device" } else { "file" };
    let read_only = machine.access == Access::Overlay;
    let protocol = json!({"driver": driver, "filename": file, "read-only": read_only, "discard": "unmap"});
    let base = if read_only { "base" } else { "disk" };
    args.blockdev(&json!({"driver": "raw", "node-name": base, "read-only": read_only, "discard": "unmap",
        "file": protocol}));
    let mut backing = "base";
    if let Some(written) = &wiring.written {
        let file = args.file(written, Set::Written);
        args.blockdev(&json!({"driver": "qcow2", "node-name": "written", "backing": "base", "read-only": true,
            "file": {"driver": "file", "filename": file, "read-only": true}}));
        backing = "written";
    }
    if let Some(overlay) = &wiring.overlay {
        let file = args.file(overlay, Set::Overlay);
        // It dies with the machine: flushing it would only cost time.
        let cache = json!({"no-flush": true});
        args.blockdev(&json!({"driver": "qcow2", "node-name": "disk", "backing": backing, "discard": "unmap",
            "cache": cache, "file": {"driver": "file", "filename": file, "discard": "unmap", "cache": cache}}));
    }
    let device = match (machine.bus, machine.arch) {
        (Bus::Virtio, _) => "virtio-blk-pci,drive=disk",
        (Bus::Nvme, _) => "nvme,drive=disk",
        (Bus::Scsi, _) => {
            args.pair("-device", "virtio-scsi-pci,id=scsi");
            "scsi-hd,drive=disk,bus=scsi.0"
        }
        (Bus::Usb, _) => {
            args.pair("-device", "qemu-xhci,id=usb");
            "usb-storage,drive=disk,bus=usb.0"
        }
        // q35 has AHCI and pc has IDE on board; their buses are called alike.
        (Bus::Ahci | Bus::Ide, Architecture::X86_64) => "ide-hd,drive=disk,bus=ide.0",
        (Bus::Ahci | Bus::Ide, Architecture::Aarch64) => {
            args.pair("-device", "ahci,id=ahci");
            "ide-hd,drive=disk,bus=ahci.0"
        }
    };
    // PID 1 knows the disk that was booted by its serial number. Of the order, 0 is what a kernel that QEMU loads itself
    // takes.
    args.pair("-device", format!("{device},serial={SERIAL},bootindex=1"));
}

fn network(args: &mut Args, machine: &MachineOptions) {
    let Some(nic) = machine.network else { return };
    let mut netdev = "user,id=net".to_owned();
    if machine.reach == Reach::Nothing {
        // `restrict` is about IPv4 in some versions of QEMU's user network.
        netdev.push_str(",restrict=on,ipv6=off");
    }
    for forward in &machine.forwards {
        netdev.push_str(",hostfwd=");
        netdev.push_str(&forward.rule());
    }
    args.pair("-netdev", netdev);
    let model = if nic == Nic::Virtio { "virtio-net-pci" } else { "e1000" };
    // No option ROM: the card is never booted from, and the ROM costs start-up time and a package.
    args.pair("-device", format!("{model},netdev=net,romfile="));
}

fn devices(args: &mut Args, machine: &MachineOptions) {
    // Entropy from the first moment.
    args.pair("-device", "virtio-rng-pci");
    // Tells us of a panic without a word on the console.
    args.pair("-device", if machine.arch == Architecture::X86_64 { "pvpanic" } else { "pvpanic-pci" });
    match machine.display {
        Display::None => args.pair("-display", "none"),
        Display::Hidden => {
            args.pair("-device", graphics(machine.arch));
            args.pair("-display", "none");
        }
        Display::Window => args.pair("-device", graphics(machine.arch)),
    }
}

/// The card that firmware and kernels of the architecture drive without help.
fn graphics(arch: Architecture) -> &'static str {
    if arch == Architecture::X86_64 { "VGA" } else { "virtio-gpu-pci" }
}

fn sockets(args: &mut Args, wiring: &Wiring) {
    if wiring.qmp != SocketAt::Absent {
        args.socket("qmp", &wiring.qmp);
        args.pair("-mon", "chardev=qmp,mode=control");
    }
    args.socket("console", &wiring.console);
    args.pair("-serial", "chardev:console");
    if wiring.firmware_log != SocketAt::Absent {
        args.socket("firmware", &wiring.firmware_log);
        // CONFIG_DEBUG_IO of SeaBIOS: it writes there when reading the port gives its number, as this device does.
        args.pair("-device", "isa-debugcon,iobase=0x402,chardev=firmware");
    }
    if wiring.channel != SocketAt::Absent {
        args.socket("channel", &wiring.channel);
        args.pair("-device", "virtio-serial-pci,id=ports");
        args.pair("-device", format!("virtserialport,id=port,bus=ports.0,chardev=channel,name={PORT}"));
    }
}

/// Behind all others, so that those keep their places on the bus.
fn shares(args: &mut Args, wiring: &Wiring) {
    for (number, (tag, socket)) in wiring.shares.iter().enumerate() {
        args.socket(&format!("share{number}"), socket);
        args.pair("-device", format!("vhost-user-fs-pci,chardev=share{number},tag={tag}"));
    }
}

/// Without a bootindex no firmware tries them.
fn more_disks(args: &mut Args, wiring: &Wiring) {
    for (number, (serial, file, read_only)) in wiring.disks.iter().enumerate() {
        let (node, file) = (extras::node(number), args.file(file, Set::More(number)));
        args.blockdev(&json!({"driver": "raw", "node-name": node, "read-only": read_only, "discard": "unmap",
            "file": {"driver": "file", "filename": file, "read-only": read_only, "discard": "unmap"}}));
        args.pair("-device", format!("virtio-blk-pci,drive={node},serial={serial}"));
    }
}

/// QEMU reads the whole file by its name, which cannot be that of a descriptor set.
fn fw_cfg(args: &mut Args, wiring: &Wiring) {
    for (name, fd) in &wiring.fw_cfg {
        args.pair("-fw_cfg", format!("name={name},file=/dev/fd/{fd}"));
    }
}

/// Behind the first, which so is the first for the guest too. A datagram is a frame.
fn second_card(args: &mut Args, wiring: &Wiring) {
    let Some((fd, mac)) = wiring.wire else { return };
    args.pair("-netdev", format!("dgram,id=private,local.type=fd,local.str={fd}"));
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    args.pair("-device", format!("virtio-net-pci,netdev=private,mac={mac},romfile="));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::machine::AccelChoice;

    fn machine(arch: Architecture) -> MachineOptions {
        MachineOptions { cpus: 2, accel: AccelChoice::Tcg, ..MachineOptions::new(arch, "disk.img".into()) }
    }

    fn wiring() -> Wiring {
        Wiring {
            accel: Accel::Tcg,
            disk: FileAt::Fd(10),
            block_device: false,
            overlay: Some(FileAt::Fd(11)),
            firmware: None,
            qmp: SocketAt::Fd(20),
            channel: SocketAt::Fd(21),
            console: SocketAt::Fd(22),
            sandbox: false,
            firmware_log: SocketAt::Absent,
            shares: Vec::new(),
            disks: Vec::new(),
            fw_cfg: Vec::new(),
            wire: None,
            memory: None,
            written: None,
        }
    }

    /// One option a line.
    fn shown(machine: &MachineOptions, wiring: &Wiring) -> String {
        let mut out = String::new();
        for arg in arguments(machine, wiring) {
            let arg = arg.into_string().unwrap();
            let new_line = arg.starts_with('-') && !out.is_empty();
            out.push_str(if new_line {
                "\n"
            } else if out.is_empty() {
                ""
            } else {
                " "
            });
            out.push_str(&arg);
        }
        out
    }

    #[test]
    fn an_ordinary_machine() {
        let expected = r#"-nodefaults
-no-user-config
-name bootdisk
-machine q35
-accel tcg
-cpu max
-smp 2
-m 1024M
-rtc base=utc
-action reboot=reset,shutdown=pause,panic=pause
-S
-boot strict=on
-add-fd fd=10,set=1
-blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/dev/fdset/1","read-only":true},"node-name":"base","read-only":true}
-add-fd fd=11,set=2
-blockdev {"backing":"base","cache":{"no-flush":true},"discard":"unmap","driver":"qcow2","file":{"cache":{"no-flush":true},"discard":"unmap","driver":"file","filename":"/dev/fdset/2"},"node-name":"disk"}
-device virtio-blk-pci,drive=disk,serial=bootdisk,bootindex=1
-netdev user,id=net
-device virtio-net-pci,netdev=net,romfile=
-device virtio-rng-pci
-device pvpanic
-display none
-chardev socket,id=qmp,fd=20
-mon chardev=qmp,mode=control
-chardev socket,id=console,fd=22
-serial chardev:console
-chardev socket,id=channel,fd=21
-device virtio-serial-pci,id=ports
-device virtserialport,id=port,bus=ports.0,chardev=channel,name=org.bootdisk.0"#;
        assert_eq!(shown(&machine(Architecture::X86_64), &wiring()), expected);
    }

    /// The lines of `changed` that the ordinary machine has not, and the other way round.
    fn difference(changed: &MachineOptions, with: &Wiring) -> (Vec<String>, Vec<String>) {
        let (old, new) = (shown(&machine(Architecture::X86_64), &wiring()), shown(changed, with));
        let lacking = |from: &str, of: &str| {
            from.lines().filter(|line| !of.lines().any(|other| other == *line)).map(str::to_owned).collect()
        };
        (lacking(&old, &new), lacking(&new, &old))
    }

    #[test]
    fn what_each_choice_changes() {
        let base = || machine(Architecture::X86_64);
        const VIRTIO: &str = "-device virtio-blk-pci,drive=disk,serial=bootdisk,bootindex=1";
        const NIC: &str = "-device virtio-net-pci,netdev=net,romfile=";
        const NONE: &[&str] = &[];
        let forwards = ["8080:80", "0.0.0.0:53:5353/udp"].map(|text| text.parse().unwrap()).to_vec();
        let kernel = || "a,b.img".into();
        let direct = |initrd| Boot::Direct { kernel: kernel(), initrd, cmdline: "root=/dev/vda x=\"a,b\"".into() };
        #[rustfmt::skip]
        let cases: Vec<(MachineOptions, &[&str], &[&str])> = vec![
            (MachineOptions { bus: Bus::Nvme, ..base() }, &[VIRTIO], &["-device nvme,drive=disk,serial=bootdisk,bootindex=1"]),
            (MachineOptions { bus: Bus::Scsi, ..base() }, &[VIRTIO],
                &["-device virtio-scsi-pci,id=scsi", "-device scsi-hd,drive=disk,bus=scsi.0,serial=bootdisk,bootindex=1"]),
            (MachineOptions { bus: Bus::Usb, ..base() }, &[VIRTIO],
                &["-device qemu-xhci,id=usb", "-device usb-storage,drive=disk,bus=usb.0,serial=bootdisk,bootindex=1"]),
            (MachineOptions { bus: Bus::Ahci, ..base() }, &[VIRTIO], &["-device ide-hd,drive=disk,bus=ide.0,serial=bootdisk,bootindex=1"]),
            (MachineOptions { bus: Bus::Ide, ..base() }, &["-machine q35", VIRTIO],
                &["-machine pc", "-device ide-hd,drive=disk,bus=ide.0,serial=bootdisk,bootindex=1"]),
            (MachineOptions { reboot: Reboot::End, ..base() }, &["-action reboot=reset,shutdown=pause,panic=pause"],
                &["-action reboot=shutdown,shutdown=pause,panic=pause"]),
            (MachineOptions { memory: 96, cpus: 1, ..base() }, &["-smp 2", "-m 1024M"], &["-smp 1", "-m 96M"]),
            (MachineOptions { network: None, ..base() }, &["-netdev user,id=net", NIC], NONE),
            (MachineOptions { network: Some(Nic::E1000), ..base() }, &[NIC], &["-device e1000,netdev=net,romfile="]),
            (MachineOptions { reach: Reach::Host, ..base() }, NONE, NONE),
            (MachineOptions { reach: Reach::Nothing, ..base() }, &["-netdev user,id=net"],
                &["-netdev user,id=net,restrict=on,ipv6=off"]),
            (MachineOptions { forwards, ..base() }, &["-netdev user,id=net"],
                &["-netdev user,id=net,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=udp:0.0.0.0:53-:5353"]),
            (MachineOptions { boot: direct(None), ..base() }, NONE,
                &["-kernel a,b.img", "-append root=/dev/vda x=\"a,b\""]),
            (MachineOptions { boot: direct(Some("i,j".into())), ..base() }, NONE,
                &["-kernel a,b.img", "-initrd i,j", "-append root=/dev/vda x=\"a,b\""]),
            (MachineOptions { display: Display::Hidden, ..base() }, NONE, &["-device VGA"]),
            (MachineOptions { display: Display::Window, ..base() }, &["-display none"], &["-device VGA"]),
            (MachineOptions { extra: vec!["-d".into(), "int".into()], ..base() }, NONE, &["-d int"]),
        ];
        for (machine, gone, new) in cases {
            let (was, is) = difference(&machine, &wiring());
            assert_eq!(
                (was, is),
                (gone.iter().map(|s| s.to_string()).collect(), new.iter().map(|s| s.to_string()).collect())
            );
        }
    }

    #[test]
    fn what_the_host_changes() {
        let uefi = MachineOptions { boot: Boot::Uefi, ..machine(Architecture::X86_64) };
        let flash = Some((FileAt::Fd(30), FileAt::Fd(31)));
        let (gone, new) = difference(&uefi, &Wiring { firmware: flash, ..wiring() });
        assert_eq!(gone, ["-machine q35"]);
        assert_eq!(
            new,
            [
                "-machine q35,pflash0=code,pflash1=vars",
                "-add-fd fd=30,set=3",
                r#"-blockdev {"driver":"raw","file":{"driver":"file","filename":"/dev/fdset/3","read-only":true},"node-name":"code","read-only":true}"#,
                "-add-fd fd=31,set=4",
                r#"-blockdev {"driver":"raw","file":{"driver":"file","filename":"/dev/fdset/4"},"node-name":"vars"}"#,
            ]
        );
        let (gone, new) = difference(&machine(Architecture::X86_64), &Wiring { accel: Accel::Kvm, ..wiring() });
        assert_eq!(
            (gone, new),
            (vec!["-accel tcg".into(), "-cpu max".into()], vec!["-accel kvm".into(), "-cpu host".into()])
        );

        let (gone, new) = difference(&machine(Architecture::X86_64), &Wiring { accel: Accel::Hvf, ..wiring() });
        assert_eq!((gone.as_slice(), new.as_slice()), (&gone[..2], &["-accel hvf".into(), "-cpu host".into()][..]));

        let log = Wiring { firmware_log: SocketAt::Fd(23), ..wiring() };
        let (gone, new) = difference(&machine(Architecture::X86_64), &log);
        assert_eq!(gone, [""; 0]);
        assert_eq!(new, ["-chardev socket,id=firmware,fd=23", "-device isa-debugcon,iobase=0x402,chardev=firmware"]);

        let more = Wiring {
            shares: vec![("bootdisk-0".into(), SocketAt::Fd(40))],
            disks: vec![("bootdisk-1".into(), FileAt::Fd(41), false), ("bootdisk-2".into(), FileAt::Fd(42), true)],
            fw_cfg: vec![("opt/a/b".into(), 43)],
            ..wiring()
        };
        let (gone, new) = difference(&machine(Architecture::X86_64), &more);
        assert_eq!(gone, ["-machine q35"]);
        assert_eq!(
            new,
            [
                "-object memory-backend-memfd,id=ram,size=1024M,share=on",
                "-machine q35,memory-backend=ram",
                "-chardev socket,id=share0,fd=40",
                "-device vhost-user-fs-pci,chardev=share0,tag=bootdisk-0",
                "-add-fd fd=41,set=5",
                r#"-blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/dev/fdset/5","read-only":false},"node-name":"more0","read-only":false}"#,
                "-device virtio-blk-pci,drive=more0,serial=bootdisk-1",
                "-add-fd fd=42,set=6",
                r#"-blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/dev/fdset/6","read-only":true},"node-name":"more1","read-only":true}"#,
                "-device virtio-blk-pci,drive=more1,serial=bootdisk-2",
                "-fw_cfg name=opt/a/b,file=/dev/fd/43",
            ]
        );

        let wired = Wiring { wire: Some((50, [0x52, 0x54, 0, 0x71, 0, 10])), ..wiring() };
        let (gone, new) = difference(&machine(Architecture::X86_64), &wired);
        assert_eq!(gone, [""; 0]);
        let card = "-device virtio-net-pci,netdev=private,mac=52:54:00:71:00:0a,romfile=";
        assert_eq!(new, ["-netdev dgram,id=private,local.type=fd,local.str=50", card]);

        let write = MachineOptions { access: Access::Write, ..machine(Architecture::X86_64) };
        let keeps = Wiring { memory: Some(MemoryAt::Kept(60)), ..wiring() };
        let (gone, new) = difference(&machine(Architecture::X86_64), &keeps);
        assert_eq!(gone, ["-machine q35"]);
        assert_eq!(
            new,
            [
                "-object memory-backend-file,id=ram,size=1024M,mem-path=/dev/fd/60,share=on",
                "-machine q35,memory-backend=ram"
            ]
        );
        let goes_on = Wiring { memory: Some(MemoryAt::Copied(60)), written: Some(FileAt::Fd(61)), ..wiring() };
        let (gone, new) = difference(&machine(Architecture::X86_64), &goes_on);
        assert!(gone.iter().any(|line| line.contains(r#""backing":"base""#)), "{gone:?}");
        for wanted in [
            "-object memory-backend-file,id=ram,size=1024M,mem-path=/dev/fd/60,share=off",
            "-add-fd fd=61,set=1000",
            "-incoming defer",
        ] {
            assert!(new.iter().any(|line| line == wanted), "{new:?}");
        }
        assert!(new.iter().any(|line| line.contains(r#""backing":"written""#)), "{new:?}");

        let (gone, new) = difference(&write, &Wiring { overlay: None, block_device: true, ..wiring() });
        assert_eq!(gone.len(), 3, "{gone:?}");
        assert_eq!(
            new,
            [
                r#"-blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"host_device","filename":"/dev/fdset/1","read-only":false},"node-name":"disk","read-only":false}"#
            ]
        );
    }

    #[test]
    fn with_paths_no_byte_of_a_name_is_an_option() {
        let path = "/tmp/a,readonly=on,b \"x\"\n.img";
        let paths = Wiring { disk: FileAt::Path(path.into()), qmp: SocketAt::Path("/run/q,m.sock".into()), ..wiring() };
        let (_, new) = difference(&machine(Architecture::X86_64), &paths);
        assert_eq!(
            new,
            [
                r#"-blockdev {"discard":"unmap","driver":"raw","file":{"discard":"unmap","driver":"file","filename":"/tmp/a,readonly=on,b \"x\"\n.img","read-only":true},"node-name":"base","read-only":true}"#,
                "-chardev socket,id=qmp,path=/run/q,,m.sock,server=on,wait=off",
            ]
        );
    }

    #[test]
    fn an_arm_machine() {
        let uefi = Wiring { firmware: Some((FileAt::Fd(30), FileAt::Fd(31))), ..wiring() };
        let text = shown(&machine(Architecture::Aarch64), &uefi);
        for line in [
            "-machine virt,pflash0=code,pflash1=vars",
            "-cpu max,pauth-impdef=on",
            "-device pvpanic-pci",
            "-serial chardev:console",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n{text}");
        }
        let kvm = shown(&machine(Architecture::Aarch64), &Wiring { accel: Accel::Kvm, ..uefi.clone() });
        assert!(kvm.contains("-machine virt,gic-version=host,pflash0=code,pflash1=vars\n"));
        let hvf = shown(&machine(Architecture::Aarch64), &Wiring { accel: Accel::Hvf, ..uefi });
        assert!(hvf.contains("-machine virt,pflash0=code,pflash1=vars\n-accel hvf\n-cpu host\n"), "{hvf}");
    }
}
