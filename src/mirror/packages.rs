//! The list of packages: the kernel that a metapackage stands for, and the boot loader beside it.

use super::fields::value;
use super::{Archive, MirrorError};
use crate::escape::escape;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};

/// Most bytes of the list unpacked, and of one stanza.
const MOST: u64 = 512 << 20;
const STANZA: usize = 1 << 20;
/// Most packages with kernels that are kept.
const KERNELS: usize = 10_000;
/// What packages with kernels and their modules begin with.
const KERNEL: [&str; 2] = ["linux-image-", "linux-modules-"];
/// The package with systemd-boot.
const LOADER: &str = "systemd-boot-efi";

/// A package of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it is below the archive.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    depends: String,
}

impl Package {
    fn read(stanza: &str) -> Option<Package> {
        let field = |name| value(stanza, name).map(str::to_owned);
        let package = Package {
            name: field("Package")?,
            version: field("Version")?,
            path: field("Filename")?,
            size: field("Size")?.parse().ok()?,
            sha256: field("SHA256")?,
            depends: field("Depends").unwrap_or_default(),
        };
        // It becomes part of an address and of a file's name.
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~/:".contains(&b));
        let leads_up = package.path.split('/').any(|part| part == "..") || package.path.starts_with('/');
        (plain(&package.path) && plain(&package.name) && !package.name.contains('/') && !leads_up).then_some(package)
    }

    /// Name and version, printable.
    pub fn shown(&self) -> String {
        escape(format!("{} {}", self.name, self.version).as_bytes())
    }

    /// What its file is called here.
    pub fn file_name(&self) -> String {
        format!("{}.deb", self.name)
    }

    /// What it depends on, without versions and alternatives.
    fn needs(&self) -> impl Iterator<Item = &str> {
        self.depends.split([',', '|']).filter_map(|item| item.split_ascii_whitespace().next())
    }
}

/// Why there is no such kernel in a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such package.
    NoPackage {
        /// Which was wanted.
        name: String,
        /// What stands between `linux-image-` and the architecture in others.
        flavours: Vec<String>,
    },
    /// The metapackage names a kernel that is not listed.
    Incomplete,
}

impl Fault {
    pub fn in_archive(self, archive: &Archive) -> MirrorError {
        let archive = archive.to_string();
        match self {
            Fault::NoPackage { name, flavours } => MirrorError::NoPackage { name, archive, flavours },
            Fault::Incomplete => {
                MirrorError::Odd { reason: "its metapackage names a kernel that it does not have", archive }
            }
        }
    }
}

/// What is taken from a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The kernel, and its modules where they are packages of their own.
    pub kernel: Vec<Package>,
    /// systemd-boot, if the archive has it.
    pub loader: Option<Package>,
}

/// What the package `name` stands for: itself, or the kernel that it depends on.
pub fn wanted(list: impl BufRead, name: &str) -> io::Result<Result<Wanted, Fault>> {
    let all = packages(list)?;
    let loader = all.get(LOADER).cloned();
    Ok(of_kernel(&all, name).map(|kernel| Wanted { kernel, loader }))
}

fn of_kernel(kernels: &BTreeMap<String, Package>, name: &str) -> Result<Vec<Package>, Fault> {
    let Some(first) = kernels.get(name) else {
        return Err(Fault::NoPackage { name: name.to_owned(), flavours: flavours(kernels, name) });
    };
    let is_image =
        |name: &&str| name.starts_with("linux-image-") && name.as_bytes().get(12).is_some_and(u8::is_ascii_digit);
    // A metapackage depends on one kernel, and a kernel on none.
    let image = match first.needs().find(is_image) {
        Some(image) => kernels.get(image),
        None => Some(first),
    };
    let Some(image) = image else { return Err(Fault::Incomplete) };
    let mut all = vec![image.clone()];
    for modules in image.needs().filter(|name| name.starts_with("linux-modules-")) {
        match kernels.get(modules) {
            Some(modules) => all.push(modules.clone()),
            None => return Err(Fault::Incomplete),
        }
    }
    Ok(all)
}

