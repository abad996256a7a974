//! The boot specification: everything PID 1 knows about the machine it starts, `/boot-spec.json` in the initramfs.
//!
//! Strings that come from an image (environment, arguments, user, paths) are kept exactly as they are in the image's
//! configuration; PID 1 interprets them in the guest, as a container runtime does. None of them ever reaches the
//! kernel's command line.

use super::mounts::Mount;
use super::network::Card;
use super::restart::Restart;
use super::settings::at_start::AtStart;
use super::surroundings::{Limit, Surroundings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use super::health::Healthcheck;
pub use super::network::Network;

/// The version this source tree writes. A reader refuses a higher one.
pub const VERSION: u32 = 1;

/// Where the specification lies in the initramfs.
pub const PATH: &str = "/boot-spec.json";

/// `PATH` of a workload whose image sets none: the container runtimes'.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootSpec {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// Where the userland is.
    pub root: Root,
    /// Who is in charge once the root is mounted.
    pub init: Init,
    /// What to start, as the image's configuration and the build's options say.
    pub process: Process,
    /// Host name; a name made from the machine's identity when absent.
    #[serde(default)]
    pub hostname: Option<String>,
    /// What the image's own init finds in /etc/machine-id; absent on a disk that has no identity but its content's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// People get a shell of the image's on the machine's consoles, where no host drives it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub console_login: bool,
    /// How to configure the network.
    #[serde(default)]
    pub network: Network,
    /// Seconds the workload is held back at most until the network has an address; when absent, a moment.
    #[serde(default)]
    pub wait_online: Option<u32>,
    /// `Volumes` of the image's configuration, sorted: paths that must exist and be writable.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// `Healthcheck` of the image's configuration, and what the build's options make of it; for the host.
    #[serde(default)]
    pub healthcheck: Option<Healthcheck>,
    /// `ExposedPorts` of the image's configuration, `PORT` or `PORT/PROTOCOL`; for the host, as above.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    /// Buses and network cards of QEMU's that the kernel certainly drives, under QEMU's names; for the host, as above.
    /// Absent when the kernel's configuration was not known.
    #[serde(default)]
    pub drivers: Option<Vec<String>>,
    /// The hypervisors and media where the kernel finds its disk, in words; for the host, as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots_on: Option<String>,
    /// Where all modules of the kernel are; absent when the machine has no more than those of the initramfs.
    #[serde(default)]
    pub guest_modules: Option<GuestModules>,
    /// What the workload finds around it. Absent on disks whose PID 1 knows nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<Surroundings>,
    /// What this boot mounts in the root; a build writes an empty list. Absent on disks whose PID 1 knows nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
    /// The settings that are looked for at start. Absent on disks whose PID 1 knows nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<AtStart>,
    /// Cards beside the first that this boot has; a build writes an empty list. Absent on disks whose PID 1 knows nothing
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cards: Option<Vec<Card>>,
    /// What follows the workload's end. Left out where that is the machine's end.
    #[serde(default, skip_serializing_if = "Restart::is_no")]
    pub restart: Restart,
    /// Kernel modules carried in the initramfs, each after those it depends on.
    #[serde(default)]
    pub modules: Vec<Module>,
}

/// A partition with what `/lib/modules/RELEASE` is to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestModules {
    /// GPT unique partition GUID, as [`Root::partuuid`].
    pub partuuid: String,
    /// File system type as mount(2) takes it.
    pub fstype: String,
    /// The kernel's release.
    pub release: String,
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// GPT unique partition GUID, lower case with hyphens, as `/sys/class/block/*/uevent` has it in `PARTUUID`.
    pub partuuid: String,
    /// File system type as mount(2) takes it.
    pub fstype: String,
    /// Mount it read-only for the workload.
    #[serde(default)]
    pub read_only: bool,
    /// The disk is not written to: what the workload writes goes to memory and is gone at the next boot.
    #[serde(default)]
    pub ephemeral: bool,
    /// It is verified block by block, against the root hash on the kernel's command line; and what a wrong block does.
    /// Absent where it is not, and on disks whose PID 1 knows nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verity: Option<OnCorruption>,
}

/// What follows a block of the root that is not as it was built.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCorruption {
    /// Who reads it gets an error.
    #[default]
    Error,
    /// The machine starts again.
    Restart,
    /// The kernel panics.
    Panic,
}

/// Who runs the userland.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// The image's own init when that is the command (see [`super::own_init`]), else ours.
    #[default]
    Auto,
    /// PID 1 stays ours and the workload is its child, in a PID namespace of its own.
    Container,
    /// The image's own init (systemd, OpenRC) takes over as PID 1.
    Image,
}

