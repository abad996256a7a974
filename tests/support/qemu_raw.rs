//! QEMU by hand, for tests below the level of `bootdisk run`: a disk, a firmware, a serial port.
//!
//! Always TCG: `/dev/kvm` may exist and hang every guest.
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where a disk hangs.
#[derive(Clone, Copy, Debug)]
pub enum Bus {
    VirtioBlk,
    Ide,
    VirtioScsi,
    Nvme,
    Ahci,
    Floppy,
}

/// What starts the disk.
#[derive(Clone, Copy, Debug)]
pub enum Firmware {
    SeaBios,
    Ovmf,
}

/// A sector whose reads fail: the first one, or every one.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub lba: u64,
    pub once: bool,
}

/// A machine to be run once.
#[derive(Clone, Debug)]
pub struct Machine {
    pub disk: PathBuf,
    pub firmware: Firmware,
    pub bus: Bus,
    pub mebibytes: u32,
    pub vga: bool,
    /// SeaBIOS shows its screen on the serial port.
    pub serial_screen: bool,
    pub fault: Option<Fault>,
    /// Seconds.
    pub timeout: u64,
}

impl Machine {
    pub fn new(disk: &Path) -> Machine {
        Machine {
            disk: disk.to_owned(),
            firmware: Firmware::SeaBios,
            bus: Bus::VirtioBlk,
            mebibytes: 256,
            vga: false,
            serial_screen: false,
            fault: None,
            timeout: 120,
        }
    }

    fn command(&self, folder: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        let kind = if matches!(self.bus, Bus::Ahci) { "q35" } else { "pc" };
        let screen = if self.serial_screen { "off" } else { "on" };
        let mut machine = format!("{kind},accel=tcg,graphics={screen}");
        let node = |name: &str, file: &Path, read_only: bool| {
            let mut file = json!({ "driver": "file", "filename": file, "read-only": read_only });
            if let Some(Fault { lba, once }) = self.fault.filter(|_| name == "disk") {
                let fault = json!({ "event": "read_aio", "iotype": "read", "errno": 5, "sector": lba, "once": once });
                file = json!({ "driver": "blkdebug", "image": file, "inject-error": [fault] });
            }
            json!({ "driver": "raw", "node-name": name, "read-only": read_only, "file": file }).to_string()
        };
        if let Firmware::Ovmf = self.firmware {
            let variables = folder.join("variables.fd");
            std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
            qemu.args(["-blockdev", &node("code", Path::new("/usr/share/OVMF/OVMF_CODE_4M.fd"), true)]);
            qemu.args(["-blockdev", &node("variables", &variables, false)]);
            machine += ",pflash0=code,pflash1=variables";
        }
        qemu.args(["-machine", &machine, "-m", &self.mebibytes.to_string()]);
        qemu.args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"]);
        qemu.args(["-vga", if self.vga { "std" } else { "none" }]);
        qemu.args(["-blockdev", &node("disk", &self.disk, false)]);
        let devices: &[&str] = match self.bus {
            Bus::VirtioBlk => &["virtio-blk-pci,drive=disk,bootindex=0"],
            Bus::Ide => &["ide-hd,drive=disk,bootindex=0"],
            Bus::VirtioScsi => &["virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=disk,bootindex=0"],
            Bus::Nvme => &["nvme,serial=1,drive=disk,bootindex=0"],
            Bus::Floppy => &["floppy,drive=disk"],
            Bus::Ahci => &["ide-hd,bus=ide.0,drive=disk,bootindex=0"],
        };
        // Floppies have no boot index.
        qemu.args(matches!(self.bus, Bus::Floppy).then_some(["-boot", "a"]).into_iter().flatten());
        devices.iter().for_each(|device| _ = qemu.args(["-device", device]));
        qemu.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        qemu
    }

    /// Runs the machine until one of `until` appears on its serial port, it ends by itself or its time is over; returns
    /// what the port said.
    pub fn run_until(&self, until: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut qemu = match self.command(folder.path()).spawn() {
            Ok(qemu) => qemu,
            Err(error) => panic!("cannot start qemu-system-x86_64: {error}; scripts/test installs what the tests need"),
        };
        let mut port = qemu.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = port.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let end = Instant::now() + Duration::from_secs(self.timeout);
        let mut said = Vec::new();
        while let Ok(part) = receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            said.extend(part);
            let text = String::from_utf8_lossy(&said);
            if until.iter().any(|words| text.contains(words)) {
                break;
            }
        }
        drop(receiver);
        // It may have ended by itself.
        _ = qemu.kill();
        qemu.wait().unwrap();
        reader.join().unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }
}
