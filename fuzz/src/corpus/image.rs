//! Images, layers, compressed data.

#[path = "../../../tests/support/images.rs"]
#[allow(dead_code, reason = "it is for tests, and a part of it for this")]
pub mod images;
#[path = "../../../tests/support/layers.rs"]
#[allow(dead_code, reason = "it is for tests, and a part of it for this")]
mod layers;

use super::{Corpus, texts, with};
use crate::image::record;
use images::{ImageBuilder, Pack, TarBuilder};
use layers::{Magic, Member, archive, layer};
use std::io::Write;

/// See [`super::all`].
pub fn all() -> Corpus {
    let image = image();
    vec![
        (
            "archive",
            vec![image.docker_legacy(), image.docker25(), image.oci_archive(), Pack::Gzip.pack(&image.docker_legacy())],
        ),
        ("manifest", documents(&image)),
        ("registry", registry()),
        ("config", vec![image.config_json(), ImageBuilder::new().config_json()]),
        ("layer", with(&[1], &some_layers())),
        ("pax", with(&[0, 1], &[records()])),
        ("sparse", sparse()),
        ("inflate", with(&[255, 3], &with(&[255, 1], &deflated()))),
        ("sha256", vec![[&[100, 3][..], &vec![7; 1000]].concat(), [&[128, 40][..], &vec![1; 9000]].concat()]),
        ("zstd", [Pack::Zstd, Pack::ZstdFrames(3)].map(|pack| pack.pack(&some_text())[4..].to_vec()).to_vec()),
        ("gzip", [Pack::Gzip, Pack::GzipMembers(3)].map(|pack| pack.pack(&some_text())[2..].to_vec()).to_vec()),
    ]
}

fn image() -> ImageBuilder {
    let tar =
        TarBuilder::new().dir("etc", 0o755).file("etc/hostname", 0o644, b"box\n").symlink("bin", "usr/bin").build();
    let above = TarBuilder::new().whiteout("etc/hostname").file("a", 0o755, b"#!/bin/sh\n").build();
    ImageBuilder::new().layer(tar).packed_layer(above, Pack::Gzip).cmd(&["/a", "b"]).tag("app:1")
}

