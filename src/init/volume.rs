//! The beginning of a volume: an empty one gets a copy of what the image has in its place, as Docker does it.
//!
//! ```text
//!  image's folder ─ copied ─▶ .bootdisk-copying ─ renamed ─▶ .bootdisk-copied ─ each entry moved ─▶ the volume
//! ```
//!
//! A machine may lose its power at any moment. An unfinished copy is thrown away and begun anew; a finished one is moved to
//! its end. So a volume never holds a part of what the image has.
//!
//! What is kept of them is said in [`crate::copy`].

use super::seed;
use std::fs;
use std::io;
use std::path::Path;

const COPYING: &str = ".bootdisk-copying";
const COPIED: &str = ".bootdisk-copied";
/// What a file system has before anybody has used it.
const OWN: &str = "lost+found";

/// Fills the volume at `volume` from the image's folder.
pub fn fill(image: &Path, volume: &Path) -> io::Result<()> {
    let (copying, copied) = (volume.join(COPYING), volume.join(COPIED));
    // Ours is a folder, and no link to one.
    if !copied.symlink_metadata().is_ok_and(|there| there.is_dir()) {
        if !is_unused(volume)? {
            return Ok(());
        }
        if copying.exists() {
            fs::remove_dir_all(&copying)?;
        }
        fs::create_dir(&copying)?;
        seed::copy_contents(image, &copying)?;
        nix::unistd::sync();
        fs::rename(&copying, &copied)?;
    }
    for entry in fs::read_dir(&copied)? {
        let entry = entry?;
        fs::rename(entry.path(), volume.join(entry.file_name()))?;
    }
    let folder = fs::metadata(image)?;
    seed::copy_attributes(&folder, volume)?;
    fs::remove_dir(&copied)?;
    // Its time again, which that has changed.
    seed::copy_attributes(&folder, volume)
}

fn is_unused(volume: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(volume)? {
        let name = entry?.file_name();
        if name != OWN && name != COPYING {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_empty_volume_begins_with_the_images_folder_wherever_an_earlier_copy_was_interrupted() {
        type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);
        let all = &["a", "b", "lost+found"][..];
        let cases: [Case<'_>; 5] = [
            ("fresh", &["lost+found/"], all),
            ("copying", &["lost+found/", ".bootdisk-copying/", ".bootdisk-copying/a"], all),
            ("copied", &["lost+found/", ".bootdisk-copied/", ".bootdisk-copied/a", ".bootdisk-copied/b"], all),
            ("moving", &["lost+found/", ".bootdisk-copied/", ".bootdisk-copied/b", "a"], all),
            ("used", &["lost+found/", "mine"], &["lost+found", "mine"]),
        ];
        for (name, before, after) in cases {
            let (image, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::write(image.path().join("a"), "1").unwrap();
            fs::write(image.path().join("b"), "2").unwrap();
            for path in before {
                match path.strip_suffix('/') {
                    Some(folder) => fs::create_dir(volume.path().join(folder)).unwrap(),
                    None => fs::write(volume.path().join(path), "").unwrap(),
                }
            }
            let owner = if nix::unistd::geteuid().is_root() { 12 } else { nix::unistd::geteuid().as_raw() };
            chown(image.path(), Some(owner), None).unwrap();
            fs::set_permissions(image.path(), fs::Permissions::from_mode(0o2750)).unwrap();
            // PID 1 has them as open folders.
            let open = File::open(volume.path()).unwrap();
            fill(image.path(), &Path::new("/proc/self/fd").join(open.as_raw_fd().to_string())).unwrap();
            assert_eq!(names(volume.path()), after, "{name}");
            let (there, wanted) = (fs::metadata(volume.path()).unwrap(), fs::metadata(image.path()).unwrap());
            let is_like = |facts: &fs::Metadata| (facts.mode(), facts.uid(), facts.mtime(), facts.mtime_nsec());
            assert_eq!(is_like(&there) == is_like(&wanted), name != "used", "{name}: {there:?}");
        }
    }
}
