//! A folder and a file of the host, as `-v` has them here and as bind mounts in a container.
//!
//! Each side has its own copy. The same script works in both; what it says is compared, and then what the host finds.

use super::e2e::{Bench, run};
use super::scenario::{Row, Seen, row};
use super::tools;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are for the workload, and whether they are read-only.
pub const PLACES: [(&str, &str, bool); 4] =
    [("data", "/data", false), ("read", "/read", true), ("one", "/etc/one", false), ("fixed", "/etc/fixed", true)];

/// What is there, and what can be done with it. Lines that begin with `!` say what failed, and must.
const SCRIPT: &str = r#"
fails() { if "$@" 2>/dev/null; then echo "done: $*"; else echo "! $*"; fi; }
show() { stat -c '%n %F %a %u:%g %s %h' "$@"; }
cd /data
ls -A
show plain big deep/er/file link hole special
for name in plain deep/er/file link; do stat -c '%n %Y' $name; done
readlink link out
cat plain; md5sum < big; md5sum < hole
cat /etc/one /etc/fixed /read/plain
echo appended >> plain; echo more >> /etc/one
printf 'x' | dd of=big bs=1 seek=12345 conv=notrunc 2>/dev/null
mkdir -p made/by/guest; echo new > made/by/guest/file; chmod 4750 made/by/guest/file; chown 12:34 made/by/guest/file
mkfifo made/pipe; ln made/by/guest/file made/hard; ln -s /nowhere made/dangling; show made/hard
mv deep/er/file made/moved; mv made/moved plain2; echo over > replaced.new; mv replaced.new replaced
rm -r deep; rm link; touch -d '2001-02-03 04:05:06' made/by; truncate -s 100000 hole; chmod 711 .
i=0; while [ $i -lt 100 ]; do echo $i > made/$i; i=$((i+1)); done
seq 1 10000 | sed 's,^,many/,' > /tmp/names; mkdir many; xargs touch < /tmp/names; ls many | wc -l; ls many | md5sum
( exec 3>held; rm held; echo unlinked >&3; fails test -e held ) 
fails cat out; fails sh -c 'echo x > /read/new'; fails rm /read/plain; fails sh -c 'echo x > /etc/fixed'
fails rm /etc/one; fails rmdir /data; fails mkdir plain; fails ln plain /tmp/across
fails sh -c 'echo x > locked/none/file'
su -s /bin/sh www -c 'cat /data/secret' 2>/dev/null || echo "! www cannot read it"
su -s /bin/sh www -c 'echo mine > /data/special/file' && stat -c '%u:%g %a' special/file
"#;

/// One side's folder and files.
pub fn make(folder: &Path) {
    let at = |name: &str| folder.join(name);
    for name in ["data/deep/er", "data/special", "data/locked", "read"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    for (name, text) in
        [("data/plain", "plain\n"), ("data/deep/er/file", "deep\n"), ("read/plain", "read\n"), ("one", "one\n")]
    {
        fs::write(at(name), text).unwrap();
    }
    fs::write(at("fixed"), "fixed\n").unwrap();
    fs::write(at("data/replaced"), "old\n").unwrap();
    fs::write(at("data/secret"), "secret\n").unwrap();
    fs::write(at("data/big"), (0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    fs::File::create(at("data/hole")).unwrap().set_len(5 << 20).unwrap();
    symlink("plain", at("data/link")).unwrap();
    symlink(folder.with_extension("outside"), at("data/out")).unwrap();
    fs::write(folder.with_extension("outside"), "outside\n").unwrap();
    for (name, mode) in [("data/secret", 0o600), ("data/special", 0o1777), ("data/plain", 0o640), ("data", 0o755)] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut touch = Command::new("touch");
    tools::stdout(
        touch.args(["-h", "-d", "2011-12-13 14:15:16"]).args(["data/plain", "data/link", "data/deep/er/file"].map(at)),
    );
}

/// What the host finds afterwards: kinds, modes, owners, sizes, links, and what files hold.
pub fn found(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut todo: Vec<PathBuf> = PLACES.iter().map(|(name, ..)| folder.join(name)).collect();
    while let Some(path) = todo.pop() {
        let facts = path.symlink_metadata().unwrap();
        let kind = facts.file_type();
        let body = match () {
            () if kind.is_file() => {
                format!("{:?}", tools::stdout(Command::new("md5sum").arg("-z").stdin(fs::File::open(&path).unwrap())))
            }
            () if kind.is_symlink() => {
                let target = fs::read_link(&path).unwrap();
                if target.is_absolute() && target.starts_with(folder.parent().unwrap()) {
                    "outside".into()
                } else {
                    target.display().to_string()
                }
            }
            () if kind.is_dir() => {
                todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            }
            () => format!("fifo {}", kind.is_fifo()),
        };
        let size = if kind.is_dir() { 0 } else { facts.len() };
        let links = if kind.is_dir() { 0 } else { facts.nlink() };
        let name = path.strip_prefix(folder).unwrap().display().to_string();
        let old = facts.mtime() < 1_500_000_000;
        let time = if old { facts.mtime() } else { 0 };
        all.push(format!("{name} {:o} {}:{} {size} {links} {time} {body}", facts.mode(), facts.uid(), facts.gid()));
    }
    all.sort();
    all
}

/// The scenario, with one side's folder.
pub fn scenario(folder: &Path) -> Row {
    let binds = PLACES.map(|(name, at, read_only)| (folder.join(name), at, read_only));
    Row { binds: binds.to_vec(), ..row("a folder of the host").sh(SCRIPT) }
}

/// In a machine.
pub fn in_a_machine(bench: &Bench, rootfs: &Path, row: &Row) -> Seen {
    let disk = bench.build(format!("rootfs:{}", rootfs.display()), "folders.img", &[]);
    let values: Vec<String> = row
        .binds
        .iter()
        .map(|(host, at, read_only)| format!("{}:{at}{}", host.display(), if *read_only { ":ro" } else { "" }))
        .collect();
    let mut options = vec!["-q"];
    values.iter().for_each(|value| options.extend(["-v", value]));
    let ran = run(bench.run_command(&disk, &options).arg("--").args(&row.image.cmd));
    Seen::Ended(ran.status.expect("an exit status") as u8, ran.text())
}
