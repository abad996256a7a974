//! Kernels from a Debian archive: a right one, and what was changed, is too old, or is signed by somebody else.

use std::fs;
use std::path::Path;

use crate::support::debian_archive::DebianArchive;
use crate::support::small_kernel::{make_package, make_root};
use bootdisk::arch::Arch;
use bootdisk::kernel::{Bundle, Given};
use bootdisk::mirror::{Archive, Fetched, MirrorError, fetch, package_of};

const LIST: &str = "dists/tiny/main/binary-amd64/Packages.xz";
/// Text and signature in one file, or in two.
const ONE: &str = "dists/tiny/InRelease";
const TWO: [&str; 2] = ["dists/tiny/Release", "dists/tiny/Release.gpg"];

/// An archive with a kernel, its metapackage and a boot loader.
struct Place(DebianArchive);

impl Place {
    fn new() -> Place {
        let archive = DebianArchive::new();
        make_root(&archive.path("root"), &["virtio", "virtio_ring"]);
        let (kernel, loader) = (archive.path("kernel.deb"), archive.path("loader.deb"));
        make_package(&archive.path("root"), &kernel, "Package: linux-image-6.1.0-small\n", &["-Zxz"]);
        fs::write(&loader, b"a loader").unwrap();
        archive.add("amd64", "linux-image-cloud-amd64", "linux-image-6.1.0-small (= 1)", None);
        archive.add("amd64", "linux-image-6.1.0-small", "", Some(&kernel));
        archive.add("amd64", "systemd-boot-efi", "", Some(&loader));
        archive.sign("Archive", "");
        Place(archive)
    }

    fn archive(&self, suite: &str) -> Archive {
        Archive { mirror: self.0.url(), suite: suite.into(), keyring: self.0.path("archive.gpg") }
    }

    fn fetched(&self, archive: &Archive, flavour: &str, with_loader: bool) -> Result<Fetched, MirrorError> {
        let name = package_of(flavour, Arch::X86_64).unwrap();
        fetch(archive, &name, Arch::X86_64, with_loader, &mut |_, have, total| assert!(have <= total + 1))
    }

    fn refused(&self) -> String {
        let fetched = self.fetched(&self.archive("tiny"), "debian-cloud", true);
        fetched.map(|fetched| fetched.names).unwrap_err().to_string().replace(&self.0.url(), "http://HOST")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.file(name), bytes).unwrap();
    }

    fn remove(&self, names: &[&str]) {
        names.iter().for_each(|name| fs::remove_file(self.0.file(name)).unwrap());
    }
}

#[test]
fn a_kernel_of_an_archive_is_right_from_the_signature_to_the_package() {
    let place = Place::new();
    let fetched = place.fetched(&place.archive("tiny"), "debian-cloud", true).unwrap();
    assert_eq!(fetched.names, ["linux-image-6.1.0-small 1", "systemd-boot-efi 1"]);
    assert_eq!(fs::read(fetched.loader.as_ref().unwrap()).unwrap(), b"a loader");
    assert!(fetched.signer.starts_with("Archive <a@example.org>, key "), "{}", fetched.signer);
    let bundle = Bundle::of(&Given { files: &fetched.files, ..Given::default() }).unwrap();
    assert!(bundle.modules.is_some());
    // What signs it in one file alone, or in two alone. Its lists by their digests, and a date that is still to come.
    place.remove(&TWO);
    assert!(place.fetched(&place.archive("tiny"), "debian-cloud", true).is_ok());
    place.0.sign("Archive", "Acquire-By-Hash: yes\\nValid-Until: Sat, 01 Jan 2050 00:00:00 UTC\\n");
    place.0.run(
        "cd archive/dists/tiny/main/binary-amd64; mkdir -p by-hash/SHA256
         mv Packages.xz by-hash/SHA256/$(sha256sum < Packages.xz | cut -d' ' -f1)",
    );
    place.remove(&[ONE]);
    let fetched = place.fetched(&place.archive("tiny"), "debian-cloud", false).unwrap();
    assert_eq!((fetched.names.len(), fetched.loader.clone()), (1, None));
}

