//! Root file systems that are in no image: folders, and tars as other programs make them.

use crate::support::images::{self, ImageBuilder};
use crate::support::layers::{Member, Merged, archive, layer, merge};
use crate::support::tools;
use bootdisk::image::Image;
use bootdisk::source::{self, Reference, Select, SourceError};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn select(owner: Option<&str>) -> Select {
    let owner = owner.map(|owner| owner.parse().unwrap());
    Select { platform: Some("linux/amd64".parse().unwrap()), owner, ..Select::default() }
}

fn open_as(path: &Path, owner: Option<&str>) -> Result<Image, SourceError> {
    let reference = [b"rootfs:", path.as_os_str().as_encoded_bytes()].concat();
    // SAFETY: what was there before, and ASCII.
    let reference = unsafe { std::ffi::OsString::from_encoded_bytes_unchecked(reference) };
    source::open(&Reference::parse(&reference).unwrap(), &select(owner))
}

fn opened(path: &Path) -> Image {
    open_as(path, None).unwrap_or_else(|error| panic!("{}: {}", path.display(), bootdisk::escape::chain(&error)))
}

fn refused(path: &Path) -> String {
    bootdisk::escape::chain(&open_as(path, None).unwrap_err())
}

/// The one layer, verified.
fn tar_of(image: &Image) -> Vec<u8> {
    assert_eq!(image.layers.len(), 1);
    let mut stream = image.open_layer(0).unwrap();
    let mut tar = Vec::new();
    stream.read_to_end(&mut tar).unwrap();
    stream.finish().unwrap();
    tar
}

fn tree_of(image: &Image) -> Merged {
    merge(&[tar_of(image)]).unwrap()
}

/// A program for a machine (`e_machine`) by its first bytes.
fn program(machine: u8) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    bytes[..5].copy_from_slice(b"\x7fELF\x02");
    (bytes[16], bytes[18]) = (2, machine);
    bytes
}

