//! What a release is made of: the files of the crate, the list of components, the links of the site.

use crate::support::tools;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &str, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(checkout().join(folder)).unwrap().map(Result::unwrap) {
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&path, files);
        } else {
            files.insert(path);
        }
    }
}

#[test]
fn the_crate_holds_what_it_is_compiled_from_and_no_tests() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--locked", "--offline", "--allow-dirty"]).current_dir(checkout());
    let said = tools::stdout(&mut cargo);
    let held: BTreeSet<&str> = said.lines().collect();
    let mut needed =
        BTreeSet::from(["build.rs", "Cargo.toml", "Cargo.lock", "LICENSE", "rust-toolchain.toml"].map(String::from));
    for folder in ["src", "kernel-configs"] {
        files_below(folder, &mut needed);
    }
    let missing: Vec<&String> = needed.iter().filter(|file| !held.contains(file.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!held.iter().any(|file| file.starts_with("tests/") || file.starts_with("fuzz/")), "{said}");
}

#[test]
fn the_components_are_the_crates_that_are_linked_with_their_checksums() {
    let mut script = Command::new("python3");
    script.arg(checkout().join("scripts/lib/sbom.py")).arg(checkout().join("Cargo.toml"));
    script.env("SOURCE_DATE_EPOCH", "86400").env("CARGO_NET_OFFLINE", "true");
    let said = tools::stdout(&mut script);
    let document: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(document["metadata"]["timestamp"], "1970-01-02T00:00:00Z");
    let components = document["components"].as_array().unwrap();
    let named = |name: &str| components.iter().find(|component| component["name"] == name);
    let lock = fs::read_to_string(checkout().join("Cargo.lock")).unwrap();
    for name in ["clap", "nix", "ring", "zstd-sys"] {
        let component = named(name).unwrap_or_else(|| panic!("{name} is linked"));
        let checksum = component["hashes"][0]["content"].as_str().unwrap();
        assert!(lock.contains(&format!("checksum = \"{checksum}\"")), "{component}");
        assert!(component["licenses"][0]["expression"].is_string(), "{component}");
    }
    assert!(named("proptest").is_none(), "tests alone need it");
    assert_eq!(tools::stdout(&mut script), said, "the same each time");
}

#[test]
fn a_link_of_the_site_that_leads_nowhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let page = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let check =
        || tools::run(Command::new("python3").arg(checkout().join("scripts/lib/check-links.py")).arg(folder.path()));
    page(
        "index.html",
        "<a href=\"other.html#here\">x</a> <a href=\"https://example.org/\">y</a> <img src='a%20b.svg'>",
    );
    page("other.html", "<h2 id=\"here\">x</h2> <a href=\"#here\">x</a> <a href=\".\">x</a>");
    page("a b.svg", "");
    let good = check();
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    for (name, wrong, link) in [
        ("file", "<a href=\"none.html\">x</a>", "none.html"),
        ("anchor", "<a href=\"other.html#there\">x</a>", "other.html#there"),
        ("own anchor", "<a href=\"#there\">x</a>", "#there"),
        ("picture", "<img src=\"none.svg\">", "none.svg"),
    ] {
        page("index.html", wrong);
        let output = check();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("index.html: {link} leads nowhere")), "{name}: {said}");
    }
}
