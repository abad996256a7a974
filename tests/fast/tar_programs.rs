//! Archives that other programs write: GNU tar in all its formats, sparse files in all four encodings, its extended
//! attributes and ACLs, Python's and the `tar` crate's writers. What they packed must come out, byte for byte.

use crate::support::layers::{Merged, merge};
use crate::support::tools;
use bootdisk::rootfs::Kind;
use bootdisk::rootfs::memory::Part;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// A folder with one of each: long names, links, a sparse file.
fn make_tree(root: &Path) {
    let long = root.join("d".repeat(70)).join("e".repeat(70));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("f".repeat(80)), "long").unwrap();
    fs::write(root.join("file"), "content\n").unwrap();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(root.join("file"), root.join("hard")).unwrap();
    symlink("x".repeat(150), root.join("symlink")).unwrap();
    tools::stdout(Command::new("mkfifo").arg(root.join("pipe")));
    tools::stdout(Command::new("find").arg(root).args([
        "-exec",
        "touch",
        "-h",
        "-d",
        "2001-02-03T04:05:06Z",
        "{}",
        ";",
    ]));
}

/// Data here and there in a file of 3 MiB.
fn make_sparse(path: &Path) -> Vec<u8> {
    let mut expected = vec![0; 3 << 20];
    let file = File::create(path).unwrap();
    file.set_len(3 << 20).unwrap();
    // 100 pieces: several continuation blocks in the old format.
    for i in 0..100usize {
        let at = i * 20_480 + 8192;
        let data = [i as u8 + 1; 4096];
        file.write_all_at(&data, at as u64).unwrap();
        expected[at..at + 4096].copy_from_slice(&data);
    }
    expected
}

fn gnu_tar(root: &Path, options: &[&str]) -> Vec<u8> {
    let mut command = Command::new("tar");
    command.arg("-C").arg(root).args(["--create", "--sort=name", "--file=-"]).args(options).arg(".");
    let output = tools::run(&mut command);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn without(dump: &str, part: &str) -> String {
    dump.lines().filter(|line| !line.contains(part)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn t59_gnu_tar_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    make_tree(folder.path());
    let read =
        |options: &[&str]| merge(&[gnu_tar(folder.path(), options)]).unwrap_or_else(|e| panic!("{options:?}: {e}"));
    let gnu = read(&["--format=gnu"]).dump();
    assert!(gnu.contains("/file file mode=4751 ") && gnu.contains("mtime=981173106.000000000 size=8 "), "{gnu}");
    assert!(gnu.contains("/hard hard link to /file") && gnu.contains(&"x".repeat(150)), "{gnu}");
    for options in [&["--format=oldgnu"][..], &["--format=pax"], &["--format=pax", "--pax-option=delete=atime"]] {
        assert_eq!(read(options).dump(), gnu, "{options:?}");
    }
    // These have no room for the long target; ustar splits the long name, v7 cannot.
    let no_link = without(&gnu, "symlink");
    assert_eq!(read(&["--format=ustar", "--exclude=./symlink"]).dump(), no_link);
    let v7 = read(&["--format=v7", "--exclude=./symlink", "--exclude=./ddd*", "--exclude=./pipe"]).dump();
    assert_eq!(v7, without(&without(&no_link, "ddd"), "pipe"));
}

#[test]
fn t49_gnu_tar_sparse_files_in_every_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let expected = make_sparse(&folder.path().join("sparse"));
    let dense = gnu_tar(folder.path(), &["--format=gnu"]);
    for options in [
        &["--sparse", "--format=gnu"][..],
        &["--sparse", "--format=oldgnu"],
        &["--sparse", "--format=pax", "--sparse-version=0.0"],
        &["--sparse", "--format=pax", "--sparse-version=0.1"],
        &["--sparse", "--format=pax", "--sparse-version=1.0"],
    ] {
        // By content: not every file system tells where holes are.
        let options = [options, &["--hole-detection=raw"]].concat();
        let bytes = gnu_tar(folder.path(), &options);
        assert!(bytes.len() < dense.len() / 4, "{options:?} makes it small");
        let merged: Merged = merge(&[bytes]).unwrap_or_else(|error| panic!("{options:?}: {error}"));
        let Kind::File { size, body } = &merged.tree.inode(merged.lookup("sparse")).kind else { panic!("a file") };
        assert_eq!(*size, 3 << 20);
        assert!(merged.sink.read(body) == expected, "{options:?}");
        let holes = merged.sink.parts(body).iter().filter(|part| matches!(part, Part::Hole(_))).count();
        assert_eq!(holes, 101, "{options:?}");
    }
}

#[test]
fn t50_t51_gnu_tar_extended_attributes_and_acls() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let path = folder.path().join("file");
    tools::stdout(Command::new("setfattr").args(["-n", "user.note", "-v", "0x610a003d62"]).arg(&path));
    tools::stdout(Command::new("setfacl").args(["-m", "u:12345:rwx,g:23456:r--"]).arg(&path));
    let kernel = tools::stdout(
        Command::new("getfattr").args(["--absolute-names", "-e", "hex", "-n", "system.posix_acl_access"]).arg(&path),
    );
    let hex = kernel.split("=0x").nth(1).expect("the kernel has an ACL").trim();
    let raw: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..][..2], 16).expect("hex")).collect();
    let merged =
        merge(&[gnu_tar(folder.path(), &["--format=pax", "--xattrs", "--xattrs-include=*", "--acls"])]).unwrap();
    let xattrs = merged.attrs("file").xattrs.clone().expect("the file has attributes");
    let value = |name: &str| xattrs.iter().find(|(n, _)| **n == *name.as_bytes()).map(|(_, value)| value.to_vec());
    assert_eq!(value("user.note").as_deref(), Some(&b"a\n\0=b"[..]));
    // The text that GNU tar wrote and the bytes the kernel had are the same list.
    assert_eq!(value("system.posix_acl_access"), Some(raw));
}

#[test]
fn t59_python_and_the_tar_crate() {
    let folder = tempfile::tempdir().unwrap();
    make_tree(folder.path());
    let gnu = merge(&[gnu_tar(folder.path(), &["--format=gnu"])]).unwrap().dump();
    let script = "import sys, tarfile\n\
                  f = {'gnu': tarfile.GNU_FORMAT, 'pax': tarfile.PAX_FORMAT}[sys.argv[1]]\n\
                  with tarfile.open(sys.argv[3], 'w', format=f) as t: t.add(sys.argv[2], '.')\n";
    for format in ["gnu", "pax"] {
        let out = folder.path().with_extension(format);
        tools::stdout(Command::new("python3").args(["-c", script, format]).arg(folder.path()).arg(&out));
        let merged = merge(&[fs::read(&out).unwrap()]).unwrap();
        fs::remove_file(out).unwrap();
        assert_eq!(merged.dump(), gnu, "{format}");
    }
    let mut builder = tar::Builder::new(Vec::new());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", folder.path()).unwrap();
    let merged = merge(&[builder.into_inner().unwrap()]).unwrap();
    // It knows no hard links.
    let ours = merged.dump().lines().filter(|line| !line.starts_with("/hard ")).collect::<Vec<_>>().join("\n");
    assert_eq!(ours, without(&gnu, "/hard ").trim_end());
}
