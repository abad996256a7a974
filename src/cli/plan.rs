//! From the command line to a plan: which image, which kernel.

use super::env;
use super::options::{self, BootFiles, Disk, Global, KernelKeys};
use super::report::WithHint;
use super::size::Fit;
use crate::added::{self, Cover, Record};
use crate::arch::{Arch, Architecture};
use crate::convert::{self, Enroll, Event, Firmware, Observer, Options, Plan};
use crate::guest::channel::Overrides;
use crate::guest::spec::OnCorruption;
use crate::image::{Image, Platform};
use crate::kernel::{Bundle, Given, Store};
use crate::recognise::Wanted;
use crate::signing::Signing;
use crate::source::{self, Build, Input, Parse, Reference, Select, SourceError, Transport};
use anyhow::{Context, Result, anyhow};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

/// Opens the image called `name`, for a command that takes what is `wanted`.
pub fn open_image(global: &Global, name: &OsStr, parse: Parse, disk: &Disk, wanted: Wanted) -> Result<Image> {
    let reference = reference(name, parse, disk)?;
    let open = || -> Result<Image> {
        let platform = disk.platform.as_deref().map(str::parse::<Platform>).transpose()?;
        let build = Some(Build { file: disk.file.clone(), quiet: global.quiet });
        source::open(&reference, &Select { platform, owner: disk.owner, build }).map_err(|error| match error {
            SourceError::NotAnImage(refusal) => refusal.wanting(wanted).into(),
            error => error.into(),
        })
    };
    open().with_context(|| cannot(name))
}

/// What `name` refers to. Options that mean nothing for it are refused: who gives them expects something of them.
fn reference(name: &OsStr, parse: Parse, disk: &Disk) -> Result<Reference> {
    let reference = parse(name)?;
    let misplaced = |option: &str, takes: &str, instead: &str| WithHint {
        message: format!("{option} is only for {takes}: {}", crate::escape::path(Path::new(name))),
        hint: format!("omit {option}, or give {instead}"),
    };
    if disk.owner.is_some() && reference.transport != Transport::Rootfs {
        return Err(misplaced("--owner", "a root file system", "one as rootfs:PATH").into());
    }
    match (&reference.transport, &reference.input) {
        (Transport::Detect, Input::Path(path)) if disk.file.is_some() && path.is_dir() => {
            Ok(Reference::dockerfile(path))
        }
        (Transport::Dockerfile, _) => Ok(reference),
        _ if disk.file.is_some() => {
            Err(misplaced("--file", "a folder that an image is built from", "the folder: --file FILE DIR").into())
        }
        _ => Ok(reference),
    }
}

fn cannot(name: &OsStr) -> String {
    format!("cannot build from {}", crate::escape::path(Path::new(name)))
}

/// An image, and what its topmost layer is if it is not its own.
pub type WithAdded = (Image, Option<Record>);

/// Puts what is to be added on top of an image called `name`.
pub fn add(
    mut image: Image,
    name: &OsStr,
    disk: &Disk,
    overrides: &Overrides,
    observe: Observer<'_>,
) -> Result<WithAdded> {
    let wanted = disk.added.wanted();
    if wanted.is_empty() {
        return Ok((image, None));
    }
    observe(Event::Step("reading what the image has, for what is added to it"));
    let modules = disk.guest_modules == options::GuestModules::All;
    let (volumes, tmpfs) = (&image.config.volumes, &overrides.surroundings);
    let covers = Cover::all(disk.init.into(), &image.config.process(), volumes, tmpfs, modules);
    let made_at = convert::made_at(&image, source_date_epoch()?);
    let added = added::layer(&image, &wanted, made_at, &covers).with_context(|| cannot(name))?;
    added.warnings.iter().for_each(|text| observe(Event::Warning(text)));
    image.layers.push(added.layer);
    Ok((image, Some(added.record)))
}

/// How the disk is signed, if it is.
#[derive(Debug, Default)]
pub struct Signed {
    /// Who signs.
    pub signing: Option<Arc<Signing>>,
    /// When the firmware gets the certificate.
    pub enroll: Option<Enroll>,
}

/// Opens the kernel for an image called `name`, chooses the firmware by these, and decides everything that can be
/// decided before the layers are read.
pub fn open(
    (image, added): WithAdded,
    name: &OsStr,
    (disk, boot_files): (&Disk, &BootFiles),
    (firmware, signed): (impl FnOnce(Architecture, &Bundle) -> Firmware, Signed),
    overrides: &Overrides,
    verity: Option<OnCorruption>,
    observe: Observer<'_>,
) -> Result<Plan> {
    let bundle = open_kernel(disk, &image)?;
    let options = Options {
        source: crate::escape::path(Path::new(name)),
        firmware: firmware(Architecture::try_from(bundle.arch)?, &bundle),
        size: disk.size.and_then(Fit::bytes),
        free: disk.room(),
        esp_size: disk.esp_size(),
        command_line: disk.cmdline.clone(),
        init: disk.init.into(),
        overrides: overrides.clone(),
        efi_loader: disk.efi_loader.clone(),
        loaders: env::loaders().ok(),
        uki: boot_files.uki(),
        source_date_epoch: source_date_epoch()?,
        guest_modules: disk.guest_modules == options::GuestModules::All,
        drivers: disk.drivers.into(),
        preflight: !disk.no_preflight,
        identity: disk.identity.clone().map(identity).transpose()?,
        added,
        console_login: disk.console_login,
        settings: !disk.no_settings,
        verity,
        signing: signed.signing,
        enroll: signed.enroll,
    };
    Plan::open(image, bundle, options, observe).with_context(|| cannot(name))
}

