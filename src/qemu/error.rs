//! Why a machine could not be started.

use super::forward::Forward;
use super::machine::Accel;
use crate::escape::escape;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Why a machine could not be started. What happens after its start is an [`Outcome`](crate::session::Outcome).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No QEMU for this architecture.
    #[error("cannot find QEMU: {program}")]
    QemuMissing {
        /// The program that was looked for.
        program: String,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// QEMU is there and cannot be executed.
    #[error("cannot start QEMU: {}: {source}", shown(.program))]
    QemuUnusable {
        /// Its path.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// QEMU ended before the machine ran.
    #[error("QEMU did not start ({status}): {message}")]
    QemuFailed {
        /// Its exit status, in words.
        status: String,
        /// What it said on standard error, escaped.
        message: String,
        /// The oldest version that will do, where this one is older.
        needs: Option<(u32, u32)>,
    },
    /// QEMU runs and does not speak to us.
    #[error("QEMU does not answer: {0}")]
    Qmp(String),
    /// No firmware for UEFI.
    #[error("cannot find UEFI firmware for {arch}")]
    FirmwareMissing {
        /// The guest's architecture.
        arch: &'static str,
        /// Debian's package that has it.
        package: &'static str,
        /// Environment variables that name its files instead.
        variables: (&'static str, &'static str),
    },
    /// Firmware named by the environment cannot be read.
    #[error("cannot open UEFI firmware {}: {source}", shown(.path))]
    Firmware {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The template of variables is something else, or has no room.
    #[error("cannot add keys to the firmware variables {}: {source}", shown(.path))]
    Variables {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: crate::formats::variable_store::Fault,
    },
    /// Only one of the two environment variables is set.
    #[error("UEFI firmware needs both {0} and {1}")]
    FirmwareHalf(&'static str, &'static str),
    /// The disk cannot be opened.
    #[error("cannot open disk {}: {source}", shown(.path))]
    Disk {
        /// Its path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The disk is a directory, a FIFO or another thing without sectors.
    #[error("disk is neither a file nor a block device: {}", shown(.0))]
    NotADisk(PathBuf),
    /// Another machine writes to the disk, or runs from it while this one wants to write.
    #[error("disk is in use by another machine: {}", shown(.0))]
    DiskInUse(PathBuf),
    /// Between the look at the disk and the lock on it, its name became another file's.
    #[error("disk was replaced while it was being opened: {}", shown(.0))]
    DiskReplaced(PathBuf),
    /// A size below what the disk has.
    #[error("disk cannot be made smaller than it is, {size} bytes: {}", shown(.path))]
    Smaller {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// No room or no right to make the temporary overlay.
    #[error("cannot make a temporary overlay in {}: {source}", shown(.dir))]
    Overlay {
        /// The directory.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// An accelerator was asked for that does not work.
    #[error("cannot use {}: {reason}", .accel.name().to_uppercase())]
    Accel {
        /// Which.
        accel: Accel,
        /// What is wrong with it, escaped.
        reason: String,
    },
    /// A forwarded port is taken.
    #[error("cannot listen on forwarded port {forward}: {source}")]
    PortTaken {
        /// The forward.
        forward: Forward,
        /// What the kernel said.
        source: io::Error,
    },
    /// Two forwards listen on one port.
    #[error("host port is forwarded twice: {first} and {second}")]
    PortTwice {
        /// The forward before.
        first: Forward,
        /// The one that cannot be.
        second: Forward,
    },
    /// A forwarded port that this user may not listen on.
    #[error("no permission to listen on host port {}: {forward}", .forward.host)]
    PortPrivileged {
        /// The forward.
        forward: Forward,
    },
    /// A forward of an address that is somebody else's.
    #[error("this host does not have the address of a forwarded port: {forward}")]
    PortAddress {
        /// The forward.
        forward: Forward,
    },
    /// Any port would do, and none is free.
    #[error("no port from {first} to {last} of {address} is free on this host")]
    NoPortFree {
        /// Where.
        address: std::net::IpAddr,
        /// The first that may be taken.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A combination no machine has.
    #[error("no such machine: {0}")]
    Unsupported(&'static str),
    /// A terminal was asked for and standard input is none.
    #[error("standard input is not a terminal")]
    NotATerminal,
    /// A folder, file or volume cannot be given to the machine.
    #[error("cannot mount {what}: {reason}")]
    Mount {
        /// Its path or name, escaped.
        what: String,
        /// Why not, escaped.
        reason: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Something else of the host failed.
    #[error("cannot {what}: {source}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl RunError {
    /// What the user can do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            RunError::QemuMissing { package, .. } => format!("install {package}, or name the program with --qemu"),
            RunError::QemuFailed { needs: Some((major, minor)), .. } => {
                format!("bootdisk needs QEMU {major}.{minor} or later")
            }
            RunError::FirmwareMissing { package, variables: (code, vars), .. } => {
                format!("install {package}, or set {code} and {vars} to its files")
            }
            RunError::DiskInUse(_) => "stop the other machine, or make a copy of the disk".into(),
            RunError::DiskReplaced(_) => "run it again".into(),
            RunError::Accel { .. } => "use --accel tcg, or auto to have it chosen".into(),
            RunError::PortTaken { .. } => "choose another host port, or stop the program that listens there".into(),
            RunError::NoPortFree { .. } => "omit the host's port to take any free one: -p GUEST".into(),
            RunError::PortTwice { second, .. } => {
                format!("choose another host port for the second: -p {}:{}", higher(second.host), second.guest)
            }
            RunError::PortPrivileged { forward } => {
                format!("use a port from 1024 on, for example -p {}:{}", higher(forward.host), forward.guest)
            }
            RunError::PortAddress { forward } => {
                format!("omit the address for this host alone: -p {}:{}", forward.host, forward.guest)
            }
            RunError::Smaller { .. } => "omit --size, or give more than the disk has".into(),
            RunError::Overlay { .. } => "set TMPDIR to a directory with free space".into(),
            RunError::Mount { hint, .. } => return hint.clone(),
            RunError::NotATerminal => "omit -t when standard input is a pipe or a file".into(),
            _ => return None,
        })
    }

    pub(crate) fn host(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
        move |source| RunError::Host { what, source }
    }
}

/// A port like this one that anybody may use: 80 becomes 10080.
fn higher(port: u16) -> u16 {
    if port < 10_000 { port + 10_000 } else { port - 1 }
}

/// A path as it may be shown.
pub(super) fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_bytes())
}
