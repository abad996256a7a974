//! Builds PID 1 of the guest, a static binary of its own, so that the library can carry it.
//!
//! ```text
//! cargo build (host) ─▶ build.rs ─▶ cargo build --bin bootdisk-init ─▶ OUT_DIR/pid1-ARCH ─▶ src/pid1.rs
//! ```
//!
//! One is built for each guest architecture that there is a compiler with a standard library for, a linker and a static
//! C library: this toolchain (`rustup target add`), the compiler that `BOOTDISK_RUSTC_ARCH` names, or the one that
//! `scripts/foreign-rust` left in target/foreign-rust. For the others `src/pid1.rs` learns what is missing, and
//! `bootdisk` says so when it is asked for a disk of theirs.
//!
//! A package for Cargo carries the binaries ready-made, in `pid1/ARCH`: whoever installs it then makes the disks that
//! everybody makes, whatever compiler and C library are there. `scripts/release` put them there. With `BOOTDISK_PID1=source`
//! they are built all the same.
//!
//! The nested build has one profile, one set of flags and paths remapped away, so PID 1 has the same bytes whether
//! bootdisk itself is a debug or a release build and wherever its checkout lies: the bytes are part of every disk.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is how cargo is spoken to")]

use sha2::{Digest, Sha256};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

/// Guest architectures, as Rust and as its target triples name them.
const GUESTS: [(&str, &str); 2] = [("x86_64", "x86_64-unknown-linux-gnu"), ("aarch64", "aarch64-unknown-linux-gnu")];

/// Everything PID 1 is made of. A change elsewhere must not build it again.
const SOURCES: [&str; 11] = [
    "build.rs",
    "Cargo.toml",
    "Cargo.lock",
    "src/copy",
    "src/init",
    "src/guest",
    "src/formats/mod.rs",
    "src/formats/gpt",
    "src/escape.rs",
    "src/fnmatch.rs",
    "rust-toolchain.toml",
];

/// What decides where the bodies of layers lie, what is said of them, and what is kept of that for later builds: bases that
/// other code made are not used.
const LAYING: [&str; 9] = [
    "src/layer",
    "src/flatten",
    "src/rootfs",
    "src/ext4",
    "src/escape.rs",
    "src/image/blob.rs",
    "src/image/stream",
    "src/convert/bases.rs",
    "src/convert/write.rs",
];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // The nested build runs this script too, without the host feature: it has nothing to embed.
    if env::var_os("CARGO_FEATURE_HOST").is_none() {
        return;
    }
    println!("cargo::rustc-env=BOOTDISK_BASES_CODE={:016x}", laying());
    let guests = GUESTS.map(|(arch, triple)| Guest::new(arch, triple));
    // Side by side: each is mostly one processor's work.
    let built = thread::scope(|scope| {
        guests.each_ref().map(|guest| scope.spawn(|| guest.bytes())).map(|thread| thread.join().expect("no panic"))
    });
    for (guest, built) in guests.iter().zip(built) {
        let embedded = PathBuf::from(variable("OUT_DIR")).join(format!("pid1-{}", guest.arch));
        let lacks = built.as_ref().err().map_or("", String::as_str);
        println!("cargo::rustc-env=BOOTDISK_PID1_{}_LACKS={lacks}", guest.arch.to_uppercase());
        let built = built.as_deref().unwrap_or_default();
        write_if_changed(&embedded, built);
        write_if_changed(&embedded.with_extension("sha256"), &Sha256::digest(built));
    }
}

/// A digest of the files of [`LAYING`], by their names.
fn laying() -> u64 {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut to_do: Vec<PathBuf> = LAYING.map(PathBuf::from).into();
    while let Some(path) = to_do.pop() {
        println!("cargo::rerun-if-changed={}", path.display());
        match fs::read_dir(&path) {
            Ok(entries) => to_do.extend(entries.map(|entry| entry.expect("a folder of ours can be read").path())),
            Err(_) => files.push(path),
        }
    }
    files.sort();
    let mut digest = DefaultHasher::new();
    for file in files {
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        (file, bytes).hash(&mut digest);
    }
    digest.finish()
}

