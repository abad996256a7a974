//! A Debian archive of a few packages on loopback, and keys to sign it with: `Archive`, `Stranger`, and `Old`, which has
//! expired.

use super::http::{Server, answer};
use super::small_packages::shell;
use std::fs;
use std::path::{Path, PathBuf};

/// The suite `tiny` for amd64 and arm64, in a folder that a server gives out, and a home of gpg's.
pub struct DebianArchive {
    dir: tempfile::TempDir,
    home: tempfile::TempDir,
    server: Server,
}

impl DebianArchive {
    /// One without packages.
    pub fn new() -> DebianArchive {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = dir.path().join("archive");
        let server = Server::start(move |request| match fs::read(root.join(request.path.trim_start_matches('/'))) {
            Ok(bytes) => answer(200, &[], &bytes),
            Err(_) => answer(404, &[], b"nothing"),
        });
        let archive = DebianArchive { dir, home: tempfile::tempdir().unwrap(), server };
        archive.run(
            "gpg --batch --quiet --passphrase '' --quick-gen-key 'Archive <a@example.org>' rsa3072 sign never
             gpg --batch --quiet --passphrase '' --quick-gen-key 'Stranger <s@example.org>' ed25519 sign never
             gpg --batch --quiet --passphrase '' --faked-system-time 20200101T000000 \
                 --quick-gen-key 'Old <old@example.org>' rsa3072 sign 20200201T000000
             gpg --export Archive > archive.gpg; gpg --export Old > old.gpg
             mkdir -p archive/pool archive/dists/tiny/main/binary-{amd64,arm64}
             touch archive/dists/tiny/main/binary-{amd64,arm64}/Packages",
        );
        archive
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.server.port)
    }

    /// A file beside the archive: `archive.gpg` and `old.gpg` are keyrings.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that it gives out.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path("archive").join(name)
    }

    /// Runs a script in the folder that has `archive`, with the home of its keys.
    pub fn run(&self, script: &str) -> String {
        shell(self.dir.path(), &format!("export GNUPGHOME={}\n{script}", self.home.path().display()))
    }

    /// Lists a package for `arch`, with its file when it is one.
    pub fn add(&self, arch: &str, name: &str, depends: &str, file: Option<&Path>) {
        let pool = format!("archive/pool/{name}.deb");
        match file {
            Some(file) => fs::copy(file, self.path(&pool)).map(drop).unwrap(),
            None => fs::write(self.path(&pool), b"nothing").unwrap(),
        }
        self.run(&format!(
            "printf 'Package: {name}\\nVersion: 1\\nDepends: {depends}\\nFilename: pool/{name}.deb\\nSize: %s\\nSHA256: %s\\n\\n' \
                 $(stat -c %s {pool}) $(sha256sum < {pool} | cut -d' ' -f1) >> archive/dists/tiny/main/binary-{arch}/Packages"
        ));
    }

    /// Packs the lists and writes the Release file, signed by `who` in both ways, with more `fields` in it.
    pub fn sign(&self, who: &str, fields: &str) {
        self.run(&format!(
            "cd archive/dists/tiny
             for arch in amd64 arm64; do xz --keep --force main/binary-$arch/Packages; done
             {{ printf 'Suite: tiny\\nCodename: tiny\\n{fields}SHA256:\\n'
                for list in main/binary-*/Packages.xz; do
                    printf ' %s %s %s\\n' $(sha256sum < $list | cut -d' ' -f1) $(stat -c %s $list) $list
                done; }} > Release
             gpg --batch --yes --quiet --local-user {who} --armor --detach-sign --output Release.gpg Release
             gpg --batch --yes --quiet --local-user {who} --clear-sign --output InRelease Release"
        ));
    }

    /// Changes one bit in the middle of a file; what it was.
    pub fn damage(&self, name: &str) -> Vec<u8> {
        let right = fs::read(self.file(name)).unwrap();
        let mut changed = right.clone();
        changed[right.len() / 2] ^= 1;
        fs::write(self.file(name), changed).unwrap();
        right
    }
}

impl Drop for DebianArchive {
    fn drop(&mut self) {
        // gpg's agent would outlive the test.
        _ = std::process::Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", self.home.path()).status();
    }
}
