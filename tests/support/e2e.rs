//! The built `bootdisk` as a user runs it: real images, real kernels, a machine under TCG, and a deadline.
//!
//! A [`Bench`] is a home of its own (data, cache, runtime directory) with one kernel in its store. Kernels come from
//! `BOOTDISK_TEST_KERNELS` and images from `BOOTDISK_TEST_IMAGES`; `scripts/test` makes and sets both.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long any one `bootdisk` may take: a boot takes some seconds under TCG, and this machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Debian's kernel packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// For virtual machines: no AHCI, no IDE controllers of real chipsets.
    Cloud,
    /// Every driver Debian has.
    Generic,
    /// For virtual machines of arm64: no AHCI, no driver for a power button that is a pin, no pvpanic.
    CloudArm64,
}

impl Kernel {
    fn name(self) -> &'static str {
        match self {
            Kernel::Cloud => "cloud",
            Kernel::Generic => "generic",
            Kernel::CloudArm64 => "cloud-arm64",
        }
    }

    /// The package file.
    pub fn package(self) -> PathBuf {
        let arch = if self == Kernel::CloudArm64 { "arm64" } else { "amd64" };
        package("linux-image-", arch, |name| name.contains("-cloud-") == (self != Kernel::Generic))
    }

    /// Release, as `uname -r` prints it: the middle of the package's file name.
    pub fn release(self) -> String {
        let package = self.package();
        let name = package.file_name().unwrap().to_str().unwrap();
        name.trim_start_matches("linux-image-").split('_').next().unwrap().to_owned()
    }
}

/// Debian's systemd-boot for arm64, as a package.
pub fn arm64_loader() -> PathBuf {
    package("systemd-boot-efi_", "arm64", |_| true)
}

/// A package that `scripts/test` has downloaded.
fn package(start: &str, arch: &str, is_it: impl Fn(&str) -> bool) -> PathBuf {
    let directory = directory_from("BOOTDISK_TEST_KERNELS", "target/test-data/kernels");
    let end = format!("_{arch}.deb");
    fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/test", directory.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(start) && name.ends_with(&end) && is_it(name))
        })
        .unwrap_or_else(|| panic!("no {start}*{end} in {}; run scripts/test", directory.display()))
}

/// A test image by its file name, see `scripts/make-test-images`.
pub fn image(name: &str) -> PathBuf {
    let path = directory_from("BOOTDISK_TEST_IMAGES", "target/test-data/images").join(name);
    assert!(path.exists(), "{} is missing; run scripts/test", path.display());
    path
}

/// A test image in a tagged layout, as a reference: `oci:PATH:TAG`.
pub fn tagged(layout: &str, tag: &str) -> String {
    format!("oci:{}:{tag}", image(layout).display())
}

fn directory_from(variable: &str, default: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(directory) => directory.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join(default),
    }
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    /// Exit status, `None` when a signal ended it.
    pub status: Option<i32>,
    /// Standard output, every byte.
    pub stdout: Vec<u8>,
    /// Standard error as text.
    pub stderr: String,
    /// From start to end.
    pub took: Duration,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Checks the exit status; on a difference everything the program said is in the message.
    #[track_caller]
    pub fn expect_status(self, status: i32) -> Ran {
        assert_eq!(self.status, Some(status), "exit status; it said:\n{}\n{}", self.text(), self.stderr);
        self
    }

    /// Checks status and the whole of standard output.
    #[track_caller]
    pub fn expect(self, status: i32, stdout: &str) -> Ran {
        let ran = self.expect_status(status);
        assert_eq!(ran.text(), stdout, "standard output; standard error was:\n{}", ran.stderr);
        ran
    }
}

/// A program that has been started, with its output being collected.
pub struct Running {
    child: Child,
    name: String,
    started: Instant,
    stdout: JoinHandle<Vec<u8>>,
    stderr: JoinHandle<Vec<u8>>,
}

impl Running {
    /// Starts a command in a process group of its own, so that nothing of it outlives the test.
    pub fn start(command: &mut Command) -> Running {
        let name = format!("{command:?}");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Running { child, name, started: Instant::now(), stdout, stderr }
    }

