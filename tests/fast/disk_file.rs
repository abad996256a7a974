//! The output file's promises: all or nothing, no leftovers, every error told.

use crate::support::apart::{again, part};
use crate::support::tools;
use bootdisk::output::Output;
use bootdisk::publish::{FileError, PartialFile};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_output_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, "old").unwrap();

    let partial = PartialFile::create(&path, 1 << 30).unwrap();
    partial.write_at(1 << 29, b"new").unwrap();
    let during = names(folder.path());
    assert_eq!(during.len(), 2, "{during:?}");
    assert!(during[0].starts_with(".disk.img.") && during[0].ends_with(".partial"), "{during:?}");
    assert_eq!(fs::metadata(folder.path().join(&during[0])).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    drop(partial);
    assert_eq!(names(folder.path()), ["disk.img"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");

    let partial = PartialFile::create(&path, 1 << 30).unwrap();
    partial.write_at(1 << 29, b"new").unwrap();
    partial.publish().unwrap();
    assert_eq!(names(folder.path()), ["disk.img"]);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), 1 << 30);
    assert!(metadata.blocks() * 512 < 1 << 20, "the file is sparse: {} blocks", metadata.blocks());
    let fresh = folder.path().join("fresh");
    fs::write(&fresh, "").unwrap();
    let expected = fs::metadata(&fresh).unwrap().permissions().mode();
    assert_eq!(metadata.permissions().mode(), expected, "the mode is what any new file gets");
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/full", at("link")).unwrap();
    let slash = folder.path().join("new/");
    let cases = [
        (at("sub"), "a directory"),
        (slash, "a directory"),
        (at("sub/.."), "a directory"),
        ("/".into(), "a directory"),
        (at("fifo"), "a pipe"),
        (at("socket"), "a socket"),
        ("/dev/null".into(), "a character device"),
        ("/dev/full".into(), "a character device"),
        (at("link"), "a character device"),
    ];
    let before = names(folder.path());
    for (path, kind) in cases {
        let error = PartialFile::create(&path, 0).unwrap_err();
        let sentence = format!("output is {kind}, not a file: {}", path.display());
        assert_eq!(error.to_string(), sentence);
    }
    let error = PartialFile::create(&at("missing/disk.img"), 0).unwrap_err().to_string();
    assert!(error.starts_with("cannot create ") && error.contains("no such file or directory"), "{error}");
    assert!(PartialFile::create(Path::new(""), 0).is_err());
    assert!(PartialFile::create(&at("x".repeat(256).as_str()), 0).is_err());
    assert_eq!(names(folder.path()), before);
    let longest = at(&"x".repeat(255));
    PartialFile::create(&longest, 0).unwrap().publish().unwrap();
    assert!(longest.exists());
}

#[test]
fn a_link_is_followed_and_its_target_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("store")).unwrap();
    fs::write(at("store/disk.img"), "old").unwrap();
    symlink("store/disk.img", at("link")).unwrap();
    symlink("store/none.img", at("dangling")).unwrap();
    for (link, target) in [("link", "store/disk.img"), ("dangling", "store/none.img")] {
        let partial = PartialFile::create(&at(link), 3).unwrap();
        assert!(names(&at("store")).iter().any(|name| name.ends_with(".partial")), "beside the target");
        partial.write_at(0, b"new").unwrap();
        partial.publish().unwrap();
        assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        assert_eq!(fs::read(at(target)).unwrap(), b"new");
    }
    assert_eq!(names(&at("store")), ["disk.img", "none.img"]);
}