/// A guest architecture and what this machine has for it.
struct Guest {
    arch: &'static str,
    triple: &'static str,
    /// Whether it is the architecture of the machine that compiles.
    native: bool,
    /// The compiler whose standard library is used; `None` when there is none.
    compiler: Option<PathBuf>,
}

impl Guest {
    fn new(arch: &'static str, triple: &'static str) -> Guest {
        let native = variable("HOST").starts_with(arch);
        let named = format!("BOOTDISK_RUSTC_{}", arch.to_uppercase());
        println!("cargo::rerun-if-env-changed={named}");
        let fetched = Path::new(&variable("CARGO_MANIFEST_DIR")).join(format!("target/foreign-rust/{arch}/rustc"));
        // Only one that is there can be watched: Cargo takes one that is not for changed each time.
        if !native && fetched.exists() {
            println!("cargo::rerun-if-changed={}", fetched.display());
        }
        let own = PathBuf::from(variable("RUSTC"));
        let compiler = match env::var_os(named) {
            Some(path) if !native => Some(path.into()),
            _ if native => Some(own),
            _ => [own, fetched].into_iter().find(|compiler| has_standard_library(compiler, triple)),
        };
        Guest { arch, triple, native, compiler }
    }

    /// The linker and C library of another architecture are those of a cross compiler.
    fn linker(&self) -> Option<String> {
        (!self.native).then(|| format!("{}-linux-gnu-gcc", self.arch))
    }

    /// The binary that a package carries, or the one that is built here, or what is missing for that.
    fn bytes(&self) -> Result<Vec<u8>, String> {
        println!("cargo::rerun-if-env-changed=BOOTDISK_PID1");
        let carried = Path::new(&variable("CARGO_MANIFEST_DIR")).join("pid1").join(self.arch);
        if !carried.exists() || env::var_os("BOOTDISK_PID1").is_some_and(|word| word == "source") {
            return self.build();
        }
        println!("cargo::rerun-if-changed={}", carried.display());
        fs::read(&carried).map_err(|error| format!("{} could not be read: {error}", carried.display()))
    }

    /// The stripped binary, or what is missing for it.
    fn build(&self) -> Result<Vec<u8>, String> {
        let Guest { arch, triple, .. } = self;
        let Some(compiler) = &self.compiler else {
            return Err(format!("there was no Rust standard library for {triple}"));
        };
        if let Some(linker) = self.linker()
            && Command::new(&linker).arg("--version").output().is_err()
        {
            return Err(format!("there was no linker {linker}"));
        }
        let target = nested_target().join(arch);
        let done = self.run(compiler, &target);
        match fs::read(target.join(triple).join("init/bootdisk-init")) {
            Ok(bytes) if done => Ok(bytes),
            _ if self.native => panic!("PID 1 of the guest does not build for {triple}; the messages above say why"),
            _ => {
                println!("cargo::warning=PID 1 does not build for {triple}; disks for it cannot be made");
                Err(format!("it did not compile for {triple}, which cargo build -vv shows"))
            }
        }
    }

    /// Without the network first: what the outer build has fetched is enough, and asking a registry costs seconds.
    fn run(&self, compiler: &Path, target: &Path) -> bool {
        let Ok(output) = self.cargo(compiler, target).arg("--offline").output() else { return false };
        let messages = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && messages.contains("offline") {
            return self.cargo(compiler, target).status().is_ok_and(|status| status.success());
        }
        eprint!("{messages}");
        output.status.success()
    }

    fn cargo(&self, compiler: &Path, target: &Path) -> Command {
        let mut command = cargo(target, self.triple);
        command.env("RUSTC", compiler);
        if let Some(linker) = self.linker() {
            let triple = self.triple.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{triple}_LINKER"), linker);
        }
        command
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo always sets {name} for a build script"))
}

/// Beside the folder of this package's other outputs, PROFILE/build/PACKAGE/out: clippy and the compiler give this
/// script an output folder each, and what it compiles is the same for both.
fn nested_target() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    let profile = out.ancestors().nth(3).unwrap_or(&out);
    profile.join("guest-programs")
}

fn has_standard_library(compiler: &Path, triple: &str) -> bool {
    let output = Command::new(compiler).args(["--print", "target-libdir", "--target", triple]).output();
    let Ok(output) = output else { return false };
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
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
