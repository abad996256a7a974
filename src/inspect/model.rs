//! The report as a value: what `--json` prints, and what the text and the page are made from.
//!
//! Every text in it is printable already: what came from an image, a disk or a kernel has gone through
//! [`crate::escape`] where it was read. Numbers are bytes unless their names say otherwise. `docs/inspect.schema.json`
//! is the schema; a field that is added leaves [`VERSION`] as it is, one that changes or goes raises it.

use crate::added::Record;
use crate::contents::compare::PathDifferences;
use serde::Serialize;

/// Name of the schema.
pub const SCHEMA: &str = "org.bootdisk.inspect";
/// Name of the schema of [`Comparison`].
pub const DIFF_SCHEMA: &str = "org.bootdisk.inspect.diff";
/// Its version.
pub const VERSION: u32 = 1;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container image.
    Image,
    /// A disk.
    Disk,
    /// A kernel.
    Kernel,
    /// Another EFI program.
    Program,
}

/// A report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// [`VERSION`].
    pub version: u32,
    /// What was looked at.
    pub kind: Kind,
    /// As the user named it.
    pub name: String,
    /// The answer in one line.
    pub verdict: String,
    /// What an image's configuration says.
    pub image: Option<Image>,
    /// A disk's map, partitions and boot files.
    pub disk: Option<Disk>,
    /// A kernel given by itself.
    pub kernel: Option<Kernel>,
    /// EFI programs and their signatures; absent where nothing is signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
    /// What is in the image, or in the disk's root file system.
    pub userland: Option<Userland>,
    /// What would start the command.
    pub command: Option<Command>,
    /// What an image needs to boot.
    pub boot: Option<Boot>,
    /// How the image was put together.
    pub layers: Option<Layers>,
    /// Files worth a look.
    pub attention: Vec<Attention>,
    /// What is odd, or could not be read, each one sentence.
    pub notes: Vec<String>,
}

/// A signature of an EFI program, or that it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Where the program is.
    pub evidence: String,
    /// `right`, `of other bytes` (the program was changed after it was signed), `not by its certificate`, `damaged`, `none`.
    pub signature: String,
    /// Subject of the signer's certificate, escaped.
    pub signed_by: Option<String>,
    /// SHA-256 of that certificate.
    pub sha256: Option<String>,
}

impl Program {
    /// Who signed it, or what is wrong with the signature, in words.
    pub fn words(&self) -> String {
        let by = self.signed_by.as_deref().unwrap_or("nobody whose certificate is there");
        match self.signature.as_str() {
            "right" => by.to_owned(),
            "of other bytes" => format!("{by}, but not these bytes: the program was changed"),
            "none" => "not signed".to_owned(),
            "damaged" => "the signature is damaged".to_owned(),
            other => format!("{by}, {other}"),
        }
    }
}

impl Report {
    /// An empty report.
    pub fn new(kind: Kind, name: &str) -> Report {
        Report {
            schema: SCHEMA,
            version: VERSION,
            kind,
            name: name.to_owned(),
            verdict: String::new(),
            image: None,
            disk: None,
            kernel: None,
            programs: Vec::new(),
            userland: None,
            command: None,
            boot: None,
            layers: None,
            attention: Vec::new(),
            notes: Vec::new(),
        }
    }
}

/// Something found, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What.
    pub value: String,
    /// The path, or the bytes, it was read from.
    pub evidence: String,
}

impl Fact {
    /// A fact and its evidence, both printable.
    pub fn new(value: impl Into<String>, evidence: impl Into<String>) -> Fact {
        Fact { value: value.into(), evidence: evidence.into() }
    }
}

/// What an image's configuration says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Image {
    /// The name it has where it came from.
    pub name: Option<String>,
    /// os/arch[/variant].
    pub platform: String,
    /// RFC 3339, as the image has it.
    pub created: Option<String>,
    /// Digest of the configuration.
    pub config_digest: String,
    /// Digest of the layers in their order: what the root file system is made from.
    pub chain_id: String,
    /// Ports it says it listens on.
    pub ports: Vec<String>,
    /// Paths that want storage of their own.
    pub volumes: Vec<String>,
    /// The signal that stops it.
    pub stop_signal: Option<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Its labels, `NAME=VALUE`.
    pub labels: Vec<String>,
}

