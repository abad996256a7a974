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
    let mut count = Count::default();
    paragraphs(text, [&b"Package:"[..], b"Version:", b"Status:"], |[name, version, status]| match name {
        Some(name) if is_installed(status) => count.add(name, version),
        Some(_) => count.others += 1,
        None => {}
    });
    count
}

/// Counts the paragraphs of apk's list (apk(5), "installed database").
pub fn apk(text: &[u8]) -> Count {
    let mut count = Count::default();
    paragraphs(text, [&b"P:"[..], b"V:"], |[name, version]| name.iter().for_each(|name| count.add(name, version)));
    count
}

impl Count {
    fn add(&mut self, package: &[u8], version: Option<&[u8]>) {
        self.installed += 1;
        if TELLING.contains(&package)
            && let Some(version) = version.filter(|text| text.len() <= MAX_VERSION)
        {
            self.versions.insert(package.to_vec(), version.to_vec());
        }
    }
}

/// Whether dpkg says that a package is installed whole.
pub(super) fn is_installed(status: Option<&[u8]>) -> bool {
    let last = |status: &[u8]| status.split(|&b| b == b' ').rfind(|word| !word.is_empty()) == Some(b"installed");
    status.is_none_or(last)
}

/// Visits paragraphs, which empty lines divide, with the values of these fields. Of a field that comes twice the first counts;
/// continuation lines say nothing here.
pub(super) fn paragraphs<'a, const N: usize>(
    text: &'a [u8],
    fields: [&[u8]; N],
    mut visit: impl FnMut([Option<&'a [u8]>; N]),
) {
    let mut values = [None; N];
    for line in text.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if line.is_empty() {
            visit(std::mem::replace(&mut values, [None; N]));
            continue;
        }
        for (field, value) in fields.iter().zip(&mut values) {
            if value.is_none() {
                *value = line.strip_prefix(*field).map(<[u8]>::trim_ascii);
            }
        }
    }
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
