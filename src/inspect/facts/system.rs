//! The parts of a system: C library, packages, certificates, users, and whatever there is of a kernel.

use super::{file, shown, text};
use crate::contents::CERTIFICATES;
use crate::contents::Root;
use crate::contents::body::Body;
use crate::contents::packages::Count;
use crate::contents::paths;
use crate::inspect::model::{Fact, Packages, Users};
use std::collections::BTreeMap;

/// Most names listed.
const MAX_LISTED: usize = 16;

/// Where boot loaders leave their parts, and whose they are.
const LOADERS: [(&[u8], &str); 9] = [
    (b"/usr/lib/grub/", "GRUB"),
    (b"/boot/grub/", "GRUB"),
    (b"/boot/grub2/", "GRUB"),
    (b"/usr/lib/systemd/boot/efi/", "systemd-boot"),
    (b"/boot/EFI/", "EFI loader"),
    (b"/boot/efi/EFI/", "EFI loader"),
    (b"/usr/lib/syslinux/", "SYSLINUX"),
    (b"/boot/extlinux/", "SYSLINUX"),
    (b"/usr/lib/u-boot/", "U-Boot"),
];

/// What was seen on the walk.
#[derive(Default)]
pub struct Walked {
    libc: Vec<Fact>,
    databases: Vec<(&'static str, Vec<u8>, Count)>,
    pacman: u64,
    kernels: Vec<Fact>,
    modules: BTreeMap<Vec<u8>, u64>,
    loaders: BTreeMap<&'static str, Vec<u8>>,
    old_rpm: Option<Vec<u8>>,
}

impl Walked {
    /// A regular file under its first name.
    pub fn file(&mut self, path: &[u8], body: &Body) {
        if let Some(release) = module_of(path) {
            *self.modules.entry(release.to_vec()).or_default() += 1;
        }
        for (place, name) in LOADERS {
            if path.starts_with(place) {
                self.loaders.entry(name).or_insert_with(|| path.to_vec());
            }
        }
        if path.ends_with(b"/lib/rpm/Packages") {
            self.old_rpm = Some(path.to_vec());
        }
        let Some(content) = &body.content else { return };
        if let Some(version) = &content.version {
            let name = if path.windows(4).any(|word| word == b"musl") { "musl" } else { "glibc" };
            self.libc.push(Fact::new(format!("{name} {version}"), shown(path)));
        }
        if let Some(count) = &content.packages {
            let folder = |end: &[u8]| path.windows(end.len()).any(|part| part == end);
            let manager = match () {
                () if folder(b"/dpkg/") => "dpkg",
                () if folder(b"/apk/") => "apk",
                () => "rpm",
            };
            self.databases.push((manager, path.to_vec(), count.clone()));
        }
        if let Some(kernel) = &content.kernel {
            let release = kernel.release.as_deref().map_or("release unknown".to_owned(), |r| shown(r.as_bytes()));
            self.kernels.push(Fact::new(format!("{release} ({}, {})", kernel.arch, kernel.format()), shown(path)));
        }
    }

    /// A directory.
    pub fn directory(&mut self, path: &[u8]) {
        let of_pacman = path.strip_prefix(b"/var/lib/pacman/local/");
        if of_pacman.is_some_and(|name| !name.contains(&b'/')) {
            self.pacman += 1;
        }
    }

    /// C libraries; where a library does not say its version, the package does.
    pub fn libc(&self, tree: &Root) -> Vec<Fact> {
        let mut facts = self.libc.clone();
        facts.dedup_by(|a, b| a.value == b.value);
        if facts.is_empty() {
            let known = [(&b"libc6"[..], "glibc"), (b"glibc", "glibc"), (b"musl", "musl")];
            for ((_, path, count), (package, name)) in self.databases.iter().flat_map(|db| known.map(|k| (db, k))) {
                if let Some(version) = count.versions.get(package) {
                    facts.push(Fact::new(format!("{name} {}", shown(version)), shown(path)));
                }
            }
        }
        if facts.is_empty() {
            let loaders = [(&b"/lib64/ld-linux-x86-64.so.2"[..], "glibc"), (b"/lib/ld-linux-aarch64.so.1", "glibc")];
            let there = loaders.iter().filter_map(|(path, name)| Some((name, file(tree, path)?.1)));
            facts.extend(there.map(|(name, path)| Fact::new(format!("{name}, version unknown"), shown(&path))));
        }
        facts
    }

