//! Signatures of the EFI programs on a FAT partition.

use super::Reading;
use super::table::Entry;
use crate::escape::escape;
use crate::formats::ReadAt;
use crate::formats::fat::{File, Volume, Walk};
use crate::inspect::signatures;

/// Longest program that is read.
const MAX_FILE: u64 = 256 << 20;
/// Most programs that are read.
const MAX_READ: usize = 16;

impl Reading<'_> {
    /// Reads programs by their names: whatever a firmware or a loader may start.
    pub(super) fn signatures(&mut self, volume: &Volume<impl ReadAt>, walk: &Walk, entry: &Entry) {
        let is_program = |file: &&File| {
            let path = file.path.to_ascii_lowercase();
            let name = path.rsplit('/').next().unwrap_or_default();
            !file.entry.is_directory
                && u64::from(file.entry.size) <= MAX_FILE
                && (name.ends_with(".efi") || name.starts_with("linux") || name.starts_with("vmlinuz"))
        };
        for file in walk.files.iter().filter(is_program).take(MAX_READ) {
            // What cannot be read is told of elsewhere.
            let Ok(bytes) = volume.read(&file.entry, MAX_FILE) else { continue };
            let evidence = format!("partition {}: {}", entry.number, escape(file.path.as_bytes()));
            self.report.programs.extend(signatures::of(&bytes, &evidence));
        }
        // Of a disk where nobody signs there is nothing to tell.
        if self.report.programs.iter().all(|program| program.signature == "none") {
            self.report.programs.clear();
        }
    }
}
