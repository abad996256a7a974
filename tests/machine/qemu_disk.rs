//! Which file a machine's disk is, and what becomes of it: hostile names, the overlay, writing, locks, buses.

use crate::support::machine;
use crate::support::machine::{Then, boot, boot_with, disk};
use bootdisk::qemu::{Access, Bus, RunError};
use bootdisk::session::{Outcome, SessionOptions, What};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

const OFF: Outcome = Outcome::NoResult { after_hello: false };

#[test]
fn whatever_its_name_holds_the_right_file_opens() {
    let dir = tempfile::tempdir().unwrap();
    // What the names would mean to a parser exists too, and says something else.
    for decoy in ["a", "b.img", "x.img", "y"] {
        disk(dir.path(), decoy, "decoy\n", Then::PowerOff);
    }
    let names: [&[u8]; 11] = [
        b"a,readonly=on,b.img",
        b"json:{}.img",
        b"json:{\"driver\":\"null-co\"}",
        b"fat:rw:x.img",
        b"-h.img",
        b"x y\"z.img",
        b"line\nfeed.img",
        b"\xff\xfe not UTF-8.img",
        b"nbd:localhost:1",
        b"%s$(id)`id`\\.img",
        b"/dev/fdset/1".split_at(5).1.split_at(5).0,
    ];
    for (number, name) in names.into_iter().enumerate() {
        let message = format!("disk {number} here\n");
        let path = disk(dir.path(), OsStr::from_bytes(name), &message, Then::PowerOff);
        let before = std::fs::read_dir(dir.path()).unwrap().count();
        let ran = boot(&machine::machine(path));
        assert_eq!(ran.finished.outcome, OFF, "{}", name.escape_ascii());
        assert_eq!(ran.console_text(), message, "{}", name.escape_ascii());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before, "left behind by {}", name.escape_ascii());
    }
}

#[test]
fn a_disk_that_looks_like_qcow2_is_raw() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let mut bytes = vec![0; 1 << 20];
    // Magic and version of qcow2, which are harmless code too. QEMU's own guess would be wrong:
    bytes[..512].copy_from_slice(&machine::sector(b"QFI\xfb\0\0\0\x03", "raw\n", Then::PowerOff));
    std::fs::write(&path, bytes).unwrap();
    let info = std::process::Command::new("qemu-img").arg("info").arg(&path).output();
    assert!(!info.expect("qemu-img must be installed (Debian: qemu-utils)").status.success());
    assert_eq!(boot(&machine::machine(path)).console_text(), "raw\n");
}

#[test]
fn the_guest_writes_and_the_disk_stays_as_it_is_unless_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), "disk.img", "written\n", Then::Write);
    let before = std::fs::read(&path).unwrap();
    let ran = boot(&machine::machine(path.clone()));
    assert_eq!((ran.finished.outcome, ran.console), (OFF, b"written\nwritten\n".to_vec()));
    assert!(std::fs::read(&path).unwrap() == before, "the overlay leaks");

    let mut writing = machine::machine(path.clone());
    writing.access = Access::Write;
    let ran = boot(&writing);
    assert_eq!(ran.console, b"written\nwritten\n");
    let after = std::fs::read(&path).unwrap();
    assert!(after[512..1024] == before[..512] && after[..512] == before[..512] && after[1024..] == before[1024..]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    // A read-only file is enough for a machine that does not write.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o444)).unwrap();
    assert_eq!(boot(&machine::machine(path)).console, b"written\nwritten\n");
}

#[test]
fn a_disk_that_is_written_has_one_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), "disk.img", "x", Then::Hang);
    for (first, second, refused) in [
        (Access::Write, Access::Write, true),
        (Access::Write, Access::Overlay, true),
        (Access::Overlay, Access::Write, true),
        (Access::Overlay, Access::Overlay, false),
    ] {
        let with = |access| {
            let mut machine = machine::machine(path.clone());
            machine.access = access;
            machine
        };
        let ran = boot_with(&with(first), SessionOptions::default(), |event| {
            // Its own start opens nothing any more; QEMU alone holds the disk now.
            if !matches!(event.what, What::Console(_)) {
                return ControlFlow::Continue(());
            }
            let beside = boot_with(&with(second), SessionOptions::default(), |event| match event.what {
                What::Console(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            });
            match beside {
                Err(RunError::DiskInUse(_)) => assert!(refused, "{first:?}, {second:?}"),
                Ok(ran) => assert!(!refused && ran.console == b"x", "{first:?}, {second:?}"),
                Err(error) => panic!("{first:?}, {second:?}: {error}"),
            }
            ControlFlow::Break(())
        });
        assert_eq!(ran.unwrap().console, b"x");
    }
}

#[test]
fn every_bus_boots() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), "disk.img", "written\n", Then::Write);
    for bus in [Bus::Virtio, Bus::Nvme, Bus::Ahci, Bus::Scsi, Bus::Ide, Bus::Usb] {
        let mut machine = machine::machine(path.clone());
        machine.bus = bus;
        let ran = boot(&machine);
        assert_eq!((ran.finished.outcome, ran.console), (OFF, b"written\nwritten\n".to_vec()), "{bus:?}");
    }
}
