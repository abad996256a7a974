//! Options that several commands share, each group as one flattened struct.
//!
//! Options that `docker run` has keep its names and meaning.

use super::report::WithHint;
use super::size::Fit;
use crate::added::{CopyIn, Password, SshKey, Wanted};
use crate::arch::Architecture;
use crate::convert::{Drivers, EspSize, Firmware, Free, Uki};
use crate::escape::escape;
use crate::guest::channel::Overrides;
use crate::guest::restart::Restart;
use crate::guest::spec::{Init, Network};
use crate::kernel::{Bundle, KernelError, Keys};
use crate::source::{Owner, Reference};
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// How much is said, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Messages")]
pub struct Global {
    /// Print only errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// How to show progress
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub progress: ProgressMode,
}

impl Global {
    /// Nothing but errors.
    pub fn silent() -> Global {
        Global { quiet: true, progress: ProgressMode::None }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// Plain lines
    Plain,
    /// Nothing
    None,
}

/// Bytes of the EFI System Partition when nobody names them.
const ESP_SIZE: u64 = 128 << 20;

/// How the kernel is put onto a disk that is built.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Boot files", group = clap::ArgGroup::new("one_program").multiple(true))]
pub struct BootFiles {
    /// Put kernel, initramfs and command line into one EFI program, a unified kernel image; BIOS starts the kernel in it
    /// too
    #[arg(long, group = "one_program")]
    pub uki: bool,
    /// What UEFI starts: systemd-boot, which starts the unified kernel image, or none, and that itself is where firmware
    /// looks
    #[arg(long, value_name = "WHICH", default_value = "systemd-boot", requires = "one_program")]
    pub loader: LoaderChoice,
    /// systemd's stub for the unified kernel image, or a package that contains it [default: where the distribution's
    /// systemd-boot-efi puts it]
    #[arg(long, value_name = "FILE", requires = "one_program")]
    pub efi_stub: Option<PathBuf>,
}

/// What UEFI starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LoaderChoice {
    /// systemd-boot
    #[default]
    SystemdBoot,
    /// The unified kernel image
    None,
}

impl BootFiles {
    /// As a plan takes it.
    pub fn uki(&self) -> Option<Uki> {
        self.uki.then(|| Uki { stub: self.efi_stub.clone(), alone: self.loader == LoaderChoice::None })
    }
}

/// What goes onto the disk.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Disk")]
pub struct Disk {
    /// Kernel: a boot file, a package (.deb, .rpm, .apk, .pkg.tar.zst, tar), an image or directory that holds one,
    /// `image` or `image:RELEASE` for the image's own, `host` for the running one, or a name in the store [default: the store's default for the image's architecture]
    #[arg(long, value_name = "KERNEL", add = ArgValueCompleter::new(super::candidates::kernels))]
    pub kernel: Option<OsString>,
    /// Modules of a kernel given as a file: /lib/modules/RELEASE or a directory that holds it
    #[arg(long, value_name = "DIR", requires = "kernel")]
    pub modules: Option<PathBuf>,
    #[command(flatten)]
    pub keys: KernelKeys,
    /// Kernel modules that the running userland gets at /lib/modules/RELEASE; the root partition stays as it is
    #[arg(long, value_name = "WHICH", default_value = "none")]
    pub guest_modules: GuestModules,
    /// Drivers for disks and network that the boot has, of those that the kernel has
    #[arg(long, value_name = "WHICH", default_value = "vm")]
    pub drivers: DriversChoice,
    /// Build even with a kernel that cannot boot the disk; what it lacks becomes a warning
    #[arg(long)]
    pub no_preflight: bool,
    /// Platform to take from an image index, as os/arch[/variant]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// With rootfs: the owner of every file, 0:0 for root, instead of its own
    #[arg(long, value_name = "UID:GID")]
    pub owner: Option<Owner>,
    /// Dockerfile from which the image is built, in a folder given as the image [default: Dockerfile or Containerfile of
    /// dockerfile:DIR]
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Size of the whole disk: bytes, or with K, M, G, T for powers of 1024; min for the smallest that boots, without
    /// room for another kernel; a disk that exists can only grow [default: what the image needs and some room]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse_or_min)]
    pub size: Option<Fit>,
    /// That room: what is free in the root file system [default: the larger of 512M and a quarter of what the image needs]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse, conflicts_with = "size")]
    pub free: Option<u64>,
    /// Size of the EFI System Partition; auto for the smallest that holds the boot files and another kernel
    /// [default: 128M]
    #[arg(long, value_name = "SIZE", value_parser = super::size::parse_or_auto)]
    pub esp_size: Option<Fit>,
    /// Added to the kernel's command line
    #[arg(long, value_name = "ARGS", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub cmdline: String,
    /// Who runs the userland: PID 1 of this disk, or the image's own init
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub init: InitChoice,
    /// Give this disk identifiers of its own, for siblings that one machine may see: disk and partition GUIDs, the ESP's
    /// volume id, the machine-id of the image's own init. One text gives the same ones each time, `random` new ones; the
    /// root partition stays the same
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub identity: Option<String>,
    /// systemd-boot for the EFI System Partition, or a package that contains it [default: where the distribution's systemd-boot-efi puts it]
    #[arg(long, value_name = "FILE")]
    pub efi_loader: Option<PathBuf>,
    #[command(flatten)]
    pub added: Added,
    /// Give whoever is at the machine's consoles (serial port, screen) a root shell of the image's, for debugging; where
    /// bootdisk run is there, exec gives one instead
    #[arg(long)]
    pub console_login: bool,
    /// Have the machine look for no settings at its start: no SMBIOS strings, no fw_cfg files, no disk of a cloud's
    #[arg(long)]
    pub no_settings: bool,
}