#[test]
fn a_folder_is_taken_with_everything_that_is_kept_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["etc", "sbin", "run", "deep"] {
        fs::create_dir(at(name)).unwrap();
    }
    let deep = (0..100).fold(at("deep"), |path, _| path.join("d".repeat(60)));
    fs::create_dir_all(&deep).unwrap_err();
    let deep = (0..40).fold(at("deep"), |path, _| path.join("d".repeat(60)));
    fs::create_dir_all(&deep).unwrap();
    fs::write(at("etc/passwd"), "root").unwrap();
    fs::hard_link(at("etc/passwd"), at("etc/passwd-")).unwrap();
    symlink("/etc/shadow", at("etc/shadow")).unwrap();
    symlink("..", at("run/up")).unwrap();
    fs::write(at("sbin/init"), program(62)).unwrap();
    fs::set_permissions(at("sbin/init"), fs::Permissions::from_mode(0o4755)).unwrap();
    nix::unistd::mkfifo(&at("run/fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("run/socket")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"data", 8 << 20).unwrap();
    sparse.set_len(1 << 30).unwrap();
    fs::write(at("etc/.wh.gone"), "").unwrap();
    tools::stdout(Command::new("setfattr").args(["-n", "user.note", "-v", "kept"]).arg(at("etc/passwd")));
    tools::stdout(Command::new("touch").args(["-h", "-d", "2001-02-03 04:05:06.789"]).arg(at("run/up")));

    let image = opened(dir.path());
    assert_eq!(
        (image.config.cmd.as_slice(), image.platform.to_string()),
        (&["/sbin/init".to_string()][..], "linux/amd64".into())
    );
    let said = image.warnings.join("\n");
    assert!(said.contains("left out (sockets): run/socket"), "{said}");
    assert!(said.contains("left out (would be whiteouts of a layer): etc/.wh.gone"), "{said}");
    let tar = tar_of(&image);
    assert!(tar.len() < 1 << 20, "holes stay holes: {}", tar.len());
    let mut merged = Merged::new();
    merged.add(&tar, &Default::default()).unwrap();
    assert_eq!(merged.lookup("etc/passwd"), merged.lookup("etc/passwd-"));
    let attrs = merged.attrs("etc/passwd");
    let facts = at("etc/passwd").metadata().unwrap();
    assert_eq!((attrs.uid, attrs.gid), (facts.uid(), facts.gid()));
    assert_eq!((attrs.mtime.secs, attrs.mtime.nanos), (facts.mtime(), facts.mtime_nsec() as u32));
    let xattrs: Vec<_> = attrs.xattrs.iter().flatten().map(|(name, value)| (&name[..], &value[..])).collect();
    assert!(xattrs.contains(&(b"user.note", b"kept")), "{xattrs:?}");
    assert_eq!(merged.attrs("sbin/init").mode, 0o4755);
    assert_eq!(merged.attrs("run/up").mtime.nanos, 789_000_000);
    let dump = merged.dump();
    assert!(dump.contains("/etc/shadow") && !dump.contains("socket"), "{dump}");
    let depth = (0..40).map(|_| "/".to_string() + &"d".repeat(60)).collect::<String>();
    merged.lookup(&format!("deep{depth}"));

    // The same tree gives the same bytes, also by another path, and a copy of it.
    let link = tempfile::tempdir().unwrap();
    symlink(dir.path(), link.path().join("tree")).unwrap();
    assert!(tar_of(&opened(&link.path().join("tree"))) == tar);
    let copy = link.path().join("copy");
    tools::stdout(Command::new("cp").arg("-a").arg(dir.path()).arg(&copy));
    assert_eq!(opened(&copy).chain_id(), image.chain_id());

    let owned = tree_of(&open_as(dir.path(), Some("7:8")).unwrap());
    for name in ["etc/passwd", "sbin", "run/fifo", "run/up"] {
        assert_eq!((owned.attrs(name).uid, owned.attrs(name).gid), (7, 8), "{name}");
    }
}

#[test]
fn nothing_leads_out_of_a_folder_and_what_is_unreadable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::create_dir_all(tree.join("usr/closed")).unwrap();
    fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink("../secret", tree.join("etc/link")).unwrap();
    symlink("../..", tree.join("usr/up")).unwrap();
    fs::write(tree.join("etc/shadow"), "x").unwrap();
    for (name, mode) in [("etc/shadow", 0o000), ("usr/closed", 0o000)] {
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(tree_of(&opened(&tree)).short().matches("secret").count(), 1, "the link's own target");
    // As somebody who is not root: by the program, as this process stays who it is.
    tools::stdout(Command::new("chmod").arg("a+rx").arg(dir.path()));
    let inspected = tools::run(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(assert_cmd::cargo::cargo_bin!("bootdisk"))
            .env("HOME", "/nonexistent")
            .arg("inspect")
            .arg(format!("rootfs:{}", tree.display())),
    );
    let said = String::from_utf8_lossy(&inspected.stdout).into_owned() + &String::from_utf8_lossy(&inspected.stderr);
    assert!(inspected.status.success(), "{said}");
    assert!(said.contains("left out (cannot be read by this user): etc/shadow, usr/closed"), "{said}");
}

#[test]
fn tars_of_every_packing_are_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let members = [
        Member::dir("./"),
        Member::dir("./etc/"),
        Member::file("./etc/hosts", ""),
        Member::file("./usr/bin/x", program(62)),
        Member::hard_link("./usr/bin/y", "./usr/bin/x"),
        Member::symlink("./sbin", "usr/sbin"),
        Member::file("./usr/sbin/init", program(62)),
        Member::device(b'3', "./dev/null", 1, 3),
        Member::file("./usr/.wh.x", "y"),
    ];
    fs::write(at("root.tar"), archive(&members)).unwrap();
    for program in [&["gzip"][..], &["xz"], &["bzip2"], &["zstd", "-q"], &["lz4", "-q"]] {
        let [name, options @ ..] = program else { unreachable!() };
        let packed = fs::File::create(at(&format!("root.tar.{name}"))).unwrap();
        let mut command = Command::new(name);
        command.args(options).arg("-c").stdin(fs::File::open(at("root.tar")).unwrap()).stdout(packed);
        assert!(command.status().unwrap().success(), "{name}");
    }
    let plain = opened(&at("root.tar"));
    assert_eq!(plain.config.cmd, ["/sbin/init"]);
    assert_eq!(plain.warnings, ["left out (would be whiteouts of a layer): usr/.wh.x"]);
    let short = tree_of(&plain).short();
    assert!(short.contains("dev/nullc1:3 etc/ etc/hosts sbin->usr/sbin"), "{short}");
    assert!(short.contains("usr/bin/y:=usr/bin/x"), "{short}");
    for name in ["gzip", "xz", "bzip2", "zstd", "lz4"] {
        assert_eq!(opened(&at(&format!("root.tar.{name}"))).chain_id(), plain.chain_id(), "{name}");
    }
    // A stream is as good as a file.
    let (file, stream) = (at("root.tar"), at("root.tar.xz"));
    let listed = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script, assert_cmd::cargo::cargo_bin!("bootdisk").to_str().unwrap()]);
        tools::stdout(shell.arg(&file).arg(&stream))
    };
    let named = listed("\"$0\" inspect --files mtree \"rootfs:$1\"");
    assert_eq!(listed("cat \"$2\" | \"$0\" inspect --files mtree rootfs:-"), named);
    assert!(named.contains("./usr/bin/x"), "{named}");
}

