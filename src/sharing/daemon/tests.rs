//! Daemons of this host, asked whether they serve, as root and as nobody in particular.

use super::*;
use crate::sharing::program::Program;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn served(path: &Path) -> Served<'_> {
    Served { path, file: None, read_only: false }
}

#[test]
fn a_daemon_answers_for_a_folder_and_for_a_file_and_ends_with_its_machine() {
    let program = Program::find().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a, b");
    fs::write(&file, "text").unwrap();
    // Where a view of its own has something else.
    let place = tempfile::tempdir_in(PLACE).unwrap();
    let copy = place.path().join("virtiofsd");
    fs::copy(&program.path, &copy).unwrap();
    let program = Program::at(&copy).unwrap();
    for served in [
        served(folder.path()),
        Served { read_only: true, ..served(folder.path()) },
        Served { file: Some("a, b"), ..served(&file) },
        Served { file: Some("a, b"), read_only: true, ..served(&file) },
    ] {
        let (mut daemon, socket) = start(&program, served).unwrap_or_else(|why| panic!("{served:?}: {why}"));
        assert_eq!(daemon.failure(), None, "{served:?}");
        drop(socket);
        while daemon.process.ended().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn what_keeps_a_daemon_from_serving_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("virtiofsd");
    let write = |end: &str| {
        fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = --help ] && echo '  --shared-dir' && exit\n{end}\n"))
            .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Program::at(&program).unwrap()
    };
    for (end, said) in [
        ("echo 'no \u{1b}[1mroom' >&2; exit 1", "virtiofsd does not work here: no \\x1b[1mroom"),
        ("exit 0", "virtiofsd does not work here: "),
    ] {
        let why = start(&write(end), served(folder.path())).err().unwrap();
        assert!(why.starts_with(said) && !why.contains('\n'), "{why}");
    }
    fs::write(&program, "#!/bin/sh\necho 'setgroups() failed' >&2; exit 1\n").unwrap();
    assert_eq!(Program::at(&program).unwrap_err(), "virtiofsd does not work here: setgroups() failed");
    fs::write(&program, "#!/bin/sh\necho hello\n").unwrap();
    assert_eq!(Program::at(&program).unwrap_err(), "virtiofsd is another program");
    let missing = start(&write(""), served(Path::new("/nonexistent"))).err().unwrap();
    assert!(missing.starts_with("virtiofsd"), "{missing}");
}

#[test]
fn a_view_is_taken_where_the_daemon_cannot_hold_to_what_is_meant() {
    let (c, old, new) = ("-o source=PATH", "--shared-dir", "--shared-dir --readonly");
    let (namespace, chroot) = (Sandbox::Namespace, Sandbox::Chroot);
    let folder = served(Path::new("/srv"));
    let (read, file) = (Served { read_only: true, ..folder }, Served { file: Some("f"), ..folder });
    for (help, served, root, views) in [
        (c, folder, true, [false, false]),
        (c, read, true, [true, true]),
        (c, file, true, [true, true]),
        (c, folder, false, [true, true]),
        (old, folder, false, [false, true]),
        (old, read, false, [true, true]),
        (new, read, false, [false, true]),
        (new, read, true, [false, false]),
        (new, file, true, [true, true]),
    ] {
        let tried = ways(&Program::of(help), served, root);
        assert_eq!(tried, [(namespace, views[0]), (chroot, views[1])], "{help} {served:?} {root}");
    }
}
