//! Kernels from a Debian archive, for whoever has no apt, and systemd-boot with them: verified from the archive's signature to the package's bytes.
//!
//! ```text
//!  InRelease ─ gpgv, the archive's keyring ─▶ what was signed
//!     └ SHA-256 ─▶ Packages ─ SHA-256 ─▶ .deb ─▶ crate::kernel
//! ```
//!
//! `InRelease` is text and signature in one file, so that a mirror that is being updated cannot give one of them that is
//! older than the other. Only what gpgv gives out of it is read. Archives without it have `Release` and `Release.gpg`.
//! Nothing is parsed before its signature or digest has been verified, and no file may be larger than its list says.
//!
//! Not supported: archives without SHA-256, components other than `main`.
//! Specification: Debian, "DebianRepository/Format"; deb-src-control(5) for stanzas; sources.list(5).

mod error;
mod fields;
mod packages;
mod release;
mod sources;

pub use error::MirrorError;
pub use sources::{Archive, of_host};

use crate::arch::Arch;
use crate::formats::unpack;
use crate::hex::hex;
use crate::kernel::{KernelError, Keys};
use crate::registry::{Ask, Http, Url};
use packages::Package;
use release::{Listed, Release};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::TempDir;

/// Most bytes of a Release file, and of its signature.
const RELEASE: u64 = 8 << 20;
const SIGNATURE: u64 = 256 << 10;
/// Most bytes of a packed list of packages, and of a package.
const LIST: u64 = 256 << 20;
const PACKAGE: u64 = 1 << 30;
/// Bytes moved at a time.
const PIECE: usize = 256 << 10;

/// Verified packages, in a folder that is removed with this value.
#[derive(Debug)]
pub struct Fetched {
    /// The kernel's packages.
    pub files: Vec<PathBuf>,
    /// The package with systemd-boot.
    pub loader: Option<PathBuf>,
    /// Their names and versions, in printable text.
    pub names: Vec<String>,
    /// Who signed the archive, in printable text.
    pub signer: String,
    _folder: TempDir,
}

/// What is being fetched, and how many of its bytes are here.
pub type Observer<'a> = &'a mut dyn FnMut(&str, u64, u64);

/// The package that a name stands for: `debian-cloud`, `debian`, or a flavour such as `rt`.
///
/// # Errors
/// When `flavour` cannot be part of a package's name.
pub fn package_of(flavour: &str, arch: Arch) -> Result<String, MirrorError> {
    let arch = arch.oci_name();
    let is_name =
        !flavour.is_empty() && flavour.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    match flavour {
        "debian" => Ok(format!("linux-image-{arch}")),
        "debian-cloud" => Ok(format!("linux-image-cloud-{arch}")),
        flavour if is_name => Ok(format!("linux-image-{flavour}-{arch}")),
        other => Err(MirrorError::Flavour(other.chars().take(80).collect())),
    }
}

/// Fetches the kernel that the package `name` stands for, and the boot loader if that is wanted and there.
///
/// # Errors
/// When the archive cannot be reached or has no such package, or a signature or digest is wrong.
pub fn fetch(
    archive: &Archive,
    name: &str,
    arch: Arch,
    with_loader: bool,
    observe: Observer<'_>,
) -> Result<Fetched, MirrorError> {
    let folder = tempfile::tempdir().map_err(MirrorError::io("write", std::env::temp_dir()))?;
    let mirror = Mirror { archive, http: Http::new(true), folder: folder.path() };
    let (release, signer) = mirror.release(SystemTime::now())?;
    let list = mirror.list(&release, arch, observe)?;
    let wanted = packages::wanted(BufReader::new(list), name)
        .map_err(MirrorError::io("read", "Packages"))?
        .map_err(|fault| fault.in_archive(archive))?;
    let mut names = Vec::new();
    let mut get = |package: &Package| {
        let path = mirror.folder.join(package.file_name());
        mirror.package(package, &path, observe)?;
        names.push(package.shown());
        Ok(path)
    };
    let files = wanted.kernel.iter().map(&mut get).collect::<Result<_, MirrorError>>()?;
    let loader = wanted.loader.iter().filter(|_| with_loader).map(&mut get).next().transpose()?;
    Ok(Fetched { files, loader, names, signer, _folder: folder })
}

/// An archive that is asked.
struct Mirror<'a> {
    archive: &'a Archive,
    http: Http,
    folder: &'a Path,
}