/// Every package with a kernel, its modules or the boot loader.
fn packages(list: impl BufRead) -> io::Result<BTreeMap<String, Package>> {
    let mut list = list.take(MOST);
    let (mut found, mut stanza, mut line) = (BTreeMap::new(), String::new(), Vec::new());
    loop {
        line.clear();
        let length = (&mut list).take(STANZA as u64).read_until(b'\n', &mut line)?;
        if length > 0 && line != b"\n" {
            if stanza.len() + line.len() <= STANZA {
                stanza.push_str(&String::from_utf8_lossy(&line));
            }
            continue;
        }
        let name = value(&stanza, "Package").unwrap_or_default();
        let is_wanted = name == LOADER || KERNEL.iter().any(|start| name.starts_with(start));
        if is_wanted
            && found.len() < KERNELS
            && let Some(package) = Package::read(&stanza)
        {
            found.insert(package.name.clone(), package);
        }
        stanza.clear();
        if length == 0 {
            return Ok(found);
        }
    }
}

/// Flavours of metapackages for the same architecture.
fn flavours(kernels: &BTreeMap<String, Package>, wanted: &str) -> Vec<String> {
    let arch = wanted.rsplit('-').next().unwrap_or_default();
    let of = |name: &str| {
        let rest = name.strip_prefix("linux-image-")?.strip_suffix(arch)?;
        let rest = rest.trim_end_matches('-');
        let is_meta = !rest.starts_with(|first: char| first.is_ascii_digit());
        is_meta.then(|| match rest {
            "" => "debian".to_owned(),
            "cloud" => "debian-cloud".to_owned(),
            other => escape(other.as_bytes()),
        })
    };
    kernels.keys().filter_map(|name| of(name)).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, depends: &str) -> String {
        let digest = "b".repeat(64);
        format!(
            "Package: {name}\nVersion: 1\nDepends: {depends}\nFilename: pool/{name}.deb\nSize: 5\nSHA256: {digest}\n\n"
        )
    }

    fn names(list: &str, wanted: &str) -> Result<Vec<String>, Fault> {
        let found = super::wanted(list.as_bytes(), wanted).unwrap()?;
        Ok(found.kernel.into_iter().chain(found.loader).map(|package| package.name).collect())
    }

    #[test]
    fn a_metapackage_stands_for_its_kernel_and_its_modules() {
        let list = [
            stanza("bash", "libc6"),
            stanza("linux-image-cloud-amd64", "linux-image-6.1.0-9-cloud-amd64 (= 6.1.2-1)"),
            stanza("linux-image-6.1.0-9-cloud-amd64", "kmod, linux-base (>= 4.3)"),
            stanza("linux-image-amd64", "linux-image-7.0-amd64"),
            stanza("linux-image-7.0-amd64", "linux-modules-7.0-amd64 (= 7.0), kmod | module-init-tools"),
            stanza("linux-modules-7.0-amd64", ""),
            stanza("linux-image-rt-amd64", "linux-image-9-rt-amd64"),
        ]
        .concat();
        assert_eq!(names(&list, "linux-image-cloud-amd64").unwrap(), ["linux-image-6.1.0-9-cloud-amd64"]);
        let both = ["linux-image-7.0-amd64", "linux-modules-7.0-amd64"];
        assert_eq!(names(&list, "linux-image-amd64").unwrap(), both);
        assert_eq!(names(&list, "linux-image-7.0-amd64").unwrap(), both);
        let and_loader = format!("{list}{}", stanza(LOADER, ""));
        assert_eq!(names(&and_loader, "linux-image-7.0-amd64").unwrap(), [&both[..], &[LOADER]].concat());
        assert_eq!(names(&list, "linux-image-rt-amd64"), Err(Fault::Incomplete));
        let flavours = vec!["debian".to_owned(), "debian-cloud".into(), "rt".into()];
        let wanted = "linux-image-x-amd64".to_owned();
        assert_eq!(names(&list, &wanted), Err(Fault::NoPackage { name: wanted, flavours }));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_no_packages() {
        for path in ["../x.deb", "/x.deb", "pool/../../x.deb", "pool/a b.deb", "pool/a?b"] {
            let list = stanza("linux-image-1-amd64", "").replace("pool/linux-image-1-amd64.deb", path);
            assert!(names(&list, "linux-image-1-amd64").is_err(), "{path}");
        }
    }
}
