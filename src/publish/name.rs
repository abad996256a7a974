//! Names that no disk of ours has: whoever opens the file by its ending would take it for something else.

use super::FileError;
use std::path::Path;

/// Ending, format, and how it is made of a raw disk: `RAW` and `OUT` stand for the names of the two files.
const FORMATS: [(&str, &str, &str); 14] = [
    ("qcow", "a QCOW disk", "qemu-img convert -O qcow RAW OUT"),
    ("qed", "a QED disk", "qemu-img convert -O qed RAW OUT"),
    ("hdd", "a Parallels disk", "qemu-img convert -O parallels RAW OUT"),
    ("ova", "a package of a whole machine", ""),
    ("ovf", "a package of a whole machine", ""),
    ("iso", "a CD image", ""),
    ("dmg", "a macOS disk image", ""),
    ("gz", "a compressed file", "gzip -c RAW >OUT"),
    ("xz", "a compressed file", "xz -c RAW >OUT"),
    ("zst", "a compressed file", "zstd RAW -o OUT"),
    ("bz2", "a compressed file", "bzip2 -c RAW >OUT"),
    ("zip", "an archive", ""),
    ("tar", "an archive", ""),
    ("tgz", "an archive", ""),
];

/// Refuses a name that promises another format, and `-`.
pub fn check(path: &Path) -> Result<(), FileError> {
    if path.as_os_str() == "-" {
        return Err(FileError::StandardOutput);
    }
    let Some(ending) = path.extension().and_then(|ending| ending.to_str()) else { return Ok(()) };
    match FORMATS.iter().find(|(known, ..)| ending.eq_ignore_ascii_case(known)) {
        Some(&(_, format, convert)) => Err(FileError::Format { format, convert, path: path.to_owned() }),
        None => Ok(()),
    }
}
