//! Machines for tests: a boot sector that says something and then does one thing, and a runner that keeps everything.
//!
//! The sector prints its message to the serial port, byte by byte, and acts: powers off, hangs, resets, prints for
//! ever, or writes itself to the second sector through the BIOS, reads it back and prints the message of the copy.

use bootdisk::qemu::{AccelChoice, MachineOptions, RunError};
use bootdisk::session::{Event, Finished, SessionOptions, Streams, What, run};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// What a boot sector does after its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    PowerOff = 0,
    Hang = 1,
    Reset = 2,
    Flood = 3,
    Write = 4,
}

/// Loaded at 0000:7c00; every jump is relative, so that it may begin anywhere in the sector.
#[rustfmt::skip]
const CODE: [u8; 124] = [
    0x31, 0xc0,             //        xor  ax, ax
    0x8e, 0xd8,             //        mov  ds, ax
    0x8e, 0xc0,             //        mov  es, ax
    0x8e, 0xd0,             //        mov  ss, ax
    0xbc, 0x00, 0x7c,       //        mov  sp, 0x7c00
    0xfb, 0xfc,             //        sti; cld
    0xbe, 0x00, 0x7d,       //        mov  si, MESSAGE
    0xe8, 0x51, 0x00,       //        call print
    0xa0, 0xff, 0x7c,       //        mov  al, [ACTION]
    0x3c, 0x01, 0x74, 0x39, //        cmp  al, 1; je hang
    0x3c, 0x02, 0x74, 0x38, //        cmp  al, 2; je reset
    0x3c, 0x03, 0x74, 0x3a, //        cmp  al, 3; je flood
    0x3c, 0x04, 0x75, 0x26, //        cmp  al, 4; jne off
    0xb8, 0x01, 0x03,       //        mov  ax, 0x0301      write one sector
    0xbb, 0x00, 0x7c,       //        mov  bx, 0x7c00      this one
    0xb9, 0x02, 0x00,       //        mov  cx, 2           to the second
    0xba, 0x80, 0x00,       //        mov  dx, 0x80        of the first disk
    0xcd, 0x13, 0x72, 0x1d, //        int  0x13; jc hang
    0xb8, 0x01, 0x02,       //        mov  ax, 0x0201      read one sector
    0xbb, 0x00, 0x80,       //        mov  bx, 0x8000
    0xb9, 0x02, 0x00,       //        mov  cx, 2
    0xba, 0x80, 0x00,       //        mov  dx, 0x80
    0xcd, 0x13, 0x72, 0x0d, //        int  0x13; jc hang
    0xbe, 0x00, 0x81,       //        mov  si, 0x8000 + (MESSAGE - 0x7c00)
    0xe8, 0x18, 0x00,       //        call print
    0xba, 0x04, 0x06,       // off:   mov  dx, 0x604       ACPI PM1a control
    0xb8, 0x00, 0x20,       //        mov  ax, 0x2000      soft off
    0xef,                   //        out  dx, ax
    0xf4, 0xeb, 0xfd,       // hang:  hlt; jmp hang
    0xb0, 0xfe, 0xe6, 0x64, // reset: mov  al, 0xfe; out 0x64, al
    0xeb, 0xf7,             //        jmp  hang
    0xbe, 0x00, 0x7d,       // flood: mov  si, MESSAGE
    0xe8, 0x02, 0x00,       //        call print
    0xeb, 0xf8,             //        jmp  flood
    0xac,                   // print: lodsb
    0x84, 0xc0, 0x74, 0x12, //        test al, al; jz return
    0x88, 0xc4,             //        mov  ah, al
    0xba, 0xfd, 0x03,       //        mov  dx, 0x3fd       line status
    0xec, 0xa8, 0x20,       //        in   al, dx; test al, 0x20
    0x74, 0xfb,             //        jz   until it is ready
    0x88, 0xe0,             //        mov  al, ah
    0xba, 0xf8, 0x03, 0xee, //        mov  dx, 0x3f8; out dx, al
    0xeb, 0xe9,             //        jmp  print
    0xc3,                   //        ret
];
const ACTION: usize = 0xff;
const MESSAGE: usize = 0x100;

