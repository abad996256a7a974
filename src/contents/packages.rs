//! Package databases: how many packages a userland has, and the versions of a few that say something about it.
//!
//! | manager | where | form |
//! |---|---|---|
//! | dpkg | `var/lib/dpkg/status`, `status.d/*` of distroless images | paragraphs |
//! | apk | `lib/apk/db/installed` | paragraphs of one-letter fields |
//! | rpm | `rpmdb.sqlite`; `Packages.db` | SQLite; rpm's own "ndb" |
//! | pacman | `var/lib/pacman/local/NAME-VERSION/` | directories, counted in the tree |
//!
//! Not read: rpm's old Berkeley DB (`Packages`), which is named. Nothing here trusts a size or a pointer it reads.

use std::collections::BTreeMap;

/// Packages whose versions tell the version of something else in the report.
const TELLING: [&[u8]; 4] = [b"libc6", b"musl", b"glibc", b"busybox"];
/// Longest version kept, in bytes.
const MAX_VERSION: usize = 128;

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packages that are installed.
    pub installed: u64,
    /// Packages that are known in another state (removed, with configuration left; half-installed).
    pub others: u64,
    /// Versions of [`TELLING`] packages.
    pub versions: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Why the numbers may be too low, if they may.
    pub doubt: Option<&'static str>,
}

/// Counts the paragraphs of dpkg's status file (deb-control(5), dpkg(1) "Package states"). A paragraph without a
/// status is an installed package: the files of `status.d` have none.
pub fn dpkg(text: &[u8]) -> Count {
    paragraphs(text, b"Package:", b"Version:", |paragraph| {
        match paragraph.iter().find_map(|l| l.strip_prefix(b"Status:")) {
            None => true,
            Some(status) => status.split(|&b| b == b' ').rfind(|word| !word.is_empty()) == Some(b"installed"),
        }
    })
}

/// Counts the paragraphs of apk's list (apk(5), "installed database").
pub fn apk(text: &[u8]) -> Count {
    paragraphs(text, b"P:", b"V:", |_| true)
}

fn paragraphs(text: &[u8], name: &[u8], version: &[u8], is_installed: impl Fn(&[&[u8]]) -> bool) -> Count {
    let mut count = Count::default();
    let mut lines: Vec<&[u8]> = Vec::new();
    for line in text.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if !line.is_empty() {
            // Continuation lines say nothing here; a paragraph is never kept beyond its fields of interest.
            if [name, version, b"Status:"].iter().any(|field| line.starts_with(field)) && lines.len() < 16 {
                lines.push(line);
            }
            continue;
        }
        if let Some(package) = field(&lines, name) {
            if is_installed(&lines) {
                count.installed += 1;
                if TELLING.contains(&package)
                    && let Some(version) = field(&lines, version).filter(|text| text.len() <= MAX_VERSION)
                {
                    count.versions.insert(package.to_vec(), version.to_vec());
                }
            } else {
                count.others += 1;
            }
        }
        lines.clear();
    }
    count
}

fn field<'a>(lines: &[&'a [u8]], name: &[u8]) -> Option<&'a [u8]> {
    lines.iter().find_map(|line| line.strip_prefix(name)).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dpkgs_states_are_told_apart() {
        let text = b"Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nDescription: x\n Package: no\n\n\
            Package: gone\nStatus: deinstall ok config-files\n\nPackage: bare\n";
        let count = dpkg(text);
        assert_eq!((count.installed, count.others), (2, 1));
        assert_eq!(count.versions[&b"libc6"[..]], b"2.36-9");
    }

    #[test]
    fn apks_fields_are_read() {
        let count = apk(b"C:Q1\nP:musl\nV:1.2.4-r2\nF:lib\nR:x\n\nP:busybox\nV:1.36\n\n");
        assert_eq!(count.installed, 2);
        assert_eq!(count.versions[&b"musl"[..]], b"1.2.4-r2");
    }

    #[test]
    fn nothing_is_no_package() {
        assert_eq!(dpkg(b"").installed, 0);
        assert_eq!(apk(b"\n\n\n").installed, 0);
    }
}
