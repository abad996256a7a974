//! The outside oracle: a real container runtime on the same root file system.
//!
//! ```text
//!  image configuration ──umoci──▶ config.json ──completed as Docker does──▶ runc (or crun) ──▶ status, output
//! ```
//!
//! umoci resolves the user and merges environment and command as the image specification's conversion says
//! (image-spec, conversion.md); what Docker adds to that is added here: the mounts' options, the host name, the three
//! files of /etc, no TERM without a terminal, its capabilities. Both runtimes must be installed; a machine that lets
//! neither make a container (no root, no cgroups) leaves the scenarios with what is written down in them.

use super::scenario::{Row, Runtime, Seen};
use super::tools;
use bootdisk::guest::surroundings::Limit;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Host name of every container and guest here.
pub const HOSTNAME: &str = "box.example";

/// What Docker lets a container do (moby, oci/caps/defaults.go).
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// A runtime that works on this machine, and how it is called.
#[derive(Clone, Copy, Debug)]
pub struct Oracle(&'static [&'static str]);

impl Oracle {
    /// Whether it is asked about a scenario. What is written down as a difference is runc's.
    pub fn is_asked(self, row: &Row) -> bool {
        match row.runtime {
            Runtime::Same => !row.only_runc || self.0[0] == "runc",
            Runtime::Differs(..) => self.0[0] == "runc",
            Runtime::NotAsked(_) => false,
        }
    }
}

/// The first way of calling a runtime that works here.
pub fn oracle() -> Option<Oracle> {
    static FOUND: OnceLock<Option<Oracle>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        const WAYS: [&[&str]; 3] = [&["runc"], &["crun", "--cgroup-manager=disabled"], &["crun"]];
        for way in WAYS {
            tools::stdout(Command::new(way[0]).arg("--version"));
        }
        let folder = tempfile::tempdir().unwrap();
        let rootfs = folder.path().join("rootfs");
        fs::create_dir_all(rootfs.join("bin")).unwrap();
        fs::copy("/usr/bin/busybox", rootfs.join("bin/true")).expect("busybox-static is installed");
        let hello = super::scenario::row("a container at all").cmd(&["/bin/true"]);
        let works =
            |way: &&'static [&'static str]| Bundle::new(Oracle(way), &rootfs, false).run(&hello) == hello.expected;
        let found = WAYS.into_iter().find(works).map(Oracle);
        if found.is_none() {
            eprintln!("no runtime can make a container here; only what is written down is compared with");
        }
        found
    })
}

/// A root file system that containers are run on.
pub struct Bundle {
    oracle: Oracle,
    folder: tempfile::TempDir,
    rootfs: PathBuf,
    read_only: bool,
}

