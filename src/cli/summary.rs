//! A disk that was built, as a picture: its partitions to scale, and what is in each. The letters are those of the map
//! that `bootdisk inspect` draws.

use super::size;
use crate::convert::Built;
use crate::disk::gpt::Role;
use crate::hex::hex;
use std::fmt::Write;
use std::path::Path;

/// Columns of the bar.
const WIDTH: u64 = 64;

/// A few lines, each at most 80 columns wide but for the path.
pub fn render(path: &Path, built: &Built) -> String {
    let mut text = String::new();
    let disk = built.layout.disk_size();
    _ = writeln!(text, "{}: {}, bootable", crate::escape::path(path), size::render(disk));
    _ = writeln!(text, "  {}", bar(built));
    for partition in built.layout.partitions() {
        let (mark, what) = match partition.role {
            Role::BiosBoot => ('B', "boot stage for BIOS".to_string()),
            Role::Esp => (
                'K',
                format!(
                    "kernel {} ({}), initramfs ({})",
                    built.release,
                    size::render(built.kernel),
                    size::render(built.initramfs)
                ),
            ),
            Role::Modules => ('M', format!("all modules of kernel {}, ext4", built.release)),
            Role::Root => {
                ('U', format!("userland: {} names, {} of files, ext4", built.names, size::render(built.userland)))
            }
            Role::Verity => ('V', "hashes of every block of the userland (dm-verity)".to_owned()),
        };
        _ = writeln!(text, "  {mark}  {:>9}  {what}", size::render(partition.bytes()));
    }
    if let Some(verity) = &built.verity {
        _ = writeln!(text, "  root hash     {}", hex(verity.root_hash));
    }
    if let Some(added) = &built.added {
        _ = writeln!(text, "  +             {}", added.printable().words());
    }
    text
}

/// The disk to scale, every partition with at least one column; `.` is the root's free space.
fn bar(built: &Built) -> String {
    let disk = built.layout.disk_size();
    let columns = |bytes: u64| ((u128::from(bytes) * u128::from(WIDTH)) / u128::from(disk.max(1))).max(1) as usize;
    let mut bar = String::from("[");
    for partition in built.layout.partitions() {
        let all = columns(partition.bytes());
        match partition.role {
            Role::BiosBoot => bar.push('B'),
            Role::Esp => bar.push_str(&"K".repeat(all)),
            Role::Modules => bar.push_str(&"M".repeat(all)),
            Role::Verity => bar.push_str(&"V".repeat(all)),
            Role::Root => {
                let used = columns(built.root.size - built.root.free_blocks * 4096).min(all);
                bar.push_str(&"U".repeat(used));
                bar.push_str(&".".repeat(all - used));
            }
        }
    }
    bar.push(']');
    bar
}
