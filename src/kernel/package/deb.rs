//! Debian packages, and Ubuntu's.
//!
//! ```text
//! ar: debian-binary "2.0\n" ─ control.tar[.gz|.xz|.zst] ─ data.tar[.gz|.xz|.zst]
//!                              └ ./control (fields)         └ ./boot/vmlinuz-R ./boot/config-R ./lib/modules/R/...
//!                                ./md5sums
//! ```
//!
//! What files are is compared with `md5sums`. Debian signs its archive and not its packages; debsigs signs packages, in members `_gpg*` behind the others, and these are
//! of the other members' bodies one behind the other. Not supported: dpkg-sig's signed lists of digests.
//! Specification: deb(5), deb-control(5), deb-md5sums(5); debsigs(1).

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::digests::Digests;
use super::signed::{self, Kind, Signature};
use super::{Facts, Visit, shown, tar, walk};
use crate::formats::{ar, unpack};
use crate::kernel::{Input, KernelError};

/// Longest control file accepted, in bytes.
const MAX_CONTROL: u64 = 1 << 20;

/// Reads the whole package once. `visit` reads as much of each file as it likes.
pub(super) fn scan(input: &Input, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
    let path = input.path();
    let mut control: Option<Control> = None;
    let mut data = false;
    for_each_member(input, &mut |name, _, body| {
        let body = BufReader::with_capacity(256 << 10, body);
        if name.starts_with("control.tar") {
            control = Some(read_control(path, body)?);
        } else if name.starts_with("data.tar") {
            let mut digests = control.as_mut().and_then(|control| control.digests.as_mut());
            walk(path, body, tar::End::Marked, &mut |entry, body| match &mut digests {
                Some(digests) => digests.visit(path, entry, body, visit),
                None => visit(entry, body),
            })?;
            data = true;
        }
        Ok(())
    })?;
    match (control, data) {
        (Some(Control { facts, digests }), true) => {
            Ok(Facts { checked: digests.map_or("", |digests| digests.checked()), ..facts })
        }
        (None, _) => Err(KernelError::package(path, "it has no control.tar")),
        (_, false) => Err(KernelError::package(path, "it has no data.tar")),
    }
}

/// The signatures by debsigs.
///
/// # Errors
/// Where there is one and the members are not deb(5)'s three in their order: a signature says nothing of their names.
pub(super) fn signatures(input: &Input) -> Result<Vec<Signature>, KernelError> {
    let path = input.path();
    let (mut names, mut covers, mut packets) = (Vec::new(), Vec::new(), Vec::new());
    for_each_member(input, &mut |name, range, body| {
        if !name.starts_with("_gpg") {
            // A fourth is one too many already.
            if names.len() < 4 {
                names.push(name.to_owned());
                covers.push(range);
            }
        } else if packets.len() < signed::MAX_COUNT
            && let Some(bytes) = unpack::read_bounded(body, signed::MAX).map_err(KernelError::io("read", path))?
        {
            packets.push(bytes);
        }
        Ok(())
    })?;
    let in_order = matches!(names.as_slice(), [first, second, third]
        if first == "debian-binary" && second.starts_with("control.tar") && third.starts_with("data.tar"));
    if !packets.is_empty() && !in_order {
        let reason = format!("it is of other members than a package has: {}", shown(&names.join(", ")));
        return Err(KernelError::Signature { reason, path: path.to_owned() });
    }
    let signature = |bytes| Signature { kind: Kind::OpenPgp, bytes, covers: covers.clone() };
    Ok(packets.into_iter().map(signature).collect())
}

/// A member's name, where its body is in the file, and the body.
type Member<'a> = dyn FnMut(&str, Range<u64>, &mut dyn Read) -> Result<(), KernelError> + 'a;

fn for_each_member(input: &Input, take: &mut Member<'_>) -> Result<(), KernelError> {
    let path = input.path();
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let (mut file, length) = (input.reader(), input.size()?);
    ar::open(&mut file).map_err(bad)?;
    while let Some(member) = ar::next(&mut file).map_err(bad)? {
        let start = file.stream_position().map_err(bad)?;
        let end = start.checked_add(member.size).filter(|&end| end <= length);
        let end =
            end.ok_or_else(|| KernelError::package(path, format!("it is cut short in {}", shown(&member.name))))?;
        take(&member.name, start..end, &mut (&mut file).take(member.size))?;
        file.seek(SeekFrom::Start(end + end % 2)).map_err(bad)?;
    }
    Ok(())
}

/// What is in control.tar.
struct Control {
    facts: Facts,
    digests: Option<Digests>,
}

fn read_control(path: &Path, body: impl Read) -> Result<Control, KernelError> {
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let (mut facts, mut digests) = (None, None);
    walk(path, body, tar::End::Marked, &mut |entry, body| {
        match entry.path.as_str() {
            "control" => {
                let text = unpack::read_bounded(body, MAX_CONTROL).map_err(KernelError::io("read", path))?;
                let text = text.ok_or_else(|| KernelError::package(path, "its control file is too long"))?;
                facts = Some(parse(&String::from_utf8_lossy(&text)));
            }
            "md5sums" => digests = Some(Digests::md5sums(body).map_err(bad)?),
            _ => {}
        }
        Ok(())
    })?;
    let facts = facts.ok_or_else(|| KernelError::package(path, "it has no control file"))?;
    Ok(Control { facts, digests })
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