impl Bundle {
    pub fn new(oracle: Oracle, rootfs: &Path, read_only: bool) -> Bundle {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("hostname", format!("{HOSTNAME}\n")),
            ("hosts", format!("127.0.0.1\tlocalhost\n10.0.2.15\t{HOSTNAME}\n")),
            ("resolv.conf", "nameserver 10.0.2.3\n".to_owned()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Bundle { oracle, folder, rootfs: rootfs.to_owned(), read_only }
    }

    /// Runs a scenario's process to its end.
    pub fn run(&self, row: &Row) -> Seen {
        match self.start(row) {
            Ok(container) => container.finish(row.stdin),
            Err(reason) => Seen::Refused(125, reason),
        }
    }

    /// Starts it, as process 1 of a container. The error is umoci's: it does not know what the image means.
    pub fn start(&self, row: &Row) -> Result<Container, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("parity-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.folder.path().join(&id);
        fs::create_dir_all(&folder).unwrap();
        let config = self.complete(self.config(row, &folder)?, row);
        fs::write(folder.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
        let log = folder.join("log");
        let mut call: Vec<String> = self.oracle.0.iter().map(|word| (*word).to_owned()).collect();
        call.extend([format!("--root={}", self.folder.path().join("state").display()), "--log-format=json".into()]);
        call.extend([format!("--log={}", log.display())]);
        // Nothing here waits for ever, whatever the runtime does.
        let mut run: Vec<String> = ["timeout", "--foreground", "--kill-after=5", "120"].map(str::to_owned).to_vec();
        run.extend(call.clone());
        run.extend(["run".to_owned(), format!("--bundle={}", folder.display()), id.clone()]);
        let mut command = if row.terminal {
            // script(1) gives the runtime a terminal to pass on. The runtime makes it raw when the process has begun, so
            // what is written first would have its line ends changed twice.
            let mut command = Command::new("script");
            let run = format!("stty -opost && exec {}", run.join(" "));
            command.args(["-q", "-e", "-f", "-c", &run, "/dev/null"]);
            command
        } else {
            let mut command = Command::new(&run[0]);
            command.args(&run[1..]);
            command
        };
        let stdin = if row.stdin.is_some() || row.terminal { Stdio::piped() } else { Stdio::null() };
        let child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {run:?}: {error}; scripts/test installs it"));
        Ok(Container { child: Some(child), id, call, log })
    }

    /// The image's configuration as umoci turns it into a runtime's.
    fn config(&self, row: &Row, folder: &Path) -> Result<Value, String> {
        let process = row.process();
        let mut image = super::images::ImageBuilder::new().tag("box:latest").set("Env", json!(process.env));
        // As Docker hands them on: an entrypoint of one empty string is none.
        image = image.set("Cmd", json!(process.words().collect::<Vec<_>>()));
        image = image.set("User", json!(process.user)).set("WorkingDir", json!(process.working_dir));
        let layout = folder.join("image");
        image.write_oci(&layout);
        let at = folder.join("config.json");
        let mut umoci = Command::new("umoci");
        umoci.args(["raw", "runtime-config", "--image"]).arg(format!("{}:latest", layout.display()));
        let output = tools::run(umoci.arg("--rootfs").arg(&self.rootfs).arg(&at));
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        Ok(serde_json::from_slice(&fs::read(at).unwrap()).unwrap())
    }

    /// What Docker has in a container's configuration and umoci has not.
    fn complete(&self, mut config: Value, row: &Row) -> Value {
        let around = &row.options.surroundings;
        let process = &mut config["process"];
        let terminal = row.terminal;
        process["terminal"] = json!(terminal);
        process["noNewPrivileges"] = json!(false);
        // Nobody but root has any at once.
        let now: &[&str] = if process["user"]["uid"] == 0 { &CAPABILITIES } else { &[] };
        process["capabilities"] = json!({ "bounding": CAPABILITIES, "effective": now, "permitted": now });
        if let Some(process) = process.as_object_mut() {
            // A machine without CAP_SYS_RESOURCE refuses to raise them.
            process.remove("rlimits");
            let rlimit = |(name, limit): (String, Limit)| json!({ "type": format!("RLIMIT_{}", name.to_uppercase()), "soft": limit.soft, "hard": limit.hard });
            process.insert("rlimits".into(), row.process().ulimits.into_iter().map(rlimit).collect());
        }
        let given = process["env"].as_array_mut().unwrap();
        if !terminal && let Some(at) = given.iter().position(|entry| *entry == "TERM=xterm") {
            given.remove(at);
        }
        // umoci lets the user's home win over the image's HOME.
        let home = row.process().env.into_iter().rev().find(|entry| entry.starts_with("HOME=") && entry != "HOME=");
        let at = given.iter().position(|entry| entry.as_str().is_some_and(|text| text.starts_with("HOME=")));
        match (home, at) {
            (Some(home), Some(at)) => given[at] = json!(home),
            // runc looks for it itself, crun does not.
            (None, None) if self.oracle.0[0] == "crun" => given.push(json!("HOME=/")),
            _ => {}
        }
        if !given.iter().any(|entry| entry.as_str().is_some_and(|text| text.starts_with("HOSTNAME="))) {
            given.insert(1, json!(format!("HOSTNAME={HOSTNAME}")));
        }
        config["hostname"] = json!(HOSTNAME);
        config["root"] = json!({ "path": self.rootfs, "readonly": self.read_only });
        let mounts = config["mounts"].as_array_mut().unwrap();
        for mount in &mut *mounts {
            if mount["destination"] == "/proc" {
                mount["options"] = json!(["nosuid", "noexec", "nodev"]);
            }
            if let Some(size) = around.shm_size.filter(|_| mount["destination"] == "/dev/shm") {
                mount["options"] = json!(["nosuid", "noexec", "nodev", "mode=1777", format!("size={size}")]);
            }
        }
        for (at, own) in &around.tmpfs {
            let options: Vec<&str> = ["noexec", "nosuid", "nodev"].into_iter().chain(own.split(',')).collect();
            mounts.push(json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": options }));
        }
        for (source, at, read_only) in &row.binds {
            let options = json!(["rbind", "rprivate", if *read_only { "ro" } else { "rw" }]);
            mounts.push(json!({ "destination": at, "type": "bind", "source": source, "options": options }));
        }
        let access = if self.read_only { "ro" } else { "rw" };
        for name in ["resolv.conf", "hostname", "hosts"] {
            let source = self.folder.path().join(name);
            let at = format!("/etc/{name}");
            let options = json!(["rbind", "rprivate", access]);
            mounts.push(json!({ "destination": at, "type": "bind", "source": source, "options": options }));
        }
        if let Some(linux) = config["linux"].as_object_mut() {
            linux.remove("resources");
        }
        if let Some(config) = config.as_object_mut() {
            config.remove("annotations");
        }
        config
    }
}

/// A started container.
pub struct Container {
    child: Option<Child>,
    id: String,
    /// The runtime with its global options.
    call: Vec<String>,
    log: PathBuf,
}

impl Container {
    /// Sends process 1 a signal.
    pub fn signal(&self, number: i32) {
        let number = number.to_string();
        tools::stdout(Command::new(&self.call[0]).args(&self.call[1..]).args(["kill", &self.id, &number]));
    }

    /// What it writes, as it comes.
    pub fn stdout(&mut self) -> std::process::ChildStdout {
        self.child.as_mut().and_then(|child| child.stdout.take()).expect("taken once")
    }

    /// Waits for its end.
    pub fn finish(mut self, stdin: Option<&str>) -> Seen {
        let mut child = self.child.take().expect("finished once");
        // Without input a terminal's keyboard stays there and silent.
        let mut keyboard = child.stdin.take();
        if let Some(text) = stdin
            && let Some(mut pipe) = keyboard.take()
        {
            // A process may end without reading it.
            _ = pipe.write_all(text.as_bytes());
        }
        let output: Output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        if log.contains("\"level\":\"error\"") || log.contains("\"level\": \"error\"") {
            return Seen::Refused(125, log);
        }
        let status = output.status.code().unwrap_or(255);
        Seen::Ended(status as u8, text(&output.stdout))
    }
}

/// A container does not outlive a test that fails.
impl Drop for Container {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = Command::new(&self.call[0]).args(&self.call[1..]).args(["kill", &self.id, "9"]).output();
            _ = child.kill();
            _ = child.wait();
        }
    }
}
