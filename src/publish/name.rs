//! Names that no disk of ours has: whoever opens the file by its ending would take it for something else.
//!
//! A compressed disk is raw inside, so that no other form's ending stands before that of the compression.

use super::FileError;
use std::path::Path;

/// Ending, format, and how it is made of a raw disk: `RAW` and `OUT` stand for the names of the two files.
const FORMATS: [(&str, &str, &str); 11] = [
    ("qcow", "a QCOW disk", "qemu-img convert -O qcow RAW OUT"),
    ("qed", "a QED disk", "qemu-img convert -O qed RAW OUT"),
    ("hdd", "a Parallels disk", "qemu-img convert -O parallels RAW OUT"),
    ("ovf", "a package of a whole machine", ""),
    ("iso", "a CD image", ""),
    ("dmg", "a macOS disk image", ""),
    ("bz2", "a compressed file", "bzip2 -c RAW >OUT"),
    ("lz4", "a compressed file", "lz4 -q RAW OUT"),
    ("zip", "an archive", ""),
    ("tar", "an archive", ""),
    ("tgz", "an archive", ""),
];

/// Endings of compressed disks.
const COMPRESSED: [&str; 3] = ["gz", "xz", "zst"];
/// Endings of the forms that are written, and cannot be compressed once more.
const FORMS: [&str; 8] = ["qcow2", "vmdk", "vdi", "vhd", "vpc", "vhdx", "ova", "box"];

/// Refuses a name that promises another format, and `-`.
pub fn check(path: &Path) -> Result<(), FileError> {
    if path.as_os_str() == "-" {
        return Err(FileError::StandardOutput);
    }
    let ending = |path: &Path| path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let Some(last) = ending(path) else { return Ok(()) };
    if COMPRESSED.contains(&last.as_str()) {
        let before = ending(Path::new(path.file_stem().unwrap_or_default())).unwrap_or_default();
        let known = FORMS.contains(&before.as_str()) || FORMATS.iter().any(|(known, ..)| *known == before);
        return match known && (last.as_str(), before.as_str()) != ("gz", "tar") {
            true => Err(FileError::Format { format: "something else, compressed", convert: "", path: path.to_owned() }),
            false => Ok(()),
        };
    }
    match FORMATS.iter().find(|(known, ..)| last == *known) {
        Some(&(_, format, convert)) => Err(FileError::Format { format, convert, path: path.to_owned() }),
        None => Ok(()),
    }
}