/// One right thing at least for each reader, behind its number.
fn registry() -> Vec<Vec<u8>> {
    let said: [&[&str]; 11] = [
        &["Bearer realm=\"https://a.example/t\",service=\"s\",scope=\"repository:a/b:pull\", Basic realm=x\nNegotiate"],
        &["https://cdn.example/b?sig=%2F", "//cdn.example:8443/b", "/b#c", "?page=2"],
        &["bytes 100-199/200"],
        &["7", "Wed, 21 Oct 2015 07:28:30 GMT"],
        &["{\"token\":\"t\",\"access_token\":\"u\",\"expires_in\":300}"],
        &["{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\",\"detail\":{}}]}", "<html>busy</html>"],
        &["{\"name\":\"a\",\"tags\":[\"1.27\",\"1.26\",\"lates\"]}"],
        &["nginx", "localhost:5000/a/b:1@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
        &[REGISTRIES_CONF],
        &["{\"registry-mirrors\":[\"https://m.example\",\"http://localhost:5000/\"]}"],
        &[
            "{\"auths\":{\"https://ghcr.io/v2/\":{\"auth\":\"bWU6cHc=\",\"identitytoken\":\"\"}},\"credHelpers\":{\"a\":\"pass\"},\"credsStore\":\"\"}",
        ],
    ];
    let numbered = said.iter().zip(0u8..).flat_map(|(texts, number)| texts.iter().map(move |text| (number, text)));
    numbered.map(|(number, text)| [&[number], text.as_bytes()].concat()).collect()
}

const REGISTRIES_CONF: &str = r#"docker.io/library/nginx:1
[[registry]]
prefix = "*.io"
location = "a.example/b"
insecure = true
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.example:5000"
pull-from-mirror = "tag-only"
[[registry]]
location = "quay.io"
blocked = true
"#;

fn documents(image: &ImageBuilder) -> Vec<Vec<u8>> {
    let manifest = serde_json::to_vec(&image.manifest()).expect("JSON");
    let index = image.oci_files().into_iter().find(|(name, _)| name == "index.json").expect("a layout has it").1;
    vec![manifest, index]
}

/// Every kind of member and dialect that the tests of the reader have.
fn some_layers() -> Vec<Vec<u8>> {
    let attributes = Member::file("capable", "x")
        .record("SCHILY.xattr.security.capability", [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .record("SCHILY.acl.access", "user::rw-,user:1:r--,group::r--,mask::r--,other::r--")
        .record("mtime", "1700000000.5");
    let odd = Member { magic: Magic::Gnu, ..Member::new(b'L', "././@LongLink") };
    let long = Member { body: b"a/very/long/name\0".to_vec(), ..odd };
    vec![
        layer("a/ a/b=text a/c->b a/d:=a/b a/e| a/.wh.b a/.wh..wh..opq"),
        archive(&[attributes, Member::device(b'3', "tty", 4, 5), Member::dir("d").owner(1 << 22, 5).mtime(1 << 34)]),
        archive(&[long, Member::file("short", "body"), Member::symlink("s", "../../x"), Member::file("s/y", "z")]),
    ]
}

fn records() -> Vec<u8> {
    let all = [
        ("path", "a/long/path"),
        ("linkpath", "t"),
        ("size", "20"),
        ("uid", "1000000"),
        ("gid", "7"),
        ("mtime", "1.25"),
        ("uname", "somebody"),
        ("hdrcharset", "BINARY"),
        ("comment", "x"),
        ("SCHILY.xattr.user.a", "v"),
        ("LIBARCHIVE.xattr.user.b", "dg=="),
        ("SCHILY.acl.default", "user::rwx,group::r-x,other::r-x"),
    ];
    all.iter().flat_map(|(key, value)| record(key, value.as_bytes())).collect()
}

fn sparse() -> Vec<Vec<u8>> {
    let slots: Vec<u8> = [0u64, 100, 4096, 100].iter().flat_map(|n| format!("{n:011o}\0").into_bytes()).collect();
    let mut old = slots;
    old.resize(97, 0);
    old.extend(format!("{:011o}\0", 5000).bytes());
    old.resize(126 + 1024, b'x');
    let mut one = b"2\n0\n10\n500\n20\n".to_vec();
    one.resize(512, 0);
    one.resize(542, b'x');
    let pairs = [
        ("GNU.sparse.offset", "0"),
        ("GNU.sparse.numbytes", "50"),
        ("GNU.sparse.offset", "99"),
        ("GNU.sparse.numbytes", "50"),
    ];
    let pairs: Vec<u8> = pairs.iter().flat_map(|(key, value)| record(key, value.as_bytes())).collect();
    let forms = [old, one, b"0,50,400,50".to_vec(), [record("GNU.sparse.numblocks", b"2"), pairs].concat()];
    (0..).zip(forms).map(|(form, input)| [&[form], &input[..]].concat()).collect()
}

fn some_text() -> Vec<u8> {
    let words = ["the", "disk", "and", "its", "kernel", "a", "of", "0123456789"];
    (0..900usize).flat_map(|n| words[n * n % 7 + n % 2].bytes().chain([b' '])).collect()
}

fn deflated() -> Vec<Vec<u8>> {
    let levels = [0, 1, 6, 9].map(|level| {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(&some_text()).expect("memory");
        encoder.finish().expect("memory")
    });
    // A fixed block with a match, and an empty stored one.
    levels
        .into_iter()
        .chain([vec![0x4b, 0x4c, 0x44, 0x00, 0x00], vec![1, 0, 0, 0xff, 0xff]])
        .chain(texts(&["x"]))
        .collect()
}
