//! The whole conversion on one screen: an image and a kernel in, a disk out. No format is known here.
//!
//! ```text
//!  Plan::open    image and kernel opened and checked, everything decided that decides the disk's identity
//!  Plan::write   layers ─▶ tree + bodies ─▶ root file system ─▶ boot files ─▶ partition table ─▶ published
//! ```

use crate::arch::Architecture;
use crate::boot::{self, Boot, command_line, initramfs, loader};
use crate::disk::file::PartialFile;
use crate::disk::gpt::{Before, Guids, Layout, LayoutError, Role};
use crate::ext4::{self, Descriptors};
use crate::guest::channel::Overrides;
use crate::guest::spec::{self, BootSpec, GuestModules, Init, Network, Root};
use crate::guest_modules;
use crate::identity::{DiskIdentity, Ingredients, RootIdentity};
use crate::image::{Image, LayerStream, LayersAhead};
use crate::kernel::modules::{ModuleTree, Selection, select};
use crate::kernel::preflight::{self, preflight};
use crate::kernel::{Arch, Bundle, Packing};
use crate::layer;
use crate::output::Slice;
use crate::pid1::init_binary;
use crate::rootfs::{self, Attrs, Time, Tree};
use crate::startable;
use anyhow::{Context, Result, anyhow, bail};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use crate::boot::Firmware;

/// Most bytes a root file system may need when nobody has named a size: an image that needs more is either meant to,
/// and says so with a size, or a decompression bomb.
pub const AUTOMATIC_LIMIT: u64 = 64 << 30;
/// How far beyond a size that is too small the layers are still read, to name the size that would do: this many times
/// the compressed layers' bytes. Ordinary layers unpack to three times their size, a bomb to a thousand times.
const COUNTED_RATIO: u64 = 32;