/// The userland.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Userland {
    /// Regular files; a file with several names counts once.
    pub files: u64,
    /// Directories, the root included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices and named pipes.
    pub others: u64,
    /// Bytes of regular files, holes included.
    pub bytes: u64,
    /// Which distribution it is.
    pub distribution: Option<Distribution>,
    /// C libraries with their versions.
    pub libc: Vec<Fact>,
    /// Shells.
    pub shells: Vec<Fact>,
    /// Package databases.
    pub packages: Vec<Packages>,
    /// Programs that can be process 1.
    pub init: Vec<Fact>,
    /// Language runtimes.
    pub runtimes: Vec<Fact>,
    /// Certificates its programs trust.
    pub certificates: Vec<Fact>,
    /// Users.
    pub users: Option<Users>,
    /// Kernels.
    pub kernels: Vec<Fact>,
    /// Kernel modules.
    pub modules: Vec<Fact>,
    /// Boot loaders.
    pub boot_loaders: Vec<Fact>,
    /// Where its bytes are.
    pub sizes: Size,
}

/// A distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Distribution {
    /// `ID` of os-release: `debian`.
    pub id: String,
    /// For people: `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    /// `VERSION_ID`: `12`.
    pub version: Option<String>,
    /// Where it says so.
    pub evidence: String,
}

/// A package database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Packages {
    /// dpkg, apk, rpm, pacman.
    pub manager: String,
    /// Packages that are installed.
    pub installed: u64,
    /// Packages known in another state.
    pub others: u64,
    /// Where it was read.
    pub evidence: String,
    /// Why the numbers may be too low.
    pub doubt: Option<String>,
}

/// The users of /etc/passwd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Users {
    /// How many.
    pub count: u64,
    /// Those with a shell to log in with, `NAME (UID)`.
    pub with_shell: Vec<String>,
    /// Names with user number 0 besides root.
    pub other_roots: Vec<String>,
    /// Where it was read.
    pub evidence: String,
}

/// A directory and its bytes, for a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Its name; `/` for the root. A file stands for itself.
    pub name: String,
    /// Bytes of everything below.
    pub bytes: u64,
    /// Names below, directories included.
    pub names: u64,
    /// The largest of its children; what is left out is small.
    pub children: Vec<Size>,
}

/// The command an image or a disk starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Entrypoint and arguments.
    pub words: Vec<String>,
    /// As whom; empty is root.
    pub user: String,
    /// Where; empty is `/`.
    pub working_dir: String,
    /// The program's path without links.
    pub path: Option<String>,
    /// How it was found: search path, links, script interpreters, one step each.
    pub steps: Vec<String>,
    /// What the file is, in a few words.
    pub format: Option<String>,
    /// Facts of an ELF program.
    pub elf: Option<Elf>,
    /// Its libraries and theirs.
    pub libraries: Vec<Library>,
    /// What it asks of a kernel.
    pub asks: Option<Asks>,
    /// What keeps it from starting.
    pub problem: Option<String>,
}

/// A program's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Elf {
    /// 32 or 64.
    pub bits: u8,
    /// As `uname -m` has it.
    pub machine: String,
    /// Needs no dynamic loader.
    pub r#static: bool,
    /// Runs at any address.
    pub position_independent: bool,
    /// The dynamic loader it names.
    pub interpreter: Option<String>,
    /// Whether that loader is there.
    pub interpreter_found: bool,
    /// Libraries it names itself.
    pub needed: Vec<String>,
    /// Go's version, when Go made it.
    pub go: Option<String>,
    /// What does not lead anywhere in the file.
    pub damage: Option<String>,
}

