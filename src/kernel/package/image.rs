//! Container images that carry a kernel: `/boot` and `/lib/modules`, or linuxkit's `/kernel` and `/kernel.tar`.
//!
//! The layers are applied as for a disk, so that what a later layer deletes is not there; bodies go to an unlinked
//! temporary file in `TMPDIR`. Every blob and layer is verified by its digest before a file of it is shown to anybody.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Facts, Visit, deliver, shown, tar};
use crate::flatten;
use crate::image::Image;
use crate::kernel::{KernelError, release};
use crate::layer;
use crate::rootfs::{Attrs, BodySink, InodeId, Kind, Tree};
use crate::source::{self, Reference, Select};

/// The directories that are looked into; the rest of an image is not visited.
const PLACES: [&str; 3] = ["boot", "lib/modules", "usr/lib/modules"];
/// Deepest directory below one of them.
const MAX_DEPTH: usize = 32;

/// An image's files, the layers applied.
pub(crate) struct Unpacked {
    tree: Tree<Body>,
    bodies: File,
    /// The one of several kernels that is read; the files of others are passed over.
    release: Option<String>,
    /// It has a modules directory of its own name.
    has_modules: bool,
}

impl fmt::Debug for Unpacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpacked({} names)", self.tree.entry_count())
    }
}

/// Where a body lies in the temporary file.
#[derive(Clone, Copy, Debug, Default)]
struct Body {
    offset: u64,
    length: u64,
}

impl Unpacked {
    /// Opens the image of a reference, an archive or a layout, that is called `path`.
    pub(crate) fn open(reference: &OsStr, path: &Path) -> Result<Unpacked, KernelError> {
        let bad = |error: &dyn std::error::Error| KernelError::package(path, sentence(error));
        let reference = Reference::parse(reference).map_err(|error| bad(&error))?;
        let image = source::open(&reference, &Select::default()).map_err(|error| bad(&error))?;
        Unpacked::of(&image, path)?.choose(None, path)
    }

    /// Applies the layers of an image that is called `name`.
    pub(crate) fn of(image: &Image, name: &Path) -> Result<Unpacked, KernelError> {
        let bad = |error: &dyn std::error::Error| KernelError::package(name, sentence(error));
        let bodies = tempfile::tempfile().map_err(KernelError::io("write", std::env::temp_dir()))?;
        let mut sink = Sink { output: BufWriter::with_capacity(1 << 20, bodies), at: 0, begun: 0 };
        let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        let mut warnings = layer::Warnings::default();
        for index in 0..image.layers.len() {
            let mut stream = image.open_layer(index).map_err(|error| bad(&error))?;
            let limits = flatten::Limits::default();
            let applied = flatten::apply(&mut tree, index as u32, &mut stream, &mut sink, &limits, &mut warnings);
            match applied {
                Ok(_) => stream.finish().map_err(|error| bad(&error))?,
                Err(error) => {
                    // A damaged blob is the cause, and the odd tar in it only the effect.
                    stream.finish_after_error().map_err(|error| bad(&error))?;
                    return Err(bad(&error));
                }
            }
        }
        let bodies = sink.output.into_inner().map_err(|error| bad(error.error()))?;
        Ok(Unpacked { tree, bodies, release: None, has_modules: false })
    }

    /// The same with one kernel: the one of this release, or of several the one that `/vmlinuz` or `/boot/vmlinuz` leads
    /// to, or the newest.
    ///
    /// # Errors
    /// When there is no kernel of this release.
    pub(crate) fn choose(mut self, wanted: Option<&str>, name: &Path) -> Result<Unpacked, KernelError> {
        let found = self.releases();
        if let Some(wanted) = wanted.filter(|wanted| !found.contains(*wanted)) {
            let releases = found.iter().map(|release| shown(release)).collect::<Vec<_>>().join(", ");
            return Err(KernelError::NoSuchRelease { wanted: wanted.to_owned(), releases, path: name.to_owned() });
        }
        let linked = || self.linked().filter(|release| found.contains(release));
        let has_modules =
            |release: &String| PLACES[1..].iter().any(|place| self.lookup(&format!("{place}/{release}")).is_some());
        // What is called `6.1.old` or `0-rescue-…` beside the others has no modules.
        let newest = || {
            let in_order = |a: &&String, b: &&String| has_modules(a).cmp(&has_modules(b)).then(release::order(a, b));
            found.iter().max_by(in_order).cloned()
        };
        let chosen = wanted.map(str::to_owned).or_else(linked).or_else(newest);
        self.has_modules = chosen.as_ref().is_some_and(has_modules);
        self.release = chosen;
        Ok(self)
    }

