//! Programs that keep images, each with a store of its own: nobody else's images, no network.

use super::tools;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one may take to answer: only what hangs takes so long.
const DEADLINE: Duration = Duration::from_secs(120);

/// A program in the background, asked to end when it is dropped.
struct Service(Child);

impl Service {
    /// Starts a program that says what it has to say in `log`, and waits until `answers` succeeds.
    fn start(command: &mut Command, log: &Path, answers: &dyn Fn() -> Command) -> Service {
        let file = std::fs::File::create(log).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let name = command.get_program().to_owned();
        let mut service = Service(child.unwrap_or_else(|_| panic!("{name:?}; scripts/test installs what tests need")));
        let deadline = Instant::now() + DEADLINE;
        while !tools::run(&mut answers()).status.success() {
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(service.0.try_wait().unwrap().is_none() && Instant::now() < deadline, "{name:?}: {}", said());
            std::thread::sleep(Duration::from_millis(100));
        }
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Asked to end, it ends its own children too.
        _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), nix::sys::signal::SIGTERM);
        _ = self.0.wait();
    }
}

fn text(path: PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

/// A Docker Engine.
pub struct Docker {
    _service: Service,
    /// As `DOCKER_HOST` has it.
    pub host: String,
}

impl Docker {
    /// With everything in `dir`, of which the path must be short: a socket's has at most 107 bytes.
    pub fn start(dir: &Path) -> Docker {
        Docker::start_with(dir, "vfs")
    }

    /// With a storage driver: `vfs` works everywhere, `overlay2` is what people have.
    pub fn start_with(dir: &Path, storage: &str) -> Docker {
        let at = |name: &str| text(dir.join(name));
        let host = format!("unix://{}", at("socket"));
        let mut command = Command::new("dockerd");
        command.args([format!("--data-root={}", at("data")), format!("--exec-root={}", at("exec"))]);
        command.args([
            format!("--pidfile={}", at("pid")),
            format!("--host={host}"),
            format!("--storage-driver={storage}"),
        ]);
        command.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--ip-forward=false"]);
        command.args(["--bridge=none", "--userland-proxy=false"]);
        let answers = || docker_at(&host, &["version"]);
        Docker { _service: Service::start(&mut command, &dir.join("log"), &answers), host }
    }

    /// The program docker, talking to it.
    pub fn docker(&self) -> Command {
        docker_at(&self.host, &[])
    }
}

fn docker_at(host: &str, words: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_BUILDKIT", "0").args(["-H", host]).args(words);
    command
}

/// containerd.
pub struct Containerd {
    _service: Service,
    /// As `CONTAINERD_ADDRESS` has it.
    pub address: String,
}

impl Containerd {
    /// With everything in `dir`.
    pub fn start(dir: &Path) -> Containerd {
        let at = |name: &str| text(dir.join(name));
        let address = at("cd.sock");
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {address:?}\n",
            at("cd-root"),
            at("cd-state")
        );
        std::fs::write(at("cd.toml"), config).unwrap();
        let mut command = Command::new("containerd");
        command.args(["--config", &at("cd.toml")]);
        let answers = || ctr_at(&address, &["version"]);
        Containerd { _service: Service::start(&mut command, &dir.join("cd-log"), &answers), address }
    }

    /// The program ctr, talking to it.
    pub fn ctr(&self) -> Command {
        ctr_at(&self.address, &[])
    }
}

fn ctr_at(address: &str, words: &[&str]) -> Command {
    let mut command = Command::new("ctr");
    command.args(["--address", address]).args(words);
    command
}

/// A storage of podman, buildah and skopeo.
pub struct Storage {
    /// As `CONTAINERS_STORAGE_CONF` has it.
    pub config: PathBuf,
}

impl Storage {
    /// In `dir`.
    pub fn new(dir: &Path) -> Storage {
        let config = dir.join("storage.conf");
        let at = |name: &str| text(dir.join(name));
        let lines = format!("driver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n", at("store"), at("store-run"));
        std::fs::write(&config, format!("[storage]\n{lines}")).unwrap();
        Storage { config }
    }

    /// Has a program use it.
    pub fn used_by(&self, command: &mut Command) {
        command.env("CONTAINERS_STORAGE_CONF", &self.config).env("BUILDAH_ISOLATION", "chroot");
    }

    /// One of its programs.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        self.used_by(&mut command);
        command
    }

    /// Podman as a service that speaks as Docker does, at a socket in `dir`.
    pub fn service(&self, dir: &Path) -> Podman {
        let host = format!("unix://{}", text(dir.join("podman.sock")));
        let mut command = self.program("podman");
        command.args(["system", "service", "--time=0", &host]);
        let answers = || docker_at(&host, &["version"]);
        Podman { _service: Service::start(&mut command, &dir.join("podman-log"), &answers), host }
    }
}

/// Podman as a service.
pub struct Podman {
    _service: Service,
    /// As `DOCKER_HOST` has it.
    pub host: String,
}
