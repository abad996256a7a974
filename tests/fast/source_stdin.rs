//! `-`: standard input as a pipe, as a file, as nothing, as a terminal.
//!
//! One test in a process of its own, since a program has one standard input.

use crate::support::apart::apart;
use crate::support::images::{ImageBuilder, Pack, TarBuilder};
use bootdisk::image::Image;
use bootdisk::source::{self, Reference, Select, SourceError};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

fn open_with(stdin: impl AsFd, reference: &str) -> Result<Image, SourceError> {
    nix::unistd::dup2_stdin(stdin).unwrap();
    let select = Select { platform: Some("linux/amd64".parse().unwrap()), ..Select::default() };
    source::open(&Reference::parse(reference.as_ref()).unwrap(), &select)
}

/// A pipe that somebody writes these bytes to.
fn pipe(bytes: Vec<u8>) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // A reader that refuses early closes the pipe: that is an error for the writer and none for this test.
    std::thread::spawn(move || writer.write_all(&bytes));
    reader.into()
}

#[test]
fn standard_input_is_an_archive() {
    apart("source_stdin::standard_input_is_an_archive", every_kind_of_standard_input);
}

fn every_kind_of_standard_input() {
    let body: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = ImageBuilder::new().layer(TarBuilder::new().file("body", 0o644, &body).build()).tag("app:1");
    let is_it = |opened: Result<Image, SourceError>| {
        let opened = opened.unwrap();
        let mut stream = opened.open_layer(0).unwrap();
        assert_eq!(std::io::copy(&mut stream, &mut std::io::sink()).unwrap(), image.layers[0].tar.len() as u64);
        stream.finish().unwrap();
        assert_eq!(opened.diff_ids().next().unwrap().to_string(), image.diff_ids()[0]);
    };
    is_it(open_with(pipe(image.docker_legacy()), "-"));
    is_it(open_with(pipe(image.docker25()), "-:app:1"));
    is_it(open_with(pipe(Pack::Gzip.pack(&image.docker_legacy())), "docker-archive:-"));
    let packed = pipe(Pack::Zstd.pack(&image.oci_archive()));
    for _ in 0..3 {
        is_it(open_with(&packed, "oci-archive:-:1"));
    }
    for path in ["/dev/stdin", "docker-archive:/proc/self/fd/0"] {
        let stream = pipe(image.docker_legacy());
        is_it(open_with(&stream, path));
        is_it(open_with(&stream, "-"));
        is_it(open_with(&stream, path));
    }

    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"something before it").unwrap();
    file.write_all(&image.docker_legacy()).unwrap();
    // As after `read line; bootdisk build -` in a shell script: the archive begins where the file stands.
    file.seek(SeekFrom::Start(19)).unwrap();
    is_it(open_with(&file, "-"));
    is_it(open_with(&file, "-"));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&image.docker_legacy()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    is_it(open_with(&file, "-"));

    let is = |what: &str| format!("an image is needed, but this is {what}");
    let refused = |opened: Result<Image, SourceError>| opened.unwrap_err().to_string();
    assert_eq!(refused(open_with(File::open("/dev/null").unwrap(), "-")), is("an empty file"));
    assert_eq!(refused(open_with(File::open("/dev/zero").unwrap(), "-")), is("nothing but zeros"));
    assert_eq!(refused(open_with(pipe(vec![b'x'; 1 << 20]), "-")), is("text"));
    assert_eq!(refused(open_with(pipe(b"QFI\xfb".repeat(30_000)), "-")), is("a disk in the qcow2 format"));
    assert!(matches!(open_with(pipe(image.docker_legacy()), "oci:-"), Err(SourceError::NotADirectory)));
    let half = image.docker_legacy()[..1_000_000].to_vec();
    assert!(matches!(open_with(pipe(half), "-"), Err(SourceError::Archive(_))));
    let terminal = nix::pty::openpty(None, None).unwrap();
    let error = open_with(&terminal.slave, "-").unwrap_err();
    assert!(matches!(error, SourceError::Terminal) && error.hint().unwrap().contains("docker save"));
}