    /// The releases of the kernels: in `/boot` by their files' names, in the modules directory by the folder's.
    fn releases(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let names = |place: &str| {
            let dir = self.lookup(place);
            let names = dir.into_iter().flat_map(|dir| self.tree.children(dir)).map(|entry| self.tree.name(entry));
            names.filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned).collect::<Vec<_>>()
        };
        found.extend(names("boot").iter().filter_map(|name| release::in_name(name)).map(str::to_owned));
        for place in &PLACES[1..] {
            let has_kernel = |release: &String| self.lookup(&format!("{place}/{release}/vmlinuz")).is_some();
            found.extend(names(place).into_iter().filter(has_kernel));
        }
        found
    }

    /// The release that the link to the kernel of the next boot leads to.
    fn linked(&self) -> Option<String> {
        ["vmlinuz", "boot/vmlinuz"].iter().find_map(|link| {
            let Kind::Symlink(target) = &self.tree.inode(self.lookup(link)?).kind else { return None };
            let file = target.rsplit(|&byte| byte == b'/').next()?;
            release::in_name(std::str::from_utf8(file).ok()?).map(str::to_owned)
        })
    }

    fn lookup(&self, path: &str) -> Option<InodeId> {
        path.split('/').try_fold(Tree::<Body>::ROOT, |dir, part| self.tree.lookup(dir, part.as_bytes()))
    }

    /// Whether a file belongs to another kernel than the chosen one.
    fn is_others(&self, path: &str) -> bool {
        let Some(chosen) = &self.release else { return false };
        if let Some(file) = path.strip_prefix("boot/") {
            let own = release::in_name(file).or_else(|| file.strip_prefix("config-"));
            return own.is_some_and(|release| release != chosen);
        }
        let below = PLACES[1..].iter().find_map(|place| path.strip_prefix(place)?.strip_prefix('/'));
        // A kernel that was built by hand may be called otherwise than its modules.
        self.has_modules && below.and_then(|below| below.split('/').next()).is_some_and(|release| release != chosen)
    }

    /// Visits the regular files that a kernel may be among, in order of their paths.
    pub(super) fn scan(&self, name: &Path, visit: &mut Visit<'_>) -> Result<Facts, KernelError> {
        let root = Tree::<Body>::ROOT;
        for file in ["kernel", "kernel.tar"] {
            if let Some(id) = self.tree.lookup(root, file.as_bytes()) {
                self.visit(name, id, file.to_owned(), visit)?;
            }
        }
        for place in PLACES {
            if let Some(id) = self.lookup(place) {
                self.descend(name, id, place.to_owned(), 0, visit)?;
            }
        }
        Ok(Facts { checked: "SHA-256 of every layer", ..Facts::default() })
    }

    fn descend(
        &self,
        name: &Path,
        id: InodeId,
        path: String,
        depth: usize,
        visit: &mut Visit<'_>,
    ) -> Result<(), KernelError> {
        if self.is_others(&path) {
            return Ok(());
        }
        if !matches!(self.tree.inode(id).kind, Kind::Directory { .. }) || depth > MAX_DEPTH {
            return self.visit(name, id, path, visit);
        }
        let mut children: Vec<_> = self.tree.children(id).collect();
        children.sort_by(|a, b| self.tree.name(*a).cmp(self.tree.name(*b)));
        for entry in children {
            // What is not text is no kernel's.
            if let Ok(part) = std::str::from_utf8(self.tree.name(entry)) {
                self.descend(name, self.tree.target(entry), format!("{path}/{part}"), depth + 1, visit)?;
            }
        }
        Ok(())
    }

    fn visit(&self, name: &Path, id: InodeId, path: String, visit: &mut Visit<'_>) -> Result<(), KernelError> {
        let Kind::File { size, body, .. } = &self.tree.inode(id).kind else { return Ok(()) };
        let mut reader = Reader { file: &self.bodies, at: body.offset, left: body.length };
        deliver(name, &tar::Entry { path, size: *size }, &mut reader, visit)
    }
}

/// An error and its causes as one sentence, with what an image says shown escaped.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    shown(&text)
}

/// Stores bodies one behind the other.
struct Sink {
    output: BufWriter<File>,
    at: u64,
    begun: u64,
}

impl BodySink for Sink {
    type Body = Body;

    fn begin(&mut self, _: u64) -> io::Result<()> {
        self.begun = self.at;
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.output.write_all(data)?;
        self.at += data.len() as u64;
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        self.at += length;
        self.output.seek(SeekFrom::Start(self.at))?;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<Body> {
        Ok(Body { offset: self.begun, length: self.at - self.begun })
    }

    fn abandon(&mut self) {}

    fn discard(&mut self, _: Body) {}
}

/// The bytes of one body. What lies behind the end of the temporary file is a hole that nothing follows.
struct Reader<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = (buffer.len() as u64).min(self.left) as usize;
        let buffer = &mut buffer[..most];
        let mut n = self.file.read_at(buffer, self.at)?;
        if n == 0 && most > 0 {
            buffer.fill(0);
            n = most;
        }
        (self.at, self.left) = (self.at + n as u64, self.left - n as u64);
        Ok(n)
    }
}

/// Whether a reference names a transport, so that it is an image and no file: `oci:...`, `docker-archive:...`.
pub(crate) fn is_reference(text: &OsStr) -> bool {
    Reference::names_transport(text)
}