#[test]
fn leftovers_of_killed_runs_go_and_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let running = PartialFile::create(&at("disk.img"), 0).unwrap();
    fs::write(at(".disk.img.aB3xYz.partial"), "left by a killed run").unwrap();
    let others =
        [".disk.img.aB3xYz7.partial", ".disk.img.aB-xYz.partial", ".other.img.aB3xYz.partial", "disk.img.partial"];
    others.iter().for_each(|name| fs::write(at(name), "not ours").unwrap());
    symlink("disk.img.partial", at(".disk.img.link12.partial")).unwrap();

    PartialFile::create(&at("disk.img"), 0).unwrap().publish().unwrap();
    let left = names(folder.path());
    assert!(!left.contains(&".disk.img.aB3xYz.partial".to_owned()), "{left:?}");
    assert_eq!(left.len(), others.len() + 3, "the output, the link and the running one: {left:?}");
    running.publish().unwrap();
}

#[test]
fn concurrent_builds_of_one_output_all_end_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    std::thread::scope(|scope| {
        for writer in 0..8u8 {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..25 {
                    let partial = PartialFile::create(path, 4096).unwrap();
                    partial.write_at(0, &[writer; 4096]).unwrap();
                    partial.publish().unwrap();
                }
            });
        }
    });
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() == 4096 && bytes.iter().all(|&byte| byte == bytes[0]));
    assert_eq!(names(folder.path()), ["disk.img"]);
}

/// Owner, group and mode of a file.
fn whose(path: &Path) -> (u32, u32, u32) {
    let facts = fs::metadata(path).unwrap();
    (facts.uid(), facts.gid(), facts.mode() & 0o7777)
}

fn replace(path: &Path) {
    let partial = PartialFile::create(path, 0).unwrap();
    partial.write_at(0, b"new").unwrap();
    partial.publish().unwrap();
    assert_eq!(fs::read(path).unwrap(), b"new");
}

#[test]
fn what_is_replaced_keeps_its_mode_and_its_access_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    for mode in [0o600, 0o640, 0o444, 0o660, 0o604] {
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        replace(&path);
        assert_eq!(whose(&path).2, mode, "{mode:o}");
        fs::remove_file(&path).unwrap();
    }
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let list = |path: &Path| {
        String::from_utf8(Command::new("getfacl").arg("-cpE").arg(path).output().unwrap().stdout).unwrap()
    };
    assert!(Command::new("setfacl").args(["-m", "u:12345:rw"]).arg(&path).status().unwrap().success());
    let before = list(&path);
    assert!(before.contains("user:12345:rw-"), "{before}");
    replace(&path);
    assert_eq!(list(&path), before);
}

/// As root: whose it was is kept. As another user: nobody gets to read it who could not before.
#[test]
fn a_file_of_somebody_else_is_never_opened_to_more() {
    if let Some(folder) = part() {
        for name in ["600", "640", "644", "660"] {
            replace(&folder.join(name));
        }
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a file away: within a namespace of several users.
        let again = ["unshare", "--map-root-user", "--map-auto", "--user"];
        let output = in_another_process("a_file_of_somebody_else_is_never_opened_to_more", Path::new("/"), &again);
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let modes = [0o600, 0o640, 0o644, 0o660];
    let fill = || {
        for mode in modes {
            let path = folder.path().join(format!("{mode:o}"));
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            std::os::unix::fs::chown(&path, Some(4321), Some(5432)).unwrap();
        }
    };
    fill();
    for mode in modes {
        let path = folder.path().join(format!("{mode:o}"));
        replace(&path);
        assert_eq!(whose(&path), (4321, 5432, mode));
    }
    fill();
    let other = ["setpriv", "--reuid=6543", "--regid=6543", "--clear-groups", "--"];
    let output = in_another_process("a_file_of_somebody_else_is_never_opened_to_more", folder.path(), &other);
    assert!(output.status.success(), "{output:?}");
    for (mode, kept) in modes.into_iter().zip([0o600, 0o600, 0o644, 0o600]) {
        let path = folder.path().join(format!("{mode:o}"));
        assert_eq!(whose(&path), (6543, 6543, kept), "{mode:o}");
    }
}

#[test]
fn a_disk_that_is_written_to_is_not_replaced_whenever_that_began() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, "old").unwrap();
    let machine = || {
        let disk = fs::File::open(&path).unwrap();
        disk.lock().unwrap();
        disk
    };
    let running = machine();
    assert!(matches!(PartialFile::create(&path, 0), Err(FileError::InUse(_))));
    drop(running);
    // One that begins while the other is made finds the disk taken.
    let partial = PartialFile::create(&path, 0).unwrap();
    assert!(fs::File::open(&path).unwrap().try_lock().is_err());
    // Another file with that name, and its machine.
    fs::write(folder.path().join("other"), "other").unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    let running = machine();
    assert!(matches!(partial.publish(), Err(FileError::InUse(_))));
    assert_eq!(fs::read(&path).unwrap(), b"other");
    drop(running);
    assert_eq!(names(folder.path()), ["disk.img"]);
}

