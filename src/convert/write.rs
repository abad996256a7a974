//! A plan becomes a disk.
//!
//! ```text
//!  layers ─▶ tree + bodies ─▶ root file system ──┐
//!  kernel, initramfs ─▶ ESP, boot stage ─────────┴─▶ partition table ─▶ published
//! ```
//!
//! Boot files that know something of the root, its hash or its os-release, are written behind it.

use super::bases::{Begun, Keeping, Layers};
use super::facts::made_at;
use super::form::{raw_copy, write_form};
use super::login;
use super::records::Digested;
use super::said::Said;
use super::size::SizeError;
use super::verified::Settled;
use super::verify::{Expected, expected_userland, verify};
use super::watched::Watched;
use super::{AUTOMATIC_LIMIT, Bases, Built, COUNTED_RATIO, EspSize, Event, Observer, Plan, Unified, Verity, Writing};
use crate::arch::Architecture;
use crate::boot::signed::Signed;
use crate::boot::{self, Boot, initramfs, uki};
use crate::cache::bases::Made;
use crate::cache::is_full;
use crate::contents::installed::{Installed, installed, os_release};
use crate::disk::gpt::{Before, Layout, LayoutError, Role};
use crate::ext4::{self, Descriptors, Refused};
use crate::flatten;
use crate::formats::verity::{BLOCK, Superblock};
use crate::forms::{self, Form, Growing};
use crate::identity::RootIdentity;
use crate::image::LayersAhead;
use crate::kernel::Packing;
use crate::output::{Output, Slice};
use crate::publish::PartialFile;
use crate::rootfs::{Time, Tree};
use crate::verity::{self, Geometry};
use crate::{added, guest_modules, startable};
use anyhow::{Context, Result};
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What [`Plan::write_boot_files`] has written.
struct BootFiles {
    code: [u8; boot::bios::MBR_BYTES],
    /// Bytes.
    kernel: u64,
    /// Bytes.
    initramfs: u64,
}

/// What [`Plan::write_root`] has written.
struct Root {
    tree: Tree<ext4::Body>,
    sealed: ext4::Sealed,
    installed: Option<Installed>,
    /// The userland's own text, where a unified kernel image is to have it.
    os_release: Option<Vec<u8>>,
    left: Option<Made>,
}

