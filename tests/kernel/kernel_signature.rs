//! Signatures of kernels: made by the tools that distributions sign with, good ones believed, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::small_kernel::{make_package, make_root, only};
use crate::support::small_packages::{make_apk, make_rpm, shell};
use assert_cmd::Command;
use bootdisk::kernel::modules::select;
use bootdisk::kernel::{Bundle, Given, KernelError, Keys, Store};

/// A folder with a small kernel and a home of gpg's with keys in it: `good`, another's, and one that has expired.
struct Place {
    dir: tempfile::TempDir,
    /// gpg's sockets have short names only.
    home: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = Place { dir, home: tempfile::tempdir().unwrap() };
        place.run(
            "gpg --batch --quiet --passphrase '' --quick-gen-key 'Good Signer <good@example.org>' rsa3072 sign never
             gpg --batch --quiet --passphrase '' --quick-gen-key 'Other Signer <other@example.org>' ed25519 sign never
             gpg --batch --quiet --passphrase '' --faked-system-time 20200101T000000 \
                 --quick-gen-key 'Old Signer <old@example.org>' rsa3072 sign 20200201T000000
             for who in good other old; do gpg --export $who > $who.gpg; gpg --armor --export $who > $who.asc; done",
        );
        make_root(&place.path("root"), &["virtio", "virtio_ring"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, script: &str) -> String {
        shell(self.dir.path(), &format!("export GNUPGHOME={}\n{script}", self.home.path().display()))
    }

    fn keys(&self, names: &[&str]) -> Keys {
        let files: Vec<PathBuf> = names.iter().map(|name| self.path(name)).collect();
        Keys::read(&files).unwrap()
    }

    /// Who signed a file, by keys in files; or the error.
    fn opened(&self, file: &Path, keys: &[&str]) -> Result<Bundle, KernelError> {
        Bundle::of(&Given { files: &[file.to_owned()], keys: Some(&self.keys(keys)), ..Given::default() })
    }

    fn signer(&self, file: &Path, keys: &[&str]) -> String {
        self.opened(file, keys).unwrap_or_else(|error| panic!("{error}")).signed
    }

    fn refused(&self, file: &Path, keys: &[&str]) -> String {
        let error = self.opened(file, keys).map(|bundle| bundle.signed).unwrap_err();
        error.to_string().replace(self.dir.path().to_str().unwrap(), "")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The agent would outlive the test.
        _ = std::process::Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}

/// `bytes` with one bit changed.
fn changed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    copy[at] ^= 1;
    copy
}

#[test]
fn an_rpm_is_believed_with_the_right_key_alone() {
    let place = Place::new();
    let package = make_rpm(place.dir.path(), &place.path("root"), "kernel", "/boot\n/lib\n", "w3.zstdio");
    let plain = Bundle::open(&package, None).unwrap();
    assert_eq!((plain.signed.as_str(), plain.checked.as_str()), ("", "SHA-256 of header and payload"));
    let unsigned = place.refused(&package, &["good.gpg"]);
    assert_eq!(unsigned, "--kernel-key was given, but the file has no signature: /kernel-w3-zstdio.rpm");

    place.run("rpmsign --define '_gpg_name good' --define '__gpg /usr/bin/gpg' --addsign kernel-*.rpm >&2");
    let by = place.signer(&package, &["good.gpg"]);
    assert!(by.starts_with("Good Signer <good@example.org>, key "), "{by}");
    for keys in [&["good.asc"][..], &["other.gpg", "good.gpg"], &["other.asc", "good.asc"]] {
        assert_eq!(place.signer(&package, keys), by, "{keys:?}");
    }
    let other = place.refused(&package, &["other.gpg"]);
    assert!(other.starts_with("signature not accepted, it is signed by another key than those given, "), "{other}");

    // As rpm 6 has it: the same signature in base64, in a list.
    place.run(
        "python3 - kernel-*.rpm <<'END'
import base64, struct, sys
rpm = open(sys.argv[1], 'rb').read()
count, size = struct.unpack('>II', rpm[104:112])
entries = [list(struct.unpack('>4I', rpm[at:at + 16])) for at in range(112, 112 + 16 * count, 16)]
values = rpm[112 + 16 * count:112 + 16 * count + size]
[entry] = [entry for entry in entries if entry[0] == 268]
packet = values[entry[2]:entry[2] + entry[3]]
entry[:] = [278, 8, size, 1]
values += base64.b64encode(packet) + bytes(1)
head = rpm[96:104] + struct.pack('>II', count, len(values)) + b''.join(struct.pack('>4I', *entry) for entry in entries)
header = rpm[112 + 16 * count + size:]
header = header[header.index(rpm[96:100]):]
whole = head + values
open('six.rpm', 'wb').write(rpm[:96] + whole + bytes(-len(whole) % 8) + header)
END",
    );
    assert_eq!(place.signer(&place.path("six.rpm"), &["good.gpg"]), by);

    // Every part of it, changed: the header by its signature (its own digest is beside it and would say so later), the
    // payload by the digest in the header.
    let bytes = fs::read(&package).unwrap();
    let damaged = place.path("damaged.rpm");
    let name = bytes.windows(7).rposition(|window| window == b"kernel\0").unwrap();
    fs::write(&damaged, changed(&bytes, name)).unwrap();
    let refused = place.refused(&damaged, &["good.gpg"]);
    assert!(refused.contains("it is not what was signed by Good Signer"), "{refused}");
    fs::write(&damaged, changed(&bytes, bytes.len() - 9)).unwrap();
    assert!(place.refused(&damaged, &["good.gpg"]).starts_with("cannot read package"));
    // Another payload that is whole: only the digest tells.
    let other = make_rpm(place.dir.path(), &place.path("root"), "kernel", "/boot\n", "w3.zstdio");
    let other = fs::read(other).unwrap();
    let payload = |bytes: &[u8]| bytes.windows(4).position(|window| window == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    fs::write(&damaged, [&bytes[..payload(&bytes)], &other[payload(&other)..]].concat()).unwrap();
    let refused = place.refused(&damaged, &["good.gpg"]);
    assert!(refused.ends_with("its payload does not match its SHA-256"), "{refused}");
}

#[test]
fn an_apk_is_believed_with_the_right_key_alone() {
    let place = Place::new();
    place.run(
        "openssl genrsa -out good.pem 2048 2>/dev/null; openssl rsa -in good.pem -pubout -out good.rsa.pub 2>/dev/null
         openssl genrsa -out other.pem 4096 2>/dev/null; openssl rsa -in other.pem -pubout -out other.rsa.pub 2>/dev/null",
    );
    let package = make_apk(place.dir.path(), &place.path("root"));
    // As abuild-sign does: the signature of the control stream, in a stream of its own in front.
    let sign = |digest: &str, name: &str, more: &str| {
        place.run(&format!(
            "cut() {{ tar --format=ustar -b1 -cf - \"$@\" | head -c -1024; }}
             cut .PKGINFO | gzip -n > control
             openssl dgst -{digest} -sign good.pem -out {name} control
             (cut {name} {more} | gzip -n; cat control data.tar.gz) > signed.apk"
        ));
        place.path("signed.apk")
    };
    let refused = place.refused(&package, &["good.rsa.pub"]);
    assert_eq!(refused, "signature not accepted, no RSA key given made its signature: /linux-virt-6.1-r0.apk");

    let signed = sign("sha256", ".SIGN.RSA256.good.rsa.pub", "");
    assert_eq!(place.signer(&signed, &["other.rsa.pub", "good.rsa.pub"]), "good.rsa.pub (RSA, SHA-256)");
    let signed = sign("sha1", ".SIGN.RSA.good.rsa.pub", "");
    assert_eq!(place.signer(&signed, &["good.rsa.pub"]), "good.rsa.pub (RSA, SHA-1)");
    place.run("openssl rsa -in good.pem -RSAPublicKey_out -out good.pkcs1.pub 2>/dev/null");
    assert_eq!(place.signer(&signed, &["good.pkcs1.pub"]), "good.pkcs1.pub (RSA, SHA-1)");
    assert!(place.refused(&signed, &["other.rsa.pub"]).contains("no RSA key given made its signature"));
    assert!(place.refused(&signed, &["good.gpg"]).contains("no key given is one of RSA in PEM"));

    let bytes = fs::read(&signed).unwrap();
    let damaged = place.path("damaged.apk");
    // Other data, whole, behind the signed control.
    let data = fs::read(place.path("data.tar.gz")).unwrap();
    place.run("gunzip -c data.tar.gz | gzip -n -1 > other.tar.gz");
    let other = fs::read(place.path("other.tar.gz")).unwrap();
    fs::write(&damaged, [&bytes[..bytes.len() - data.len()], &other].concat()).unwrap();
    assert!(place.refused(&damaged, &["good.rsa.pub"]).contains("the signed part does not cover this data"));
    // Files beside the signature are covered by nothing, nor is a name there that the next stream's first file gets.
    fs::write(place.path("vmlinuz"), "another kernel").unwrap();
    let more = sign("sha1", ".SIGN.RSA.good.rsa.pub", "vmlinuz");
    assert!(place.refused(&more, &["good.rsa.pub"]).contains("files that its signature does not cover"));
    place.run(
        "python3 - <<'END'
import gzip, tarfile
info = tarfile.TarInfo('boot/vmlinuz-x' * 20)
name = info.create_pax_header(info.get_info(), 'utf-8')[:1024]
packed = open('signed.apk', 'rb').read()
control = open('control', 'rb').read()
at = packed.index(control)
first = gzip.decompress(packed[:at])
open('damaged.apk', 'wb').write(gzip.compress(first[:1024] + name) + packed[at:])
END",
    );
    let refused = place.refused(&damaged, &["good.rsa.pub"]);
    assert!(refused.contains("files that its signature does not cover"), "{refused}");
}

#[test]
fn a_deb_and_any_file_can_be_signed() {
    let place = Place::new();
    let package = place.path("linux-image.deb");
    make_package(&place.path("root"), &package, "Package: linux-image-6.1.0-small\n", &["-Zxz"]);
    let plain = fs::read(&package).unwrap();
    assert!(place.refused(&package, &["good.gpg"]).contains("the file has no signature"));
    // debsigs has gpg sign with SHA-1 where the key's algorithm allows it.
    place.run("cp linux-image.deb weak.deb; debsigs --sign=origin --default-key=good weak.deb >&2");
    assert!(place.refused(&place.path("weak.deb"), &["good.gpg"]).contains("a digest that is too weak"));
    place.run("debsigs --sign=origin --default-key=other linux-image.deb >&2");
    let by = place.signer(&package, &["other.gpg"]);
    assert!(by.starts_with("Other Signer <other@example.org>, key "), "{by}");
    assert!(place.refused(&package, &["good.gpg"]).contains("another key than those given"));
    let bytes = fs::read(&package).unwrap();
    let damaged = place.path("damaged.deb");
    for at in [bytes.windows(4).position(|window| window == b"2.0\n").unwrap(), plain.len() - 60] {
        fs::write(&damaged, changed(&bytes, at)).unwrap();
        let refused = place.refused(&damaged, &["other.gpg"]);
        assert!(refused.contains("it is not what was signed by Other Signer"), "{at}: {refused}");
    }
    // Names of members are not covered: they may not change places.
    let at = bytes.windows(7).position(|window| window == b"control").unwrap();
    fs::write(&damaged, [&bytes[..at], b"Control", &bytes[at + 7..]].concat()).unwrap();
    let refused = place.refused(&damaged, &["other.gpg"]);
    assert!(refused.contains("other members than a package has: debian-binary, Control.tar.xz"), "{refused}");

    // Detached: a package of Arch, and a boot file. One signature of several is enough.
    fs::copy(only(&place.path("root/boot"), "vmlinuz-"), place.path("bzImage")).unwrap();
    place.run(
        "bsdtar --zstd -C root -cf linux.pkg.tar.zst boot lib
         gpg --batch -u good --output linux.pkg.tar.zst.sig --detach-sign linux.pkg.tar.zst
         gpg --batch -u good --armor --output bzImage.asc --detach-sign bzImage",
    );
    let by = place.signer(&place.path("bzImage"), &["good.asc"]);
    assert!(by.starts_with("Good Signer <good@example.org>, key "), "{by}");
    for name in ["linux.pkg.tar.zst", "bzImage"] {
        assert_eq!(place.signer(&place.path(name), &["good.asc"]), by, "{name}");
        assert!(place.refused(&place.path(name), &["other.gpg"]).contains("another key than those given"));
    }
    place.run("gpg --batch -u other --output bzImage.sig --detach-sign bzImage");
    assert_eq!(place.signer(&place.path("bzImage"), &["good.asc"]), by);
    assert!(place.signer(&place.path("bzImage"), &["other.asc"]).starts_with("Other Signer"));
    // A changed file, a key that has expired, a digest nobody believes, and a signature of text.
    fs::copy(place.path("bzImage.asc"), place.path("other.bin.asc")).unwrap();
    fs::write(place.path("other.bin"), changed(&fs::read(place.path("bzImage")).unwrap(), 600)).unwrap();
    assert!(place.refused(&place.path("other.bin"), &["good.gpg"]).contains("it is not what was signed by Good"));
    for (options, says) in [
        ("-u old --faked-system-time 20200110T000000", "the key has expired of Old Signer"),
        ("-u good --digest-algo SHA1", "a digest that is too weak"),
        ("-u good --textmode", "it is no signature of a file's bytes"),
    ] {
        place.run(&format!(
            "rm -f bzImage.*; gpg --batch --allow-weak-digest-algos {options} -o bzImage.sig --detach-sign bzImage"
        ));
        let refused = place.refused(&place.path("bzImage"), &["good.gpg", "old.gpg"]);
        assert!(refused.contains(says), "{options}: {refused}");
    }
}

#[test]
fn with_keys_nothing_is_read_that_nobody_vouches_for() {
    let place = Place::new();
    let vmlinuz = only(&place.path("root/boot"), "vmlinuz-");
    fs::copy(&vmlinuz, place.path("vmlinuz-x")).unwrap();
    place.run("gpg --batch -u good --output vmlinuz-x.sig --detach-sign vmlinuz-x");
    let file = place.path("vmlinuz-x");
    let origin = |keys: &[&str]| {
        let config = match keys {
            [] => Bundle::open(&file, None),
            keys => place.opened(&file, keys),
        };
        config.unwrap().config.map(|config| (config.origin.clone(), config.text().contains("CONFIG_OF_NOBODY=y")))
    };
    let beside = |name: &str| {
        fs::write(place.path(name), "#\nCONFIG_OF_NOBODY=y\n").unwrap();
    };
    let of = |name: &str| Some((place.path(name).display().to_string(), true));
    beside("config-x");
    assert_eq!(origin(&[]), of("config-x"));
    assert_eq!(origin(&["good.gpg"]), None, "a configuration that nobody has signed");
    place.run("gpg --batch -u other --output config-x.sig --detach-sign config-x");
    assert_eq!(origin(&["good.gpg"]), None, "one that somebody else has signed");
    assert_eq!(origin(&["good.gpg", "other.gpg"]), of("config-x"), "one that a key has signed");
    fs::remove_file(place.path("config-x.sig")).unwrap();
    fs::create_dir(place.path("config-x.sig")).unwrap();
    nix::unistd::mkfifo(&place.path("config-x.asc"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(origin(&["good.gpg"]), None, "a folder and a pipe where its signatures would be");

    // What is given by name must be signed, each of it.
    let keys = place.keys(&["good.gpg"]);
    let refused = |files: &[&str], modules: Option<&str>, config: Option<&str>| {
        let files: Vec<PathBuf> = files.iter().map(|name| place.path(name)).collect();
        let (modules, config) = (modules.map(|name| place.path(name)), config.map(|name| place.path(name)));
        let given = Given { files: &files, modules: modules.as_deref(), config: config.as_deref(), keys: Some(&keys) };
        Bundle::of(&given).map(|_| ()).unwrap_err().to_string().replace(place.dir.path().to_str().unwrap(), "")
    };
    let unsigned = |name: &str| format!("--kernel-key was given, but the file has no signature: /{name}");
    beside("given");
    assert_eq!(refused(&["vmlinuz-x"], None, Some("given")), unsigned("given"));
    assert_eq!(refused(&["vmlinuz-x", "given"], None, None), unsigned("given"));
    assert_eq!(refused(&["vmlinuz-x"], Some("root/lib"), None), unsigned("root/lib"));
    assert_eq!(refused(&["vmlinuz-x", "root/lib"], None, None), unsigned("root/lib"));
    assert_eq!(refused(&["root"], None, None), unsigned("root"));

    // A signature may be a link to one. One that leads to another file's is no signature of this.
    place.run("mv vmlinuz-x.sig kept && ln -s kept vmlinuz-x.sig");
    assert!(place.signer(&file, &["good.gpg"]).starts_with("Good Signer"));
    place.run("gpg --batch -u good --output of-root --detach-sign root/boot/config-*; ln -sf of-root vmlinuz-x.sig");
    assert!(place.refused(&file, &["good.gpg"]).contains("it is not what was signed by Good Signer"));
}

/// What is verified is what is read: modules are read from a package long after, and by then its name may lead elsewhere.
#[test]
fn a_package_that_is_replaced_after_it_was_verified_is_not_read_again() {
    let place = Place::new();
    place.run(
        "bsdtar --zstd -C root -cf k.pkg.tar.zst boot lib
         gpg --batch -u good --output k.pkg.tar.zst.sig --detach-sign k.pkg.tar.zst",
    );
    let package = place.path("k.pkg.tar.zst");
    let every = |bundle: &Bundle| {
        let mut all = Vec::new();
        bundle.modules.as_ref().unwrap().for_each(&mut |path, bytes| {
            all.push((path.to_owned(), bytes.to_vec()));
            Ok(())
        })?;
        Ok::<_, KernelError>(all)
    };
    let signed = every(&place.opened(&package, &["good.gpg"]).unwrap()).unwrap();
    assert!(!signed.is_empty());
    let bytes = fs::read(&package).unwrap();
    let damages: [&dyn Fn(); 3] = [
        &|| fs::write(&package, b"another file, in the same place").unwrap(),
        &|| {
            fs::write(place.path("new"), b"another file").unwrap();
            fs::rename(place.path("new"), &package).unwrap();
        },
        &|| fs::remove_file(&package).unwrap(),
    ];
    for damage in damages {
        fs::write(&package, &bytes).unwrap();
        let bundle = place.opened(&package, &["good.gpg"]).unwrap();
        damage();
        assert_eq!(every(&bundle).unwrap(), signed);
    }
}

/// Whatever is changed: it is refused, or what comes out is what was signed.
#[test]
fn what_is_accepted_is_what_was_signed() {
    let place = Place::new();
    let rpm = make_rpm(place.dir.path(), &place.path("root"), "kernel", "/boot\n/lib\n", "w3.zstdio");
    let apk = make_apk(place.dir.path(), &place.path("root"));
    let deb = place.path("linux-image.deb");
    make_package(&place.path("root"), &deb, "Package: linux-image-6.1.0-small\n", &["-Zgzip"]);
    place.run(
        "openssl genrsa -out good.pem 2048 2>/dev/null; openssl rsa -in good.pem -pubout -out good.rsa.pub 2>/dev/null
         rpmsign --define '_gpg_name other' --define '__gpg /usr/bin/gpg' --addsign kernel-*.rpm >&2
         debsigs --sign=origin --default-key=other linux-image.deb >&2
         cut() { tar --format=ustar -b1 -cf - \"$@\" | head -c -1024; }
         cut .PKGINFO | gzip -n > control
         openssl dgst -sha1 -sign good.pem -out .SIGN.RSA.good.rsa.pub control
         (cut .SIGN.RSA.good.rsa.pub | gzip -n; cat control data.tar.gz) > linux-virt-6.1-r0.apk",
    );
    let content = |bundle: &Bundle| {
        let selection = select(bundle).unwrap();
        let bodies = selection.read(bundle).unwrap();
        let modules: Vec<_> =
            selection.modules.iter().zip(&bodies).map(|(one, body)| (one.spec.name.clone(), body.to_vec())).collect();
        (bundle.release.clone(), bundle.boot.read().unwrap().into_owned(), modules)
    };
    let rounds = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 2000 } else { 60 };
    let (mut seed, mut accepted, mut refused) = (11u64, 0, 0);
    for (package, key) in [(rpm, "other.gpg"), (apk, "good.rsa.pub"), (deb, "other.gpg")] {
        let keys = place.keys(&[key]);
        let open =
            |path: &Path| Bundle::of(&Given { files: &[path.to_owned()], keys: Some(&keys), ..Given::default() });
        let signed = content(&open(&package).unwrap());
        let bytes = fs::read(&package).unwrap();
        let mutated = place.path(&format!("mutated-{}", package.file_name().unwrap().to_str().unwrap()));
        for round in 0..rounds {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // The beginning, where lengths and names are; anywhere; the end, where debsigs puts its signature.
            let within = bytes.len().min(4000);
            let at = (seed >> 33) as usize % if round % 3 == 1 { bytes.len() } else { within };
            let at = if round % 6 == 5 { bytes.len() - 1 - at % 1000 } else { at };
            let mut copy = bytes.clone();
            match seed >> 20 & 3 {
                0 => copy[at] = (seed >> 24) as u8,
                1 => copy[at] ^= 1 << (seed >> 24 & 7),
                2 => copy.insert(at, (seed >> 24) as u8),
                _ => _ = copy.remove(at),
            }
            fs::write(&mutated, copy).unwrap();
            match open(&mutated) {
                Err(_) => refused += 1,
                Ok(bundle) => {
                    assert!(content(&bundle) == signed, "{} at {at}, seed {seed}", mutated.display());
                    accepted += 1;
                }
            }
        }
    }
    // Times and owners of archives mean nothing, the rest does.
    assert!(accepted > 0 && refused > accepted, "{accepted} accepted, {refused} refused");
}

#[test]
fn the_commands_take_keys_and_the_store_remembers() {
    let place = Place::new();
    let bootdisk = || {
        let mut command = Command::cargo_bin("bootdisk").unwrap();
        command.current_dir(place.dir.path()).env("XDG_DATA_HOME", place.path("data")).args(["--progress", "none"]);
        command
    };
    place.run("bsdtar --zstd -C root -cf k.pkg.tar.zst boot lib; cp k.pkg.tar.zst unsigned.pkg.tar.zst");
    place.run("gpg --batch -u good --output k.pkg.tar.zst.sig --detach-sign k.pkg.tar.zst");
    let told = |command: &mut Command, status: i32| {
        let output = command.assert().code(status).get_output().clone();
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };

    // Added without a key first: nothing is claimed. With one the same kernel is remembered as signed.
    let [id, said] = told(bootdisk().args(["kernel", "add", "unsigned.pkg.tar.zst"]), 0);
    assert_eq!(said, "not verified: it contains no digests\n");
    let shown = |name: &str| told(bootdisk().args(["kernel", "show", name]), 0)[0].clone();
    assert!(shown(&id[..12]).contains("\nsignature       not verified\n"));
    let [_, said] = told(bootdisk().args(["kernel", "add", "k.pkg.tar.zst", "--kernel-key", "good.asc"]), 0);
    assert!(said.starts_with("verified: signed by Good Signer <good@example.org>, key "), "{said}");
    assert!(
        shown(&id[..12]).contains("\nsignature       Good Signer <good@example.org>, key\n"),
        "{}",
        shown(&id[..12])
    );
    told(bootdisk().args(["kernel", "add", "unsigned.pkg.tar.zst"]), 0);
    assert!(shown(&id[..12]).contains("\nsignature       Good Signer"), "a proof is not lost");
    let store = Store::at(place.path("data/bootdisk/kernels"));
    store.find(&id[..12]).unwrap().check().unwrap();

    // Not signed: nothing is added.
    let store_before = store.list().unwrap().len();
    let [_, said] = told(bootdisk().args(["kernel", "add", "unsigned.pkg.tar.zst", "--kernel-key", "good.asc"]), 1);
    assert!(
        said.contains(
            "error: cannot add unsigned.pkg.tar.zst: --kernel-key was given, but the file has no signature: "
        ),
        "{said}"
    );
    assert!(said.contains("hint: put its detached signature next to it"), "{said}");
    assert_eq!(store.list().unwrap().len(), store_before);
    for command in [&["kernel", "show", "root"][..], &["kernel", "check", "unsigned.pkg.tar.zst"]] {
        let [_, said] = told(bootdisk().args(command).args(["--kernel-key", "good.asc"]), 1);
        assert!(said.contains("the file has no signature"), "{command:?}: {said}");
        assert_eq!(said.contains("hint: a directory cannot be signed"), command[2] == "root", "{said}");
    }
    let [_, said] = told(bootdisk().args(["kernel", "show", &id[..12], "--kernel-key", "good.asc"]), 1);
    assert!(said.contains("--kernel-key is only for a kernel given as a file"), "{said}");
    let modules = ["kernel", "show", "k.pkg.tar.zst", "--modules", "root/lib", "--kernel-key", "good.asc"];
    assert!(told(bootdisk().args(modules), 1)[1].contains("the file has no signature: root/lib"));

    // What is no key, and no gpgv.
    fs::write(place.path("no.key"), "-----BEGIN RSA PRIVATE KEY-----\nZg==\n-----END RSA PRIVATE KEY-----\n").unwrap();
    for (file, says) in [
        ("no.key", "a public key is needed, but this is a private key: no.key"),
        ("k.pkg.tar.zst", "a public key is needed, but this is no public key of OpenPGP and no PEM: k.pkg.tar.zst"),
        ("missing", "cannot open missing: "),
    ] {
        let [_, said] = told(bootdisk().args(["kernel", "show", "k.pkg.tar.zst", "--kernel-key", file]), 1);
        assert!(said.contains(says), "{said}");
    }
    let show = ["kernel", "show", "k.pkg.tar.zst", "--kernel-key", "good.asc"];
    let [_, said] = told(bootdisk().args(show).env("PATH", "/nonexistent"), 1);
    assert!(said.contains("verified by gpgv, which is not installed\nhint: install it"), "{said}");
}