    /// Package databases. The many small ones of distroless images count as one.
    pub fn packages(&self, tree: &Root) -> Vec<Packages> {
        let mut found: Vec<Packages> = Vec::new();
        for (manager, path, count) in &self.databases {
            let many = b"/var/lib/dpkg/status.d/";
            let evidence = if path.starts_with(many) { shown(many) } else { shown(path) };
            match found.iter_mut().find(|database| database.evidence == evidence) {
                Some(database) => {
                    database.installed += count.installed;
                    database.others += count.others;
                }
                None => found.push(Packages {
                    manager: (*manager).to_owned(),
                    installed: count.installed,
                    others: count.others,
                    evidence,
                    doubt: count.doubt.or_else(|| unread_log(tree, path)).map(str::to_owned),
                }),
            }
        }
        // An empty status file beside status.d says nothing.
        if found.len() > 1 {
            found.retain(|database| database.installed + database.others > 0 || database.doubt.is_some());
        }
        let simple = |manager: &str, installed, evidence: &[u8], doubt: Option<&str>| Packages {
            manager: manager.to_owned(),
            installed,
            others: 0,
            evidence: shown(evidence),
            doubt: doubt.map(str::to_owned),
        };
        if paths::resolve(tree, b"/var/lib/pacman/local").is_some() {
            found.push(simple("pacman", self.pacman, b"/var/lib/pacman/local", None));
        }
        if let Some(path) = &self.old_rpm {
            found.push(simple("rpm", 0, path, Some("a Berkeley DB, which bootdisk does not read")));
        }
        found
    }

    /// Bundles of certificates, each file once.
    pub fn certificates(&self, tree: &Root) -> Vec<Fact> {
        let mut facts: Vec<Fact> = Vec::new();
        for place in CERTIFICATES {
            let Some((body, path)) = file(tree, place) else { continue };
            let count = body.content.as_ref().and_then(|content| content.certificates);
            let path = shown(&path);
            if let Some(count) = count.filter(|_| facts.iter().all(|fact| fact.evidence != path)) {
                facts.push(Fact::new(format!("{count} certificates"), path));
            }
        }
        facts
    }

    /// Kernels.
    pub fn kernels(&self) -> Vec<Fact> {
        self.kernels.iter().take(MAX_LISTED).cloned().collect()
    }

    /// Modules by release.
    pub fn modules(&self) -> Vec<Fact> {
        let fact = |(release, count): (&Vec<u8>, &u64)| {
            Fact::new(format!("{count} modules of {}", shown(release)), format!("/lib/modules/{}", shown(release)))
        };
        self.modules.iter().take(MAX_LISTED).map(fact).collect()
    }

    /// Boot loaders.
    pub fn boot_loaders(&self) -> Vec<Fact> {
        self.loaders.iter().map(|(name, path)| Fact::new(*name, shown(path))).collect()
    }
}

/// The release a kernel module is for.
fn module_of(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"/usr").unwrap_or(path).strip_prefix(b"/lib/modules/")?;
    let release = path.split(|&byte| byte == b'/').next()?;
    crate::kernel::modules::module_name(std::str::from_utf8(path).ok()?)?;
    (release.len() < path.len()).then_some(release)
}

/// The users of /etc/passwd (passwd(5)).
pub fn users(tree: &Root) -> Option<Users> {
    let (text, path) = text(tree, b"/etc/passwd")?;
    let mut users = Users { count: 0, with_shell: Vec::new(), other_roots: Vec::new(), evidence: shown(&path) };
    for line in text.split(|&byte| byte == b'\n') {
        let fields: Vec<&[u8]> = line.split(|&byte| byte == b':').collect();
        let [name, _, uid, _, _, _, shell] = fields[..] else { continue };
        users.count += 1;
        let has_shell = !shell.ends_with(b"/nologin") && !shell.ends_with(b"/false") && !shell.ends_with(b"/sync");
        if has_shell && users.with_shell.len() < MAX_LISTED {
            users.with_shell.push(format!("{} ({})", shown(name), shown(uid)));
        }
        if uid == b"0" && name != b"root" && users.other_roots.len() < MAX_LISTED {
            users.other_roots.push(shown(name));
        }
    }
    Some(users)
}

/// SQLite leaves what the last writer did in a log beside the file when that did not end well ("Write-Ahead Logging").
fn unread_log(tree: &Root, path: &[u8]) -> Option<&'static str> {
    let log = file(tree, &[path, b"-wal"].concat())?.0;
    (path.ends_with(b".sqlite") && log.size > 0).then_some("its write-ahead log was not read")
}
