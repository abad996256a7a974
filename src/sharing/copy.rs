//! A folder or a file of the host as a file system of its own, which nobody writes to: what a machine gets where nothing
//! serves it live.

use crate::escape::{chain, escape};
use crate::ext4::{Body, Descriptors, Free, Params, Writer};
use crate::flatten;
use crate::layer::Warnings;
use crate::output::scratch_dir;
use crate::random;
use crate::rootfs::{Attrs, BodySink, Kind, Time, Tree};
use crate::source::{Owner, folder_as_layer};
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most bytes of one copy.
const LIMIT: u64 = 1 << 40;
/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// A file system, in a file without a name, and what is not in it.
pub struct Copied {
    /// The file.
    pub file: File,
    /// A sentence each, escaped.
    pub notes: Vec<String>,
}

/// Copies the folder at `path`, or the file, under this name.
///
/// # Errors
/// Why it cannot be copied, escaped.
pub fn copy(path: &Path, name: Option<&str>) -> Result<Copied, String> {
    let made = tempfile::tempfile_in(scratch_dir()).and_then(|file| Ok((file, params()?)));
    let (file, params) = made.map_err(|error| said(&error))?;
    let mut writer = Writer::new(&file, params);
    let (tree, notes) = match name {
        Some(name) => (one_file(path, name, &mut writer).map_err(|error| said(&error))?, Vec::new()),
        None => folder(path, &mut writer)?,
    };
    let sealed = writer.seal(&tree).map_err(|error| chain(&error))?;
    let file = file.set_len(sealed.size).and_then(|()| read_only(&file)).map_err(|error| said(&error))?;
    Ok(Copied { file, notes })
}

/// The same file, opened so that nobody writes to it: QEMU wants no more rights than it uses.
fn read_only(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn said(error: &io::Error) -> String {
    escape(chain(error).as_bytes())
}

fn params() -> io::Result<Params> {
    Ok(Params {
        uuid: random::bits()?,
        hash_seed: random::bits()?,
        label: b"copy".to_vec(),
        size: None,
        free: Free::Least,
        limit: LIMIT,
        made_at: Time { secs: 0, nanos: 0 },
        descriptors: Descriptors::default(),
    })
}

/// Who is not root owns what root does in the machine, as with a folder that is served.
fn owner() -> Option<Owner> {
    (!nix::unistd::geteuid().is_root()).then_some(Owner { uid: 0, gid: 0 })
}

fn folder(path: &Path, writer: &mut Writer<'_>) -> Result<(Tree<Body>, Vec<String>), String> {
    let layer = folder_as_layer(path, owner()).map_err(|error| chain(&error))?;
    let root = path.metadata().map_err(|error| said(&error))?;
    let mut tree = Tree::new(attrs(&root));
    let (limits, mut warnings) = (flatten::Limits::default(), Warnings::default());
    let mut stream = BufReader::with_capacity(CHUNK, layer.file);
    let applied = flatten::apply(&mut tree, 0, &mut stream, writer, &limits, &mut warnings);
    applied.map_err(|error| chain(&error))?;
    // The root of an image is the runtime's; here it is the folder's own.
    tree.set_attrs(Tree::<Body>::ROOT, attrs(&root));
    Ok((tree, layer.notes))
}

fn one_file(path: &Path, name: &str, writer: &mut Writer<'_>) -> io::Result<Tree<Body>> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    let size = facts.len();
    writer.begin(size)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => writer.write(&buffer[..count])?,
        }
    }
    let body = writer.finish()?;
    let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
    let kind = Kind::File { size, body };
    tree.insert(Tree::<Body>::ROOT, name.as_bytes(), attrs(&facts), kind, 0).map_err(io::Error::other)?;
    Ok(tree)
}

fn attrs(facts: &Metadata) -> Attrs {
    let mtime = Time { secs: facts.mtime(), nanos: u32::try_from(facts.mtime_nsec()).unwrap_or(0) };
    let (uid, gid) = owner().map_or((facts.uid(), facts.gid()), |owner| (owner.uid, owner.gid));
    Attrs { mode: (facts.mode() & 0o7777) as u16, uid, gid, mtime, ..Attrs::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    #[test]
    fn a_copy_is_a_sound_file_system_with_what_the_folder_has_and_nothing_behind_its_links() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("folder");
        std::fs::create_dir_all(folder.join("sub")).unwrap();
        std::fs::write(folder.join("sub/a"), "text").unwrap();
        std::fs::write(home.path().join("secret"), "secret words").unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        std::fs::create_dir(home.path().join("empty")).unwrap();
        for (path, name) in
            [(folder.clone(), None), (home.path().join("empty"), None), (home.path().join("secret"), Some("s"))]
        {
            let Copied { file, notes } = copy(&path, name).unwrap();
            assert_eq!(notes, [""; 0]);
            assert!(file.write_at(b"x", 0).is_err(), "nobody writes to it");
            let image = home.path().join("image");
            let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            std::fs::write(&image, &bytes).unwrap();
            let checked = Command::new("e2fsck").arg("-fn").arg(&image).output().unwrap();
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
            let has = bytes.windows(12).any(|window| window == b"secret words");
            assert_eq!(has, name.is_some(), "{}", path.display());
            let cat = |file: &str| {
                let shown = Command::new("debugfs").arg("-R").arg(format!("cat {file}")).arg(&image).output().unwrap();
                String::from_utf8(shown.stdout).unwrap()
            };
            assert_eq!(cat("/sub/a") == "text", path == folder);
            assert_eq!(cat("/s") == "secret words", name.is_some());
        }
        assert!(copy(&home.path().join("missing"), None).is_err());
    }
}
