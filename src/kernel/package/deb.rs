//! Debian packages, and Ubuntu's.
//!
//! ```text
//! ar: debian-binary "2.0\n" ─ control.tar[.gz|.xz|.zst] ─ data.tar[.gz|.xz|.zst]
//!                              └ ./control (fields)         └ ./boot/vmlinuz-R ./boot/config-R ./lib/modules/R/...
//! ```
//!
//! The format carries no digest of itself: what it unpacks to is guarded by the compressor's own checksum alone.
//! Not supported: signatures (`_gpg*` members are skipped). Specification: deb(5), deb-control(5).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::{Facts, Visit, ar, shown, tar, walk};
use crate::kernel::KernelError;
use crate::kernel::unpack;

/// Longest control file accepted, in bytes.
const MAX_CONTROL: u64 = 1 << 20;

/// Reads the whole package once. `visit` reads as much of each file as it likes.
pub(super) fn scan(path: &Path, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let mut file = File::open(path).map_err(KernelError::io("open", path))?;
    let length = file.metadata().map_err(KernelError::io("read", path))?.len();
    ar::open(&mut file).map_err(bad)?;

    let mut control = None;
    let mut data = false;
    while let Some(member) = ar::next(&mut file).map_err(bad)? {
        let start = file.stream_position().map_err(bad)?;
        let end = start.checked_add(member.size).filter(|&end| end <= length);
        let end =
            end.ok_or_else(|| KernelError::package(path, format!("it is cut short in {}", shown(&member.name))))?;
        let body = BufReader::with_capacity(256 << 10, (&file).take(member.size));
        if member.name.starts_with("control.tar") {
            control = Some(read_control(path, body)?);
        } else if member.name.starts_with("data.tar") {
            walk(path, body, tar::End::Marked, visit)?;
            data = true;
        }
        file.seek(SeekFrom::Start(end + end % 2)).map_err(bad)?;
    }
    match (control, data) {
        (Some(control), true) => Ok(control),
        (None, _) => Err(KernelError::package(path, "it has no control.tar")),
        (_, false) => Err(KernelError::package(path, "it has no data.tar")),
    }
}

fn read_control(path: &Path, body: impl Read) -> Result<Facts, KernelError> {
    let mut control = None;
    walk(path, body, tar::End::Marked, &mut |entry, body| {
        if entry.path == "control" {
            let text = unpack::read_bounded(body, MAX_CONTROL).map_err(KernelError::io("read", path))?;
            let text = text.ok_or_else(|| KernelError::package(path, "its control file is too long"))?;
            control = Some(parse(&String::from_utf8_lossy(&text)));
        }
        Ok(())
    })?;
    control.ok_or_else(|| KernelError::package(path, "it has no control file"))
}

/// Reads the fields of a control file that matter here.
fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    // Lines that begin with a blank continue the field before; none of the fields here is ever folded so.
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t'])) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key {
            "Package" => facts.package = value.to_owned(),
            "Version" => facts.version = value.to_owned(),
            "Depends" | "Pre-Depends" => facts.depends.extend(value.split(',').filter_map(dependency)),
            _ => {}
        }
    }
    facts
}

/// `name (>= 1) | other` → `name`.
fn dependency(text: &str) -> Option<String> {
    let first = text.split('|').next()?.trim();
    let name: String = first.chars().take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_fields_are_read() {
        let facts = parse(
            "Package: linux-image-cloud-amd64\nVersion: 6.1\nArchitecture: amd64\n\
             Depends: linux-base (>= 4), linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2) | x, y\nDescription: a\n b: c\n",
        );
        assert_eq!(facts.package, "linux-image-cloud-amd64");
        assert_eq!(facts.depends, ["linux-base", "linux-image-6.1.0-56-cloud-amd64", "y"]);
        assert_eq!(facts.real_kernel(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(parse("no fields").real_kernel(), None);
    }
}
