//! What is installed in a userland, by name: its operating system, and every package of its databases.
//!
//! | manager | where | what of a package |
//! |---|---|---|
//! | dpkg | `var/lib/dpkg/status`, `status.d/*` | `Package` `Version` `Architecture` `Source` |
//! | apk | `lib/apk/db/installed` | `P` `V` `A` `o` |
//! | rpm | `rpmdb.sqlite`, `Packages.db` | name, epoch, version, release, architecture, source package |
//! | pacman | `var/lib/pacman/local/*/desc` | `NAME` `VERSION` `ARCH` `BASE` |
//!
//! Left out: packages that are not installed whole, and rpm's `gpg-pubkey`, which are keys. What cannot be read is a doubt and
//! no error. Bounds: [`MAX_DATABASE`] bytes of a database, [`MAX_PACKAGES`] packages, [`MAX_TEXT`] bytes of a value.

use super::packages::{is_installed, paragraphs};
use super::paths;
use crate::formats::rpm_header::Header;
use crate::formats::{ndb, os_release, sqlite};
use crate::rootfs::{InodeId, Kind, Tree};

/// Most bytes of a database.
const MAX_DATABASE: u64 = 256 << 20;
/// Most packages.
const MAX_PACKAGES: usize = 100_000;
/// Longest value, in bytes; a package with a longer one is damaged.
const MAX_TEXT: usize = 512;
/// Most bytes of os-release and of a package's `desc`.
const MAX_SHORT: u64 = 64 << 10;

/// Where rpm keeps its database.
const RPM: [&str; 3] = ["/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm"];
/// Tags of rpm's headers (rpmtag.h, `RPMTAG_*`).
const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const SOURCE_RPM: u32 = 1044;

/// Who installed a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manager {
    /// Debian's.
    Dpkg,
    /// Alpine's.
    Apk,
    /// Fedora's, Red Hat's, SUSE's.
    Rpm,
    /// Arch Linux's.
    Pacman,
}

/// A package that is installed. Texts are as the database has them, not escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Who installed it.
    pub manager: Manager,
    /// Its name.
    pub name: String,
    /// Its version, with dpkg's and pacman's epochs; rpm's with the release behind it.
    pub version: String,
    /// rpm's epoch.
    pub epoch: Option<u32>,
    /// The processor it is for, in its distribution's words.
    pub arch: Option<String>,
    /// The source it was made from and that one's version, where these are others than its own.
    pub source: Option<(String, Option<String>)>,
}

/// The operating system. Texts are not escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// `ID`: `debian`.
    pub id: String,
    /// `VERSION_ID`: `12`.
    pub version: Option<String>,
    /// `PRETTY_NAME`, or `NAME`.
    pub name: Option<String>,
}

/// What is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The operating system, if it says what it is.
    pub system: Option<System>,
    /// Packages in order, none twice.
    pub packages: Vec<Package>,
    /// Why there may be more, one sentence each, printable.
    pub doubts: Vec<&'static str>,
}

/// The text of os-release; `None` where there is none, or an odd one. `read` as of [`installed`].
pub fn os_release<B>(tree: &Tree<B>, read: &dyn Fn(&B, u64) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    Reader::of(tree, read).os_release()
}

/// Reads what is installed in a tree. `read` gives a file's body of so many bytes.
pub fn installed<B>(tree: &Tree<B>, read: &dyn Fn(&B, u64) -> Option<Vec<u8>>) -> Installed {
    let mut reader = Reader::of(tree, read);
    reader.system();
    reader.dpkg();
    reader.apk();
    reader.rpm();
    reader.pacman();
    let mut found = reader.found;
    found.packages.sort();
    found.packages.dedup();
    if found.packages.len() > MAX_PACKAGES {
        found.packages.truncate(MAX_PACKAGES);
        found.doubt("there are more packages than are listed");
    }
    found
}

impl Installed {
    fn doubt(&mut self, doubt: &'static str) {
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    /// Takes a package whose name and version can be ones.
    fn push(&mut self, package: Option<Package>) {
        let fits = |text: &String| (1..=MAX_TEXT).contains(&text.len());
        match package.filter(|package| fits(&package.name) && fits(&package.version)) {
            Some(package) if self.packages.len() <= MAX_PACKAGES => self.packages.push(package),
            Some(_) => {}
            None => self.doubt("a package has no name or no version"),
        }
    }
}

struct Reader<'a, B> {
    tree: &'a Tree<B>,
    read: &'a dyn Fn(&B, u64) -> Option<Vec<u8>>,
    /// What was read: several names may lead to one database.
    met: Vec<InodeId>,
    found: Installed,
}

