//! What is said about a kernel that is in the store now.

use crate::kernel::store::Added;
use std::io::{self, Write};

/// The line about a kernel that was added.
pub fn write_added(added: &Added, out: &mut dyn Write) -> io::Result<()> {
    let note = match (added.new, added.became_default) {
        (true, true) => format!(" (default for {})", added.entry.arch),
        (true, false) => String::new(),
        (false, _) => " (already there)".to_owned(),
    };
    writeln!(out, "{}  {}{note}", &added.entry.id[..12], added.entry.release)
}