/// What a test of this file says in a process of its own.
fn in_another_process(test: &str, folder: &Path, prefix: &[&str]) -> std::process::Output {
    let output = tools::run(&mut again(&format!("disk_file::{test}"), folder, prefix));
    assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test\n"), "{output:?}");
    output
}

#[test]
fn a_kill_leaves_only_what_the_next_run_removes() {
    if let Some(folder) = part() {
        let partial = PartialFile::create(&folder.join("disk.img"), 1 << 20).unwrap();
        partial.write_at(0, b"half").unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.img");
    fs::write(&path, "old").unwrap();
    let output = in_another_process("a_kill_leaves_only_what_the_next_run_removes", folder.path(), &[]);
    assert!(!output.status.success());
    assert_eq!(names(folder.path()).len(), 2, "the killed run left its partial file");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    drop(PartialFile::create(&path, 0).unwrap());
    assert_eq!(names(folder.path()), ["disk.img"]);
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_signal_removes_what_is_not_published() {
    if let Some(folder) = part() {
        let partial = PartialFile::create(&folder.join("disk.img"), 1 << 20).unwrap();
        bootdisk::publish::remove_unpublished();
        assert!(matches!(partial.publish(), Err(FileError::GivenUp(_))));
        assert_eq!(names(&folder), Vec::<String>::new());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = in_another_process("a_signal_removes_what_is_not_published", folder.path(), &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_size_limit_is_an_error_and_leaves_nothing() {
    if let Some(folder) = part() {
        let path = folder.join("disk.img");
        let partial = PartialFile::create(&path, 0).unwrap();
        let error = partial.write_at(2 << 20, b"x").unwrap_err();
        let sentence =
            format!("cannot write {}: larger than this user or this file system allows a file to be", path.display());
        assert_eq!(error.to_string(), sentence);
        let error = partial.set_size(2 << 20).unwrap_err();
        assert!(error.to_string().starts_with("cannot set the size of "), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("disk.img"), "old").unwrap();
    let limit = ["prlimit", "--fsize=1048576", "--"];
    let output = in_another_process("a_size_limit_is_an_error_and_leaves_nothing", folder.path(), &limit);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(folder.path()), ["disk.img"]);
    assert_eq!(fs::read(folder.path().join("disk.img")).unwrap(), b"old");
}

#[test]
fn a_full_file_system_is_named() {
    if let Some(folder) = part() {
        let path = folder.join("disk.img");
        let partial = PartialFile::create(&path, 16 << 20).unwrap();
        let full = (0..16u64).find_map(|mebibyte| partial.write_at(mebibyte << 20, &[1; 1 << 20]).err());
        let sentence = full.expect("4 MiB cannot hold 16").to_string();
        let expected =
            format!("cannot write {}: no space left on its file system, which has 0 bytes free", path.display());
        assert_eq!(sentence, expected);
        drop(partial);
        assert_eq!(names(&folder), Vec::<String>::new());
        return;
    }
    // A file system of 4 MiB in a mount namespace of its own: no root needed where user namespaces exist.
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=4m none {} && exec \"$0\" \"$@\"", folder.path().display());
    let shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount];
    let output = in_another_process("a_full_file_system_is_named", folder.path(), &shell);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{output:?}");
}