/// What `console_login` gives.
pub const SHELL: &str = "/bin/sh";

/// What is started: `config` of the OCI image configuration (image-spec, config.md, "Properties") after the overrides
/// of the build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// `Entrypoint`.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// `Cmd`, appended to the entrypoint.
    #[serde(default)]
    pub cmd: Vec<String>,
    /// `Env`, in the image's order, each usually `NAME=VALUE`.
    #[serde(default)]
    pub env: Vec<String>,
    /// `User`: empty, or `user`, `uid`, `user:group`, `uid:gid`, `uid:group`, `user:gid`.
    #[serde(default)]
    pub user: String,
    /// `WorkingDir`; empty is `/`.
    #[serde(default)]
    pub working_dir: String,
    /// `StopSignal`, as a name or a number; absent is SIGTERM.
    #[serde(default)]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL.
    #[serde(default = "default_stop_timeout")]
    pub stop_timeout: u32,
    /// Resource limits by docker's names, beyond those that every workload has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Limit>,
}

impl Process {
    /// What is executed and its arguments: the entrypoint, then the command. An entrypoint that is one empty string is
    /// none (moby, daemon/create.go, `mergeAndVerifyConfig`; containerd, CRI, `WithProcessArgs`).
    pub fn words(&self) -> impl Iterator<Item = &String> + Clone {
        let entrypoint = if self.entrypoint == [""] { &[][..] } else { &self.entrypoint };
        entrypoint.iter().chain(&self.cmd)
    }
}

/// What a container runtime waits.
fn default_stop_timeout() -> u32 {
    10
}

impl Default for Process {
    /// Nothing to start, and the runtime's stop timeout.
    fn default() -> Process {
        Process {
            entrypoint: Vec::new(),
            cmd: Vec::new(),
            env: Vec::new(),
            user: String::new(),
            working_dir: String::new(),
            stop_signal: None,
            stop_timeout: default_stop_timeout(),
            ulimits: BTreeMap::new(),
        }
    }
}

/// One kernel module of the initramfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Name as `/proc/modules` has it: `_` instead of `-`.
    pub name: String,
    /// Absolute path in the initramfs; an uncompressed ELF object.
    pub file: String,
    /// Names of modules in this list that must be loaded before it (`depends` and `softdep pre` of its `.modinfo`).
    #[serde(default)]
    pub depends: Vec<String>,
    /// `alias` patterns of its `.modinfo`, matched against `modalias` files in /sys with `*`, `?` and `[...]`.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Loaded at every boot, whatever the devices are (file systems, SCSI disks, buttons).
    #[serde(default)]
    pub always: bool,
}

#[cfg(test)]
mod tests {
    use super::{BootSpec, Process, Restart};

    #[test]
    fn an_entrypoint_of_one_empty_string_is_none_and_every_other_empty_string_is_a_word() {
        let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        for (entrypoint, cmd, words) in [
            (&[""][..], &["/app", "x"][..], &["/app", "x"][..]),
            (&[], &["/app"], &["/app"]),
            (&[""], &[], &[]),
            (&[], &[], &[]),
            (&[""], &[""], &[""]),
            (&[], &[""], &[""]),
            (&["", "x"], &["/app"], &["", "x", "/app"]),
            (&["", ""], &["/app"], &["", "", "/app"]),
            (&["/app", ""], &["", "x"], &["/app", "", "", "x"]),
        ] {
            let process = Process { entrypoint: list(entrypoint), cmd: list(cmd), ..Process::default() };
            assert!(process.words().eq(words), "{entrypoint:?} {cmd:?}");
        }
    }

    #[test]
    fn a_policy_is_written_down_only_where_there_is_one() {
        let text = r#"{"version": 1, "root": {"partuuid": "", "fstype": "ext4"}, "init": "auto", "process": {}}"#;
        let mut spec: BootSpec = serde_json::from_str(text).unwrap();
        assert_eq!(spec.restart, Restart::No);
        assert!(!serde_json::to_string(&spec).unwrap().contains("restart"));
        spec.restart = Restart::OnFailure { most: 3 };
        let written = serde_json::to_string(&spec).unwrap();
        assert!(written.contains(r#""restart":"on-failure:3""#), "{written}");
        assert_eq!(serde_json::from_str::<BootSpec>(&written).unwrap(), spec);
    }

    #[test]
    fn a_process_made_here_is_one_read_from_an_empty_document() {
        assert_eq!(serde_json::from_str::<Process>("{}").unwrap(), Process::default());
        assert_eq!(Process::default().stop_timeout, 10);
    }
}
