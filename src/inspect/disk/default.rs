//! Which entry systemd-boot starts when nobody chooses: the `default` line of loader.conf(5), a pattern of file names.

use crate::fnmatch;

/// A pattern, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct Pattern(Vec<u8>);

impl Pattern {
    /// The pattern of the last `default` line, if there is one.
    pub fn of_config(text: &[u8]) -> Option<Pattern> {
        let lines = text.split(|&byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
        let mut values = lines.filter_map(|line| {
            let value = line.strip_prefix(b"default")?;
            value.first()?.is_ascii_whitespace().then(|| value.trim_ascii())
        });
        values.next_back().map(|value| Pattern(value.to_ascii_lowercase()))
    }

    /// Whether it means the entry, or the unified kernel image, in the file of this path. The suffix need not be in the
    /// pattern.
    pub fn matches(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        let suffix = if name.ends_with(".efi") { ".efi" } else { ".conf" };
        let stem = name.strip_suffix(suffix).unwrap_or(&name);
        // Boot counting (`name+3-1.conf`) is no part of the name.
        let bare = stem.rsplit_once('+').map_or(stem, |(bare, _)| bare);
        [name.clone(), stem.to_owned(), bare.to_owned(), format!("{bare}{suffix}")]
            .iter()
            .any(|name| fnmatch::matches(&self.0, name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_default_line_counts_and_is_a_pattern() {
        for (config, path, wanted) in [
            ("default bootdisk.conf\n", "loader/entries/bootdisk.conf", true),
            ("default bootdisk.conf\n", "loader/entries/bootdisk-old.conf", false),
            ("default bootdisk\n", "loader/entries/bootdisk.conf", true),
            ("default\tbootdisk.conf\r\n", "loader/entries/bootdisk+2-1.conf", true),
            ("#default a\ndefault a.conf\ndefault b.conf\n", "loader/entries/a.conf", false),
            ("default debian-*\n", "loader/entries/Debian-6.1.conf", true),
            ("default debian-?.conf\n", "loader/entries/debian-12.conf", false),
            ("default *-old*\n", "loader/entries/x-y-old-z.conf", true),
            ("defaults a.conf\ntimeout 3\n", "loader/entries/a.conf", false),
            ("default *\n", "", true),
            ("default bootdisk.efi\n", "EFI/Linux/bootdisk.efi", true),
            ("default bootdisk.efi\n", "EFI/Linux/bootdisk+2.efi", true),
            ("default bootdisk.efi\n", "EFI/Linux/bootdisk-old.efi", false),
            ("default debian-[0-9]*\n", "loader/entries/debian-12.conf", true),
            ("default debian-[!0-9]*\n", "loader/entries/debian-12.conf", false),
        ] {
            let found = Pattern::of_config(config.as_bytes()).is_some_and(|pattern| pattern.matches(path));
            assert_eq!(found, wanted, "{config:?} and {path:?}");
        }
    }
}