/// Something to show while a disk is made.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The layers will be read: how many, and their compressed bytes together.
    Layers {
        /// Number of layers.
        count: usize,
        /// Compressed bytes of all of them.
        bytes: u64,
    },
    /// One layer begins.
    Layer {
        /// Its number, from 0.
        index: usize,
        /// Number of layers.
        count: usize,
        /// Its compressed bytes.
        bytes: u64,
    },
    /// So many compressed bytes of all layers have been read.
    Read {
        /// Bytes, the layers before included.
        bytes: u64,
    },
    /// What is done now, in words.
    Step(&'a str),
    /// Something the user should know, in printable text.
    Warning(&'a str),
    /// There will be no more.
    Done,
}

/// Gets the events.
pub type Observer<'a> = &'a mut dyn FnMut(Event<'_>);

/// What decides a disk besides image and kernel.
#[derive(Clone, Debug)]
pub struct Options {
    /// The image as the user named it, in printable text, for errors alone.
    pub source: String,
    /// Under which firmware it boots.
    pub firmware: Firmware,
    /// Bytes of the whole disk; what the image needs and some room when absent.
    pub size: Option<u64>,
    /// Bytes of the EFI System Partition.
    pub esp_size: u64,
    /// Added to the kernel's command line.
    pub command_line: String,
    /// Who runs the userland.
    pub init: Init,
    /// Changes to what the image's configuration says.
    pub overrides: Overrides,
    /// systemd-boot's file, instead of the distribution's.
    pub efi_loader: Option<PathBuf>,
    /// Upper limit for the times this program makes, in seconds since 1970 (`SOURCE_DATE_EPOCH`).
    pub source_date_epoch: Option<i64>,
    /// The running userland has all modules of the kernel, in a partition of their own.
    pub guest_modules: bool,
    /// A kernel that cannot boot the disk is refused; otherwise what it lacks is a warning.
    pub preflight: bool,
}

/// How a disk is written. None of it reaches the disk's bytes.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Everything is on stable storage before the disk has its name.
    pub sync: bool,
    /// Threads that decode layers, at least 1; each layer is hashed on one more.
    pub threads: usize,
}

impl Default for Writing {
    /// With fsync, and as many threads as this process may use processors.
    fn default() -> Writing {
        Writing { sync: true, threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// A disk that can be written.
pub struct Plan {
    image: Image,
    bundle: Bundle,
    modules: Selection,
    options: Options,
    pid1: &'static [u8],
    efi_loader: Option<Vec<u8>>,
    command_line: String,
    spec: BootSpec,
    identity: DiskIdentity,
    digest: [u8; 32],
}

/// A disk that was written.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where everything is.
    pub layout: Layout,
    /// The root file system's numbers.
    pub root: ext4::Sealed,
    /// Files, directories and other names of the userland.
    pub names: u64,
    /// Bytes of the userland's file bodies.
    pub userland: u64,
    /// Bytes of the kernel's boot file.
    pub kernel: u64,
    /// The kernel's release.
    pub release: String,
    /// Bytes of the initramfs.
    pub initramfs: u64,
}

impl Plan {
    /// Checks image and kernel against each other and decides everything but the root file system.
    pub fn open(image: Image, bundle: Bundle, options: Options, observe: Observer<'_>) -> Result<Plan> {
        let architecture = Architecture::try_from(bundle.arch)?;
        let wanted = preflight::Disk {
            arch: Arch::from_name(&image.platform.architecture)
                .map(Arch::kernel)
                .ok_or_else(|| anyhow!("cannot make a disk for the image's platform {}", image.platform))?,
            bios: options.firmware.bios,
            uefi: options.firmware.uefi,
            initramfs: Packing::None,
        };
        let report = preflight(&bundle, &wanted);
        if let Err(refused) = report.verdict(&bundle) {
            if options.preflight {
                return Err(refused.into());
            }
            observe(Event::Warning(&refused.to_string()));
        }
        let modules = select(&bundle)?;
        if options.overrides.ephemeral == Some(true) && preflight::lacks_overlay(&bundle, &modules.absent) {
            bail!("kernel {} has no overlayfs (CONFIG_OVERLAY_FS), which an ephemeral root needs", bundle.release);
        }
        let warnings = image.warnings.iter().cloned().chain(report.warnings()).chain(modules.warnings.iter().cloned());
        warnings.for_each(|text| observe(Event::Warning(&text)));

        let pid1 = init_binary(architecture)?;
        let efi_loader = match options.firmware.uefi {
            true => Some(loader::open(architecture, options.efi_loader.as_deref())?),
            false => None,
        };
        let command_line = command_line::command_line(architecture, &options.command_line)?;
        let mut spec = boot_spec(&image, &modules, &options)?;
        let drivers = report.buses.iter().chain(&report.cards).map(|&name| name.to_owned());
        spec.drivers = bundle.config.is_some().then(|| drivers.collect());
        let guest_modules = all_modules(&bundle, &options, observe);
        let guest_digest = guest_modules.map(guest_modules::digest).transpose()?;
        let facts = Facts {
            modules: &modules,
            guest_modules: guest_digest,
            pid1,
            efi_loader: efi_loader.as_deref(),
            command_line: &command_line,
            spec: &spec,
        };
        let digest = ingredients(&image, &bundle, &options, &facts)?;
        let identity = DiskIdentity::of(&digest);
        spec.root.partuuid = identity.root.to_string();
        spec.guest_modules = guest_modules.map(|_| GuestModules {
            partuuid: identity.modules.to_string(),
            fstype: "ext4".into(),
            release: bundle.release.clone(),
        });
        Ok(Plan { image, bundle, modules, options, pid1, efi_loader, command_line, spec, identity, digest })
    }

    /// A name for this disk's content: equal for equal disks, different for different ones.
    pub fn key(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes the disk and publishes it at `path`. Until then nothing is there, or what was there before.
    pub fn write(&self, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<Built> {
        let built = self.write_parts(path, writing, observe);
        observe(Event::Done);
        built
    }

    fn write_parts(&self, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<Built> {
        let architecture = Architecture::try_from(self.bundle.arch)?;
        // What no disk can be is refused before there is a file.
        self.fixed_layout(architecture, self.options.esp_size.into())?;
        Layout::root_offset(architecture, self.options.esp_size)?;
        let file = PartialFile::create(path, self.options.size.unwrap_or(0))?;
        let before = self.before_root(architecture, &file, observe)?;
        let (fixed, too_small) = self.fixed_layout(architecture, before)?;
        let root_size =
            fixed.as_ref().map(|layout| layout.partition(Role::Root).expect("every layout has one").bytes());
        let offset = Layout::root_offset(architecture, before)?;

        let slice = Slice::new(&file, offset);
        let mut writer = ext4::Writer::new(&slice, self.parameters(root_size));
        let tree = self.flatten(&mut writer, writing.threads, observe)?;
        observe(Event::Step("writing the file system's metadata"));
        if let Some(text) = startable::doubt(&tree, &self.spec.process, self.spec.init) {
            observe(Event::Warning(&text));
        }
        let root = writer.seal(&tree).map_err(|error| self.too_small(error, offset))?;
        if let Some(error) = too_small {
            return Err(error.into());
        }
        root.warnings.first().iter().for_each(|text| observe(Event::Warning(text)));

        let layout = match fixed {
            Some(layout) => layout,
            None => Layout::around_root(architecture, before, root.size)?,
        };
        file.set_size(layout.disk_size())?;
        observe(Event::Step("writing kernel and boot files"));
        let kernel = self.bundle.boot.read()?;
        let initramfs = self.initramfs()?;
        let parts = Boot {
            firmware: self.options.firmware,
            kernel: &kernel,
            release: &self.bundle.release,
            initramfs: &initramfs,
            efi_loader: self.efi_loader.as_deref(),
            command_line: &self.command_line,
            title: &format!("Linux {}", self.bundle.release),
            volume_id: self.identity.esp_volume,
            time: self.made_at(),
        };
        boot::write(&parts, &layout, &self.guids(), &file)?;
        if writing.sync {
            file.publish()?;
        } else {
            file.publish_unsynced()?;
        }
        Ok(Built {
            layout,
            names: u64::from(tree.entry_count()),
            userland: tree.file_bytes(),
            root,
            kernel: kernel.len() as u64,
            release: self.bundle.release.clone(),
            initramfs: initramfs.len() as u64,
        })
    }

    /// Sizes of the partitions before the root. The modules' is written here, as only then its size is known.
    fn before_root(&self, architecture: Architecture, file: &PartialFile, observe: Observer<'_>) -> Result<Before> {
        let before = Before::from(self.options.esp_size);
        let Some(tree) = self.bundle.modules.as_ref().filter(|_| self.spec.guest_modules.is_some()) else {
            return Ok(before);
        };
        observe(Event::Step("writing the kernel's modules"));
        // They begin where a root without them would.
        let slice = Slice::new(file, Layout::root_offset(architecture, before)?);
        let facts = guest_modules::Facts { ids: self.identity.modules_system, made_at: self.made_at() };
        Ok(Before { modules: guest_modules::write(tree, &facts, &slice)?, ..before })
    }

    /// The layout of a disk whose size was given. One that is too small for any root is made for the least there is,
    /// so that the layers say what size would do; the error is for the unlikely image that the least is enough for.
    fn fixed_layout(&self, architecture: Architecture, before: Before) -> Result<(Option<Layout>, Option<SizeError>)> {
        let Some(size) = self.options.size else { return Ok((None, None)) };
        let of_disk = |size| Layout::of_disk(architecture, before, size);
        match of_disk(size) {
            Err(LayoutError::TooSmall { needed, .. }) => {
                Ok((Some(of_disk(needed)?), Some(SizeError::TooSmall { size, needed })))
            }
            layout => Ok((Some(layout?), None)),
        }
    }

    /// Applies every layer, lowest first. Bodies are in their final blocks when it returns.
    fn flatten(
        &self,
        writer: &mut ext4::Writer<'_>,
        threads: usize,
        observe: Observer<'_>,
    ) -> Result<Tree<ext4::Body>> {
        let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        let mut warnings = layer::Warnings::default();
        let limits = rootfs::Limits::default();
        let layers = &self.image.layers;
        observe(Event::Layers { count: layers.len(), bytes: layers.iter().map(|layer| layer.size).sum() });
        let mut before = 0;
        for (index, (layer, stream)) in layers.iter().zip(LayersAhead::new(&self.image, threads)).enumerate() {
            observe(Event::Layer { index, count: layers.len(), bytes: layer.size });
            let digest = layer.digest.as_ref().unwrap_or(&layer.diff_id);
            let place = || format!("cannot build from {}: layer {} ({digest})", self.options.source, index + 1);
            let mut stream = Watched::new(stream.with_context(place)?, before, observe);
            let applied = rootfs::apply(&mut tree, index as u32, &mut stream, writer, &limits, &mut warnings);
            if let Some(text) = stream.inner.warning() {
                (stream.observe)(Event::Warning(&text));
            }
            match applied {
                Ok(_) => stream.inner.finish().with_context(place)?,
                // A damaged blob is the cause, and the odd tar in it only the effect.
                Err(error) => {
                    stream.inner.finish_after_error().with_context(place)?;
                    return Err(self.size_or(error)).with_context(place);
                }
            }
            before += layer.size;
        }
        warnings.to_string().lines().for_each(|text| observe(Event::Warning(text)));
        Ok(tree)
    }

    fn parameters(&self, size: Option<u64>) -> ext4::Params {
        let root = RootIdentity::of(&self.image.chain_id().to_string());
        let compressed: u64 = self.image.layers.iter().map(|layer| layer.size).sum();
        ext4::Params {
            uuid: root.uuid.into_bytes(),
            hash_seed: root.hash_seed.into_bytes(),
            label: b"root".to_vec(),
            size,
            free: None,
            limit: size.map_or(AUTOMATIC_LIMIT, |size| size.saturating_add(compressed.saturating_mul(COUNTED_RATIO))),
            made_at: Time { secs: self.made_at(), nanos: 0 },
            descriptors: Descriptors::default(),
        }
    }

    /// The time of what this program makes: the image's own, never later than the limit.
    fn made_at(&self) -> i64 {
        made_at(&self.image, &self.options)
    }

    fn guids(&self) -> Guids {
        let DiskIdentity { disk, bios_boot, esp, modules, root, .. } = self.identity;
        Guids { disk, bios_boot, esp, modules, root }
    }

    fn initramfs(&self) -> Result<Vec<u8>> {
        let spec = serde_json::to_vec_pretty(&self.spec).context("cannot encode the boot specification")?;
        let modules = self.modules.modules.iter();
        let modules: Vec<_> =
            modules.map(|module| initramfs::ModuleFile { path: &module.spec.file, bytes: &module.bytes }).collect();
        Ok(initramfs::write(self.pid1, &spec, &modules, Packing::None)?)
    }

    /// Turns "the partition is too small" into "the disk is too small": `--size` is the disk's.
    fn too_small(&self, error: ext4::SealError, offset: u64) -> anyhow::Error {
        match (error, self.options.size) {
            (ext4::SealError::TooSmall { needed, .. }, Some(size)) => {
                SizeError::TooSmall { size, needed: needed + offset + crate::disk::gpt::ALIGNMENT }.into()
            }
            (error, _) => error.into(),
        }
    }

    /// Finds out whether it was the size that a layer could not be applied for.
    fn size_or(&self, error: rootfs::ApplyError) -> anyhow::Error {
        let error = anyhow::Error::from(error);
        let limit = error.chain().find_map(|cause| {
            let io = cause.downcast_ref::<std::io::Error>()?;
            match io.get_ref()?.downcast_ref::<ext4::BodyError>()? {
                ext4::BodyError::LimitExceeded { limit } => Some(*limit),
                _ => None,
            }
        });
        match (limit, self.options.size) {
            (Some(limit), Some(size)) => SizeError::FarTooSmall { size, limit }.into(),
            (Some(limit), None) => SizeError::NeedsSize { limit }.into(),
            (None, _) => error,
        }
    }
}

/// The image does not go onto a disk of that size.
#[derive(Debug, thiserror::Error)]
pub enum SizeError {
    /// And this size would do.
    #[error("image does not fit a disk of {}, it needs {}", suffixed(*.size), suffixed(*.needed))]
    TooSmall {
        /// Bytes asked for.
        size: u64,
        /// Bytes that are enough.
        needed: u64,
    },
    /// By so much that nobody counted to the end.
    #[error("image does not fit a disk of {}, it unpacks to more than {}", suffixed(*.size), suffixed(*.limit))]
    FarTooSmall {
        /// Bytes asked for.
        size: u64,
        /// Bytes counted.
        limit: u64,
    },
    /// No size was asked for and the image is suspiciously large.
    #[error("image unpacks to more than {}", suffixed(*.limit))]
    NeedsSize {
        /// Bytes counted.
        limit: u64,
    },
}

impl SizeError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            SizeError::TooSmall { needed, .. } => {
                let whole = needed.next_multiple_of(1 << 20);
                format!("give --size {} or leave it away", suffixed(whole))
            }
            SizeError::FarTooSmall { .. } => {
                "the image may be a decompression bomb; if not, give a larger --size".into()
            }
            SizeError::NeedsSize { .. } => "if that is what you want, say how large the disk may be with --size".into(),
        }
    }
}

/// A size as `--size` takes it, never rounded: `512M`, `3G`, `1000`.
fn suffixed(bytes: u64) -> String {
    match bytes.trailing_zeros() {
        30.. if bytes > 0 => format!("{}G", bytes >> 30),
        20..30 => format!("{}M", bytes >> 20),
        _ => bytes.to_string(),
    }
}

/// See [`Plan::made_at`].
fn made_at(image: &Image, options: &Options) -> i64 {
    let created = image.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let created = created.map_or(0, |time| time.as_second().max(0));
    options.source_date_epoch.map_or(created, |limit| created.min(limit))
}

/// The boot specification of an image, but for the root's partition GUID, which depends on it.
fn boot_spec(image: &Image, modules: &Selection, options: &Options) -> Result<BootSpec> {
    let config = &image.config;
    let mut spec = BootSpec {
        version: spec::VERSION,
        root: Root { partuuid: String::new(), fstype: "ext4".into(), read_only: false, ephemeral: false },
        init: options.init,
        process: config.process(),
        hostname: None,
        network: Network::default(),
        wait_online: None,
        volumes: config.volumes.clone(),
        healthcheck: config.healthcheck.clone(),
        exposed_ports: config.exposed_ports.clone(),
        drivers: None,
        guest_modules: None,
        modules: modules.specs(),
    };
    crate::guest::overrides::apply(&mut spec, options.overrides.clone());
    let strings = [&spec.process.entrypoint, &spec.process.cmd, &spec.process.env];
    if let Some(bad) = strings.into_iter().flatten().find(|text| text.contains('\0')) {
        bail!("argument or environment variable with a NUL byte: {}", crate::escape::escape(bad.as_bytes()));
    }
    Ok(spec)
}

/// All modules of the kernel, where the userland is to have them and there are any.
fn all_modules<'a>(bundle: &'a Bundle, options: &Options, observe: Observer<'_>) -> Option<&'a ModuleTree> {
    let wanted = bundle.modules.as_ref().filter(|_| options.guest_modules);
    let found = wanted.filter(|tree| !tree.is_empty());
    if options.guest_modules && found.is_none() {
        let text = format!("kernel {} has no modules that the userland could have", bundle.release);
        observe(Event::Warning(&text));
    }
    found
}

/// What was found out about a disk before its identity.
struct Facts<'a> {
    modules: &'a Selection,
    guest_modules: Option<[u8; 32]>,
    pid1: &'a [u8],
    efi_loader: Option<&'a [u8]>,
    command_line: &'a str,
    spec: &'a BootSpec,
}

/// Digest of everything that goes onto the disk.
fn ingredients(image: &Image, bundle: &Bundle, options: &Options, facts: &Facts<'_>) -> Result<[u8; 32]> {
    let mut all = Ingredients::default();
    all.add("bootdisk", env!("CARGO_PKG_VERSION").as_bytes())
        .add("layers", image.chain_id().to_string().as_bytes())
        .add("created", image.created.as_deref().unwrap_or_default().as_bytes())
        .add("spec", &serde_json::to_vec(facts.spec).context("cannot encode the boot specification")?)
        .add("kernel", bundle.boot.sha256().as_bytes())
        .add("release", bundle.release.as_bytes())
        .add("PID 1", facts.pid1)
        .add("EFI loader", facts.efi_loader.unwrap_or_default())
        .add("command line", facts.command_line.as_bytes())
        .add("firmware", &[options.firmware.bios.into(), options.firmware.uefi.into()])
        .add("size", &options.size.unwrap_or(0).to_le_bytes())
        .add("ESP size", &options.esp_size.to_le_bytes())
        // A limit that is later than the image changes nothing on the disk, and so not its identity either.
        .add("time", &made_at(image, options).to_le_bytes());
    for module in &facts.modules.modules {
        all.add(&module.spec.name, module.sha256.as_bytes());
    }
    if let Some(digest) = &facts.guest_modules {
        all.add("guest modules", digest);
    }
    Ok(all.digest())
}

/// A layer's stream that tells how far it is.
struct Watched<'a, 'b> {
    inner: LayerStream,
    read: Arc<AtomicU64>,
    before: u64,
    told: u64,
    observe: &'a mut (dyn FnMut(Event<'_>) + 'b),
}

impl<'a, 'b> Watched<'a, 'b> {
    fn new(inner: LayerStream, before: u64, observe: &'a mut (dyn FnMut(Event<'_>) + 'b)) -> Self {
        Watched { read: inner.progress(), inner, before, told: 0, observe }
    }
}

impl Read for Watched<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Watched<'_, '_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let read = self.read.load(Ordering::Relaxed);
        if read != self.told {
            self.told = read;
            (self.observe)(Event::Read { bytes: self.before + read });
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }
}