/// What `here` returns, and `other` on a thread of its own meanwhile. A panic of that goes on in this thread.
///
/// # Errors
/// There can be no thread.
fn beside<T, U: Send>(name: &str, other: impl FnOnce() -> U + Send, here: impl FnOnce() -> T) -> Result<(T, U)> {
    thread::scope(|scope| {
        let other = thread::Builder::new().name(name.into()).spawn_scoped(scope, other);
        let other = other.context("cannot start a thread")?;
        let here = here();
        Ok((here, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    })
}

impl Plan {
    /// Writes the disk and publishes it at `path`. Until then nothing is there, or what was there before.
    ///
    /// It begins at one of the `bases` and leaves one, where there are any.
    pub fn write(&self, bases: Option<&Bases>, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<Built> {
        self.write_from(Layers::of(&self.image, bases, writing.threads), path, writing, observe)
    }

    /// The same with the layers of its image, which somebody has begun to decode already.
    pub fn write_from(&self, layers: Layers, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<Built> {
        let bases = layers.plan.as_ref().map(|plan| plan.bases.clone());
        let mut said = Said::default();
        let mut written = |layers| self.write_parts(layers, path, writing, &mut said.a_try(observe));
        let mut built = written(layers);
        // No build fails for what is kept of others.
        if built.as_ref().is_err_and(is_full) && bases.is_some_and(|bases| bases.give_room(path)) {
            built = written(Layers::of(&self.image, None, writing.threads));
        }
        observe(Event::Done);
        built
    }

    fn write_parts(&self, layers: Layers, path: &Path, writing: &Writing, observe: Observer<'_>) -> Result<Built> {
        let architecture = Architecture::try_from(self.bundle.arch)?;
        // What no disk can be is refused before there is a file.
        let esp_size = self.esp_size(architecture)?;
        self.fixed_layout(architecture, esp_size.into())?;
        Layout::root_offset(architecture, esp_size)?;
        let grows = writing.form.grows();
        let file = PartialFile::create(path, if grows { 0 } else { self.options.size.unwrap_or(0) })?;
        let growing = grows.then(|| Growing::new(&file));
        let disk: &dyn Output = growing.as_ref().map_or(&file, |growing| growing);
        let before = self.before_root(architecture, esp_size, disk, observe)?;
        let (fixed, too_small) = self.fixed_layout(architecture, before)?;
        let root_size =
            fixed.as_ref().map(|layout| layout.partition(Role::Root).expect("every layout has one").bytes());
        let offset = Layout::root_offset(architecture, before)?;
        // Where a form puts bytes depends on when they come; a huge root has more in front of its first body than others have.
        let layers = match grows || !ext4::has_usual_room(&self.parameters(root_size)) {
            true => layers.apart(&self.image, writing.threads),
            false => layers,
        };

        // Both firmwares' files lie in front of the root, wherever that ends: they are written while the layers are read.
        let prefix = match &fixed {
            Some(layout) => layout.clone(),
            None => Layout::around_root(architecture, before, 1)?,
        };
        let in_vain = AtomicBool::new(false);
        let beforehand = Settled::of(&self.identity, &self.command_line, None);
        let read_kernel = || {
            let kernel = self.bundle.boot.read();
            kernel.inspect_err(|_| in_vain.store(true, Ordering::Relaxed))
        };
        let write_boot_files = || {
            let written = self.write_boot_files(&read_kernel()?, &prefix, &beforehand, disk);
            written.inspect_err(|_| in_vain.store(true, Ordering::Relaxed))
        };
        let (root, boot_files, settled, hashes) = if self.options.verity.is_some() || self.unified.is_some() {
            // What they say of the root is known when that is written; the kernel is read meanwhile.
            let (written, kernel) = beside("kernel", read_kernel, || {
                self.write_root(layers, disk, (offset, root_size), writing, &in_vain, observe)
            })?;
            let (kernel, written) = (kernel?, written?);
            let hashes = match self.options.verity {
                Some(_) => {
                    observe(Event::Step("hashing the root file system"));
                    let threads = if grows { 1 } else { writing.threads };
                    Some(self.write_hashes(architecture, before, &written.sealed, disk, threads)?)
                }
                None => None,
            };
            let root_hash = hashes.as_ref().map(|(_, verity)| &verity.root_hash);
            let os_release = uki::osrel(written.os_release.as_deref(), &self.bundle.release);
            let settled = Settled { os_release, ..Settled::of(&self.identity, &self.command_line, root_hash) };
            let layout = hashes.as_ref().map_or(&prefix, |(layout, _)| layout);
            let boot_files = self.write_boot_files(&kernel, layout, &settled, disk);
            (Ok(written), boot_files, settled, hashes)
        } else if grows {
            // By one at a time, so that its bytes are always the same.
            let boot_files = write_boot_files();
            let root = self.write_root(layers, disk, (offset, root_size), writing, &in_vain, observe);
            (root, boot_files, beforehand, None)
        } else {
            let (root, boot_files) = beside("boot files", write_boot_files, || {
                self.write_root(layers, disk, (offset, root_size), writing, &in_vain, observe)
            })?;
            (root, boot_files, beforehand, None)
        };
        // First, as it is why the layers were not read to their end; and always, so that time does not decide what is said.
        let boot_files = boot_files?;
        let Root { tree, sealed: root, installed, left, .. } = root?;
        if let Some(error) = too_small {
            return Err(error.into());
        }
        root.warnings.first().iter().for_each(|text| observe(Event::Warning(text)));

        let (layout, verity) = match (hashes, fixed) {
            (Some((layout, verity)), _) => (layout, Some(verity)),
            (None, Some(layout)) => (layout, None),
            (None, None) => (Layout::around_root(architecture, before, root.size)?, None),
        };
        layout.write(&settled.guids, &boot_files.code, disk)?;
        let length = match growing {
            Some(growing) => growing.finish(layout.disk_size())?,
            None => layout.disk_size(),
        };
        file.set_size(length)?;
        if writing.verify {
            observe(Event::Step("reading the disk back"));
            match grows {
                true => self.verify(&raw_copy(file.file())?, &layout, &settled, verity.as_ref())?,
                false => self.verify(file.file(), &layout, &settled, verity.as_ref())?,
            }
        }
        let file = match writing.form {
            form if form == Form::Raw || form.grows() => file,
            _ => {
                let raw = forms::Raw::new(file.file().try_clone().context("cannot open the disk again")?);
                let drivers = self.spec.drivers.as_deref();
                let form = drivers.map_or(writing.form, |drivers| writing.form.for_drivers(drivers));
                let writing = Writing { form, ..*writing };
                write_form(&raw.context("cannot open the disk again")?, path, &writing, observe)?
            }
        };
        let digests = writing.digests.then(|| Digested::of(file.file(), writing.form, observe)).transpose()?;
        if writing.sync {
            file.publish()?;
        } else {
            file.publish_unsynced()?;
        }
        left.iter().for_each(Made::seal);
        Ok(Built {
            layout,
            names: u64::from(tree.entry_count()),
            userland: tree.file_bytes(),
            root,
            kernel: boot_files.kernel,
            release: self.bundle.release.clone(),
            initramfs: boot_files.initramfs,
            image: self.image.config_digest.clone(),
            added: self.options.added.clone(),
            platform: self.image.platform.clone(),
            guids: settled.guids,
            root_uuid: RootIdentity::of(&self.image.chain_id().to_string()).uuid.to_string(),
            digests,
            installed,
            verity,
        })
    }

    /// Compares what is on a raw disk with what should be.
    fn verify(&self, disk: &File, layout: &Layout, settled: &Settled, verity: Option<&Verity>) -> Result<()> {
        let userland = expected_userland(&self.image);
        let expected = Expected {
            layout,
            kernel: &self.bundle.boot.read()?,
            initramfs: &self.initramfs(settled)?,
            command_line: &settled.command_line,
            verity,
            uefi: self.options.firmware.uefi,
            userland: &userland.with_context(|| format!("cannot read {} again", self.options.source))?,
        };
        verify(disk, &expected)
    }

    /// Reads all layers into the root file system, which begins at byte `offset` and has `size` bytes, if that is known.
    fn write_root(
        &self,
        layers: Layers,
        disk: &dyn Output,
        (offset, size): (u64, Option<u64>),
        writing: &Writing,
        in_vain: &AtomicBool,
        observe: Observer<'_>,
    ) -> Result<Root> {
        let slice = Slice::new(disk, offset);
        let Layers { mut ahead, base, mut plan } = layers;
        let mut begun = None;
        if let Some(base) = &base {
            observe(Event::Step("taking layers from an earlier build"));
            match Begun::at(base, &slice, self.parameters(size)) {
                Ok(there) => begun = Some(there),
                Err(Refused::Output(error)) => return Err(error.into()),
                Err(Refused::Damaged) => {
                    let instead = plan.take().map(|plan| Layers::instead(plan, &self.image, writing.threads));
                    Layers { ahead, plan, .. } =
                        instead.unwrap_or_else(|| Layers::of(&self.image, None, writing.threads));
                }
                Err(Refused::Unfit) => ahead = LayersAhead::new(&self.image, writing.threads),
            }
        }
        let begun = begun.unwrap_or_else(|| Begun::new(&slice, self.parameters(size)));
        let Begun { writer, tree, left, .. } = self.flatten(begun, ahead, plan.as_ref(), in_vain, observe)?;
        login::has_shell(&self.spec, &tree)?;
        observe(Event::Step("writing the file system's metadata"));
        let root = writer.seal(&tree).map_err(|error| self.too_small(error, offset))?;
        // Now that every body is where it belongs.
        let body = |body: &ext4::Body, size| body.read(&slice, size).ok();
        for doubt in startable::doubts(&tree, &self.spec.process, self.spec.init, &body) {
            observe(Event::Warning(&doubt.to_string()));
        }
        let installed = writing.installed.then(|| installed(&tree, &body));
        let os_release = self.unified.as_ref().and_then(|_| os_release(&tree, &body));
        Ok(Root { tree, sealed: root, installed, os_release, left })
    }

    /// Writes ESP and BIOS boot partition where `layout` has them. The boot code is for the partition table's sector.
    fn write_boot_files(
        &self,
        kernel: &[u8],
        layout: &Layout,
        settled: &Settled,
        disk: &dyn Output,
    ) -> Result<BootFiles> {
        let (initramfs, title) = (self.initramfs(settled)?, self.title());
        let code = boot::write(&self.boot(kernel, &initramfs, &title, settled), layout, disk)?;
        Ok(BootFiles { code, kernel: kernel.len() as u64, initramfs: initramfs.len() as u64 })
    }

    /// Hashes the root and writes the hashes behind it.
    fn write_hashes(
        &self,
        architecture: Architecture,
        before: Before,
        root: &ext4::Sealed,
        disk: &dyn Output,
        threads: usize,
    ) -> Result<(Layout, Verity)> {
        let blocks = root.size / BLOCK;
        let layout = Layout::around_verified_root(architecture, before, root.size, Geometry::of(blocks).bytes())?;
        let slice = |role| Slice::new(disk, layout.partition(role).map_or(0, |partition| partition.offset()));
        let uuid = self.identity.verity.into_bytes();
        let superblock = Superblock { uuid, blocks, salt: self.identity.salt.to_vec() };
        let root_hash = verity::write(&slice(Role::Root), &superblock, &slice(Role::Verity), threads);
        let root_hash = root_hash.context("cannot write the hashes of the root")?;
        Ok((layout, Verity { root_hash, superblock }))
    }

    fn title(&self) -> String {
        format!("Linux {}", self.bundle.release)
    }

    /// What the disk boots.
    fn boot<'a>(&'a self, kernel: &'a [u8], initramfs: &'a [u8], title: &'a str, settled: &'a Settled) -> Boot<'a> {
        Boot {
            firmware: self.options.firmware,
            kernel,
            release: &self.bundle.release,
            initramfs,
            efi_loader: self.efi_loader.as_deref(),
            unified: self
                .unified
                .as_ref()
                .map(|Unified { stub }| uki::Unified { stub, os_release: &settled.os_release }),
            command_line: &settled.command_line,
            title,
            volume_id: self.identity.esp_volume,
            time: self.made_at(),
            signed: self.options.signing.as_ref().map(|signing| Signed { signing, enroll: self.options.enroll }),
        }
    }

    /// Bytes of the EFI System Partition: those asked for, or what the boot files need.
    fn esp_size(&self, architecture: Architecture) -> Result<u64> {
        if let EspSize::Bytes(size) = self.options.esp_size {
            return Ok(size);
        }
        let another = self.options.esp_size == EspSize::Auto;
        let settled = Settled::of(&self.identity, &self.command_line, None);
        let (kernel, initramfs) = (self.bundle.boot.read()?, self.initramfs(&settled)?);
        Ok(boot::esp_size(&self.boot(&kernel, &initramfs, &self.title(), &settled), architecture, another)?)
    }

    /// Sizes of the partitions before the root. The modules' is written here, as only then its size is known.
    fn before_root(
        &self,
        architecture: Architecture,
        esp_size: u64,
        disk: &dyn Output,
        observe: Observer<'_>,
    ) -> Result<Before> {
        let before = Before::from(esp_size);
        let Some(tree) = self.bundle.modules.as_ref().filter(|_| self.spec.guest_modules.is_some()) else {
            return Ok(before);
        };
        observe(Event::Step("writing the kernel's modules"));
        // They begin where a root without them would.
        let slice = Slice::new(disk, Layout::root_offset(architecture, before)?);
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

    /// Applies the layers that are left, lowest first. Bodies are in their final blocks when it returns.
    fn flatten<'a>(
        &self,
        mut begun: Begun<'a>,
        streams: LayersAhead,
        keeping: Option<&Keeping>,
        in_vain: &AtomicBool,
        observe: Observer<'_>,
    ) -> Result<Begun<'a>> {
        let limits = flatten::Limits::default();
        let (layers, first) = (&self.image.layers, begun.layers);
        observe(Event::Layers { count: layers.len(), bytes: layers.iter().map(|layer| layer.size).sum() });
        begun.remarks.iter().for_each(|text| observe(Event::Warning(text)));
        let mut before = layers[..first].iter().map(|layer| layer.size).sum();
        for ((index, layer), stream) in layers.iter().enumerate().skip(first).zip(streams) {
            observe(Event::Layer { index, count: layers.len(), bytes: layer.size });
            let digest = layer.digest.as_ref().unwrap_or(&layer.diff_id);
            let place = || format!("cannot build from {}: layer {} ({digest})", self.options.source, index + 1);
            let mut stream = Watched::new(stream.with_context(place)?, before, in_vain, observe);
            let Begun { writer, tree, warnings, .. } = &mut begun;
            let applied = flatten::apply(tree, index as u32, &mut stream, writer, &limits, warnings);
            if let Some(text) = stream.inner.warning() {
                (stream.observe)(Event::Warning(&text));
                begun.remarks.push(text);
            }
            match applied {
                Ok(_) => stream.inner.finish().with_context(place)?,
                Err(error) if in_vain.load(Ordering::Relaxed) => return Err(error.into()),
                // A damaged blob is the cause, and the odd tar in it only the effect.
                Err(error) => {
                    stream.inner.finish_after_error().with_context(place)?;
                    return Err(self.size_or(error)).with_context(place);
                }
            }
            before += layer.size;
            begun.layers += 1;
            // Only now is the layer known to be what the image says.
            begun.keep(keeping);
        }
        begun.warnings.to_string().lines().for_each(|text| observe(Event::Warning(text)));
        Ok(begun)
    }

    fn parameters(&self, size: Option<u64>) -> ext4::Params {
        let root = RootIdentity::of(&self.image.chain_id().to_string());
        let compressed: u64 = self.image.layers.iter().map(|layer| layer.size).sum();
        ext4::Params {
            uuid: root.uuid.into_bytes(),
            hash_seed: root.hash_seed.into_bytes(),
            label: b"root".to_vec(),
            size,
            free: self.options.free,
            limit: size.map_or(AUTOMATIC_LIMIT, |size| size.saturating_add(compressed.saturating_mul(COUNTED_RATIO))),
            made_at: Time { secs: self.made_at(), nanos: 0 },
            descriptors: Descriptors::default(),
        }
    }

    /// The time of what this program makes: the image's own, never later than the limit.
    fn made_at(&self) -> i64 {
        made_at(&self.image, self.options.source_date_epoch)
    }

    fn initramfs(&self, settled: &Settled) -> Result<Vec<u8>> {
        let mut spec = self.spec.clone();
        spec.root.partuuid = settled.guids.root.to_string();
        let spec = added::encode(&spec, self.options.added.as_ref());
        let spec = spec.context("cannot encode the boot specification")?;
        let bodies = self.modules.read(&self.bundle)?;
        let modules = initramfs::module_files(&self.modules, &bodies);
        Ok(initramfs::write(self.pid1.bytes, &spec, &modules, Packing::None)?)
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
    fn size_or(&self, error: flatten::ApplyError) -> anyhow::Error {
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
