//! A disk with Debian's kernel and an initramfs of one shell script, made by the library alone.

#![allow(dead_code)] // Each test program uses its part.

use super::tools;
use bootdisk::arch::Architecture;
use bootdisk::boot::{self, Boot, Firmware};
use bootdisk::disk::gpt::{Guids, Layout};
use std::path::{Path, PathBuf};
use std::process::Command;
use uuid::Uuid;

/// What [`initramfs`] prints in front of the command line once the kernel has started it.
pub const SENTINEL: &str = "init reached, command line <";
/// The kernel of Debian's cloud package, unpacked once a checkout.
pub fn kernel() -> Vec<u8> {
    let folder = std::env::var_os("BOOTDISK_TEST_KERNELS").map_or("target/test-data/kernels".into(), PathBuf::from);
    let package = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no kernel packages in {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| path.file_name().unwrap().to_string_lossy().contains("-cloud-amd64_"))
        .unwrap_or_else(|| panic!("no cloud kernel's package in {}", folder.display()));
    // linux-image-RELEASE_VERSION_amd64.deb
    let name = package.file_name().unwrap().to_string_lossy();
    let release = name.strip_prefix("linux-image-").and_then(|rest| rest.split('_').next()).unwrap().to_owned();
    let cached = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("vmlinuz-{release}"));
    if let Ok(kernel) = std::fs::read(&cached) {
        return kernel;
    }
    let scratch = tempfile::tempdir().unwrap();
    let files = scratch.path().join("files.tar");
    let script = "dpkg-deb --fsys-tarfile \"$1\" > \"$2\" && tar -xOf \"$2\" \"./boot/vmlinuz-$3\" > \"$2.kernel\"";
    tools::stdout(Command::new("sh").args(["-c", script, "sh"]).args([&package, &files]).arg(&release));
    let kernel = std::fs::read(scratch.path().join("files.tar.kernel")).unwrap();
    // Another test, of this program or another, may do the same at the same time: each renames a whole file of its own.
    let mine = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(&mine, &kernel).unwrap();
    mine.persist(&cached).unwrap();
    kernel
}

/// An initramfs whose /init says what the command line is and powers off, `filling` bytes larger than needed.
pub fn initramfs(filling: usize) -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static; scripts/test installs what the tests need");
    let init = format!(
        "#!/bin/busybox sh\n/bin/busybox mount -t proc proc /proc\n\
         echo \"{SENTINEL}$(/bin/busybox cat /proc/cmdline)>\"\n\
         echo \"filling $(/bin/busybox md5sum /filling)\"\n/bin/busybox poweroff -f\n"
    );
    let mut archive = Vec::new();
    for directory in ["bin", "dev", "proc"] {
        member(&mut archive, directory, 0o040755, 0, &[]);
    }
    member(&mut archive, "dev/console", 0o020600, 5 << 8 | 1, &[]);
    member(&mut archive, "bin/busybox", 0o100755, 0, &busybox);
    member(&mut archive, "init", 0o100755, 0, init.as_bytes());
    let filling: Vec<u8> = (0..filling).map(|i| (i >> 9) as u8).collect();
    member(&mut archive, "filling", 0o100644, 0, &filling);
    member(&mut archive, "TRAILER!!!", 0, 0, &[]);
    archive
}

/// One member of a newc archive; `device` is major << 8 | minor.
fn member(archive: &mut Vec<u8>, name: &str, mode: u32, device: u32, body: &[u8]) {
    let fields = [
        archive.len() as u32 + 1,
        mode,
        0,
        0,
        1,
        0,
        body.len() as u32,
        0,
        0,
        device >> 8,
        device & 0xff,
        name.len() as u32 + 1,
        0,
    ];
    archive.extend_from_slice(b"070701");
    fields.iter().for_each(|field| archive.extend_from_slice(format!("{field:08x}").as_bytes()));
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(body);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// What a test wants of a disk.
pub struct Wanted<'a> {
    pub kernel: &'a [u8],
    pub initramfs: &'a [u8],
    pub command_line: &'a str,
    pub firmware: Firmware,
}

pub const GUIDS: Guids = Guids {
    disk: Uuid::from_u128(0xd15c),
    bios_boot: Uuid::from_u128(0xb105),
    esp: Uuid::from_u128(0xe5b),
    modules: Uuid::from_u128(0x4d0d),
    root: Uuid::from_u128(0x4007),
};

/// Writes the disk and returns its path and layout.
pub fn write(folder: &Path, wanted: &Wanted) -> (PathBuf, Layout) {
    let layout = Layout::around_root(Architecture::X86_64, 128 << 20, 1 << 20).unwrap();
    let path = folder.join("disk.img");
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(layout.disk_size()).unwrap();
    let efi_loader = boot::loader::open(Architecture::X86_64, None).unwrap();
    let boot = Boot {
        firmware: wanted.firmware,
        kernel: wanted.kernel,
        release: "6.1-tests",
        initramfs: wanted.initramfs,
        efi_loader: Some(&efi_loader),
        command_line: wanted.command_line,
        title: "tests",
        volume_id: 0xb007_d15c,
        time: 1_700_000_000,
    };
    let code = boot::write(&boot, &layout, &file).unwrap();
    layout.write(&GUIDS, &code, &file).unwrap();
    (path, layout)
}