/// What the disk has beside the image's files, in one layer on top of the image's.
#[derive(Args, Clone, Debug, Default)]
pub struct Added {
    /// Copy a file or a folder of this host onto the disk, where `docker cp` would put it; MODE is octal, OWNER is
    /// USER[:GROUP] of the image, by name or number [default: 644, 755 for folders and what can be executed, root]
    #[arg(long, value_name = "SRC:DST[:MODE[,OWNER]]")]
    pub copy_in: Vec<CopyIn>,
    /// Public SSH key that lets its owner log in as USER [default: root]
    #[arg(long, value_name = "[USER:]FILE")]
    pub ssh_key: Vec<SshKey>,
    /// Set a user's password to a hash of crypt(3), read from a file: openssl passwd -6 makes one
    #[arg(long, value_name = "USER:HASHFILE")]
    pub password: Vec<Password>,
}

impl Added {
    /// What is to be added.
    pub fn wanted(&self) -> Wanted {
        Wanted { copies: self.copy_in.clone(), keys: self.ssh_key.clone(), passwords: self.password.clone() }
    }
}

impl Disk {
    /// Size of the EFI System Partition.
    pub fn esp_size(&self) -> EspSize {
        match (self.esp_size, self.size) {
            (Some(Fit::Bytes(bytes)), _) => EspSize::Bytes(bytes),
            (Some(Fit::Fitting), _) => EspSize::Auto,
            (None, Some(Fit::Fitting)) => EspSize::Least,
            (None, _) => EspSize::Bytes(ESP_SIZE),
        }
    }

    /// What is left free in the root file system, where the disk's size is not given.
    pub fn room(&self) -> Free {
        match (self.size, self.free) {
            (Some(Fit::Fitting), _) => Free::Least,
            (_, Some(bytes)) => Free::Bytes(bytes),
            (_, None) => Free::Usual,
        }
    }
}

/// Keys for a kernel that is given as a file.
#[derive(Args, Clone, Debug)]
pub struct KernelKeys {
    /// OpenPGP key or keyring, or RSA key in PEM for an .apk: a kernel given as a file must be signed by one of them,
    /// in its package or in FILE.sig or FILE.asc beside it
    #[arg(long = "kernel-key", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl KernelKeys {
    /// Whether none were given.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The keys; `None` when none were given.
    pub fn read(&self) -> Result<Option<Keys>, KernelError> {
        match self.files.as_slice() {
            [] => Ok(None),
            files => Keys::read(files).map(Some),
        }
    }

    /// Refuses keys for a kernel that is called `name` and is no file.
    pub fn are_for_files(&self, name: &str) -> anyhow::Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        Err(WithHint {
            message: format!("--kernel-key is only for a kernel given as a file: {}", escape(name.as_bytes())),
            hint: "a kernel of the store is verified when it is added: bootdisk kernel add --kernel-key FILE PACKAGE"
                .into(),
        }
        .into())
    }
}

/// The files that a kernel's name stands for: the file or directory of that name, the image that a transport leads to,
/// else for `host` the running kernel's.
/// `None` for any other name.
pub fn kernel_files(name: &Path) -> Result<Option<Vec<PathBuf>>, KernelError> {
    if name == Path::new("-") {
        let hint = Some("save it to a file first, and give that: cat > vmlinuz".into());
        return Err(KernelError::NotAKernel { found: "standard input".into(), hint, path: name.to_owned() });
    }
    if name.exists() || Reference::names_transport(name.as_os_str()) {
        return Ok(Some(vec![name.to_owned()]));
    }
    (name == Path::new("host")).then(Bundle::host_files).transpose()
}

