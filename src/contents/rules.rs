//! Which file bodies are looked at, by path. All others are only counted, unless their first bytes say that they are
//! programs (ELF) or scripts.

/// What a body is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Nothing by its path.
    Nothing,
    /// Its text, so many bytes of it at most.
    Text(usize),
    /// Packages: dpkg's paragraphs.
    Dpkg,
    /// Packages: apk's paragraphs.
    Apk,
    /// Packages: rpm's SQLite database.
    RpmSqlite,
    /// Packages: rpm's own database.
    RpmNdb,
    /// A package: pacman's description of one.
    Pacman,
    /// PEM certificates, counted.
    Certificates,
    /// The version of glibc, in its library.
    Glibc,
    /// The version of musl, in its library.
    Musl,
    /// A kernel.
    Kernel,
}

impl Want {
    /// Whether it is a package database, or a part of one.
    pub fn is_database(self) -> bool {
        matches!(self, Want::Dpkg | Want::Apk | Want::RpmSqlite | Want::RpmNdb | Want::Pacman)
    }
}

/// Longest text kept of files that are short everywhere.
const SHORT: usize = 64 << 10;
/// Longest text kept of lists that grow: users, boot menus.
const LONG: usize = 1 << 20;

/// What the body at `path` is read for. A `/` or `./` at the start means nothing, and `usr/` is looked through: it
/// does not matter here which of `/lib` and `/usr/lib` is the link.
pub fn want(path: &[u8]) -> Want {
    let path = path.strip_prefix(b".").unwrap_or(path);
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    let (dir, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    };
    match (dir, name) {
        (b"etc" | b"lib", b"os-release") => Want::Text(SHORT),
        (b"etc", b"passwd" | b"group") => Want::Text(LONG),
        (b"etc", name) if RELEASES.contains(&name) => Want::Text(SHORT),
        (b"etc", b"ld.so.conf" | b"shells") | (b"etc/ld.so.conf.d", _) => Want::Text(SHORT),
        (b"etc", name) if name.starts_with(b"ld-musl-") => Want::Text(SHORT),
        (b"local/go", b"VERSION") => Want::Text(SHORT),
        (_, b"release") if dir.starts_with(b"lib/jvm/") || dir.starts_with(b"opt/") || dir.starts_with(b"local/") => {
            Want::Text(SHORT)
        }
        (b"boot/grub" | b"boot/grub2", b"grub.cfg") => Want::Text(LONG),
        (b"boot/extlinux" | b"boot/syslinux", name) if name.ends_with(b".conf") || name.ends_with(b".cfg") => {
            Want::Text(LONG)
        }
        (b"var/lib/dpkg", b"status") => Want::Dpkg,
        (b"var/lib/dpkg/status.d", name) if !name.ends_with(b".md5sums") => Want::Dpkg,
        (b"lib/apk/db", b"installed") => Want::Apk,
        (b"var/lib/rpm" | b"lib/sysimage/rpm" | b"share/rpm", b"rpmdb.sqlite") => Want::RpmSqlite,
        (b"var/lib/rpm" | b"lib/sysimage/rpm" | b"share/rpm", b"Packages.db") => Want::RpmNdb,
        (_, b"desc") if dir.starts_with(b"var/lib/pacman/local/") => Want::Pacman,
        _ if CERTIFICATES.contains(&path) => Want::Certificates,
        (_, name) if name == b"libc.so.6" || (name.starts_with(b"libc-2.") && name.ends_with(b".so")) => Want::Glibc,
        (_, name) if is_musl(dir, name) => Want::Musl,
        (dir, name) if is_kernel(dir, name) => Want::Kernel,
        _ => Want::Nothing,
    }
}

/// Files that told a distribution before there was os-release.
pub const RELEASES: [&[u8]; 7] = [
    b"debian_version",
    b"alpine-release",
    b"redhat-release",
    b"SuSE-release",
    b"arch-release",
    b"gentoo-release",
    b"lsb-release",
];

/// Where distributions keep the certificates their programs trust, in one file; without `usr/`.
pub const CERTIFICATES: [&[u8]; 6] = [
    b"etc/ssl/certs/ca-certificates.crt",
    b"etc/pki/tls/certs/ca-bundle.crt",
    b"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    b"etc/ssl/ca-bundle.pem",
    b"etc/ssl/cert.pem",
    b"etc/ca-certificates/extracted/tls-ca-bundle.pem",
];

fn is_musl(dir: &[u8], name: &[u8]) -> bool {
    (name.starts_with(b"ld-musl-") && name.ends_with(b".so.1")) || (name == b"libc.so" && dir.ends_with(b"-linux-musl"))
}

/// Where kernels lie in a userland: /boot, and beside their modules.
pub fn is_kernel(dir: &[u8], name: &[u8]) -> bool {
    let named = [&b"vmlinuz"[..], b"bzImage", b"Image", b"kernel"].iter().any(|stem| {
        name.strip_prefix(*stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"-") || rest.starts_with(b"."))
    });
    named && (dir == b"boot" || dir.is_empty() || dir.starts_with(b"lib/modules/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_path_makes_no_difference() {
        for path in ["etc/os-release", "./etc/os-release", "/usr/lib/os-release", "lib/os-release"] {
            assert_eq!(want(path.as_bytes()), Want::Text(SHORT), "{path}");
        }
        assert_eq!(want(b"home/etc/os-release"), Want::Nothing);
        assert_eq!(want(b""), Want::Nothing);
    }

    #[test]
    fn each_database_is_known() {
        assert_eq!(want(b"var/lib/dpkg/status"), Want::Dpkg);
        assert_eq!(want(b"var/lib/dpkg/status.d/base"), Want::Dpkg);
        assert_eq!(want(b"usr/lib/sysimage/rpm/rpmdb.sqlite"), Want::RpmSqlite);
        assert_eq!(want(b"usr/lib/sysimage/rpm/Packages.db"), Want::RpmNdb);
        assert_eq!(want(b"lib/apk/db/installed"), Want::Apk);
        assert_eq!(want(b"lib/x86_64-linux-gnu/libc.so.6"), Want::Glibc);
        assert_eq!(want(b"lib/ld-musl-x86_64.so.1"), Want::Musl);
        assert_eq!(want(b"boot/vmlinuz-6.1.0"), Want::Kernel);
        assert_eq!(want(b"boot/vmlinuzx"), Want::Nothing);
    }
}
