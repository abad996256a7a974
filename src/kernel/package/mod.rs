//! Debian packages, read as a stream: never unpacked, and only what is asked for is kept in memory.
//!
//! ```text
//! ar: debian-binary "2.0\n" ─ control.tar[.gz|.xz|.zst] ─ data.tar[.gz|.xz|.zst]
//!                              └ ./control (fields)         └ ./boot/vmlinuz-R ./boot/config-R ./lib/modules/R/...
//! ```
//!
//! Not supported: packages of other distributions, and signatures (`_gpg*` members are skipped): a package is taken
//! as it is given. Specification: deb(5), deb-control(5).

pub mod ar;
pub mod tar;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::KernelError;
use super::unpack;

/// Longest control file accepted, in bytes.
const MAX_CONTROL: u64 = 1 << 20;
/// Most bytes a package may unpack to; Debian's generic kernel has 0.4 GiB.
const MAX_DATA: u64 = 8 << 30;
/// Longest tail between the archive's end mark and the end of its stream, in bytes.
const MAX_TAIL: u64 = 1 << 20;

/// The fields of a control file that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `Package`.
    pub package: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`, in Debian's words.
    pub architecture: String,
    /// Package names of `Depends`, the first of each group of alternatives, in order.
    pub depends: Vec<String>,
}

impl Control {
    fn parse(text: &str) -> Control {
        let mut control = Control::default();
        // Lines that begin with a blank continue the field before; none of the fields here is ever folded so.
        for line in text.lines().filter(|line| !line.starts_with([' ', '\t'])) {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Package" => control.package = value.to_owned(),
                "Version" => control.version = value.to_owned(),
                "Architecture" => control.architecture = value.to_owned(),
                "Depends" | "Pre-Depends" => control.depends.extend(value.split(',').filter_map(dependency)),
                _ => {}
            }
        }
        control
    }

    /// The dependency that a kernel metapackage is there for.
    pub fn real_kernel(&self) -> Option<&str> {
        self.depends.iter().map(String::as_str).find(|name| name.starts_with("linux-image-"))
    }
}

/// `name (>= 1) | other` → `name`.
fn dependency(text: &str) -> Option<String> {
    let first = text.split('|').next()?.trim();
    let name: String = first.chars().take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)).collect();
    (!name.is_empty()).then_some(name)
}

/// Whether a file begins as a package does.
pub fn is_package(prefix: &[u8]) -> bool {
    prefix.starts_with(ar::MAGIC)
}

/// Called for each regular file of a package, in the package's order.
pub type Visit<'a> = dyn FnMut(&tar::Entry, &mut dyn Read) -> Result<(), KernelError> + 'a;

/// Reads the whole package once. `visit` reads as much of each file as it likes.
pub fn scan(path: &Path, visit: &mut Visit<'_>) -> Result<Control, KernelError> {
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
            walk(path, body, visit)?;
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

fn read_control(path: &Path, body: impl Read) -> Result<Control, KernelError> {
    let mut control = None;
    walk(path, body, &mut |entry, body| {
        if entry.path == "control" {
            let text = unpack::read_bounded(body, MAX_CONTROL).map_err(KernelError::io("read", path))?;
            let text = text.ok_or_else(|| KernelError::package(path, "its control file is too long"))?;
            control = Some(Control::parse(&String::from_utf8_lossy(&text)));
        }
        Ok(())
    })?;
    control.ok_or_else(|| KernelError::package(path, "it has no control file"))
}

fn walk(path: &Path, body: impl Read, visit: &mut Visit<'_>) -> Result<(), KernelError> {
    let bad = |error: io::Error| KernelError::package(path, error.to_string());
    let mut stream = unpack::reader(body).map_err(bad)?.take(MAX_DATA);
    let mut walk = tar::Walk::new(&mut stream);
    while let Some(entry) = walk.next_file().map_err(bad)? {
        visit(&entry, &mut walk.body())?;
    }
    // The stream's own checksum stands at its end.
    io::copy(&mut stream.by_ref().take(MAX_TAIL), &mut io::sink()).map_err(bad)?;
    Ok(())
}

fn shown(name: &str) -> String {
    crate::escape::escape(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_fields_are_read() {
        let control = Control::parse(
            "Package: linux-image-cloud-amd64\nVersion: 6.1\nArchitecture: amd64\n\
             Depends: linux-base (>= 4), linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2) | x, y\nDescription: a\n b: c\n",
        );
        assert_eq!(control.package, "linux-image-cloud-amd64");
        assert_eq!(control.depends, ["linux-base", "linux-image-6.1.0-56-cloud-amd64", "y"]);
        assert_eq!(control.real_kernel(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(Control::parse("no fields").real_kernel(), None);
    }
}
