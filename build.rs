//! Builds PID 1 of the guest, a static binary of its own, so that the library can carry it.
//!
//! ```text
//! cargo build (host) ─▶ build.rs ─▶ cargo build --bin bootdisk-init ─▶ OUT_DIR/pid1-ARCH ─▶ src/pid1.rs
//! ```
//!
//! The nested build has one profile, one set of flags and paths remapped away, so PID 1 has the same bytes whether
//! bootdisk itself is a debug or a release build and wherever its checkout lies: the bytes are part of every disk.
//! An architecture whose standard library is not installed is left out; `bootdisk` says so when it is asked for it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Guest architectures, as Rust and as its target triples name them.
const GUESTS: [(&str, &str); 2] = [("x86_64", "x86_64-unknown-linux-gnu"), ("aarch64", "aarch64-unknown-linux-gnu")];

/// Everything PID 1 is made of. A change elsewhere must not build it again.
const SOURCES: [&str; 7] =
    ["build.rs", "Cargo.toml", "Cargo.lock", "src/init", "src/guest", "src/escape.rs", "rust-toolchain.toml"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // The nested build runs this script too, without the host feature: it has nothing to embed.
    if env::var_os("CARGO_FEATURE_HOST").is_none() {
        return;
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    for (arch, triple) in GUESTS {
        let embedded = out.join(format!("pid1-{arch}"));
        let native = arch == variable("CARGO_CFG_TARGET_ARCH");
        let bytes = if native || has_standard_library(triple) { build(&out, triple, native) } else { Vec::new() };
        write_if_changed(&embedded, &bytes);
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo always sets {name} for a build script"))
}

fn has_standard_library(triple: &str) -> bool {
    let output = Command::new(variable("RUSTC")).args(["--print", "target-libdir", "--target", triple]).output();
    let Ok(output) = output else { return false };
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
}

/// The stripped binary. Empty when a foreign architecture has a standard library but no linker or C library.
fn build(out: &Path, triple: &str, native: bool) -> Vec<u8> {
    let target = out.join("pid1-target");
    let done = run(&target, triple);
    let binary = target.join(triple).join("init/bootdisk-init");
    match fs::read(&binary) {
        Ok(bytes) if done => bytes,
        _ if native => panic!("PID 1 of the guest does not build for {triple}; the messages above say why"),
        _ => {
            println!("cargo::warning=PID 1 does not build for {triple}; disks for it cannot be made by this bootdisk");
            Vec::new()
        }
    }
}

/// Without the network first: what the outer build has fetched is enough, and asking a registry costs seconds.
fn run(target: &Path, triple: &str) -> bool {
    let Ok(output) = cargo(target, triple).arg("--offline").output() else { return false };
    let messages = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && messages.contains("offline") {
        return cargo(target, triple).status().is_ok_and(|status| status.success());
    }
    eprint!("{messages}");
    output.status.success()
}

fn cargo(target: &Path, triple: &str) -> Command {
    let checkout = variable("CARGO_MANIFEST_DIR");
    let mut command = Command::new(variable("CARGO"));
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if decides_about_the_build(&name) {
            command.env_remove(name);
        }
    }
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Crelocation-model=static".to_owned(),
        format!("--remap-path-prefix={}=/cargo", cargo_home()),
        format!("--remap-path-prefix={}=/pid1-target", target.display()),
        format!("--remap-path-prefix={checkout}=/bootdisk"),
    ];
    command
        .current_dir(&checkout)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .args(["build", "--quiet", "--bin", "bootdisk-init", "--no-default-features", "--features", "init"])
        .args(["--profile", "init", "--locked", "--target", triple])
        .arg("--target-dir")
        .arg(target);
    command
}

/// What the outer cargo, clippy, a wrapper or a user's environment would change in the nested build.
fn decides_about_the_build(name: &str) -> bool {
    const KEPT: [&str; 4] = ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR"];
    let cargo = name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept));
    cargo
        || name.starts_with("DEP_")
        || matches!(
            name,
            "RUSTFLAGS"
                | "RUSTC_WRAPPER"
                | "RUSTC_WORKSPACE_WRAPPER"
                | "RUSTC_LINKER"
                | "TARGET"
                | "HOST"
                | "PROFILE"
                | "OPT_LEVEL"
                | "DEBUG"
                | "OUT_DIR"
                | "CLIPPY_ARGS"
                | "SOURCE_DATE_EPOCH"
        )
}

fn cargo_home() -> String {
    env::var("CARGO_HOME").unwrap_or_else(|_| format!("{}/.cargo", env::var("HOME").unwrap_or_default()))
}

/// Keeps the old time stamp when nothing changed, so that the library is not compiled again.
fn write_if_changed(path: &Path, bytes: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(bytes) {
        fs::write(path, bytes).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}