/// Modules for the running userland.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GuestModules {
    /// Only those that the boot has loaded by then
    None,
    /// The whole tree, in a partition of its own: modprobe, iptables and mount find what they want
    All,
}

/// For which machines the boot has drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriversChoice {
    /// QEMU, VMware, Hyper-V, Xen, clouds; and USB
    Vm,
    /// All that real machines have too: SD, SATA, SAS and RAID, their network cards
    All,
}

impl From<DriversChoice> for Drivers {
    fn from(choice: DriversChoice) -> Drivers {
        match choice {
            DriversChoice::Vm => Drivers::Vm,
            DriversChoice::All => Drivers::All,
        }
    }
}

/// Who runs the userland.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitChoice {
    /// The image's own init when that is the command (/sbin/init, systemd, openrc-init), else PID 1 of this disk
    Auto,
    /// PID 1 stays ours; the image's command is its child, as in a container
    Container,
    /// The image's own init (systemd, OpenRC) becomes PID 1; run shows its console
    Image,
}

impl From<InitChoice> for Init {
    fn from(choice: InitChoice) -> Init {
        match choice {
            InitChoice::Auto => Init::Auto,
            InitChoice::Container => Init::Container,
            InitChoice::Image => Init::Image,
        }
    }
}

/// Firmware a disk is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FirmwareChoice {
    /// Legacy PC BIOS
    Bios,
    /// UEFI
    Uefi,
}

/// The set of firmware from a list of choices; without any all that the architecture has.
pub fn firmware_set(choices: &[FirmwareChoice], arch: Architecture) -> Firmware {
    if choices.is_empty() {
        return Firmware::all(arch);
    }
    Firmware { bios: choices.contains(&FirmwareChoice::Bios), uefi: choices.contains(&FirmwareChoice::Uefi) }
}

/// What is started and as whom, instead of what the image says.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Workload")]
pub struct Process {
    /// Replace the image's entrypoint, and drop its command
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true)]
    pub entrypoint: Option<String>,
    /// Set an environment variable; NAME alone takes the value it has here, or unsets it
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set environment variables from a file, one per line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// User, and group, by name or number
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Signal that stops the command [default: the image's, or SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub stop_timeout: Option<u32>,
    /// Mount the root file system read-only
    #[arg(long)]
    pub read_only: bool,
    /// Keep all writes in memory: the disk stays as it is, and every boot is like the first
    #[arg(long)]
    pub ephemeral: bool,
    /// Network: dhcp, none, or static:LIST with commas between ADDRESS/PREFIX, gateway=ADDRESS, onlink (the
    /// gateway is outside the addresses' networks), dns=ADDRESS and search=DOMAIN, each may be repeated, for IPv4 and IPv6
    /// [default: dhcp, and IPv6 as routers advertise it]
    #[arg(long, value_name = "HOW", visible_alias = "network")]
    pub net: Option<Network>,
    /// Start the command only when the network has an address, after at most this long, 0 to 3600
    /// [default: at most a second; 30 without a number]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "30",
        value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub wait_online: Option<u32>,
    #[command(flatten)]
    pub surroundings: super::surroundings::Options,
    /// What follows the command's end: the machine's, or the command once more (no, on-failure[:N], always, unless-stopped),
    /// after a pause as docker makes it [default: no]
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<Restart>,
    #[command(flatten)]
    pub health: super::health::HealthOptions,
    /// Command and arguments instead of the image's
    #[arg(trailing_var_arg = true, value_name = "COMMAND", help_heading = "Arguments")]
    pub command: Vec<String>,
}

impl Process {
    /// These options as changes to a boot specification. Reads the environment files.
    pub fn overrides(&self) -> anyhow::Result<Overrides> {
        Ok(Overrides {
            // `--entrypoint ""` clears the entrypoint, as docker run has it.
            entrypoint: self.entrypoint.as_ref().map(|e| if e.is_empty() { vec![] } else { vec![e.clone()] }),
            cmd: (!self.command.is_empty()).then(|| self.command.clone()),
            env: super::env::collect(&self.env_file, &self.env)?,
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.hostname.as_deref().map(super::env::hostname).transpose()?,
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
            read_only: self.read_only.then_some(true),
            ephemeral: self.ephemeral.then_some(true),
            network: self.net.clone(),
            wait_online: self.wait_online,
            surroundings: self.surroundings.surroundings(),
            ulimits: self.surroundings.ulimits(),
            // Settled once the disk is known.
            mounts: Vec::new(),
            cards: Vec::new(),
            healthcheck: self.health.healthcheck(),
            restart: self.restart,
        })
    }
}
