//! The daemon that serves a folder over virtio-fs: where it is, and which of the two it is.
//!
//! QEMU's own one, in C, came with QEMU until 7.2. Its successor is in Rust and has names of its own for the same options.
//!
//! Source: virtiofsd(1) of QEMU 7.2; virtiofsd's README.md (gitlab.com/virtio-fs/virtiofsd).

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program to use instead; empty for none.
pub const VARIABLE: &str = "BOOTDISK_VIRTIOFSD";

/// Where distributions put it, as it is nobody's command: Fedora and Debian 13, Arch, Debian 12.
const PLACES: [&str; 3] = ["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"];

/// Why there is none.
pub const MISSING: &str = "no virtiofsd on this host";

/// A daemon's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file.
    pub path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    C,
    /// Whether it can be told to write nothing, as it can from 1.12 on.
    Rust {
        read_only: bool,
    },
}

/// How the daemon shuts itself in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Namespaces of its own, with the folder as their root.
    Namespace,
    /// chroot(2), where namespaces cannot be made.
    Chroot,
}

impl Program {
    /// The one that [`VARIABLE`] names, else the first in PATH and the usual places.
    pub fn find() -> Result<Program, String> {
        let (given, path) = (std::env::var_os(VARIABLE), std::env::var_os("PATH"));
        let found = match given {
            Some(given) => Some(PathBuf::from(given)).filter(|file| executable(file)),
            None => candidates(path).find(|file| executable(file)),
        };
        Program::at(&found.ok_or(MISSING)?)
    }

    /// The daemon with this file.
    pub fn at(path: &Path) -> Result<Program, String> {
        let asked = Command::new(path).arg("--help").stdin(Stdio::null()).output();
        let help = asked.map_err(|error| crate::escape::os_error(&error))?;
        let text = [help.stdout, help.stderr.clone()].concat();
        match kind(&String::from_utf8_lossy(&text)) {
            Some(kind) => Ok(Program { kind, path: path.to_owned() }),
            // The one in C wants to give up all groups before anything else.
            None if !help.status.success() => {
                Err(format!("virtiofsd does not work here: {}", first_line(&help.stderr)))
            }
            None => Err("virtiofsd is another program".into()),
        }
    }

    /// One that says this of its options.
    #[cfg(test)]
    pub fn of(help: &str) -> Program {
        Program { path: "/virtiofsd".into(), kind: kind(help).unwrap() }
    }

    /// Whether it keeps a folder from being written to by itself.
    pub fn has_read_only(&self) -> bool {
        self.kind == Kind::Rust { read_only: true }
    }

    /// Whether it can do without root by itself.
    pub fn is_for_everybody(&self) -> bool {
        matches!(self.kind, Kind::Rust { .. })
    }

    /// Its arguments: it listens on `socket`, which it inherits.
    pub fn arguments(&self, socket: i32, folder: &Path, sandbox: Sandbox, read_only: bool) -> Vec<OsString> {
        let sandbox = if sandbox == Sandbox::Namespace { "namespace" } else { "chroot" };
        let mut args: Vec<OsString> = vec![format!("--fd={socket}").into()];
        match self.kind {
            Kind::C => {
                args.extend(["-o".into(), source(folder)]);
                args.extend(["-o".into(), format!("sandbox={sandbox},xattr,log_level=err").into()]);
            }
            Kind::Rust { read_only: can } => {
                args.extend(["--shared-dir".into(), folder.into()]);
                args.extend(["--sandbox", sandbox, "--xattr", "--log-level=error"].map(OsString::from));
                args.extend((can && read_only).then(|| "--readonly".into()));
            }
        }
        args
    }
}

fn first_line(text: &[u8]) -> String {
    crate::escape::escape(text.split(|&byte| byte == b'\n').next().unwrap_or_default())
}

/// `source=`, in which a comma would end the option.
fn source(folder: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut text = b"source=".to_vec();
    for &byte in folder.as_os_str().as_bytes() {
        text.extend((byte == b',' || byte == b'\\').then_some(b'\\'));
        text.push(byte);
    }
    OsString::from_vec(text)
}

fn candidates(path: Option<OsString>) -> impl Iterator<Item = PathBuf> {
    let in_path = path.map(|path| std::env::split_paths(&path).map(|dir| dir.join("virtiofsd")).collect::<Vec<_>>());
    in_path.into_iter().flatten().chain(PLACES.into_iter().map(PathBuf::from))
}

fn executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Which one says this of its options.
fn kind(help: &str) -> Option<Kind> {
    match () {
        () if help.contains("--shared-dir") => Some(Kind::Rust { read_only: help.contains("--readonly") }),
        () if help.contains("-o source=") => Some(Kind::C),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_is_spoken_to_in_its_own_words() {
        let shown = |program: &Program, folder: &str, sandbox, read_only| {
            let args = program.arguments(7, Path::new(folder), sandbox, read_only);
            args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let (c, old) = (Program::of("    -o source=PATH   shared\n"), Program::of("--shared-dir <SHARED_DIR>"));
        let new = Program::of("--shared-dir <SHARED_DIR>\n --readonly");
        let (namespace, chroot) = (Sandbox::Namespace, Sandbox::Chroot);
        for (program, folder, sandbox, read_only, expected) in [
            (&c, "/srv", namespace, false, "--fd=7 -o source=/srv -o sandbox=namespace,xattr,log_level=err"),
            (&c, "/a,b\\c", chroot, true, "--fd=7 -o source=/a\\,b\\\\c -o sandbox=chroot,xattr,log_level=err"),
            (&old, "/a,b", namespace, true, "--fd=7 --shared-dir /a,b --sandbox namespace --xattr --log-level=error"),
            (&new, "/a", chroot, false, "--fd=7 --shared-dir /a --sandbox chroot --xattr --log-level=error"),
            (&new, "/a", chroot, true, "--fd=7 --shared-dir /a --sandbox chroot --xattr --log-level=error --readonly"),
        ] {
            assert_eq!(shown(program, folder, sandbox, read_only), expected);
        }
        assert_eq!(kind("usage: something else"), None);
        assert!(new.has_read_only() && !old.has_read_only() && !c.has_read_only());
        assert!(new.is_for_everybody() && !c.is_for_everybody());
    }
}