impl<'a, B> Reader<'a, B> {
    fn of(tree: &'a Tree<B>, read: &'a dyn Fn(&B, u64) -> Option<Vec<u8>>) -> Reader<'a, B> {
        Reader { tree, read, met: Vec::new(), found: Installed::default() }
    }

    /// A database at a path, through links, the first time that one leads there.
    fn database(&mut self, path: &str) -> Option<Vec<u8>> {
        let inode = paths::resolve(self.tree, path.as_bytes())?.inode;
        if self.met.contains(&inode) {
            return None;
        }
        let Kind::File { size, .. } = &self.tree.inode(inode).kind else { return None };
        self.met.push(inode);
        let bytes = if *size <= MAX_DATABASE { self.body(inode) } else { None };
        if bytes.is_none() {
            self.found.doubt("a package database is too large or cannot be read");
        }
        bytes
    }

    fn body(&self, inode: InodeId) -> Option<Vec<u8>> {
        match &self.tree.inode(inode).kind {
            Kind::File { size: 0, .. } => Some(Vec::new()),
            Kind::File { size, body } => (self.read)(body, *size),
            _ => None,
        }
    }

    /// Names in a folder, in order, and what they are; none where there is no such folder.
    fn names(&self, path: &str) -> Vec<(Vec<u8>, InodeId)> {
        let Some(found) = paths::resolve(self.tree, path.as_bytes()) else { return Vec::new() };
        if !self.tree.inode(found.inode).is_directory() {
            return Vec::new();
        }
        let entries = self.tree.children(found.inode);
        let mut names: Vec<_> = entries.map(|one| (self.tree.name(one).to_vec(), self.tree.target(one))).collect();
        names.sort();
        names
    }

    fn size(&self, inode: InodeId) -> u64 {
        match &self.tree.inode(inode).kind {
            Kind::File { size, .. } => *size,
            _ => u64::MAX,
        }
    }

    fn os_release(&self) -> Option<Vec<u8>> {
        let mut places = os_release::PLACES.iter().filter_map(|place| paths::resolve(self.tree, place));
        let short = places.find(|found| self.size(found.inode) <= MAX_SHORT)?;
        self.body(short.inode)
    }

    fn system(&mut self) {
        let Some(bytes) = self.os_release() else { return };
        let value = |name: &[u8]| {
            let value = os_release::value(&bytes, name).filter(|value| value.len() <= MAX_TEXT);
            value.map(|value| text(&value))
        };
        self.found.system = Some(System {
            id: value(b"ID").unwrap_or_else(|| "linux".into()),
            version: value(b"VERSION_ID"),
            name: value(b"PRETTY_NAME").or_else(|| value(b"NAME")),
        });
    }

    fn dpkg(&mut self) {
        let mut all: Vec<Vec<u8>> = self.database("/var/lib/dpkg/status").into_iter().collect();
        for (name, inode) in self.names("/var/lib/dpkg/status.d") {
            if !name.ends_with(b".md5sums") && self.size(inode) <= MAX_DATABASE {
                all.extend(self.body(inode));
            }
        }
        let fields = [&b"Package:"[..], b"Status:", b"Version:", b"Architecture:", b"Source:"];
        for bytes in all {
            paragraphs(&bytes, fields, |[name, status, version, arch, source]| {
                let Some(name) = name.filter(|_| is_installed(status)) else { return };
                self.found.push(Some(Package {
                    manager: Manager::Dpkg,
                    name: text(name),
                    version: version.map(text).unwrap_or_default(),
                    epoch: None,
                    arch: short(arch),
                    source: source.and_then(|source| source_of(source, name)),
                }));
            });
        }
    }

    fn apk(&mut self) {
        for path in ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"] {
            let Some(bytes) = self.database(path) else { continue };
            paragraphs(&bytes, [&b"P:"[..], b"V:", b"A:", b"o:"], |[name, version, arch, origin]| {
                let Some(name) = name else { return };
                self.found.push(Some(Package {
                    manager: Manager::Apk,
                    name: text(name),
                    version: version.map(text).unwrap_or_default(),
                    epoch: None,
                    arch: short(arch),
                    source: short(origin.filter(|origin| *origin != name)).map(|origin| (origin, None)),
                }));
            });
        }
    }

    fn rpm(&mut self) {
        for folder in RPM {
            if let Some(bytes) = self.database(&format!("{folder}/rpmdb.sqlite")) {
                let log = paths::resolve(self.tree, format!("{folder}/rpmdb.sqlite-wal").as_bytes());
                if log.is_some_and(|log| (1..u64::MAX).contains(&self.size(log.inode))) {
                    self.found.doubt("the write-ahead log of rpm's database was not read");
                }
                let rows = sqlite::Database::open(&bytes);
                let rows = rows.and_then(|rows| rows.blobs(b"Packages", 1, &mut |row| self.found.rpm(row)));
                self.found.whole(rows);
            }
            if let Some(bytes) = self.database(&format!("{folder}/Packages.db")) {
                let rows = ndb::blobs(&bytes, &mut |row| self.found.rpm(row));
                self.found.whole(rows);
            }
            let old = paths::resolve(self.tree, format!("{folder}/Packages").as_bytes());
            if old.is_some_and(|old| self.size(old.inode) != u64::MAX) {
                self.found.doubt("rpm's database is a Berkeley DB, which is not read");
            }
        }
    }

    fn pacman(&mut self) {
        for (_, folder) in self.names("/var/lib/pacman/local") {
            let is_directory = self.tree.inode(folder).is_directory();
            let Some(desc) = is_directory.then(|| self.tree.lookup(folder, b"desc")).flatten() else { continue };
            let body = if self.size(desc) <= MAX_SHORT { self.body(desc) } else { None };
            let Some(body) = body else {
                self.found.doubt("a package of pacman cannot be read");
                continue;
            };
            let value = |name: &str| {
                let mut lines = body.split(|&byte| byte == b'\n');
                lines.find(|line| *line == name.as_bytes())?;
                short(lines.next())
            };
            let name = value("%NAME%").unwrap_or_default();
            self.found.push(Some(Package {
                manager: Manager::Pacman,
                version: value("%VERSION%").unwrap_or_default(),
                epoch: None,
                arch: value("%ARCH%"),
                source: value("%BASE%").filter(|base| *base != name).map(|base| (base, None)),
                name,
            }));
        }
    }
}