    /// Sends a signal to the program itself, as a user's `kill` does.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id() as i32)
    }

    /// Waits until it ends; a program that takes longer than [`PATIENCE`] is killed and fails the test.
    #[track_caller]
    pub fn finish(self) -> Ran {
        self.finish_within(PATIENCE)
    }

    /// The same for one that takes its time.
    #[track_caller]
    pub fn finish_within(mut self, patience: Duration) -> Ran {
        while !self.is_over() {
            if self.started.elapsed() > patience {
                let _ = nix::sys::signal::killpg(self.pid(), nix::sys::signal::Signal::SIGKILL);
                let _ = self.child.wait();
                let (stdout, stderr) = (self.stdout.join().unwrap(), self.stderr.join().unwrap());
                let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
                panic!("{} did not end within {patience:?}; it said:\n{stdout}\n{stderr}", self.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
        let took = self.started.elapsed();
        Ran {
            status: self.child.wait().unwrap().code(),
            stdout: self.stdout.join().unwrap(),
            stderr: without_waiting(&String::from_utf8_lossy(&self.stderr.join().unwrap())),
            took,
        }
    }
}

/// What a boot says that takes long, as one does on a busy host, is no part of any test that does not look for it.
fn without_waiting(text: &str) -> String {
    text.split_inclusive('\n').filter(|line| !line.starts_with("still waiting for ")).collect()
}

fn collect(mut stream: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    Running::start(command).finish()
}

/// Runs a command with these bytes as its standard input.
#[track_caller]
pub fn run_with_input(command: &mut Command, input: Vec<u8>) -> Ran {
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let mut stdin = running.child.stdin.take().unwrap();
    let feeder = thread::spawn(move || {
        // A program may end before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let ran = running.finish();
    feeder.join().unwrap();
    ran
}

/// A home with a kernel in its store, and room for disks.
pub struct Bench {
    directory: TempDir,
    /// A socket's path may have 107 bytes, so this one cannot be deep in target/.
    runtime: TempDir,
    data: PathBuf,
}

impl Bench {
    /// A home of its own; the store with this kernel is shared within one test program.
    pub fn new(kernel: Kernel) -> Bench {
        let data =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", env!("CARGO_CRATE_NAME"), kernel.name()));
        static STORES: [Once; 3] = [const { Once::new() }; 3];
        STORES[kernel as usize].call_once(|| fill_store(&data, kernel));
        Bench { data, ..Bench::without_kernels() }
    }

    /// A home whose store is empty.
    pub fn without_kernels() -> Bench {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let data = directory.path().join("data");
        Bench { directory, runtime: TempDir::new().unwrap(), data }
    }

    /// A path in this home's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The built program, with this home.
    pub fn bootdisk(&self) -> Command {
        self.at_home(assert_cmd::cargo::cargo_bin!("bootdisk"))
    }

    /// What bash completes the last of these words with, asked through the script that `bootdisk completions` prints.
    #[track_caller]
    pub fn completed(&self, words: &[&str]) -> Vec<String> {
        let program = assert_cmd::cargo::cargo_bin!("bootdisk");
        let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let script = "source <(bootdisk completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9; \
            _clap_complete_bootdisk bootdisk \"${!#}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut command = self.at_home("bash");
        command.env("PATH", path).args(["--norc", "-c", script, "bash", "bootdisk"]).args(words);
        run(&mut command).expect_status(0).text().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Any program, with this home.
    pub fn at_home(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("XDG_DATA_HOME", &self.data)
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_RUNTIME_DIR", self.runtime.path())
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("BOOTDISK_ACCEL")
            .env_remove("BOOTDISK_CACHE")
            .env_remove("BOOTDISK_KERNEL")
            .env_remove("GITHUB_ACTIONS")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// `bootdisk build IMAGE -o NAME OPTIONS`: must succeed and say nothing on standard output.
    #[track_caller]
    pub fn build(&self, image: impl AsRef<std::ffi::OsStr>, name: &str, options: &[&str]) -> PathBuf {
        let disk = self.path(name);
        run(self.bootdisk().arg("build").arg(image).arg("-o").arg(&disk).args(options)).expect(0, "");
        disk
    }

    /// The command `bootdisk run --accel tcg OPTIONS WHAT`, to be started. Two tests run at a time, so a machine has one
    /// processor unless the options say otherwise.
    pub fn run_command(&self, what: impl AsRef<std::ffi::OsStr>, options: &[&str]) -> Command {
        let mut command = self.bootdisk();
        command.args(["run", "--accel", "tcg"]);
        if !options.contains(&"--cpus") {
            command.args(["--cpus", "1"]);
        }
        command.args(options).arg(what);
        command
    }

    /// Runs an image or a disk under TCG to its end.
    #[track_caller]
    pub fn run(&self, what: impl AsRef<std::ffi::OsStr>, options: &[&str]) -> Ran {
        run(&mut self.run_command(what, options))
    }

    /// Runs it with another command: `bootdisk run ... WHAT -- COMMAND`.
    #[track_caller]
    pub fn run_other(&self, what: impl AsRef<std::ffi::OsStr>, options: &[&str], command: &[&str]) -> Ran {
        run(self.run_command(what, options).arg("--").args(command))
    }
}

fn fill_store(data: &Path, kernel: Kernel) {
    // What an earlier build of the program left there says nothing about this one.
    let _ = fs::remove_dir_all(data);
    let home = Bench { data: data.to_owned(), ..Bench::without_kernels() };
    run(home.bootdisk().args(["kernel", "add"]).arg(kernel.package())).expect_status(0);
}

/// The same command beneath GNU time, which writes its peak of memory to a file. A child of this process itself would
/// be charged with this one's memory (getrusage(2): the largest resident set is kept across execve).
pub fn with_peak_memory(command: &Command, report: &Path) -> Command {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["--quiet", "--format", "%M", "--output"]).arg(report);
    timed.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    timed
}

/// Peak of memory in bytes from the report of [`with_peak_memory`].
pub fn peak_memory(report: &Path) -> u64 {
    let text = fs::read_to_string(report).unwrap();
    text.trim().parse::<u64>().unwrap_or_else(|_| panic!("GNU time wrote {text:?}")) * 1024
}

/// SHA-256 of a file, by OpenSSL: six times as fast as coreutils, and disks are hashed a hundred times.
pub fn sha256(path: &Path) -> String {
    let output = Command::new("openssl").args(["dgst", "-sha256", "-r"]).arg(path).output().unwrap();
    assert!(output.status.success(), "openssl dgst {}", path.display());
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}
