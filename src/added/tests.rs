//! Added layers: what is in them, what becomes of the image with them, and what is refused.

use super::*;
use crate::contents::compare::{paths, paths_beside};
use crate::contents::of_image::scan;
use crate::escape::chain;
use crate::guest::spec::{Init, Process};
use crate::guest::surroundings::Surroundings;
use crate::image::Digest;
use crate::layer::{EntryKind, Limits, Reader, Warnings, Writer};
use crate::rootfs::memory::{MemorySink, Part};
use crate::rootfs::{Attrs, Time};
use std::fs::{self, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

/// Of everything that is made.
const MADE_AT: i64 = 1_700_000_000;
const HASH: &str = "$5$salt$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// A key of a kind, and as what ssh-keygen would print it.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGs= a comment";

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/home/alice:/bin/sh\nnobody:x:65534:65534::/none:/no\n\
    lost:x:7:7::home:/no\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\nalice:!:19000:0:99999:7:::\n";

/// `NAME/` is a folder, `NAME -> TARGET` a link, `NAME=TEXT` a file, each perhaps with ` MODE UID:GID` behind its name.
fn image_of(members: &[&str]) -> Image {
    let mut out = Writer::new(Vec::new());
    for member in members {
        let (name, content) = match (member.split_once(" -> "), member.split_once('=')) {
            (Some((name, target)), _) => (name, Content::Link(target)),
            (None, Some((name, text))) => (name, Content::Text(text)),
            (None, None) => (member.trim_end_matches('/'), Content::Folder),
        };
        let mut words = name.split(' ');
        let path = words.next().unwrap().trim_end_matches('/');
        let folder = matches!(content, Content::Folder);
        let mode =
            words.next().map_or(if folder { 0o755 } else { 0o644 }, |mode| u16::from_str_radix(mode, 8).unwrap());
        let (uid, gid) = words.next().unwrap_or("0:0").split_once(':').unwrap();
        let (uid, gid) = (uid.parse().unwrap(), gid.parse().unwrap());
        let attrs = Attrs { mode, uid, gid, mtime: Time { secs: 1, nanos: 0 }, xattrs: None };
        let kind = match content {
            Content::Link(target) => EntryKind::Symlink(target.into()),
            Content::Text("PIPE") => EntryKind::Fifo,
            Content::Text(text) => EntryKind::File { size: text.len() as u64 },
            Content::Folder => EntryKind::Directory,
        };
        out.member(path.as_bytes(), &attrs, &kind).unwrap();
        if let (EntryKind::File { .. }, Content::Text(text)) = (kind, content) {
            out.data(text.as_bytes()).unwrap();
        }
    }
    let tar = out.finish().unwrap();
    let layer = LayerBlob {
        diff_id: Digest::sha256(&tar),
        size: tar.len() as u64,
        blob: Blob::memory("layer", tar),
        digest: None,
        media_type: None,
    };
    Image::of_layers(vec![layer])
}

enum Content<'a> {
    Folder,
    Link(&'a str),
    Text(&'a str),
}

/// An image with every kind of place.
fn image() -> Image {
    let (passwd, shadow) = (format!("etc/passwd={PASSWD}"), format!("etc/shadow 640 0:42={SHADOW}"));
    let keys = "home/alice/.ssh/authorized_keys 644 0:0=ssh-rsa old";
    image_of(&[
        "etc/",
        &passwd,
        "etc/group=root:x:0:\nstaff:x:50:alice\n",
        &shadow,
        "etc/link -> ../usr/lib/file",
        "etc/dangling -> nowhere",
        "usr/",
        "usr/lib/",
        "usr/lib/file=old",
        "lib -> usr/lib",
        "up -> ../../etc",
        "ring -> ring",
        "pipe=PIPE",
        "srv 750 5:5/",
        "tmp 1777/",
        "home/",
        "home/alice 700 1000:100/",
        "home/alice/.ssh 755 0:0/",
        keys,
    ])
}

/// A folder of this host with everything that can be copied.
fn host() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, mode: u32| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    };
    for (name, mode) in [("f", 0o664), ("run", 0o700), ("tree/a", 0o640), ("tree/sub/b", 0o755), ("over/lib/m", 0o644)]
    {
        file(name, mode);
    }
    symlink("../f", dir.path().join("tree/l")).unwrap();
    symlink("f", dir.path().join("to-f")).unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::write(dir.path().join("id.pub"), KEY).unwrap();
    fs::write(dir.path().join("hash"), format!("{HASH}\n")).unwrap();
    nix::unistd::mkfifo(&dir.path().join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    dir
}

/// Options as they are written, sources in `dir`.
fn wanted(dir: &Path, options: &[&str]) -> Wanted {
    let mut wanted = Wanted::default();
    let at = |file: &Path| dir.join(file);
    for option in options {
        match option.split_once(' ').unwrap() {
            ("copy", text) => {
                let copy: CopyIn = text.parse().unwrap();
                wanted
                    .copies
                    .push(CopyIn { source: format!("{}/{}", dir.display(), copy.source.display()).into(), ..copy });
            }
            ("key", text) => {
                let key: SshKey = text.parse().unwrap();
                wanted.keys.push(SshKey { file: at(&key.file), ..key });
            }
            (_, text) => {
                let password: Password = text.parse().unwrap();
                wanted.passwords.push(Password { file: password.file.as_deref().map(at), ..password });
            }
        }
    }
    wanted
}

fn made(image: &Image, dir: &Path, options: &[&str]) -> Result<Added, String> {
    let covers = Cover::all(Init::Container, &Process::default(), &["/srv".into()], &Surroundings::default(), false);
    let shown = |error: AddError| chain(&error).replace(&format!("{}/", dir.display()), "");
    layer(image, &wanted(dir, options), MADE_AT, &covers).map_err(shown)
}

/// The members of a layer: `PATH MODE UID:GID`, and `=TEXT`, ` -> TARGET` or `/`.
fn members(added: &Added) -> Vec<String> {
    let mut bytes = Vec::new();
    let alone = Image { layers: vec![added.layer.clone()], ..image_of(&[]) };
    alone.open_layer(0).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(Digest::sha256(&bytes), added.layer.diff_id);
    assert_eq!(bytes.len() as u64, added.layer.size);
    let (mut stream, mut sink, mut warnings) = (&bytes[..], MemorySink::default(), Warnings::default());
    let mut reader = Reader::new(&mut stream, Limits::default());
    let mut found = Vec::new();
    while let Some(entry) = reader.next_entry(&mut warnings).unwrap() {
        let body = reader.body(&mut sink).unwrap();
        let Attrs { mode, uid, gid, mtime, xattrs } = entry.attrs;
        assert_eq!((mtime, xattrs), (Time { secs: MADE_AT, nanos: 0 }, None));
        let what = match entry.kind {
            EntryKind::Directory => "/".to_owned(),
            EntryKind::Symlink(target) => format!(" -> {}", String::from_utf8_lossy(&target)),
            _ => {
                let text = sink.parts(&body).iter().flat_map(|part| match part {
                    Part::Data(bytes) => bytes.clone(),
                    Part::Hole(length) => vec![0; *length as usize],
                });
                format!("={}", String::from_utf8_lossy(&text.collect::<Vec<u8>>()))
            }
        };
        found.push(format!("{} {mode:o} {uid}:{gid}{what}", String::from_utf8_lossy(&entry.path)));
    }
    found
}

#[test]
fn what_is_copied_goes_where_docker_would_put_it_and_is_as_the_option_says() {
    let (image, host) = (image(), host());
    for (option, expected) in [
        ("f:/etc/new", &["etc/new 644 0:0=f"][..]),
        ("f:/etc", &["etc/f 644 0:0=f"]),
        ("f:/", &["f 644 0:0=f"]),
        ("f:/new/", &["new/f 644 0:0=f"]),
        ("f:/new/deep/er", &["new/deep/er 644 0:0=f"]),
        ("f:/./etc//./new", &["etc/new 644 0:0=f"]),
        ("f:/etc/passwd", &["etc/passwd 644 0:0=f"]),
        ("run:/run:4750,1000:staff", &["run 4750 1000:50=run"]),
        ("run:/bin/run", &["bin/run 755 0:0=run"]),
        ("to-f:/x", &["x 644 0:0=f"]),
        ("f:/x:600,alice", &["x 600 1000:100=f"]),
        ("f:/x:,7", &["x 644 7:7=f"]),
        // Through links, which stay, and never out of the image.
        ("f:/lib/new", &["usr/lib/new 644 0:0=f"]),
        ("f:/lib", &["usr/lib/f 644 0:0=f"]),
        ("f:/up/new", &["etc/new 644 0:0=f"]),
        ("f:/etc/link", &["usr/lib/file 644 0:0=f"]),
        ("f:/etc/dangling", &["etc/dangling 644 0:0=f"]),
        // Folders.
        (
            "tree:/new",
            &[
                "new 755 0:0/",
                "new/a 644 0:0=tree/a",
                "new/l 777 0:0 -> ../f",
                "new/sub 755 0:0/",
                "new/sub/b 755 0:0=tree/sub/b",
            ],
        ),
        ("tree/sub:/new", &["new 755 0:0/", "new/b 755 0:0=tree/sub/b"]),
        ("tree/sub:/etc", &["etc/sub 755 0:0/", "etc/sub/b 755 0:0=tree/sub/b"]),
        ("tree/sub/.:/etc", &["etc/b 755 0:0=tree/sub/b"]),
        ("tree/sub/:/new/:640,5:6", &["new 750 5:6/", "new/b 640 5:6=tree/sub/b"]),
        ("over/.:/", &["usr/lib/m 644 0:0=over/lib/m"]),
        ("empty:/new", &["new 755 0:0/"]),
        ("empty/.:/srv", &[]),
    ] {
        let added = made(&image, host.path(), &[&format!("copy {option}")]).map_err(|why| format!("{option}: {why}"));
        assert_eq!(members(&added.unwrap()), expected, "{option}");
    }
}

#[test]
fn what_has_no_place_or_cannot_be_copied_is_refused_in_a_sentence() {
    let (image, host) = (image(), host());
    fs::write(host.path().join("tree/.wh.x"), "").unwrap();
    fs::create_dir(host.path().join("special")).unwrap();
    nix::unistd::mkfifo(&host.path().join("special/p"), nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    fs::create_dir_all(host.path().join("clash/etc/passwd")).unwrap();
    for (options, expected) in [
        (&["copy missing:/x"][..], "cannot copy missing: no such file or directory"),
        (&["copy fifo:/x"], "fifo is a named pipe, and only files, folders and links are copied in"),
        (&["copy special:/x"], "special/p is a named pipe, and only files, folders and links are copied in"),
        (&["copy f:/etc/passwd/x"], "/etc/passwd is a file in the image, and nothing can be put into it"),
        (&["copy f:/etc/passwd/"], "/etc/passwd/ is a file in the image, and no folder"),
        (&["copy empty:/etc/passwd"], "/etc/passwd is a file in the image, and a folder does not go into it"),
        (&["copy clash/.:/"], "/etc/passwd is a file in the image, and a folder does not go into it"),
        (&["copy f:/pipe"], "/pipe is no ordinary file in the image, and a file does not replace it"),
        (&["copy tree:/x"], "tree/.wh.x cannot be copied: its name begins with .wh., which deletes in a layer"),
        (&["copy f:/x", "copy run:/x"], "two options put something at /x"),
        (&["copy f:/lib/x", "copy run:/usr/lib/x"], "two options put something at /usr/lib/x"),
        (&["copy f:/x", "copy run:/x/y"], "two options put something at /x"),
        (&["copy empty:/x", "copy empty:/x:700"], "two options put something at /x"),
        (&["copy f:/root/.ssh", "key id.pub"], "two options put something at /root/.ssh"),
        (
            &["copy empty:/root/.ssh/authorized_keys", "key id.pub"],
            "two options put something at /root/.ssh/authorized_keys",
        ),
        (&["copy f:/x:600,bob"], "no such user in the image's /etc/passwd: bob"),
        (&["copy f:/x:600,0:wheel"], "no such group in the image's /etc/group: 0:wheel"),
        (&["copy f:/x:600,99999999999"], "user id out of range: 99999999999:99999999999"),
        (&["key bob:id.pub"], "no user bob in the image's /etc/passwd"),
        (&["key lost:id.pub"], "the home of lost is no absolute path in the image's /etc/passwd"),
        (&["key hash"], "line 1 of hash is no public SSH key"),
        (&["key missing"], "cannot read the SSH key missing: no such file or directory"),
        (&["password bob:hash"], "no user bob in the image's /etc/passwd"),
        (&["password 0:hash"], "no user 0 in the image's /etc/passwd"),
        (&["password root:f"], "the password file of root has no hash of crypt(3) in it, one line that begins with $"),
        (&["password root:secret"], "cannot read the password file of root: no such file or directory"),
        (
            &["password secret"],
            "--password takes USER:HASHFILE, the name of a file with a hash in it and never a password",
        ),
        (&["password root:hash", "password root:hash"], "root is given two passwords"),
    ] {
        let found = made(&image, host.path(), options).err();
        assert_eq!(found.as_deref(), Some(expected), "{options:?}");
    }
    let elsewhere = image_of(&["etc/", "etc/passwd -> ../users", "users=root:x:0:0::/:/bin/sh\n"]);
    let none = "/users of the image cannot be edited: it is longer than 1 MiB, or leads to a file of another name";
    assert_eq!(made(&elsewhere, host.path(), &["key id.pub"]).err().as_deref(), Some(none));
    let bare = image_of(&["etc/"]);
    let none = "the image has no /etc/passwd, and so no user root";
    assert_eq!(made(&bare, host.path(), &["key id.pub"]).err().as_deref(), Some(none));
}

#[test]
fn a_key_lets_its_owner_in_with_the_modes_that_sshd_asks_for() {
    let host = host();
    fs::write(host.path().join("two"), format!("# mine\r\n{KEY}\r\n\nfrom=\"10.0.0.1\" {KEY}")).unwrap();
    for (options, expected) in [
        (
            &["key id.pub"][..],
            vec![
                "root 700 0:0/".to_owned(),
                "root/.ssh 700 0:0/".to_owned(),
                format!("root/.ssh/authorized_keys 600 0:0={KEY}\n"),
            ],
        ),
        (
            &["key alice:two", "key alice:id.pub"],
            vec![
                "home/alice/.ssh 700 1000:100/".to_owned(),
                format!("home/alice/.ssh/authorized_keys 600 1000:100=ssh-rsa old\n{KEY}\nfrom=\"10.0.0.1\" {KEY}\n"),
            ],
        ),
        (
            &["copy f:/root/.ssh/authorized_keys", "key id.pub"],
            vec![
                "root 700 0:0/".to_owned(),
                "root/.ssh 700 0:0/".to_owned(),
                format!("root/.ssh/authorized_keys 600 0:0=f\n{KEY}\n"),
            ],
        ),
    ] {
        let added = made(&image(), host.path(), options).unwrap();
        assert_eq!(members(&added), expected, "{options:?}");
        assert!(added.warnings[0].starts_with("the image has no SSH server that would take the key of "));
    }
    let served = image_of(&["etc/", &format!("etc/passwd={PASSWD}"), "usr/", "usr/sbin/", "usr/sbin/sshd="]);
    assert_eq!(made(&served, host.path(), &["key id.pub"]).unwrap().warnings, [""; 0]);
    fs::write(host.path().join("f"), "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n").unwrap();
    let private = made(&image(), host.path(), &["key f"]).err();
    assert_eq!(private.as_deref(), Some("f is a private key, which stays where it is"));
}

#[test]
fn a_password_goes_where_the_image_has_them() {
    let host = host();
    let with = |passwd: &str, shadow: &[&str]| {
        let passwd = format!("etc/passwd={passwd}");
        image_of(&[&["etc/", &passwd][..], shadow].concat())
    };
    let edited = SHADOW.replace("alice:!", &format!("alice:{HASH}"));
    for (image, option, expected) in [
        (image(), "password alice:hash", vec![format!("etc/shadow 640 0:42={edited}")]),
        // A user without a line gets one, and the word that sends programs there.
        (
            with("root::0:0::/:\n", &["etc/shadow 600=# none"]),
            "password root:hash",
            vec![
                "etc/passwd 644 0:0=root:x:0:0::/:\n".to_owned(),
                format!("etc/shadow 600 0:0=# none\nroot:{HASH}::0:99999:7:::\n"),
            ],
        ),
        (
            with("root:x:0:0::/:\n", &[]),
            "password root:hash",
            vec![format!("etc/passwd 644 0:0=root:{HASH}:0:0::/:\n")],
        ),
        (
            with("root:x:0:0::/:\n", &["etc/shadow -> ../s/shadow", "s/", "s/shadow 600=root:*:::::::\n"]),
            "password root:hash",
            vec![format!("s/shadow 600 0:0=root:{HASH}:::::::\n")],
        ),
    ] {
        let added = made(&image, host.path(), &[option]).unwrap();
        assert_eq!(members(&added), expected);
        let said = format!("{} {:?}", serde_json::to_string(&added.record).unwrap(), added.warnings);
        assert!(!said.contains("salt"), "{said}");
    }
    // Of a user that the image gets by another option, and with what that brings.
    fs::write(host.path().join("users"), "bob:x:5:5::/:\n").unwrap();
    let added = made(&image(), host.path(), &["copy users:/etc/passwd", "password bob:hash"]).unwrap();
    let shadow = format!("{SHADOW}bob:{HASH}::0:99999:7:::\n");
    assert_eq!(
        members(&added),
        ["etc/passwd 644 0:0=bob:x:5:5::/:\n".to_owned(), format!("etc/shadow 640 0:42={shadow}")]
    );
}

#[test]
fn times_modes_and_places_of_this_host_do_not_reach_the_layer() {
    let (one, other) = (host(), host());
    let set = |name: &str, mode| fs::set_permissions(other.path().join(name), Permissions::from_mode(mode)).unwrap();
    for (name, mode) in [("f", 0o600), ("run", 0o755), ("tree", 0o700), ("tree/sub", 0o700), ("tree/sub/b", 0o711)] {
        set(name, mode);
    }
    let old = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(other.path().join("f")).unwrap().set_modified(old).unwrap();
    let options = ["copy f:/etc/f", "copy tree:/t", "copy run:/r", "key id.pub", "password root:hash"];
    let [one, other] = [&one, &other].map(|host| made(&image(), host.path(), &options).unwrap());
    assert_eq!(one.layer.diff_id, other.layer.diff_id);
    assert_eq!(one.record, other.record);
    let private = "only its owner can read it here, and everybody on the disk: ";
    assert!(
        other.warnings[0].starts_with(private) && other.warnings[0].ends_with("SRC:/etc/f:600"),
        "{:?}",
        other.warnings
    );
    assert!(one.warnings.iter().all(|text| !text.contains("/f;")), "{:?}", one.warnings);
}

#[test]
fn what_a_boot_hides_is_told() {
    let host = host();
    for (option, expected) in [
        ("copy f:/srv/x", Some("/srv/x in /srv: it is a volume of the image")),
        ("copy f:/proc/x", Some("/proc/x in /proc: the kernel's own")),
        ("copy f:/etc/hosts", Some("/etc/hosts: every boot mounts its own there; see --add-host")),
        ("copy tree:/dev/t", Some("/dev/t and 4 more in /dev: ")),
        ("copy f:/etc/hosts2", None),
        ("copy f:/run/x", None),
    ] {
        let warnings = made(&image(), host.path(), &[option]).unwrap().warnings;
        let start = expected.map(|expected| format!("the booted machine may not see {expected}"));
        assert_eq!(warnings.len(), usize::from(start.is_some()), "{option}: {warnings:?}");
        assert!(start.is_none_or(|start| warnings[0].starts_with(&start)), "{option}: {warnings:?}");
    }
    let tmpfs = Surroundings { tmpfs: [("/cache/".to_owned(), String::new())].into(), ..Surroundings::default() };
    let init = Process { cmd: vec!["/sbin/init".into()], ..Process::default() };
    let covers = Cover::all(Init::Auto, &init, &[], &tmpfs, true);
    let paths: [&[u8]; 4] = [b"cache", b"tmp/x", b"lib/modules/6.1/x", b"tmpfs"];
    assert_eq!(hidden::warnings(paths.into_iter(), &covers).len(), 3);
}

#[test]
fn the_record_explains_every_difference_to_the_image_and_no_other() {
    let (image, host) = (image(), host());
    let options = [
        "copy tree:/opt/app",
        "copy f:/etc/link",
        "copy over/.:/",
        "key alice:id.pub",
        "key id.pub",
        "password root:hash",
    ];
    let added = made(&image, host.path(), &options).unwrap();
    let words = "one layer added by bootdisk: /opt/app (2 files), /usr/lib/file, / (1 file), an SSH key of alice, \
                 an SSH key of root, the password of root";
    assert_eq!(added.record.words(), words);
    let mut with = image.clone();
    with.layers.push(added.layer);
    assert_ne!(with.chain_id(), image.chain_id());
    let [before, after] = [&image, &with].map(|image| scan(image, usize::MAX, true).unwrap());
    assert_eq!(after.notes, [""; 0]);
    let explained = |mark, path: &[u8]| added.record.explains(path, mark != '~');
    let found = paths_beside(&before.tree, &after.tree, &explained);
    assert!(found.added > 8 && found.added == found.count() && found.only_a == 0, "{found:?}");
    assert_eq!(paths(&before.tree, &after.tree).added, 0);
    for (path, is_new, explained) in [
        ("/opt", true, true),
        ("/opt", false, false),
        ("/opt/app/sub/b", true, true),
        ("/opt/apple", true, false),
        ("/etc/shadow", false, true),
        ("/etc/passwd", false, false),
        ("/", true, true),
    ] {
        assert_eq!(added.record.explains(path.as_bytes(), is_new), explained, "{path}");
    }
}

#[test]
fn a_record_stands_beside_the_boot_specification_and_without_one_nothing_does() {
    let host = host();
    let record = made(&image(), host.path(), &["copy f:/x", "password root:hash", "key id.pub"]).unwrap().record;
    let spec: crate::guest::spec::BootSpec =
        serde_json::from_str(r#"{"version":1,"root":{"partuuid":"p","fstype":"ext4"},"init":"auto","process":{}}"#)
            .unwrap();
    let plain = serde_json::to_vec_pretty(&spec).unwrap();
    assert_eq!(encode(&spec, None).unwrap(), plain);
    assert_eq!(added_to(&plain), None);
    let both = encode(&spec, Some(&record)).unwrap();
    assert!(both.starts_with(&plain[..plain.len() - 2]), "the same fields in the same order");
    assert_eq!(serde_json::from_slice::<crate::guest::spec::BootSpec>(&both).unwrap(), spec);
    assert_eq!(added_to(&both), Some(record));
    assert_eq!(added_to(br#"{"added": 1}"#), None);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let host = host();
    let path = host.path().join("f");
    let facts = path.metadata().unwrap();
    let file = members::HostFile::new(path.clone(), &facts);
    let mut all = Members::new(0);
    all.add(b"x".to_vec(), members::Member { attrs: Attrs::default(), content: members::Content::File(file) }).unwrap();
    fs::write(&path, "longer than before").unwrap();
    let error = all.write().unwrap_err();
    assert!(error.to_string().ends_with("/f changed while it was read"), "{error}");
}
