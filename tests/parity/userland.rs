//! The root file systems of the scenarios.

use super::guest::Userland;
use super::tools;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// Accounts of the USER table: names that are numbers, numbers out of range, garbage, a group of 7500.
const PASSWD: &str = "\
root:x:0:0:root user:/root:/bin/bash
adm:x:42:43:adm:/var/adm:/bin/false
111:x:222:333::/var/garbage
odd:x:111:112::/home/odd:::::
2147483647:x:0:0::/root:/bin/sh
2147483648:x:0:0::/root:/bin/sh
9223372036854775807:x:0:0::/root:/bin/sh
user7456:x:7456:100:Vasya:/home/user7456
this is just some garbage data
";

/// Groups of the USER table.
fn groups() -> String {
    let members: Vec<String> = (0..7500).map(|n| format!("user{n}")).collect();
    format!(
        "root:x:0:root\nadm:x:43:\ngrp:x:1234:root,adm,user7456\n444:x:555:\nodd:x:444:\nlarge:x:1000:{}\n\
         this is just some garbage data\n",
        members.join(",")
    )
}

/// Busybox, and one of everything a command can be.
pub fn full() -> Userland {
    let userland = Userland::busybox();
    let write = |name: &str, text: &str, mode: u32| userland.write(name, text, mode);
    write("etc/passwd", &format!("{}nohome:x:77:77:::/bin/sh\n", own_accounts()), 0o644);
    write("etc/hosts", "the image's own\n", 0o644);
    write("etc/hostname", "the image's own\n", 0o600);
    write("etc/mtab", "of the machine that made the image\n", 0o644);
    symlink("/run/elsewhere/resolv.conf", userland.path("etc/resolv.conf")).unwrap();
    write("table/passwd", PASSWD, 0o644);
    write("table/group", &groups(), 0o644);

    write("x/ok", "#!/bin/sh\necho ok $0 \"$@\"\n", 0o755);
    write("x/arguments", "#!/bin/echo a b\n", 0o755);
    write("x/spaces", "#!   /bin/sh\necho spaces\n", 0o755);
    write("x/nested", "#!/x/ok z\n", 0o755);
    write("x/missing", "#!/no/such\n", 0o755);
    write("x/crlf", "#!/bin/sh\r\necho x\r\n", 0o755);
    write("x/plain", "echo plain\n", 0o755);
    write("x/empty", "", 0o755);
    write("x/folder-as-interpreter", "#!/etc\n", 0o755);
    write("x/file-as-interpreter", "#!/etc/passwd\n", 0o755);
    write("x/foreign", "\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01", 0o755);
    write("x/cut", "\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0", 0o755);
    write("x/noexec", "#!/bin/sh\n", 0o644);
    write("x/private", "#!/bin/sh\necho private\n", 0o700);
    write("not-executable/ok", "#!/bin/sh\n", 0o644);
    write("folders/ok/file", "", 0o644);
    symlink("ok", userland.path("x/link")).unwrap();
    symlink("gone", userland.path("x/dangling")).unwrap();
    symlink("ring", userland.path("x/ring")).unwrap();
    // Needs a loader that this userland has not.
    fs::copy("/bin/ls", userland.path("x/dynamic")).unwrap();

    narrow(&userland.path("x/narrow"), None);
    narrow(&userland.path("x/narrow-dynamic"), Some("/lib/ld-linux.so.2"));

    write("real/deep/file", "", 0o644);
    symlink("real", userland.path("link")).unwrap();
    symlink("../../../etc", userland.path("out")).unwrap();
    write("locked/file", "", 0o600);
    chmod(&userland, "locked", 0o700);
    write("proc/hidden", "the image's\n", 0o644);
    write("sys/hidden", "the image's\n", 0o644);
    write("dev/hidden", "the image's\n", 0o644);
    write("run/kept/file", "kept\n", 0o640);
    write("tmp/kept", "kept\n", 0o644);
    chmod(&userland, "tmp", 0o1777);
    userland
}

/// A program of 32 bits for i386 that ends with 5 (System V ABI, chapters 4 and 5): file header, program headers, code,
/// and the loader's name if it asks for one.
fn narrow(path: &Path, loader: Option<&str>) {
    const BASE: u32 = 0x0804_8000;
    const CODE: [u8; 12] = [0xb8, 1, 0, 0, 0, 0xbb, 5, 0, 0, 0, 0xcd, 0x80];
    let headers = if loader.is_some() { 2 } else { 1 };
    let code = 52 + 32 * headers;
    let name = loader.map_or(Vec::new(), |name| [name.as_bytes(), b"\0"].concat());
    let (at, length) = (code + CODE.len() as u32, name.len() as u32);
    let words = |list: &[u32]| list.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
    let halves = |list: &[u16]| list.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<_>>();
    let mut file = [&b"\x7fELF\x01\x01\x01"[..], &[0; 9], &halves(&[2, 3])].concat();
    file.extend(words(&[1, BASE + code, 52, 0, 0]));
    file.extend(halves(&[52, 32, headers as u16, 0, 0, 0]));
    if loader.is_some() {
        file.extend(words(&[3, at, BASE + at, BASE + at, length, length, 4, 1]));
    }
    file.extend(words(&[1, 0, BASE, BASE, at + length, at + length, 5, 0x1000]));
    file.extend([&CODE[..], &name].concat());
    fs::write(path, file).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

fn own_accounts() -> &'static str {
    "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv/www:/bin/sh\n"
}

fn chmod(userland: &Userland, name: &str, mode: u32) {
    fs::set_permissions(userland.path(name), Permissions::from_mode(mode)).unwrap();
}

/// A second one with the same files, for the runtime to write to.
pub fn copy(userland: &Userland) -> Userland {
    let copy = Userland::empty();
    tools::stdout(Command::new("cp").arg("-a").arg(userland.path(".")).arg(copy.path(".")));
    copy
}
