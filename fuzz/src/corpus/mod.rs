//! Inputs to begin with: right ones, so that mutations of them lead deep. They are made by the generators of the tests,
//! by bootdisk's own writers, and by other people's programs.

mod disks;
mod image;
mod kernels;
mod machine;

use std::path::Path;
use std::process::Command;

/// Targets and their inputs.
pub type Corpus = Vec<(&'static str, Vec<Vec<u8>>)>;

/// Everything.
pub fn all() -> Corpus {
    [image::all(), disks::all(), kernels::all(), machine::all()].concat()
}

/// With a first byte before each, for a target's own choices.
fn with(choices: &[u8], inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    choices.iter().flat_map(|choice| inputs.iter().map(move |input| [&[*choice], &input[..]].concat())).collect()
}

/// Texts as inputs.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Runs a program in a folder of its own, which has these files already; what it leaves in `out` there.
fn made_by(files: &[(&str, &[u8])], script: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    let status = Command::new("bash").args(["-euc", script]).current_dir(folder.path()).status().expect("bash");
    assert!(status.success(), "{script}");
    std::fs::read(folder.path().join("out")).expect("it leaves an input")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).expect("room for a file");
}