#[test]
fn what_was_changed_is_old_or_another_s_is_refused() {
    let place = Place::new();
    // The package, a list, the Release file, its signature.
    let right = place.0.damage("pool/linux-image-6.1.0-small.deb");
    let refused = place.refused();
    assert_eq!(
        refused,
        "linux-image-6.1.0-small 1 does not match the archive's signed list: http://HOST/pool/linux-image-6.1.0-small.deb"
    );
    place.put("pool/linux-image-6.1.0-small.deb", &[&right[..], b"x"].concat());
    assert!(place.refused().contains("does not match the archive's signed list"));
    place.put("pool/linux-image-6.1.0-small.deb", &right[..right.len() - 1]);
    assert!(place.refused().contains("does not match the archive's signed list"));
    place.put("pool/linux-image-6.1.0-small.deb", &right);

    let right = place.0.damage(LIST);
    assert!(place.refused().starts_with("the list of packages does not match the archive's signed list"));
    place.put(LIST, &right);

    place.remove(&[ONE]);
    let right = place.0.damage(TWO[0]);
    let changed = "http://HOST tiny cannot be trusted: it is not what was signed by Archive <a@example.org>";
    assert_eq!(place.refused().split(", key").next(), Some(changed));
    place.put(TWO[0], &right);
    place.remove(&[TWO[1]]);
    let refused = place.refused();
    assert!(refused.ends_with("it is not signed: there is neither InRelease nor Release.gpg"), "{refused}");

    // Signed by others, by a key that has expired, too long ago, or as another suite.
    place.0.sign("Stranger", "");
    assert!(place.refused().contains("cannot be trusted: it is signed by another key than those given"));
    place.0.run("cd archive/dists/tiny; rm InRelease; gpg --batch --yes --quiet --faked-system-time 20200115T000000 --local-user Old --armor --detach-sign --output Release.gpg Release");
    let old = Archive { keyring: place.0.path("old.gpg"), ..place.archive("tiny") };
    let refused = place.fetched(&old, "debian-cloud", true).map(|fetched| fetched.names).unwrap_err().to_string();
    assert!(refused.contains("the key has expired of Old"), "{refused}");
    place.0.sign("Archive", "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC\\n");
    assert!(place.refused().contains("expired on Sat, 01 Jan 2022 00:00:00 UTC"));
    place.0.run("cp -r archive/dists/tiny archive/dists/other");
    place.0.sign("Archive", "");
    let refused =
        |suite, flavour| place.fetched(&place.archive(suite), flavour, true).map(|fetched| fetched.names).unwrap_err();
    let other = refused("other", "debian-cloud");
    assert!(matches!(&other, MirrorError::OtherSuite { found, .. } if found == "tiny"), "{other}");
    let absent = refused("tiny", "rt");
    assert!(matches!(&absent, MirrorError::NoPackage { flavours, .. } if flavours == &["debian-cloud"]), "{absent}");
    assert!(refused("none", "debian-cloud").to_string().starts_with("the archive has no suite none"));
}

#[test]
fn of_a_file_with_its_signature_inside_only_what_was_signed_counts() {
    let place = Place::new();
    let signed = fs::read(place.0.file(ONE)).unwrap();
    let signed = String::from_utf8(signed).unwrap();
    let expired = "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC\n";
    // A mirror in the middle of an update: its other two files are no pair.
    place.put(TWO[1], b"older");
    for text in [signed.clone(), format!("{expired}\n{signed}"), format!("{signed}\n{expired}")] {
        place.put(ONE, text.as_bytes());
        place.fetched(&place.archive("tiny"), "debian-cloud", true).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    place.0.sign("Archive", &expired.replace("\n", "\\n"));
    assert!(place.refused().contains("expired on Sat, 01 Jan 2022 00:00:00 UTC"));
    place.0.sign("Stranger", "Description: another\\n");
    let strange = fs::read_to_string(place.0.file(ONE)).unwrap();
    // The other two files are right from here on, and help nobody past a wrong one.
    place.0.sign("Archive", "");
    let signature = signed.find("-----BEGIN PGP SIGNATURE").unwrap();
    let (no_signature, none) = (&signed[..signature], "there is no OpenPGP signature in it");
    let several = "it holds more than one signed text";
    for (text, reason) in [
        (
            signed.replace("Codename: tiny", "Codename: tinY"),
            "it is not what was signed by Archive <a@example.org>, key ",
        ),
        (strange.clone(), "it is signed by another key than those given"),
        (format!("{strange}{signed}"), "it is signed by another key than those given"),
        (format!("{signed}{strange}"), several),
        (format!("{signed}{signed}"), several),
        (no_signature.to_owned(), none),
        (format!("{no_signature}{signed}"), none),
        ("<html>Please log in</html>\n".to_owned(), none),
        (String::new(), none),
    ] {
        place.put(ONE, text.as_bytes());
        let refused = place.refused();
        assert!(refused.starts_with(&format!("http://HOST tiny cannot be trusted: {reason}")), "{refused}: {text}");
    }
    place.put(ONE, &vec![b'x'; (8 << 20) + 1]);
    assert!(!place.refused().is_empty());
    // What is signed as bytes is no text: gpgv would give out whatever is packed in it.
    place.0.run("cd archive/dists/tiny; gpg --batch --yes --quiet --local-user Archive --armor --sign --output InRelease Release");
    assert!(place.refused().ends_with("cannot be trusted: it is no signature of a text"));
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