/// A library a program needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// Where it is; nothing when it is missing.
    pub path: Option<String>,
    /// Who needs it first.
    pub needed_by: String,
}

/// What a program asks of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asks {
    /// The architecture of a kernel that runs it.
    pub architecture: String,
    /// The oldest Linux it runs on, by the ABI notes of program, loader and libraries.
    pub linux: Option<String>,
    /// Whose note says so.
    pub linux_evidence: Option<String>,
    /// The x86-64 level that its notes, or its libraries', ask for.
    pub isa: Option<String>,
}

/// What an image needs to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Boot {
    /// Kernels of the user's store for its architecture.
    pub kernels: Vec<StoredKernel>,
    /// What a disk gets beside the userland.
    pub injected: Vec<String>,
}

/// A kernel of the user's store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StoredKernel {
    /// Identifier.
    pub id: String,
    /// `uname -r`.
    pub release: String,
    /// It is taken when none is named.
    pub default: bool,
    /// Whether it boots a disk of this image: `yes`, `perhaps`, `no`.
    pub boots: String,
    /// Why not, or what is not known.
    pub why: Option<String>,
}

/// How an image was put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Layers {
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// Bytes of files in all layers, whether they can be seen or not.
    pub bytes: u64,
    /// Bytes that later layers hide.
    pub hidden: u64,
    /// Bytes that can be seen of all that are carried, in percent with one decimal.
    pub efficiency: f64,
    /// The largest files that were hidden.
    pub largest_hidden: Vec<HiddenFile>,
}

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// From 1.
    pub number: usize,
    /// Digest of the stored bytes when it is known, else of the tar.
    pub digest: String,
    /// Digest of the tar.
    pub diff_id: String,
    /// How it is stored: tar, gzip, zstd.
    pub format: String,
    /// Bytes as stored.
    pub stored: u64,
    /// Bytes of the tar.
    pub tar: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Members of the tar.
    pub entries: u64,
    /// Names that are new with it.
    pub added: u64,
    /// Names of lower layers that it gives another content or, for directories, other attributes.
    pub changed: u64,
    /// Names of lower layers that it takes away.
    pub removed: u64,
    /// Bytes of its files that later layers hide.
    pub hidden: u64,
    /// The command that made it, as the history has it.
    pub command: Option<String>,
}

/// A file that a later layer hides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HiddenFile {
    /// Its path.
    pub path: String,
    /// Its bytes.
    pub bytes: u64,
    /// The layer that brought it, from 1.
    pub layer: u32,
    /// The layer that hides it.
    pub hidden_by: u32,
}

/// A reason to look at files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// For programs: `setuid`, `setgid`, `capability`, `device`, `world-writable`, `secret-by-name`, `secret-in-env`.
    pub kind: String,
    /// For people.
    pub title: String,
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub items: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Bytes.
    pub size: u64,
    /// What it is kept in, when it is not raw: `qcow2`, `VMDK`, `VDI`, `VHD`, `VHDX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<String>,
    /// `gpt`, `mbr`, `none` (one file system on the whole disk).
    pub table: String,
    /// Disk identifier.
    pub id: Option<String>,
    /// Bytes of a sector.
    pub sector: u64,
    /// What is odd about the table.
    pub table_notes: Vec<String>,
    /// The partitions.
    pub partitions: Vec<Partition>,
    /// What each byte belongs to, in order.
    pub map: Vec<Range>,
    /// What boots it, entry by entry.
    pub entries: Vec<LoaderEntry>,
    /// Kernels on its EFI System Partitions.
    pub kernels: Vec<Kernel>,
    /// Initial RAM disks of its entries.
    pub initramfs: Vec<Initramfs>,
    /// How it can be started: `bios`, `uefi`, each with its evidence.
    pub firmware: Vec<Fact>,
    /// The layer that a build has added to the image; absent on disks that have nothing but the image's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<Record>,
    /// Hash trees of dm-verity over a root; absent on disks without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verity: Vec<Verity>,
}

