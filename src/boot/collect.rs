//! Which kernels and initramfses on an ESP nobody needs any more.
//!
//! Only what has a name of ours is ever one of them: `linux`, `initrd`, and these with a number. A file stays that any
//! entry names, or that the boot slot reads. What cannot be understood may name any file, so that one odd entry, or
//! another boot menu that speaks of our folder, keeps all of them.

use super::bios::read::Slot;
use super::loader;
use crate::disk::gpt::SECTOR;
use crate::escape::escape;
use crate::formats::ReadAt;
use crate::formats::boot_entry::{self, Entry as BootEntry};
use crate::formats::fat::edit::Editor;
use crate::formats::fat::{Entry, Error, File, Volume};

/// Folder of kernels and initramfses on the ESP.
pub(super) const FOLDER: &str = "bootdisk";
/// Longest boot menu that is looked through, in bytes.
const MAX_MENU: u64 = 1 << 20;
/// Ends of names of boot menus: of GRUB, SYSLINUX, rEFInd, Limine, and scripts of the EFI shell.
const MENUS: [&str; 4] = ["cfg", "conf", "lst", "nsh"];

/// What may go, or why nothing may.
#[derive(Default)]
pub struct Stale {
    /// Files that nobody needs.
    pub files: Vec<Entry>,
    /// What was not understood, a sentence each; then there are no such files.
    pub doubts: Vec<String>,
}

/// Where the boot slot's files lie on the disk: offset and bytes.
pub fn places(slot: Option<&Slot>) -> Vec<(u64, u64)> {
    let extents = slot.iter().flat_map(|slot| &slot.parts).flat_map(|(extents, _)| extents);
    extents.map(|extent| (extent.lba.saturating_mul(SECTOR), u64::from(extent.sectors) * SECTOR)).collect()
}

/// Looks at every entry, and at every other menu.
pub fn stale(editor: &Editor<'_>, kept: &[(u64, u64)]) -> Result<Stale, Error> {
    let volume = editor.volume();
    let (mut named, mut doubts) = (Vec::new(), Vec::new());
    for entry in volume.entries(loader::ENTRIES)?.iter().filter(|entry| !entry.is_directory) {
        match entry_of(volume, entry)? {
            Ok(found) => named.extend(files_of(volume, &found)?),
            Err(why) => doubts
                .push(format!("old kernels are kept: entry {} of the boot menu: {why}", escape(entry.name.as_bytes()))),
        }
    }
    for menu in editor.walk().files.iter().filter(|file| is_menu(file)) {
        if speaks_of_us(volume, menu)? {
            let path = escape(menu.path.as_bytes());
            doubts.push(format!(
                "old kernels are kept: boot menu {path} names files of /{FOLDER} in a form that bootdisk does not read"
            ));
        }
    }
    if !doubts.is_empty() {
        return Ok(Stale { files: Vec::new(), doubts });
    }
    let mut files = Vec::new();
    for file in volume.entries(FOLDER)? {
        if !file.is_directory
            && number(&file.name).is_some()
            && !named.contains(&file)
            && !touches(&volume.places(&file)?, kept)
        {
            files.push(file);
        }
    }
    Ok(Stale { files, doubts })
}

/// An entry, or what of it was not understood.
fn entry_of(volume: &Volume<impl ReadAt>, entry: &Entry) -> Result<Result<BootEntry, String>, Error> {
    let text = match volume.read(entry, boot_entry::LONGEST) {
        Err(Error::TooLong(limit)) => return Ok(Err(format!("it has more than {limit} bytes"))),
        text => text?,
    };
    let found = BootEntry::parse(&text);
    Ok(match &found.oddity {
        Some(oddity) => Err(format!("its {oddity}")),
        None => Ok(found),
    })
}

/// The files that an entry leads to, by whichever of their names.
fn files_of(volume: &Volume<impl ReadAt>, entry: &BootEntry) -> Result<Vec<Entry>, Error> {
    let mut files = Vec::new();
    for path in &entry.files {
        files.extend(volume.find_file(path)?);
    }
    Ok(files)
}

fn is_menu(file: &File) -> bool {
    let path = file.path.to_lowercase();
    let is_entry = path.strip_prefix(loader::ENTRIES).is_some_and(|rest| rest.starts_with('/'));
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    !file.entry.is_directory && !is_entry && MENUS.contains(&end)
}

fn speaks_of_us(volume: &Volume<impl ReadAt>, menu: &File) -> Result<bool, Error> {
    let text = match volume.read(&menu.entry, MAX_MENU) {
        // Longer than anybody writes one, and so not known.
        Err(Error::TooLong(_)) => return Ok(true),
        text => text?,
    };
    let text = String::from_utf8_lossy(&text).to_lowercase();
    Ok(text.contains(&format!("{FOLDER}/")) || text.contains(&format!("{FOLDER}\\")))
}

/// The number in a name of ours: 1 for `linux` and `initrd`, then 2 and so on.
pub fn number(name: &str) -> Option<u32> {
    let name = name.to_lowercase();
    let digits = name.strip_prefix("linux").or_else(|| name.strip_prefix("initrd"))?;
    if digits.is_empty() { Some(1) } else { digits.parse().ok().filter(|number| *number > 1) }
}

fn touches(mine: &[(u64, u64)], kept: &[(u64, u64)]) -> bool {
    let meets = |(a, a_length): &(u64, u64), (b, b_length): &(u64, u64)| {
        *a < b.saturating_add(*b_length) && *b < a.saturating_add(*a_length)
    };
    mine.iter().any(|one| kept.iter().any(|other| meets(one, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_a_number() {
        for (name, expected) in
            [("linux", Some(1)), ("INITRD", Some(1)), ("linux2", Some(2)), ("initrd117", Some(117)), ("linux1", None)]
        {
            assert_eq!(number(name), expected, "{name}");
        }
        for name in ["linux-mine", "linux2.bak", "initrd.img", "vmlinuz", "linux 2", "linux-2", "linux99999999999"] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
