//! Whose signatures EFI programs have: the report on a program given by itself, and those of a disk or a kernel.

use super::model::{Kind, Program, Report};
use crate::escape::escape;
use crate::formats::pe;
use crate::signing::{fingerprint, verify};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest program that is read.
const MAX_FILE: u64 = 256 << 20;
/// Bytes that tell whether a file is one.
const START: u64 = 4096;

/// What a program's signatures say, one entry each, or one that there are none. Empty for what is no EFI program.
pub fn of(bytes: &[u8], evidence: &str) -> Vec<Program> {
    if pe::machine(bytes).is_none() {
        return Vec::new();
    }
    let program = |signature: &str| Program {
        evidence: evidence.to_owned(),
        signature: signature.to_owned(),
        signed_by: None,
        sha256: None,
    };
    match verify::signatures(bytes) {
        Err(_) => vec![program("damaged")],
        Ok(found) if found.is_empty() => vec![program("none")],
        Ok(found) => found
            .into_iter()
            .map(|signed| {
                let state = match (signed.is_genuine, signed.digest_matches) {
                    (true, true) => "right",
                    (_, false) => "of other bytes",
                    (false, _) => "not by its certificate",
                };
                Program {
                    signed_by: signed.by.as_ref().map(|by| by.subject.clone()),
                    sha256: signed.by.as_ref().map(fingerprint),
                    ..program(state)
                }
            })
            .collect(),
    }
}

/// The same of a file of this host.
pub fn of_file(path: &Path) -> Vec<Program> {
    read(path).map_or(Vec::new(), |bytes| of(&bytes, &crate::escape::path(path)))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    // A pipe is not waited for.
    let is_file = std::fs::metadata(path).ok()?.is_file();
    let mut file = is_file.then(|| File::open(path).ok()).flatten()?;
    let mut bytes = Vec::new();
    (&mut file).take(START).read_to_end(&mut bytes).ok()?;
    pe::machine(&bytes)?;
    file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The report on an EFI program that is no kernel.
pub fn report(name: &str, path: &Path) -> Report {
    let mut report = Report::new(Kind::Program, name);
    let bytes = read(path).unwrap_or_default();
    report.programs = of(&bytes, &crate::escape::path(path));
    let machine = match pe::machine(&bytes) {
        Some(0x8664) => "x86_64".to_owned(),
        Some(0xaa64) => "aarch64".to_owned(),
        Some(other) => format!("machine {other:#x}"),
        None => "an unknown machine".to_owned(),
    };
    report.verdict = match report.programs.iter().find(|program| program.signed_by.is_some()) {
        Some(Program { signed_by: Some(by), signature, .. }) if signature == "right" => {
            format!("EFI program for {machine}, signed by {by}")
        }
        Some(program) => {
            format!("EFI program for {machine}, whose signature is {}", escape(program.signature.as_bytes()))
        }
        None => format!("EFI program for {machine}, not signed"),
    };
    report
}
