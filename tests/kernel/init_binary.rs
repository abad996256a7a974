//! PID 1's bytes: they are part of every disk, so they must not depend on how or where bootdisk was built.

use crate::support::tools;
use bootdisk::arch::Architecture;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn it_is_a_static_executable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("init");
    fs::write(&path, bootdisk::pid1::init_binary(Architecture::X86_64).expect("built in").bytes).unwrap();
    let headers = tools::stdout(Command::new("readelf").args(["--program-headers", "--dynamic"]).arg(&path));
    assert!(headers.contains("EXEC (Executable file)") || headers.contains("LOAD"), "{headers}");
    assert!(!headers.contains("INTERP") && !headers.contains("NEEDED"), "{headers}");
    // The same question has another answer for a dynamic program.
    let other = tools::stdout(Command::new("readelf").args(["--program-headers", "--dynamic", "/bin/ls"]));
    assert!(other.contains("INTERP") && other.contains("NEEDED"), "{other}");
}

/// A release build in another folder, with another target folder and flags of the user's own.
#[test]
#[ignore = "a release build takes minutes"]
fn it_has_the_same_bytes_from_any_folder_and_any_build() {
    let folder = tempfile::tempdir().unwrap();
    let (checkout, target) = (folder.path().join("elsewhere"), folder.path().join("target"));
    fs::create_dir(&checkout).unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for part in ["src", "Cargo.toml", "Cargo.lock", "build.rs", "rust-toolchain.toml"] {
        tools::stdout(Command::new("cp").arg("-r").arg(here.join(part)).arg(&checkout));
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--lib", "--locked", "--offline"]).current_dir(&checkout);
    cargo.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-C debuginfo=1").env("CARGO_PROFILE_INIT_OPT_LEVEL", "0");
    tools::stdout(&mut cargo);
    let found = tools::stdout(Command::new("find").arg(&target).args(["-name", "pid1-x86_64"]));
    let other = fs::read(found.trim()).expect("the other build has PID 1 too");
    assert!(other == bootdisk::pid1::init_binary(Architecture::X86_64).expect("built in").bytes, "PID 1 differs");
}
