//! What fstab(5) calls the block devices of this machine: `UUID=`, `LABEL=`, `PARTUUID=` and `PARTLABEL=`.
//!
//! ```text
//! from byte      ext2 to ext4   swap          XFS        Btrfs            FAT32        FAT12, FAT16
//! signature      1080 53 ef     4086 10 bytes 0 "XFSB"   65600 8 bytes    82 "FAT32"   54 "FAT1"
//! identifier     1128           1036          32         65568            67           39
//! label          1144           1052          108        65835            71           43
//! ```
//!
//! and of ISO 9660 the volume identifier, from byte 32808 where 32769 has "CD001" (ECMA-119, 8.4), which is a label alone.
//!
//! Not supported: other file systems, swap with pages of other sizes than 4096 bytes, a label of FAT that stands in its
//! root folder alone. Sources: the kernel's documentation of ext4, mkswap(8), fs/xfs/libxfs/xfs_format.h,
//! fs/btrfs/tree.h, Microsoft's description of FAT.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// Where a format says what it is, and what its file system is called.
struct Format {
    /// As mount(2) takes it, where it matters here.
    name: &'static str,
    signature: (usize, &'static [u8]),
    /// Sixteen bytes of a UUID, or four of FAT's serial number.
    identifier: Range<usize>,
    label: Range<usize>,
}

const FORMATS: [Format; 7] = [
    Format { name: "ext4", signature: (1080, b"\x53\xef"), identifier: 1128..1144, label: 1144..1160 },
    Format { name: "swap", signature: (4086, b"SWAPSPACE2"), identifier: 1036..1052, label: 1052..1068 },
    Format { name: "xfs", signature: (0, b"XFSB"), identifier: 32..48, label: 108..120 },
    Format { name: "btrfs", signature: (65600, b"_BHRfS_M"), identifier: 65568..65584, label: 65835..66091 },
    Format { name: "vfat", signature: (82, b"FAT32"), identifier: 67..71, label: 71..82 },
    Format { name: "vfat", signature: (54, b"FAT1"), identifier: 39..43, label: 43..54 },
    Format { name: "iso9660", signature: (32769, b"CD001"), identifier: 0..0, label: 32808..32840 },
];
/// How far a device is read: to the end of the last label.
const READ: u64 = 66091;

/// The tags of all block devices.
pub fn known() -> Vec<String> {
    let devices = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    devices.flat_map(|device| tags(&device.path(), &Path::new("/dev").join(device.file_name()))).collect()
}

/// Those of one, by its folder in /sys and its node.
fn tags(device: &Path, node: &Path) -> Vec<String> {
    let mut tags = partition_tags(&fs::read_to_string(device.join("uevent")).unwrap_or_default());
    let start = start(node).unwrap_or_default();
    tags.extend(FORMATS.iter().filter_map(|format| content_tags(format, &start)).flatten());
    tags.retain(|tag| !tag.ends_with('='));
    tags
}

/// Format and label of the device with this node; `None` where it has no label.
pub fn label(node: &Path) -> Option<(&'static str, String)> {
    let start = start(node).ok()?;
    let labels = FORMATS.iter().filter_map(|format| Some((format.name, text(fields(format, &start)?.1))));
    labels.into_iter().find(|(_, label)| !label.is_empty())
}

fn partition_tags(facts: &str) -> Vec<String> {
    let fact = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let tags = [("PARTUUID", fact("PARTUUID")), ("PARTLABEL", fact("PARTNAME"))];
    tags.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect()
}

fn start(node: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(node)?.take(READ).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn content_tags(format: &Format, start: &[u8]) -> Option<[String; 2]> {
    let (identifier, label) = fields(format, start)?;
    Some([format!("UUID={}", written(identifier)), format!("LABEL={}", text(label))])
}

/// Identifier and label, where it is this format.
fn fields<'a>(format: &Format, start: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (place, signature) = format.signature;
    let is_it = start.get(place..)?.starts_with(signature);
    let fields = (start.get(format.identifier.clone())?, start.get(format.label.clone())?);
    is_it.then_some(fields)
}

/// An identifier as it is written: a UUID, or FAT's number, whose bytes stand in reverse.
fn written(bytes: &[u8]) -> String {
    match *bytes {
        [] => String::new(),
        [a, b, c, d] => format!("{d:02X}{c:02X}-{b:02X}{a:02X}"),
        _ => {
            let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            [0..4, 4..6, 6..8, 8..10, 10..16].map(|part| digits[part].concat()).join("-")
        }
    }
}

/// A label, which ends where its room does, with a zero, or in front of spaces (FAT).
fn text(label: &[u8]) -> String {
    let label = label.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(label).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const ID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    #[test]
    fn devices_are_known_by_their_tags_as_blkid_has_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("uevent"), "MAJOR=254\nPARTN=3\nPARTUUID=beef-1\nPARTNAME=root\n").unwrap();
        let node = folder.path().join("node");
        for (program, options, id) in [
            ("mke2fs", &["-q", "-t", "ext4", "-L", "data", "-U", ID][..], ID),
            ("mkswap", &["-q", "-L", "data", "-U", ID], ID),
            ("mkfs.fat", &["-F", "32", "-n", "data", "-i", "abcd1234"], "ABCD-1234"),
            ("mkfs.fat", &["-F", "16", "-n", "data", "-i", "abcd1234"], "ABCD-1234"),
            ("mkfs.xfs", &["-q", "-f", "-L", "data", "-m", &format!("uuid={ID}")], ID),
            ("mkfs.btrfs", &["-q", "-f", "-L", "data", "-U", ID], ID),
        ] {
            File::create(&node).unwrap().set_len(320 << 20).unwrap();
            let made = Command::new(Path::new("/sbin").join(program)).args(options).arg(&node).output().unwrap();
            assert!(made.status.success(), "{program}: {made:?}");
            let found = tags(folder.path(), &node);
            assert_eq!(found, ["PARTUUID=beef-1", "PARTLABEL=root", &format!("UUID={id}"), "LABEL=data"], "{program}");
            let tag = |name: &str| {
                let told = Command::new("/sbin/blkid").args(["-p", "-o", "value", "-s", name]).arg(&node).output();
                String::from_utf8(told.unwrap().stdout).unwrap().trim().to_owned()
            };
            assert_eq!([format!("UUID={}", tag("UUID")), format!("LABEL={}", tag("LABEL"))], found[2..], "{program}");
        }
    }

    #[test]
    fn a_cds_label_is_its_volume_identifier() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        let files = folder.path().join("files");
        fs::create_dir(&files).unwrap();
        let mut maker = Command::new("xorriso");
        maker.args(["-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o"]).arg(&node).arg(&files);
        let made = maker.output().unwrap();
        assert!(made.status.success(), "{made:?}");
        assert_eq!(label(&node), Some(("iso9660", "cidata".to_owned())));
        assert_eq!(tags(folder.path(), &node), ["LABEL=cidata"]);
    }

    #[test]
    fn a_device_that_ends_early_or_is_none_has_no_tags() {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("node");
        assert!(tags(folder.path(), &node).is_empty());
        for length in [0, 4, 100, 1081, 4096] {
            let mut bytes = vec![0; length];
            bytes.iter_mut().zip(b"XFSB").for_each(|(byte, &name)| *byte = name);
            fs::write(&node, &bytes).unwrap();
            assert_eq!(tags(folder.path(), &node).len(), usize::from(length > 120), "{length}");
        }
    }
}
