//! A disk with Debian's kernel and an initramfs of one shell script, made by the library alone.

use super::small_kernel::{only, unpacked};
use bootdisk::arch::Architecture;
use bootdisk::boot::{self, Boot, Firmware};
use bootdisk::disk::gpt::{Guids, Layout};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What [`initramfs`] prints in front of the command line once the kernel has started it.
pub const SENTINEL: &str = "init reached, command line <";
/// The kernel of Debian's cloud package.
pub fn kernel() -> Vec<u8> {
    std::fs::read(only(&unpacked("cloud").join("boot"), "vmlinuz-")).unwrap()
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
    verity: Uuid::nil(),
};

/// Writes the disk and returns its path and layout.
pub fn write(folder: &Path, wanted: &Wanted) -> (PathBuf, Layout) {
    let layout = Layout::around_root(Architecture::X86_64, 128 << 20, 1 << 20).unwrap();
    let path = folder.join("disk.img");
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(layout.disk_size()).unwrap();
    let efi_loader = boot::loader::open(Architecture::X86_64, None, None).unwrap();
    let boot = Boot {
        firmware: wanted.firmware,
        kernel: wanted.kernel,
        release: "6.1-tests",
        initramfs: wanted.initramfs,
        efi_loader: Some(&efi_loader),
        unified: None,
        command_line: wanted.command_line,
        title: "tests",
        volume_id: 0xb007_d15c,
        time: 1_700_000_000,
        signed: None,
    };
    let code = boot::write(&boot, &layout, &file).unwrap();
    layout.write(&GUIDS, &code, &file).unwrap();
    (path, layout)
}
