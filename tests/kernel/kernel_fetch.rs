//! Kernels from a Debian archive: one that is right, and what is changed, old, or somebody else's on the way.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::http::{Server, answer};
use crate::support::small_kernel::{make_package, make_root};
use crate::support::small_packages::shell;
use bootdisk::arch::Arch;
use bootdisk::kernel::{Bundle, Given};
use bootdisk::mirror::{Archive, Fetched, MirrorError, fetch, package_of};

/// An archive of one kernel and its metapackage in a folder that a server gives out, and a home of gpg's.
struct Place {
    dir: tempfile::TempDir,
    home: tempfile::TempDir,
    server: Server,
}

const LISTS: &str = "dists/tiny/main/binary-amd64";

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = dir.path().to_owned();
        let server = Server::start(move |request| {
            let path = request.path.trim_start_matches('/');
            match fs::read(root.join("archive").join(path)) {
                Ok(bytes) => answer(200, &[], &bytes),
                Err(_) => answer(404, &[], b"nothing"),
            }
        });
        let place = Place { dir, home: tempfile::tempdir().unwrap(), server };
        place.run(
            "gpg --batch --quiet --passphrase '' --quick-gen-key 'Archive <a@example.org>' rsa3072 sign never
             gpg --batch --quiet --passphrase '' --quick-gen-key 'Stranger <s@example.org>' ed25519 sign never
             gpg --batch --quiet --passphrase '' --faked-system-time 20200101T000000 \
                 --quick-gen-key 'Old <old@example.org>' rsa3072 sign 20200201T000000
             gpg --export Archive > archive.gpg; gpg --export Old > old.gpg
             mkdir -p archive/pool archive/dists/tiny/main/binary-amd64",
        );
        make_root(&place.path("root"), &["virtio", "virtio_ring"]);
        let control = "Package: linux-image-6.1.0-small\n";
        make_package(&place.path("root"), &place.path("archive/pool/kernel.deb"), control, &["-Zxz"]);
        place.list();
        place.sign("Archive", "");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, script: &str) -> String {
        shell(self.dir.path(), &format!("export GNUPGHOME={}\n{script}", self.home.path().display()))
    }

    /// Writes the list of packages.
    fn list(&self) {
        self.run(&format!(
            "cd archive
             {{ printf 'Package: linux-image-cloud-amd64\\nVersion: 1\\nDepends: linux-image-6.1.0-small (= 1)\\n'
                printf 'Filename: pool/none.deb\\nSize: 1\\nSHA256: %064d\\n\\n' 0
                printf 'Package: linux-image-6.1.0-small\\nVersion: 1\\nFilename: pool/kernel.deb\\n'
                printf 'Size: %s\\nSHA256: %s\\n\\n' $(stat -c %s pool/kernel.deb) $(sha256sum < pool/kernel.deb | cut -d' ' -f1)
             }} | xz > {LISTS}/Packages.xz"
        ));
    }

    /// Writes the Release file, and signs it.
    fn sign(&self, who: &str, fields: &str) {
        self.run(&format!(
            "cd archive/dists/tiny; list=main/binary-amd64/Packages.xz
             {{ printf 'Suite: tiny\\nCodename: tiny\\n{fields}SHA256:\\n'
                printf ' %s %s %s\\n' $(sha256sum < $list | cut -d' ' -f1) $(stat -c %s $list) $list; }} > Release
             rm -f Release.gpg; gpg --batch --quiet --local-user {who} --armor --detach-sign --output Release.gpg Release"
        ));
    }

    fn archive(&self, suite: &str) -> Archive {
        let mirror = format!("http://127.0.0.1:{}", self.server.port);
        Archive { mirror, suite: suite.into(), keyring: self.path("archive.gpg") }
    }

    fn fetched(&self, archive: &Archive, flavour: &str) -> Result<Fetched, MirrorError> {
        let name = package_of(flavour, Arch::X86_64).unwrap();
        fetch(archive, &name, Arch::X86_64, &mut |_, have, total| assert!(have <= total + 1))
    }

    fn refused(&self) -> String {
        let error = self.fetched(&self.archive("tiny"), "debian-cloud").map(|fetched| fetched.names).unwrap_err();
        error.to_string().replace(&format!("127.0.0.1:{}", self.server.port), "HOST")
    }

    /// Changes one byte in the middle of a file.
    fn damage(&self, name: &str) -> Vec<u8> {
        let path = self.path("archive").join(name);
        let right = fs::read(&path).unwrap();
        let mut changed = right.clone();
        changed[right.len() / 2] ^= 1;
        fs::write(&path, changed).unwrap();
        right
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path("archive").join(name), bytes).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The agent would outlive the test.
        _ = std::process::Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