impl Mirror<'_> {
    /// The verified Release file, and who signed it. While a mirror is being updated, `Release` and its signature may not
    /// match: both are fetched once more.
    fn release(&self, now: SystemTime) -> Result<(Release, String), MirrorError> {
        let (text, signer) = self.signed().or_else(|error| match error {
            MirrorError::Signature { .. } => self.signed(),
            error => Err(error),
        })?;
        let release = Release::read(&text).ok_or_else(|| self.odd("its Release file lists no files"))?;
        if !release.is_of(&self.archive.suite) {
            return Err(MirrorError::OtherSuite { found: release.name(), wanted: self.archive.suite.clone() });
        }
        match release.has_expired(now) {
            Some(when) => Err(MirrorError::Expired { when, archive: self.archive.to_string() }),
            None => Ok((release, signer)),
        }
    }

    /// What was signed, and who signed it. Some servers say "forbidden" of a file that is not there.
    fn signed(&self) -> Result<(String, String), MirrorError> {
        let keys = Keys::read(std::slice::from_ref(&self.archive.keyring)).map_err(MirrorError::Keyring)?;
        let (text, signer) = match self.document("InRelease", RELEASE) {
            Ok(message) => self.in_one_file(&keys, &message)?,
            Err(MirrorError::NoSuite { .. } | MirrorError::Status { status: 403 | 410, .. }) => {
                self.in_two_files(&keys)?
            }
            Err(error) => return Err(error),
        };
        Ok((String::from_utf8_lossy(&text).into_owned(), signer))
    }

    fn in_one_file(&self, keys: &Keys, message: &[u8]) -> Result<(Vec<u8>, String), MirrorError> {
        let file = self.written("InRelease", message)?;
        keys.open(&file, RELEASE).map_err(|error| self.unsigned(error))
    }

    fn in_two_files(&self, keys: &Keys) -> Result<(Vec<u8>, String), MirrorError> {
        let text = self.document("Release", RELEASE)?;
        let signature = self.document("Release.gpg", SIGNATURE).map_err(|error| match error {
            MirrorError::NoSuite { .. } => MirrorError::Signature {
                archive: self.archive.to_string(),
                reason: "it is not signed: there is neither InRelease nor Release.gpg".into(),
            },
            error => error,
        })?;
        let file = self.written("Release", &text)?;
        self.written("Release.asc", &signature)?;
        let signer = keys.signer_of(&file).map_err(|error| self.unsigned(error))?;
        Ok((text, signer))
    }

    /// A file in our folder, for gpgv.
    fn written(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, MirrorError> {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).map_err(MirrorError::io("write", &path))?;
        Ok(path)
    }

    fn unsigned(&self, error: KernelError) -> MirrorError {
        MirrorError::unsigned(error, self.archive.to_string())
    }

    /// The list of packages, unpacked.
    fn list(&self, release: &Release, arch: Arch, observe: Observer<'_>) -> Result<Box<dyn Read>, MirrorError> {
        let folder = format!("main/binary-{}", arch.oci_name());
        let found = ["xz", "gz"].iter().find_map(|packing| release.file(&format!("{folder}/Packages.{packing}")));
        let no_list = || MirrorError::NoArchitecture { arch, archive: self.archive.to_string() };
        let Listed { path, size, sha256 } = found.ok_or_else(no_list)?;
        let by_hash = format!("{folder}/by-hash/SHA256/{sha256}");
        let at = if release.by_hash { &by_hash } else { path };
        let file = self.folder.join("Packages");
        let what = Expected { what: "the list of packages", size: *size, sha256, limit: LIST };
        self.file(&self.archive.in_suite(at)?, &what, &file, observe)?;
        let file = File::open(&file).map_err(MirrorError::io("open", &file))?;
        unpack::reader(file).map_err(MirrorError::io("unpack", "Packages"))
    }

    fn package(&self, package: &Package, to: &Path, observe: Observer<'_>) -> Result<(), MirrorError> {
        let what = Expected { what: &package.shown(), size: package.size, sha256: &package.sha256, limit: PACKAGE };
        self.file(&self.archive.at(&package.path)?, &what, to, observe)
    }

    /// A small file of the suite.
    fn document(&self, name: &str, limit: u64) -> Result<Vec<u8>, MirrorError> {
        let url = self.archive.in_suite(name)?;
        let answer = self.http.get(&url, &Ask::default())?;
        match answer.status {
            200 => Ok(answer.document(limit)?),
            404 => Err(MirrorError::NoSuite { url: url.to_string(), suite: self.archive.suite.clone() }),
            status => Err(MirrorError::Status { status, url: url.to_string() }),
        }
    }

    /// A file whose digest is known.
    fn file(&self, url: &Url, expected: &Expected<'_>, to: &Path, observe: Observer<'_>) -> Result<(), MirrorError> {
        if expected.size > expected.limit {
            return Err(self.odd("a file is listed with more bytes than any package has"));
        }
        let answer = self.http.get(url, &Ask::default())?;
        if answer.status != 200 {
            return Err(MirrorError::Status { status: answer.status, url: url.to_string() });
        }
        let failed = MirrorError::io("write", to);
        let mut file = BufWriter::new(File::create(to).map_err(MirrorError::io("write", to))?);
        let (mut hash, mut have, mut piece) = (Sha256::new(), 0u64, vec![0; PIECE]);
        // One byte too many is enough to notice.
        let mut body = answer.body().take(expected.size + 1);
        loop {
            observe(expected.what, have, expected.size);
            let length = match body.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => return Err(MirrorError::Cut { what: expected.what.to_owned(), error }),
            };
            hash.update(&piece[..length]);
            have += length as u64;
            if let Err(error) = file.write_all(&piece[..length]) {
                return Err(failed(error));
            }
        }
        file.flush().map_err(failed)?;
        match have == expected.size && hex(hash.finalize()) == expected.sha256 {
            true => Ok(()),
            false => Err(MirrorError::Digest { what: expected.what.to_owned(), url: url.to_string() }),
        }
    }

    fn odd(&self, reason: &'static str) -> MirrorError {
        MirrorError::Odd { reason, archive: self.archive.to_string() }
    }
}

/// What a file must be.
struct Expected<'a> {
    what: &'a str,
    size: u64,
    sha256: &'a str,
    limit: u64,
}