/// A hash tree of dm-verity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verity {
    /// The partition it is in.
    pub partition: u32,
    /// The partition it is over.
    pub data_partition: Option<u32>,
    /// That of the command line, or what the GUIDs of both partitions say together; empty where nothing says it.
    pub root_hash: String,
    /// Always sha256.
    pub algorithm: String,
    /// In hexadecimal.
    pub salt: String,
    /// Of the superblock.
    pub uuid: String,
    /// Blocks that are hashed.
    pub data_blocks: u64,
    /// Bytes of one.
    pub block_size: u64,
    /// Whether tree and data are those of the root hash; null where there is no root hash or no data.
    pub verified: Option<bool>,
    /// The first that is not, from the top of the tree down to the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// As the table numbers it, from 1; 0 for a file system on the whole disk.
    pub number: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// The table's type, in words where it is known.
    pub r#type: String,
    /// The type as the table has it.
    pub type_id: String,
    /// Partition GUID.
    pub guid: Option<String>,
    /// The name the table has for it.
    pub name: Option<String>,
    /// File system, or what else its first bytes are.
    pub content: String,
    /// Label of the file system.
    pub label: Option<String>,
    /// Identifier of the file system.
    pub uuid: Option<String>,
    /// What the file system is full of.
    pub usage: Vec<Usage>,
}

/// Bytes of one owner within a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Whose.
    pub owner: Owner,
    /// What, in words.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

/// Whose bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Partition tables and what firmware reads.
    Firmware,
    /// Code of a BIOS boot stage.
    BootStage,
    /// A boot loader and its configuration.
    Loader,
    /// A kernel.
    Kernel,
    /// An initial RAM disk.
    Initramfs,
    /// Files of the userland.
    Userland,
    /// Metadata of a file system.
    Metadata,
    /// Other files of a partition that is not the userland's.
    Files,
    /// Nobody's.
    Free,
    /// Not known.
    Unknown,
}

impl Owner {
    /// All of them, in the order of legends.
    pub const ALL: [Owner; 10] = [
        Owner::Firmware,
        Owner::BootStage,
        Owner::Loader,
        Owner::Kernel,
        Owner::Initramfs,
        Owner::Userland,
        Owner::Metadata,
        Owner::Files,
        Owner::Free,
        Owner::Unknown,
    ];

    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Firmware => "firmware and partition table",
            Owner::BootStage => "boot stage",
            Owner::Loader => "boot loader",
            Owner::Kernel => "kernel",
            Owner::Initramfs => "initramfs",
            Owner::Userland => "userland",
            Owner::Metadata => "file-system metadata",
            Owner::Files => "other files",
            Owner::Free => "free",
            Owner::Unknown => "not known",
        }
    }
}

/// A range of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Whose.
    pub owner: Owner,
    /// What, in words.
    pub what: String,
    /// The partition it is in.
    pub partition: Option<u32>,
}

/// What a boot loader offers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoaderEntry {
    /// Whose configuration: `boot loader specification`, `grub`, `syslinux`, `unified kernel image`.
    pub format: String,
    /// The file it was read from.
    pub evidence: String,
    /// What a menu shows.
    pub title: Option<String>,
    /// The kernel's path.
    pub linux: Option<String>,
    /// Paths of initial RAM disks.
    pub initrd: Vec<String>,
    /// The kernel's command line.
    pub options: Option<String>,
}

/// An initial RAM disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Initramfs {
    /// Where it was read.
    pub evidence: String,
    /// Bytes as stored.
    pub size: u64,
    /// How its archives are packed, in order.
    pub packing: Vec<String>,
    /// Files in it.
    pub files: u64,
    /// Its first program, if it has one.
    pub init: Option<String>,
    /// Names of the modules in it.
    pub modules: Vec<String>,
    /// What our PID 1 reads, as JSON; nothing on disks made by others.
    pub boot_spec: Option<serde_json::Value>,
    /// What could not be read.
    pub note: Option<String>,
}

