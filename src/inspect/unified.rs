//! The report on a unified kernel image: its sections, who signed it or nobody, what the TPM will have measured.

use super::model::{Measured, Section, Unified};
use crate::escape::escape;
use crate::formats::uki::Uki;
use crate::formats::unpack::read_bounded;
use crate::hex::hex;
use crate::inputs;
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::io;
use std::path::Path;

/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// Sections whose contents are text, as long as they are short.
const TEXTS: [&[u8]; 6] = [b".osrel", b".cmdline", b".uname", b".sbat", b".sdmagic", b".profile"];
/// Longest text that is told, in bytes.
const MAX_TEXT: usize = 4096;

/// What is known of a file's bytes; `None` when they are no unified kernel image.
pub fn facts(file: &[u8]) -> Option<Unified> {
    let uki = Uki::parse(file)?;
    let sections = uki.headers.sections.iter().map(|section| {
        let body = file.get(section.body()).unwrap_or_default();
        let is_text = TEXTS.contains(&section.name()) && body.len() <= MAX_TEXT;
        Section {
            name: escape(section.name()),
            size: body.len() as u64,
            sha256: hex(Sha256::digest(body)),
            text: is_text.then(|| text(body)).flatten(),
        }
    });
    Some(Unified {
        size: file.len() as u64,
        sha256: hex(Sha256::digest(file)),
        stub: uki.stub().map(escape),
        signed: uki.headers.is_signed(),
        sections: sections.collect(),
        pcr11: measured(&uki),
    })
}

/// The same of a file; `None` also when it is too large.
///
/// # Errors
/// As every reading of a file.
pub fn of_file(path: &Path) -> io::Result<Option<Unified>> {
    Ok(read_bounded(inputs::open(path)?, MAX_FILE)?.and_then(|file| facts(&file)))
}

fn measured(uki: &Uki<'_>) -> Option<Measured> {
    Some(Measured {
        sha256: hex(uki.pcr11::<Sha256>()?),
        sha384: hex(uki.pcr11::<Sha384>()?),
        sha512: hex(uki.pcr11::<Sha512>()?),
    })
}

/// Lines of text, each printable; `None` for what is no text.
fn text(body: &[u8]) -> Option<String> {
    let end = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = std::str::from_utf8(&body[..end]).ok()?;
    let lines: Vec<String> = text.lines().map(|line| escape(line.as_bytes())).collect();
    Some(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_printable_line_by_line() {
        assert_eq!(text(b"ID=x\nA=\x1b[1m\n\0\0").unwrap(), "ID=x\nA=\\x1b[1m");
        assert_eq!(text(b"\xff"), None);
        assert_eq!(text(b""), Some(String::new()));
        assert_eq!(facts(b"MZ"), None);
    }
}