/// One boot sector that begins with `prefix`, which must be harmless code.
pub fn sector(prefix: &[u8], message: &str, then: Then) -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..prefix.len()].copy_from_slice(prefix);
    sector[prefix.len()..prefix.len() + CODE.len()].copy_from_slice(&CODE);
    sector[ACTION] = then as u8;
    sector[MESSAGE..MESSAGE + message.len()].copy_from_slice(message.as_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A disk of 1 MiB with such a sector.
pub fn disk(dir: &Path, name: impl AsRef<OsStr>, message: &str, then: Then) -> PathBuf {
    let path = dir.join(name.as_ref());
    let mut bytes = vec![0; 1 << 20];
    bytes[..512].copy_from_slice(&sector(b"", message, then));
    std::fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", name.as_ref().as_bytes().escape_ascii()));
    path
}

/// A small machine without a network for it, whose overlay grows in the disk's own directory.
pub fn machine(disk: PathBuf) -> MachineOptions {
    let scratch = disk.parent().map(Path::to_owned);
    let arch = bootdisk::arch::Architecture::X86_64;
    let small = MachineOptions::new(arch, disk);
    MachineOptions { accel: AccelChoice::Tcg, memory: 64, cpus: 1, network: None, scratch, ..small }
}

/// A machine that has ended, and everything it said.
pub struct Ran {
    pub finished: Finished,
    pub events: Vec<Event>,
    pub console: Vec<u8>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ran {
    pub fn console_text(&self) -> String {
        String::from_utf8_lossy(&self.console).into_owned()
    }

    pub fn time_of(&self, wanted: impl Fn(&What) -> bool) -> Option<Duration> {
        self.events.iter().find(|event| wanted(&event.what)).map(|event| event.at)
    }
}

/// Runs a machine without standard input, at most a minute.
pub fn boot(machine: &MachineOptions) -> Ran {
    let options = SessionOptions { timeout: Some(Duration::from_secs(60)), ..SessionOptions::default() };
    boot_with(machine, options, |_| ControlFlow::Continue(())).unwrap()
}

/// Runs a machine and keeps what it says.
pub fn boot_with(
    machine: &MachineOptions,
    options: SessionOptions,
    mut watch: impl FnMut(&Event) -> ControlFlow<()>,
) -> Result<Ran, RunError> {
    let (stdout, stdout_end) = std::io::pipe().unwrap();
    let (stderr, stderr_end) = std::io::pipe().unwrap();
    let collect = |mut reader: std::io::PipeReader| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        })
    };
    let (stdout, stderr) = (collect(stdout), collect(stderr));
    let stdin = File::open("/dev/null").unwrap();
    let streams = Streams { stdin: stdin.into(), stdout: stdout_end.into(), stderr: stderr_end.into() };
    let (mut events, mut console) = (Vec::new(), Vec::new());
    let finished = run(machine, options, streams, &mut |event: Event| {
        let flow = watch(&event);
        match event.what {
            What::Console(bytes) => console.extend(bytes),
            _ => events.push(event),
        }
        flow
    })?;
    Ok(Ran { finished, events, console, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() })
}

/// The processes whose parent is `parent`, with their names.
pub fn children_of(parent: u32) -> Vec<(u32, String)> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let ppid = tail.split(' ').nth(1).and_then(|field| field.parse().ok());
        if ppid == Some(parent) {
            children.push((pid, head.split_once('(').map_or("", |(_, name)| name).to_owned()));
        }
    }
    children
}

/// Whether a process is there, a zombie counted as gone.
pub fn is_alive(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").is_some_and(|(_, tail)| tail.starts_with('Z')),
        Err(_) => false,
    }
}
