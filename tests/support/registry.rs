//! Debian's docker-registry on a free port of the loopback address, with a folder of its own, and images in it.

use super::http;
use super::tools;
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Only a hang takes so long.
const DEADLINE: Duration = Duration::from_secs(120);

/// See the module. It ends with this value.
pub struct Registry {
    child: Child,
    pub port: u16,
    folder: TempDir,
}

/// How a registry is guarded.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The lines of its section `auth`.
    pub auth: String,
}

impl Registry {
    /// Open to everybody, without TLS.
    pub fn open() -> Registry {
        Registry::start(&Guards::default())
    }

    pub fn start(guards: &Guards) -> Registry {
        // Somebody else may take the port that was free.
        (0..5).find_map(|_| Registry::try_start(guards)).expect("docker-registry starts")
    }

    fn try_start(guards: &Guards) -> Option<Registry> {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = folder.path().join("data");
        let mut conf = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n\
             http:\n  addr: 127.0.0.1:{port}\n  secret: x\n",
            data.display()
        );
        if let Some((certificate, key)) = &guards.tls {
            let (certificate, key) = (certificate.display(), key.display());
            writeln!(conf, "  tls: {{certificate: {certificate}, key: {key}}}").unwrap();
        }
        if !guards.auth.is_empty() {
            writeln!(conf, "auth:\n{}", guards.auth).unwrap();
        }
        let path = folder.path().join("conf.yml");
        std::fs::write(&path, conf).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry; scripts/test installs what the tests need");
        let mut registry = Registry { child, port, folder };
        registry.answers().then_some(registry)
    }

    fn answers(&mut self) -> bool {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end && self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// The name of something in it.
    pub fn name(&self, rest: &str) -> String {
        format!("127.0.0.1:{}/{rest}", self.port)
    }

    /// Puts an image into it, all of its platforms.
    pub fn push(&self, from: &str, to: &str, options: &[&str]) {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "--quiet", "--all", "--dest-tls-verify=false"]).args(options);
        tools::stdout(skopeo.arg(from).arg(format!("docker://{}", self.name(to))));
    }

    /// Puts a blob into a repository of one without guards.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let begun = http::ask(self.port, "POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
        let location = begun.headers["location"].clone();
        let path = location.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
        let digest = super::images::sha256(bytes).replace(':', "%3A");
        let put = http::ask(self.port, "PUT", &format!("{path}&digest={digest}"), &[], bytes);
        assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    }

    /// Puts a manifest or an index there, under a tag or its digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let put = http::ask(self.port, "PUT", &path, &[("content-type", media_type)], bytes);
        assert_eq!(put.status, 201, "{}", String::from_utf8_lossy(&put.body));
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it: nobody answers any more.
    pub fn stop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}
