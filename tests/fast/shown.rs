//! Text of strangers is escaped exactly once wherever it is shown: a backslash is two, and never four.

use crate::support::e2e::{Bench, run};
use crate::support::images::{ImageBuilder, TarBuilder};
use serde_json::{Value, json};
use std::fs;

/// An image that has a backslash wherever one can be.
fn odd_image() -> ImageBuilder {
    let tar = TarBuilder::new()
        .dir("etc", 0o755)
        .file("etc/os-release", 0o644, b"ID=a\\b\nVERSION_ID=\"1\\2\"\n")
        .file("etc/passwd", 0o644, b"a\\b:x:0:0::/:/bin/sh\n")
        .file("d\\e", 0o755, b"#!/bin/f\\g\n")
        .symlink("h\\i", "j\\k");
    let mut image = ImageBuilder::new()
        .layer(tar.build())
        .cmd(&["/d\\e", "l\\m"])
        .set("Env", json!(["N\\O=p\\q"]))
        .set("Labels", json!({ "r\\s": "t\\u" }))
        .set("User", json!("v\\w"))
        .set("WorkingDir", json!("/x\\y"))
        .set("StopSignal", json!("SIG\\A"))
        .set("Volumes", json!({ "/B\\C": {} }))
        .set("ExposedPorts", json!({ "80\\D": {} }));
    image.config["history"] = json!([{ "created_by": "RUN E\\F" }]);
    image
}

/// Every run of backslashes is of two.
fn is_escaped_once(text: &str) -> bool {
    runs(text).count() > 0 && runs(text).all(|run| run.len() == 2)
}

/// Runs of backslashes.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| c != '\\').filter(|run| !run.is_empty())
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn reports_have_two_backslashes_for_one() {
    let bench = Bench::without_kernels();
    let archive = bench.path("im\\age.tar");
    fs::write(&archive, odd_image().docker25()).unwrap();
    for options in [&[][..], &["--tree"]] {
        let ran = run(bench.bootdisk().arg("inspect").arg(&archive).args(options)).expect_status(0);
        let text = String::from_utf8(ran.stdout).unwrap();
        assert!(is_escaped_once(&text), "{options:?}: {text}");
    }
    let json = run(bench.bootdisk().arg("inspect").arg(&archive).arg("--json")).expect_status(0);
    let report: Value = serde_json::from_slice(&json.stdout).unwrap();
    let odd: Vec<&str> = texts(&report).into_iter().filter(|text| text.contains('\\')).collect();
    assert!(odd.len() > 12 && odd.iter().all(|text| is_escaped_once(text)), "{odd:#?}");
}

/// What is refused, with what is in it.
fn refusals() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let with = |field: &str, value: Value| {
        let mut image = odd_image();
        image.config[field] = value;
        image.docker25()
    };
    let entry = |tar: TarBuilder| ImageBuilder::new().layer(tar.build()).docker25();
    vec![
        ("a digest", with("rootfs", json!({ "type": "layers", "diff_ids": ["a\\b:00"] })), &["build"]),
        ("a digest without a colon", with("rootfs", json!({ "type": "layers", "diff_ids": ["a\\b"] })), &["build"]),
        ("a type of layers", with("rootfs", json!({ "type": "a\\b", "diff_ids": [] })), &["build"]),
        ("an architecture", with("architecture", json!("a\\b")), &["build"]),
        ("a system", with("os", json!("a\\b")), &["build"]),
        ("a link", entry(TarBuilder::new().hard_link("a\\b", "c\\d")), &["inspect"]),
        ("a name of a file", b"junk".to_vec(), &["build"]),
        ("a name of a file", b"junk".to_vec(), &["inspect"]),
        ("a kernel", b"junk".to_vec(), &["kernel", "add"]),
        ("a platform", odd_image().docker25(), &["build", "--platform", "a\\b"]),
    ]
}

#[test]
fn errors_have_two_backslashes_for_one() {
    let bench = Bench::without_kernels();
    for (what, bytes, words) in refusals() {
        let file = bench.path("fi\\le");
        fs::write(&file, bytes).unwrap();
        let mut command = bench.bootdisk();
        command.args(words).arg(&file);
        if words[0] == "build" {
            command.arg("-o").arg(bench.path("disk.img"));
        }
        let ran = run(&mut command);
        let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(is_escaped_once(error), "{what}: {}", ran.stderr);
    }
}

/// The parser of options quotes a word as it was typed, in a file too.
#[test]
fn spec_files_are_quoted_with_two_backslashes_at_most() {
    let bench = Bench::without_kernels();
    let spec = bench.path("sp\\ec.toml");
    for text in [
        "[[test]]\nimage = 'x.tar'\n'a\\b' = 1\n",
        "[[test]]\nimage = 'x.tar'\nbus = 'a\\b'\n",
        "[[test]]\nimage = 'x.tar'\nhttp = 'a\\b'\n",
        "[[test]]\nimage = 'x.tar'\nname = 'a\\b'\n[[test]]\nimage = 'x.tar'\nname = 'a\\b'\n",
        "'a\\b' = 1\n",
    ] {
        fs::write(&spec, text).unwrap();
        let ran = run(bench.bootdisk().args(["test", "--dry-run", "--spec"]).arg(&spec));
        let error = ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(error.contains(r"sp\\ec") && runs(error).all(|run| run.len() <= 2), "{text}: {}", ran.stderr);
    }
}