#[test]
fn what_a_container_runtime_has_put_there_is_left_out_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let extras = "dev/console etc/hosts etc/resolv.conf etc/hostname";
    let own = "bin/x=1 dev/ dev/pts/ etc/ etc/passwd=root proc/";
    let at = dir.path().join("root.tar");
    for (mark, left_out) in [(".dockerenv", true), ("run/.containerenv", true), ("etc/motd", false)] {
        for order in [format!("{mark} {extras} {own}"), format!("{own} {extras} {mark}")] {
            fs::write(&at, layer(&order)).unwrap();
            let image = opened(&at);
            let short = tree_of(&image).short();
            assert_eq!(!short.contains("etc/resolv.conf") && !short.contains(mark), left_out, "{mark}: {short}");
            let said = image.warnings.join("\n");
            assert_eq!(
                said.contains(&format!("left out (container runtime's own): {mark}, dev/console, etc/host")),
                left_out,
                "{said}"
            );
        }
    }
    // What is not empty is the tree's, whoever was there.
    fs::write(&at, layer(&format!(".dockerenv etc/hosts=mine {own}"))).unwrap();
    assert!(tree_of(&opened(&at)).short().contains("etc/hosts=mine"));
}

#[test]
fn what_is_no_root_file_system_is_called_by_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let image = ImageBuilder::new().layer(layer("a=1")).tag("app:1");
    fs::write(at("image.tar"), image.docker_legacy()).unwrap();
    image.write_oci(&at("layout"));
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("text"), "text\n").unwrap();
    fs::write(at("empty.tar"), [0; 10_240]).unwrap();
    fs::write(at("zeros.tar.gz"), images::gzip(&vec![0; 4 << 20])).unwrap();
    fs::write(at("cut.tar"), &layer("bin/x=1 etc/ usr/x=23")[..1100]).unwrap();
    fs::write(at("arm.tar"), archive(&[Member::dir("etc"), Member::file("usr/x", program(183))])).unwrap();
    for (name, sentence) in [
        ("image.tar", "this is an image (docker archive), not a root file system"),
        ("layout", "this is an image (OCI layout), not a root file system"),
        ("empty", "it is empty"),
        ("text", "this is text"),
        ("empty.tar", "this is nothing but zeros"),
        ("zeros.tar.gz", "this is gzip-compressed data"),
        ("cut.tar", "the layer ends in the middle of"),
        ("arm.tar", "the image is for linux/arm64, not for linux/amd64"),
        ("missing", "cannot open"),
    ] {
        let said = refused(&at(name));
        assert!(said.contains(sentence), "{name}: {said}");
    }
}

#[test]
fn trees_without_an_init_or_programs_are_as_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("root.tar");
    fs::write(&at, layer("etc/ usr/x=1 init=2")).unwrap();
    let image = opened(&at);
    assert!(image.config.cmd.is_empty() && image.config.entrypoint.is_empty());
    assert_eq!(image.platform.to_string(), "linux/amd64");
    assert!(image.warnings.is_empty(), "{:?}", image.warnings);
}