#[test]
fn a_kernel_of_an_archive_is_right_from_the_signature_to_the_package() {
    let place = Place::new();
    let fetched = place.fetched(&place.archive("tiny"), "debian-cloud").unwrap();
    assert_eq!(fetched.names, ["linux-image-6.1.0-small 1"]);
    assert!(fetched.signer.starts_with("Archive <a@example.org>, key "), "{}", fetched.signer);
    let bundle = Bundle::of(&Given { files: &fetched.files, ..Given::default() }).unwrap();
    assert!(bundle.modules.is_some());
    // Its lists by their digests, and a date that is still to come.
    place.run(&format!("cd archive/{LISTS}; mkdir -p by-hash/SHA256; cp Packages.xz by-hash/SHA256/$(sha256sum < Packages.xz | cut -d' ' -f1)"));
    place.sign("Archive", "Acquire-By-Hash: yes\\nValid-Until: Sat, 01 Jan 2050 00:00:00 UTC\\n");
    place.run(&format!("rm archive/{LISTS}/Packages.xz"));
    assert!(place.fetched(&place.archive("tiny"), "debian-cloud").is_ok());
}

#[test]
fn what_was_changed_is_old_or_another_s_is_refused() {
    let place = Place::new();
    // The package, a list, the Release file, its signature.
    let right = place.damage("pool/kernel.deb");
    let refused = place.refused();
    assert_eq!(
        refused,
        "linux-image-6.1.0-small 1 is not what the archive's signed list says: http://HOST/pool/kernel.deb"
    );
    place.put("pool/kernel.deb", &[&right[..], b"x"].concat());
    assert!(place.refused().contains("is not what the archive's signed list says"));
    place.put("pool/kernel.deb", &right[..right.len() - 1]);
    assert!(place.refused().contains("is not what the archive's signed list says"));
    place.put("pool/kernel.deb", &right);

    let list = format!("{LISTS}/Packages.xz");
    let right = place.damage(&list);
    assert!(place.refused().starts_with("the list of packages is not what the archive's signed list says"));
    place.put(&list, &right);

    let right = place.damage("dists/tiny/Release");
    assert_eq!(
        place.refused().split(", key").next(),
        Some("http://HOST tiny cannot be trusted: it is not what was signed by Archive <a@example.org>")
    );
    place.put("dists/tiny/Release", &right);
    fs::remove_file(place.path("archive/dists/tiny/Release.gpg")).unwrap();
    assert_eq!(place.refused(), "there is no suite tiny there: http://HOST/dists/tiny/Release.gpg");

    // Signed by others, by a key that has expired, too long ago, or as another suite.
    place.sign("Stranger", "");
    assert!(place.refused().contains("cannot be trusted: it is signed by a key that was not given"));
    place.run("cd archive/dists/tiny; rm Release.gpg; gpg --batch --quiet --faked-system-time 20200115T000000 --local-user Old --armor --detach-sign --output Release.gpg Release");
    let old = Archive { keyring: place.path("old.gpg"), ..place.archive("tiny") };
    let refused = place.fetched(&old, "debian-cloud").map(|fetched| fetched.names).unwrap_err().to_string();
    assert!(refused.contains("the key has expired of Old"), "{refused}");
    place.sign("Archive", "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC\\n");
    assert!(place.refused().contains("have expired, at Sat, 01 Jan 2022 00:00:00 UTC"));
    place.run("cp -r archive/dists/tiny archive/dists/other");
    place.sign("Archive", "");
    let refused = |suite, flavour| place.fetched(&place.archive(suite), flavour).map(|fetched| fetched.names).unwrap_err();
    let other = refused("other", "debian-cloud");
    assert!(matches!(&other, MirrorError::OtherSuite { found, .. } if found == "tiny"), "{other}");
    let absent = refused("tiny", "rt");
    assert!(matches!(&absent, MirrorError::NoPackage { flavours, .. } if flavours == &["debian-cloud"]), "{absent}");
    assert!(refused("none", "debian-cloud").to_string().starts_with("there is no suite none there"));
}

#[test]
fn flavours_are_names_of_packages() {
    for (flavour, arch, package) in [
        ("debian-cloud", Arch::X86_64, Some("linux-image-cloud-amd64")),
        ("debian", Arch::Aarch64, Some("linux-image-arm64")),
        ("rt", Arch::X86_64, Some("linux-image-rt-amd64")),
        ("../x", Arch::X86_64, None),
        ("", Arch::X86_64, None),
    ] {
        assert_eq!(package_of(flavour, arch).ok().as_deref(), package, "{flavour}");
    }
    assert!(Path::new("/usr/share/keyrings/debian-archive-keyring.gpg").exists());
}