/// A kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Where it was read.
    pub evidence: String,
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub architecture: String,
    /// bzImage, Image.
    pub format: String,
    /// Who built it when, as the header says.
    pub banner: Option<String>,
    /// Boot protocol, `2.15`.
    pub protocol: Option<String>,
    /// It is an EFI program as well.
    pub efi_stub: bool,
    /// How the kernel inside is packed.
    pub compression: Option<String>,
    /// Bytes of the boot file.
    pub size: u64,
    /// SHA-256 of the boot file.
    pub sha256: String,
    /// Where its configuration was found.
    pub config: Option<String>,
    /// Options set to y, and to m.
    pub options: Option<(u64, u64)>,
    /// Modules that come with it.
    pub modules: Option<u64>,
    /// Disk buses it certainly boots from.
    pub buses: Vec<String>,
    /// The hypervisors and media where it finds its disk, and the drivers that it lacks elsewhere, in words. Of a kernel on a
    /// disk as that says; empty where it does not.
    pub boots_on: String,
    /// Whether it boots our disks: `yes`, `perhaps`, `no`.
    pub boots: String,
    /// Every check, with what it is for.
    pub checks: Vec<Check>,
    /// The unified kernel image that it is in; absent of any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unified: Option<Unified>,
}

/// A unified kernel image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unified {
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What the boot stub says of itself, `systemd-stub 252.39-1`.
    pub stub: Option<String>,
    /// It carries a signature; whose, and whether it is right, is said of programs.
    pub signed: bool,
    /// Its sections, the stub's own too.
    pub sections: Vec<Section>,
    /// What the TPM's register 11 holds once the stub has started the kernel; absent where that cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcr11: Option<Measured>,
}

/// A section of a unified kernel image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// `.linux`, `.initrd` and so on.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its contents.
    pub sha256: String,
    /// Its contents, of a short one that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A register of the TPM in each of its banks, in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// SHA-256.
    pub sha256: String,
    /// SHA-384.
    pub sha384: String,
    /// SHA-512.
    pub sha512: String,
}

/// One check of the preflight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The option.
    pub option: String,
    /// `pass`, `unknown`, `warn`, `fail`.
    pub verdict: String,
    /// What was found.
    pub detail: String,
    /// What it is for.
    pub why: String,
}

/// Two reports compared.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// [`DIFF_SCHEMA`].
    pub schema: &'static str,
    /// [`VERSION`].
    pub version: u32,
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// Nothing differs in the kernels; absent when neither has one.
    pub kernel_identical: Option<bool>,
    /// Nothing differs in the userland; absent when one of them has none.
    pub userland_identical: Option<bool>,
    /// What differs in the kernel.
    pub kernel: Vec<Difference>,
    /// What differs in size, table and partitions, of two disks.
    pub disk: Vec<Difference>,
    /// What differs in what the userland says about itself.
    pub userland: Vec<Difference>,
    /// Names that differ.
    pub paths: PathDifferences,
    /// What is odd.
    pub notes: Vec<String>,
}

impl Comparison {
    /// The userlands are the same; of two things without one, the kernels.
    pub fn is_same_userland(&self) -> bool {
        match (self.a.userland, self.b.userland) {
            (false, false) => self.kernel_identical.unwrap_or(true),
            _ => self.userland_identical == Some(true),
        }
    }

    /// Nothing differs, in kernels and tables either.
    pub fn is_same(&self) -> bool {
        self.is_same_userland() && self.kernel_identical.unwrap_or(true) && self.disk.is_empty()
    }
}

/// One of the two.
#[derive(Clone, Debug, Serialize)]
pub struct Side {
    /// As the user named it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its verdict.
    pub verdict: String,
    /// The release of the kernel that it boots by default, or is.
    pub kernel: Option<String>,
    /// It has a userland that can be read.
    pub userland: bool,
    /// The layer that a build has added to the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<Record>,
}

/// A value that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of what.
    pub what: String,
    /// In the first; nothing when it has none.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}