/// The one use of randomness in a build, and only where it is asked for.
fn identity(text: String) -> Result<String> {
    match text.as_str() {
        "random" => crate::random::text().context("cannot read the system's randomness"),
        _ => Ok(text),
    }
}

/// A kernel given as a path that exists, or as a name in the store, or the store's default for the image.
fn open_kernel(disk: &Disk, image: &Image) -> Result<Bundle> {
    // Said first: no kernel is worth fetching for what there are no machines of.
    let arch = Arch::from_name(&image.platform.architecture)
        .map(Arch::kernel)
        .ok_or_else(|| anyhow!("cannot make a disk for the image's platform {}", image.platform))?;
    Architecture::try_from(arch)?;
    let Some(kernel) = &disk.kernel else {
        disk.keys.are_for_files("the store's default")?;
        return Ok(Store::of_user()?.default_bundle(arch)?);
    };
    named_kernel(kernel, disk.modules.as_deref(), &disk.keys, Meant { image: Some(image), arch: Some(arch) })
}

/// What names of kernels mean where they are given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meant<'a> {
    /// What `image` is.
    pub image: Option<&'a Image>,
    /// Whose `default` it is.
    pub arch: Option<Arch>,
}

/// The image's own kernel, `image` or `image:RELEASE`: the release, if one is named.
fn own_kernel(name: &str) -> Option<Option<&str>> {
    match name.strip_prefix("image")? {
        "" => Some(None),
        rest => rest.strip_prefix(':').filter(|release| !release.is_empty()).map(Some),
    }
}

/// A kernel as `--kernel` names it.
pub fn named_kernel(kernel: &OsStr, modules: Option<&Path>, keys: &KernelKeys, meant: Meant<'_>) -> Result<Bundle> {
    let path = Path::new(kernel);
    let read = keys.read()?;
    if let Some(files) = options::kernel_files(path)? {
        return Ok(Bundle::of(&Given { files: &files, modules, keys: read.as_ref(), config: None })?);
    }
    keys.are_for_files(&kernel.to_string_lossy())?;
    if let (Some(release), Some(image)) = (kernel.to_str().and_then(own_kernel), meant.image) {
        let mut bundle = Bundle::of_image(image, release, "the image")?;
        bundle.replace_modules(modules)?;
        return Ok(bundle);
    }
    let name = kernel.to_str().filter(|name| !name.contains('/'));
    match name {
        Some(name) => {
            let mut bundle = Store::of_user()?.find_for(name, meant.arch)?.bundle()?;
            bundle.replace_modules(modules)?;
            Ok(bundle)
        }
        _ => Err(WithHint {
            message: format!("no such kernel: {}", crate::escape::path(path)),
            hint: "give a boot file, a kernel package, a directory with a kernel, `image`, `host`, or a name that `bootdisk kernel list` shows".into(),
        }
        .into()),
    }
}

/// `SOURCE_DATE_EPOCH` (reproducible-builds.org): the latest time that anything made here may have.
fn source_date_epoch() -> Result<Option<i64>> {
    match std::env::var_os("SOURCE_DATE_EPOCH") {
        None => Ok(None),
        Some(text) => {
            let seconds = text.to_str().and_then(|text| text.parse::<u64>().ok()).and_then(|n| i64::try_from(n).ok());
            let shown =
                || anyhow!("SOURCE_DATE_EPOCH is not a number of seconds: {}", crate::escape::path(Path::new(&text)));
            seconds.map(Some).ok_or_else(shown)
        }
    }
}

impl options::Disk {
    /// An option of the group that was given and means nothing for a disk that exists.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--kernel", self.kernel.is_some()),
            ("--kernel-key", !self.keys.is_empty()),
            ("--guest-modules", self.guest_modules != options::GuestModules::None),
            ("--drivers", self.drivers != options::DriversChoice::Vm),
            ("--no-preflight", self.no_preflight),
            ("--platform", self.platform.is_some()),
            ("--owner", self.owner.is_some()),
            ("--file", self.file.is_some()),
            ("--size min", self.size == Some(Fit::Fitting)),
            ("--free", self.free.is_some()),
            ("--esp-size", self.esp_size.is_some()),
            ("--cmdline", !self.cmdline.is_empty()),
            ("--identity", self.identity.is_some()),
            ("--init", self.init != options::InitChoice::Auto),
            ("--efi-loader", self.efi_loader.is_some()),
            ("--console-login", self.console_login),
            ("--no-settings", self.no_settings),
            ("--copy-in", !self.added.copy_in.is_empty()),
            ("--ssh-key", !self.added.ssh_key.is_empty()),
            ("--password", !self.added.password.is_empty()),
        ];
        options.into_iter().find_map(|(name, given)| given.then_some(name))
    }
}