impl Installed {
    /// A row of rpm's database.
    fn rpm(&mut self, row: &[u8]) {
        let Some(header) = Header::of_database(row) else { return self.push(None) };
        let value = |tag| header.string(tag).filter(|text| !text.is_empty() && text.len() <= MAX_TEXT);
        let name = value(NAME).unwrap_or_default();
        if name == "gpg-pubkey" {
            return;
        }
        let (version, release) = (value(VERSION).unwrap_or_default(), value(RELEASE));
        let source = value(SOURCE_RPM).and_then(|file| {
            // NAME-VERSION-RELEASE.src.rpm
            let mut parts = file.strip_suffix(".rpm")?.rsplit_once('.')?.0.rsplitn(3, '-');
            let (release, version, source) = (parts.next()?, parts.next()?, parts.next()?);
            (source != name).then(|| (source.to_owned(), Some(format!("{version}-{release}"))))
        });
        self.push(Some(Package {
            manager: Manager::Rpm,
            version: release.map_or(version.clone(), |release| format!("{version}-{release}")),
            epoch: header.number(EPOCH).filter(|epoch| *epoch != 0),
            arch: value(ARCH),
            source,
            name,
        }));
    }

    fn whole(&mut self, rows: Option<()>) {
        if rows.is_none() {
            self.doubt("rpm's database is damaged or of another version");
        }
    }
}

