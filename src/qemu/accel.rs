//! Which accelerator: asked for, or found out.
//!
//! The host's processor (KVM, or HVF on macOS) is used only after it has run [`super::probe`]'s guest. The answer is kept
//! for this boot of the host and this QEMU, because a dead KVM costs two seconds to find out.
//!
//! Not supported: other accelerators than these. HVF's rules are here and in [`super::args`] as pure functions; the rest
//! of the host's side needs Linux (memfd, /proc, /dev/fdset).

use super::error::RunError;
use super::machine::{Accel, AccelChoice};
use super::probe;
use crate::arch::Architecture;
use crate::escape::os_error;
use crate::own_folder;
use crate::whole_file;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An accelerator, and a line for the user when it is not the one that was hoped for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What to use.
    pub accel: Accel,
    /// Why not the host's processor.
    pub note: Option<String>,
}

/// Settles the accelerator for guests of `arch` under the QEMU at `qemu`.
pub fn settle(choice: AccelChoice, arch: Architecture, qemu: &Path) -> Result<Settled, RunError> {
    settle_with(choice, arch, qemu, Path::new("/dev/kvm"), cache_dir().as_deref())
}

fn settle_with(
    choice: AccelChoice,
    arch: Architecture,
    qemu: &Path,
    device: &Path,
    cache: Option<&Path>,
) -> Result<Settled, RunError> {
    let accel = match choice {
        AccelChoice::Tcg => return Ok(Settled { accel: Accel::Tcg, note: None }),
        AccelChoice::Kvm => Accel::Kvm,
        AccelChoice::Hvf => Accel::Hvf,
        AccelChoice::Auto => native(std::env::consts::OS),
    };
    match works(accel, arch, qemu, device, cache) {
        Ok(()) => Ok(Settled { accel, note: None }),
        Err(reason) if choice == AccelChoice::Auto => {
            let name = accel.name().to_uppercase();
            Ok(Settled { accel: Accel::Tcg, note: Some(format!("using TCG, not {name}: {reason}")) })
        }
        Err(reason) => Err(RunError::Accel { accel, reason }),
    }
}

/// What lends guests the processor of a host with this system, by Rust's name of it.
fn native(system: &str) -> Accel {
    if system == "macos" { Accel::Hvf } else { Accel::Kvm }
}

/// Whether an accelerator works here, or why not.
fn works(accel: Accel, arch: Architecture, qemu: &Path, device: &Path, cache: Option<&Path>) -> Result<(), String> {
    if accel != native(std::env::consts::OS) {
        return Err(format!("this host's system is {}", std::env::consts::OS));
    }
    if Architecture::host() != Some(arch) {
        return Err(format!("this host is not {}", arch.name()));
    }
    if accel == Accel::Kvm {
        let opened = OpenOptions::new().read(true).write(true).open(device);
        opened.map_err(|error| format!("{}: {}{}", device.display(), os_error(&error), advice(error.kind())))?;
    }
    remembered_in(cache, accel.name(), qemu, || probe::prove(qemu, accel, arch))
        .unwrap_or_else(|error| Err(format!("a test guest did not start: {error}")))
}

/// What its user can do about a device that does not open.
fn advice(error: io::ErrorKind) -> &'static str {
    if error == io::ErrorKind::PermissionDenied { "; add yourself to the group kvm" } else { "" }
}

/// Yes, or why not.
type Answer = Result<(), String>;

/// What `ask` found out about this QEMU during this boot of the host, under this name.
pub(super) fn remembered(name: &str, qemu: &Path, ask: impl FnOnce() -> io::Result<Answer>) -> io::Result<Answer> {
    remembered_in(cache_dir().as_deref(), name, qemu, ask)
}

fn remembered_in(
    cache: Option<&Path>,
    name: &str,
    qemu: &Path,
    ask: impl FnOnce() -> io::Result<Answer>,
) -> io::Result<Answer> {
    let (file, key) = (cache.map(|dir| dir.join(name)), key(qemu));
    if let Some(answer) = file.as_deref().zip(key.as_deref()).and_then(|(file, key)| recall(file, key)) {
        return Ok(answer);
    }
    let answer = ask()?;
    if let Some((file, key)) = file.zip(key) {
        // A cache that cannot be written costs time, not the boot.
        _ = remember(&file, &key, &answer);
    }
    Ok(answer)
}

/// This boot of the host and this QEMU: what the answer depends on.
fn key(qemu: &Path) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let data = fs::metadata(qemu).ok()?;
    Some(format!(
        "{} {} {} {} {}.{}",
        boot.trim(),
        data.dev(),
        data.ino(),
        data.size(),
        data.mtime(),
        data.mtime_nsec()
    ))
}

/// `XDG_RUNTIME_DIR`, which is ours alone and gone after a reboot, or the user's cache.
fn cache_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let base = var("XDG_RUNTIME_DIR")
        .or_else(|| var("XDG_CACHE_HOME"))
        .or_else(|| var("HOME").map(|home| home.join(".cache")));
    // What another user says of KVM is not worth reading.
    own_folder::within(&base?, "bootdisk").ok()
}

