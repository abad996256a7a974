//! `bootdisk kernel set`: another kernel on a disk that exists.

use super::options::{Global, KernelKeys};
use super::progress::Progress;
use super::registry::Reaching;
use super::report::WithHint;
use super::{convert, plan};
use crate::arch::Arch;
use crate::boot::existing::Existing;
use crate::convert::{Event, Observer, Writing, write_form};
use crate::forms::{self, Form, Source};
use crate::{recognise, swap};
use anyhow::{Context, Result};
use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Arguments of `bootdisk kernel set`.
#[derive(Debug, Args)]
pub struct Set {
    /// The disk in any form, which no machine may be using; one that is not raw is written anew
    #[arg(value_name = "DISK")]
    disk: PathBuf,
    /// A kernel, as `--kernel` of build takes it
    #[arg(value_name = "KERNEL", add = ArgValueCompleter::new(super::candidates::kernels))]
    kernel: OsString,
    /// Modules of a kernel given as a file
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    #[command(flatten)]
    keys: KernelKeys,
    /// Keep the previous kernel as a second entry of UEFI's boot menu
    #[arg(long)]
    keep: bool,
    /// Set even a kernel that cannot boot this disk
    #[arg(long)]
    no_preflight: bool,
}

/// Opens the kernel and puts it on the disk.
pub fn run(global: &Global, set: &Set) -> Result<()> {
    Reaching::default().settle(global);
    let mut progress = Progress::new(global);
    let shown = crate::escape::path(&set.disk);
    let failed = || format!("cannot set the kernel of {shown}");
    let unpacked = Unpacked::of(&set.disk).with_context(failed)?;
    let disk = unpacked.as_ref().map_or_else(|| set.disk.clone(), Unpacked::path);
    // Only a default depends on the disk.
    let arch = (set.kernel == "default").then(|| Existing::open(&disk)?.architecture()).transpose();
    let arch = arch.with_context(failed)?.and_then(|arch| Arch::from_name(arch.name()));
    let meant = plan::Meant { image: None, arch };
    let bundle = plan::named_kernel(&set.kernel, set.modules.as_deref(), &set.keys, meant)?;
    let options = swap::Options { keep: set.keep, preflight: !set.no_preflight };
    let observe = &mut |event: Event<'_>| progress.show(event);
    let done = swap::set_kernel(&disk, &bundle, &options, observe)
        .and_then(|()| unpacked.map_or(Ok(()), |unpacked| unpacked.exchange(&set.disk, observe)));
    observe(Event::Done);
    done.with_context(failed)?;
    if !global.quiet {
        super::stdio::say(&format!("{shown}: kernel {}\n", crate::escape::escape(bundle.release.as_bytes())));
    }
    Ok(())
}

/// A disk in a form that is not edited in place, made raw. What becomes of it is written anew.
struct Unpacked {
    form: Form,
    dir: tempfile::TempDir,
    /// Keeps others from writing to what is replaced.
    _source: Box<dyn Source>,
}

impl Unpacked {
    /// `None` for a disk that is raw already.
    fn of(path: &Path) -> Result<Option<Unpacked>> {
        if recognise::path(path).ok().and_then(|kind| kind.form()).is_none() {
            return Ok(None);
        }
        let file = File::open(path)?;
        let form = forms::form_of(file.try_clone()?)?.ok_or_else(|| WithHint {
            message: "the disk is in a package or a compression that bootdisk reads but does not write anew".into(),
            hint: "make the disk raw first: bootdisk convert DISK -o disk.img, and give that".into(),
        })?;
        let source = convert::open_file(file)?;
        let dir = convert::raw_copy(&*source)?;
        Ok(Some(Unpacked { form, dir, _source: source }))
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(convert::RAW)
    }

    /// Puts the disk, as it is now, in the place of the one that it was made from.
    fn exchange(self, path: &Path, observe: Observer<'_>) -> Result<()> {
        let edited = forms::Raw::new(File::open(self.path())?)?;
        let file = write_form(&edited, path, &Writing { form: self.form, ..Writing::default() }, observe)?;
        Ok(file.publish()?)
    }
}