/// dpkg's `Source: NAME (VERSION)`; `None` where it says nothing that the package does not.
fn source_of(source: &[u8], package: &[u8]) -> Option<(String, Option<String>)> {
    let source = short(Some(source))?;
    let (name, version) = match source.split_once(" (") {
        Some((name, version)) => (name.to_owned(), version.strip_suffix(')').map(str::to_owned)),
        None => (source, None),
    };
    (name.as_bytes() != package || version.is_some()).then_some((name, version))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A value that is not too long, and not empty.
fn short(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(<[u8]>::trim_ascii).filter(|bytes| (1..=MAX_TEXT).contains(&bytes.len())).map(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::rpm_header;
    use crate::rootfs::Attrs;

    fn tree(files: &[(&str, &[u8])]) -> Tree<Vec<u8>> {
        let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        for (path, body) in files {
            let mut here = Tree::<Vec<u8>>::ROOT;
            let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
            for folder in folders.split('/').filter(|name| !name.is_empty()) {
                here = match tree.lookup(here, folder.as_bytes()) {
                    Some(there) => there,
                    None => {
                        let attrs = Attrs { mode: 0o755, ..Attrs::default() };
                        tree.insert(here, folder.as_bytes(), attrs, Kind::directory(), 0).unwrap()
                    }
                };
            }
            let kind = Kind::File { size: body.len() as u64, body: body.to_vec() };
            tree.insert(here, name.as_bytes(), Attrs::default(), kind, 0).unwrap();
        }
        tree
    }

    fn of(files: &[(&str, &[u8])]) -> Installed {
        installed(&tree(files), &|body: &Vec<u8>, _| Some(body.clone()))
    }

    fn words(found: &Installed) -> Vec<String> {
        let of = |one: &Package| {
            let arch = one.arch.as_deref().unwrap_or("-");
            let source = one
                .source
                .as_ref()
                .map(|(name, version)| format!(" from {name} {}", version.as_deref().unwrap_or("-")));
            format!("{} {} {arch}{}", one.name, one.version, source.unwrap_or_default())
        };
        found.packages.iter().map(of).collect()
    }

    #[test]
    fn dpkg_lists_what_is_installed_and_says_its_source() {
        let status = b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nSource: glibc (2.36-9)\n\
            Version: 2.36-9+deb12u4\nDescription: x\n Version: no\n\nPackage: gone\nStatus: deinstall ok config-files\n\
            Version: 1\n\nPackage: bash\nStatus: hold ok installed\nVersion: 5.2\nSource: bash\n";
        let found = of(&[
            ("var/lib/dpkg/status", status),
            ("var/lib/dpkg/status.d/tz", b"Package: tzdata\nVersion: 1:2024a\n"),
            ("var/lib/dpkg/status.d/tz.md5sums", b"Package: nothing\nVersion: 1\n"),
            ("etc/os-release", b"ID=debian\nVERSION_ID=\"12\"\n"),
        ]);
        assert_eq!(words(&found), ["bash 5.2 -", "libc6 2.36-9+deb12u4 amd64 from glibc 2.36-9", "tzdata 1:2024a -"]);
        assert_eq!(found.system.unwrap().version.as_deref(), Some("12"));
        assert!(found.doubts.is_empty());
    }

    #[test]
    fn apk_and_pacman_are_read() {
        let apk = b"C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\nP:libcrypto3\nV:3.1-r0\nA:x86_64\no:openssl\n\n";
        let desc = b"%NAME%\nglibc-locales\n\n%VERSION%\n2:2.39-1\n\n%BASE%\nglibc\n\n%ARCH%\nx86_64\n";
        let found = of(&[
            ("lib/apk/db/installed", apk),
            ("var/lib/pacman/local/glibc-locales-2:2.39-1/desc", desc),
            ("var/lib/pacman/local/ALPM_DB_VERSION", b"9\n"),
        ]);
        let expected = [
            "libcrypto3 3.1-r0 x86_64 from openssl -",
            "musl 1.2.4-r2 x86_64",
            "glibc-locales 2:2.39-1 x86_64 from glibc -",
        ];
        assert_eq!(words(&found), expected);
    }

    #[test]
    fn rows_of_rpms_databases_are_packages() {
        let values = b"bash\x005.2\x001.fc39\0x86_64\0bash-5.2-1.fc39.src.rpm\0\0\0\0\0\x02";
        let number = values.len() as u32 - 4;
        let header = rpm_header::tests::header(
            &[
                (NAME, 6, 0, 1),
                (VERSION, 6, 5, 1),
                (RELEASE, 6, 9, 1),
                (ARCH, 6, 16, 1),
                (SOURCE_RPM, 6, 23, 1),
                (EPOCH, 4, number, 1),
            ],
            values,
        );
        let mut found = Installed::default();
        found.rpm(&header[8..]);
        found.rpm(b"damaged");
        assert_eq!(words(&found), ["bash 5.2-1.fc39 x86_64"]);
        assert_eq!((found.packages[0].epoch, found.doubts.len()), (Some(2), 1));
    }

    #[test]
    fn what_cannot_be_read_is_a_doubt() {
        let found = of(&[
            ("var/lib/rpm/rpmdb.sqlite", b"no database"),
            ("usr/share/rpm/Packages", b"\0\0"),
            ("var/lib/dpkg/status", b"Package: x\nStatus: install ok installed\n"),
        ]);
        assert_eq!((found.packages.len(), found.doubts.len()), (0, 3), "{:?}", found.doubts);
        let found = installed(&tree(&[("lib/apk/db/installed", b"P:a\nV:1\n")]), &|_: &Vec<u8>, _| None);
        assert_eq!(found.doubts, ["a package database is too large or cannot be read"]);
    }
}
