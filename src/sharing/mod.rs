//! What a machine gets of this host's files: folders and files as they are, or as copies, and volumes.
//!
//! ```text
//!  Wanted ─┬─ folder, file ─▶ program, view, daemon: virtiofsd ─▶ socket ──┐
//!          │       └── where there is none ─▶ copy: ext4, read-only ─▶ file ┼─▶ qemu::Extras, and what PID 1 mounts
//!          └─ volume ─▶ volumes ───────────────────────────────────▶ file ──┤
//!  Handed ────── credentials, a disk for cloud-init ───────────────▶ file ──┘
//! ```
//!
//! Nothing but what was named reaches a guest: each daemon is shut into its one folder or file, follows no link out of
//! it, and ends with its machine. What the guest's root does there is done by the user who started the machine; with root's
//! daemon owners and modes are the host's own.
//!
//! Not supported: watching (inotify) of what the host changes, as virtio-fs tells no guest of it; sockets, FIFOs and devices
//! of the host.

mod copy;
mod daemon;
mod handed;
mod program;
mod view;

use crate::escape::path as shown;
use crate::guest::mounts::{By, Mount};
use crate::qemu::{ExtraDisk, Extras, RunError, Share};
use crate::volumes::{self, Store, VolumeError};
use daemon::{Daemon, Served};
pub use handed::{Handed, holding, in_memory};
use program::Program;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// One thing that is to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As PID 1 hears of it. A share may become a disk.
    pub mount: Mount,
    /// What it is.
    pub source: Source,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A folder of this host, or a file, by its canonical path.
    Host(PathBuf),
    /// A volume by its name, with this size if it is to have one.
    Volume(Store, String, Option<u64>),
    /// A volume that nobody has named, which goes with the machine.
    Nameless(Option<u64>),
}

/// Everything, ready for the machine.
#[derive(Default)]
pub struct Provided {
    /// For PID 1.
    pub mounts: Vec<Mount>,
    /// For QEMU.
    pub extras: Extras,
    /// They serve until the machine has ended.
    pub daemons: Daemons,
}

/// The daemons of a machine. Dropping them ends them.
#[derive(Default)]
pub struct Daemons(Vec<(PathBuf, Daemon)>);

impl Daemons {
    /// Those that may say something, by their numbers, to poll for.
    pub fn speaking(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.0.iter().enumerate().filter_map(|(number, (_, daemon))| Some((number, daemon.stderr()?)))
    }

    /// Reads what one says.
    pub fn listen(&mut self, number: usize) {
        self.0[number].1.listen();
    }

    /// One is about to end: [`failed`](Self::failed) will tell, and nothing that can be polled.
    pub fn is_one_ending(&self) -> bool {
        self.0.iter().any(|(_, daemon)| daemon.is_ending())
    }

    /// Those that have failed since the last call: a sentence each.
    pub fn failed(&mut self) -> Vec<String> {
        let failed = |(path, daemon): &mut (PathBuf, Daemon)| Some((path.clone(), daemon.failure()?));
        let sentence = |(path, said): (PathBuf, String)| {
            let path = shown(&path);
            format!("virtiofsd for {path} failed: {said}; what the machine does there hangs until the machine ends")
        };
        self.0.iter_mut().filter_map(failed).map(sentence).collect()
    }
}

/// Makes ready what is wanted, and what is handed over as it is. `tell` gets what is other than it was asked for.
///
/// # Errors
/// What cannot be had in any way.
pub fn provide(wanted: &[Wanted], handed: &Handed, tell: &mut dyn FnMut(String)) -> Result<Provided, RunError> {
    let mut provided = Provided::default();
    let mut program = None;
    for one in wanted {
        let mut mount = one.mount.clone();
        match &one.source {
            Source::Host(path) => provided.add_host(path, &mut mount, &mut program, tell)?,
            Source::Volume(store, name, size) => {
                let file = store.take(name, *size).map_err(|error| refused(format!("volume {name}"), &error))?;
                provided.add_disk(&mount, file, false, store.path(name).unwrap_or_default());
            }
            Source::Nameless(size) => {
                let file = volumes::nameless(*size).map_err(|error| refused(mount.at.clone(), &error))?;
                provided.add_disk(&mount, file, false, crate::output::scratch_dir());
            }
        }
        provided.mounts.push(mount);
    }
    handed.add_to(&mut provided.extras)?;
    Ok(provided)
}

impl Provided {
    fn add_host(
        &mut self,
        path: &Path,
        mount: &mut Mount,
        program: &mut Option<Result<Program, String>>,
        tell: &mut dyn FnMut(String),
    ) -> Result<(), RunError> {
        let why = match mount.by {
            By::Share => match self.serve(path, mount, program.get_or_insert_with(Program::find)) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            },
            By::Disk => "the disk's kernel has no virtiofs".to_owned(),
        };
        let name = shown(path);
        let copied = copy::copy(path, mount.file.as_deref());
        let copied = copied.map_err(|reason| RunError::Mount {
            what: name.clone(),
            reason: format!("{why}, and it cannot be copied: {reason}"),
            hint: Some(INSTALL.into()),
        })?;
        tell(format!("{name} is a read-only copy in the machine: {why}"));
        copied.notes.into_iter().for_each(|note| tell(format!("{name}: {note}")));
        (mount.by, mount.read_only) = (By::Disk, true);
        self.add_disk(mount, copied.file, true, path.to_owned());
        Ok(())
    }

    fn serve(&mut self, path: &Path, mount: &Mount, program: &Result<Program, String>) -> Result<(), String> {
        let program = program.as_ref().map_err(Clone::clone)?;
        let served = Served { path, file: mount.file.as_deref(), read_only: mount.read_only };
        let (daemon, socket) = daemon::start(program, served)?;
        self.daemons.0.push((path.to_owned(), daemon));
        self.extras.shares.push(Share { tag: mount.name.clone(), socket });
        Ok(())
    }

    fn add_disk(&mut self, mount: &Mount, file: File, read_only: bool, place: PathBuf) {
        self.extras.disks.push(ExtraDisk { serial: mount.name.clone(), file, read_only, place });
    }
}

/// Debian's names for the packages; others call theirs virtiofsd, too.
const INSTALL: &str = "install virtiofsd: apt install virtiofsd, or in Debian 12 qemu-system-common";

fn refused(what: String, error: &VolumeError) -> RunError {
    RunError::Mount { what, reason: crate::escape::chain(error), hint: error.hint() }
}