/// The file has the key in its first line and `works` or the reason in its second.
fn recall(file: &Path, key: &str) -> Option<Result<(), String>> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines();
    if lines.next() != Some(key) {
        return None;
    }
    match lines.next() {
        Some("works") => Some(Ok(())),
        Some(reason) => Some(Err(reason.to_owned())),
        None => None,
    }
}

fn remember(file: &Path, key: &str, answer: &Result<(), String>) -> std::io::Result<()> {
    let dir = file.parent().ok_or(std::io::ErrorKind::NotFound)?;
    own_folder::make_private(dir).map_err(std::io::Error::other)?;
    let verdict = answer.as_ref().err().map_or("works", |reason| reason.lines().next().unwrap_or("fails"));
    whole_file::write(file, format!("{key}\n{verdict}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn qemu() -> PathBuf {
        super::super::binary::find(Architecture::X86_64, None).unwrap()
    }

    #[test]
    fn the_test_guest_comes_to_its_end() {
        for arch in [Architecture::X86_64, Architecture::Aarch64] {
            let qemu = super::super::binary::find(arch, None).unwrap();
            assert_eq!(probe::prove(&qemu, Accel::Tcg, arch).unwrap(), Ok(()));
            // A program that is no QEMU proves nothing, whatever it exits with.
            assert!(probe::prove(Path::new("/bin/false"), Accel::Tcg, arch).unwrap().is_err());
            assert!(probe::prove(Path::new("/bin/true"), Accel::Tcg, arch).unwrap().is_err());
        }
    }

    #[test]
    fn whoever_may_not_open_the_device_is_told_how_to() {
        assert_eq!(advice(io::ErrorKind::PermissionDenied), "; add yourself to the group kvm");
        assert_eq!(advice(io::ErrorKind::NotFound), "");
    }

    #[test]
    fn each_system_lends_its_processor_in_its_own_way() {
        assert_eq!([native("linux"), native("macos")], [Accel::Kvm, Accel::Hvf]);
        let arch = Architecture::host().unwrap();
        let error = settle(AccelChoice::Hvf, arch, &qemu()).unwrap_err();
        assert_eq!(error.to_string(), "cannot use HVF: this host's system is linux");
    }

    #[test]
    fn a_guest_that_hangs_is_given_two_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let hangs = dir.path().join("qemu");
        // Another program writes it: of a descriptor of ours, a child that another test starts now would have a copy,
        // and execve(2) would find the file busy.
        let write = "printf '#!/bin/sh\\nexec sleep 60\\n' > \"$1\" && chmod 755 \"$1\"";
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&hangs).status().unwrap().success());
        let start = Instant::now();
        let reason = probe::prove(&hangs, Accel::Kvm, Architecture::X86_64).unwrap().unwrap_err();
        assert_eq!(reason, "a test guest did not enter long mode in 2 seconds");
        assert!((1.9..20.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    }

    /// Whatever this host's KVM is: the answer is that of the test guest, it is fast, and the second time it is free.
    #[test]
    fn auto_is_settled_in_two_seconds_and_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("bootdisk");
        let settle = |device: &Path| {
            let start = Instant::now();
            let settled = settle_with(AccelChoice::Auto, Architecture::X86_64, &qemu(), device, Some(&cache)).unwrap();
            (settled, start.elapsed())
        };
        let (first, took) = settle(Path::new("/dev/kvm"));
        assert!(took < probe::PATIENCE + Duration::from_secs(15), "{took:?}");
        assert_eq!(first.accel == Accel::Tcg, first.note.is_some());
        let (second, took) = settle(Path::new("/dev/kvm"));
        assert_eq!(first, second);
        assert!(took < Duration::from_millis(1500), "{took:?}");

        // Another boot of the host: the answer is worth nothing.
        if cache.join("kvm").exists() {
            let text = fs::read_to_string(cache.join("kvm")).unwrap();
            assert!(recall(&cache.join("kvm"), text.lines().next().unwrap()).is_some());
            assert_eq!(recall(&cache.join("kvm"), "another boot"), None);
        }
    }

    #[test]
    fn without_the_device_there_is_a_note_or_an_error() {
        let settle = |choice| settle_with(choice, Architecture::X86_64, &qemu(), Path::new("/nonexistent/kvm"), None);
        if Architecture::host() == Some(Architecture::X86_64) {
            let note = settle(AccelChoice::Auto).unwrap().note.unwrap();
            assert!(note.starts_with("using TCG, not KVM: /nonexistent/kvm: "), "{note}");
            let error = settle(AccelChoice::Kvm).unwrap_err();
            assert!(error.to_string().starts_with("cannot use KVM: /nonexistent/kvm: "), "{error}");
            assert!(error.hint().unwrap().contains("--accel tcg"));
        }
        assert_eq!(settle(AccelChoice::Tcg).unwrap(), Settled { accel: Accel::Tcg, note: None });
        let foreign =
            settle_with(AccelChoice::Auto, Architecture::Aarch64, &qemu(), Path::new("/dev/kvm"), None).unwrap();
        assert_eq!(foreign.accel, Accel::Tcg);
    }
}
