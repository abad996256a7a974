//! A guest for the tests of PID 1: a kernel, an initramfs made here, a root disk made by mke2fs and sgdisk, QEMU under
//! TCG, and the host's end of the channel as a small client.
//!
//! Nothing of bootdisk's own disk writers is used: what is tested is PID 1 alone.

use super::small_kernel::unpacked;
use super::tools;
use bootdisk::arch::Architecture;
use bootdisk::guest::channel::*;
use bootdisk::guest::spec::{self, BootSpec, Init, Module, Network, Process, Root};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Partition GUID of every root disk made here.
pub const PARTUUID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
/// How long anything may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// Modules the cloud kernel needs in this machine, with those loaded at every boot.
const MODULES: [(&str, bool); 23] = [
    ("virtio", false),
    ("virtio_ring", false),
    ("virtio_pci_modern_dev", false),
    ("virtio_pci_legacy_dev", false),
    ("virtio_pci", false),
    ("virtio_blk", false),
    ("failover", false),
    ("net_failover", false),
    ("virtio_net", false),
    ("virtio_console", false),
    ("button", true),
    ("evdev", true),
    ("mbcache", true),
    ("ext4", true),
    ("overlay", true),
    ("qemu_fw_cfg", false),
    ("cdrom", false),
    ("isofs", false),
    ("fat", false),
    ("vfat", false),
    ("nls_cp437", false),
    ("nls_ascii", false),
    ("nls_utf8", false),
];

/// A kernel and the modules beside it, unpacked once.
struct Kernel {
    image: PathBuf,
    modules: Vec<(Module, PathBuf)>,
}

fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let at = unpacked("cloud");
        let files = tools::stdout(Command::new("find").arg(&at).args(["-name", "*.ko", "-o", "-name", "vmlinuz-*"]));
        let named = |name: &str| files.lines().find(|line| line.rsplit('/').next() == Some(name)).map(PathBuf::from);
        let image = files.lines().find(|line| line.contains("/vmlinuz-")).map(PathBuf::from).expect("a kernel");
        let found = MODULES.iter().filter_map(|(name, always)| {
            // What is not there as a file is built in.
            let path = named(&format!("{name}.ko")).or_else(|| named(&format!("{}.ko", name.replace('_', "-"))))?;
            let field = |field: &str| tools::stdout(Command::new("modinfo").args(["-F", field]).arg(&path));
            let depends =
                field("depends").trim().split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            let aliases = field("alias").lines().map(str::to_owned).collect();
            let file = format!("/modules/{name}.ko");
            Some((Module { name: (*name).to_owned(), file, depends, aliases, always: *always }, path))
        });
        let kernel = Kernel { image, modules: found.collect() };
        assert!(kernel.modules.iter().any(|(module, _)| module.name == "virtio_blk"), "no virtio_blk in the package");
        kernel
    })
}

/// A specification for the root disk made here.
pub fn spec(command: &[&str]) -> BootSpec {
    BootSpec {
        version: spec::VERSION,
        root: Root {
            partuuid: PARTUUID.to_owned(),
            fstype: "ext4".to_owned(),
            read_only: false,
            ephemeral: false,
            verity: None,
        },
        init: Init::Container,
        process: Process { cmd: strings(command), stop_timeout: 10, ..Process::default() },
        hostname: None,
        network: Network::Dhcp,
        // Tests look at the address at once, and the host may be busy.
        wait_online: Some(30),
        volumes: vec![],
        healthcheck: None,
        exposed_ports: vec![],
        drivers: None,
        boots_on: None,
        guest_modules: None,
        machine_id: None,
        console_login: false,
        surroundings: None,
        mounts: Some(Vec::new()),
        settings: None,
        cards: Some(Vec::new()),
        restart: Default::default(),
        modules: kernel().modules.iter().map(|(module, _)| module.clone()).collect(),
    }
}

pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A folder that becomes a root file system.
pub struct Userland {
    pub folder: tempfile::TempDir,
}

impl Userland {
    /// Busybox with its names in /bin, the test program, accounts, and nothing else.
    pub fn busybox() -> Userland {
        let userland = Userland::empty();
        fs::create_dir(userland.path("bin")).unwrap();
        // Not by this process, see `tools::program`.
        tools::stdout(Command::new("cp").arg("/usr/bin/busybox").arg(userland.path("bin/busybox")));
        for name in tools::stdout(Command::new("busybox").arg("--list")).lines() {
            symlink("busybox", userland.path(&format!("bin/{name}"))).unwrap_or_else(|_| assert_eq!(name, "busybox"));
        }
        userland.write("etc/passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/srv/www:/bin/sh\n", 0o644);
        userland.write("etc/group", "root:x:0:\nwww:x:33:\nextra:x:44:www\n", 0o644);
        userland.probe();
        userland
    }

    pub fn empty() -> Userland {
        Userland { folder: tempfile::tempdir().unwrap() }
    }

    /// Adds the test program as /probe.
    pub fn probe(&self) {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/guest.c");
        tools::stdout(Command::new("gcc").args(["-static", "-O1", "-o"]).arg(self.path("probe")).arg(source));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if mode & 0o111 != 0 {
            return tools::program(&path, text.as_bytes(), mode);
        }
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A GPT disk with this as its only partition.
    pub fn disk(&self) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let (fs_path, path) = (folder.path().join("root.ext4"), folder.path().join("disk.img"));
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        tools::stdout(
            Command::new("mke2fs")
                .args(["-q", "-t", "ext4", "-E", "root_owner=0:0", "-d"])
                .arg(self.folder.path())
                .arg(&fs_path)
                .arg("96M"),
        );
        let disk = Disk { folder, path };
        let mut file = File::create(&disk.path).unwrap();
        file.set_len(100 << 20).unwrap();
        file.seek(SeekFrom::Start(1 << 20)).unwrap();
        std::io::copy(&mut File::open(&fs_path).unwrap(), &mut file).unwrap();
        drop(file);
        let guid = format!("1:{PARTUUID}");
        let args = ["-n", "1:2048:198655", "-t", "1:8304", "-u", &guid];
        tools::stdout(Command::new("sgdisk").args(args).arg(&disk.path));
        fs::remove_file(&fs_path).unwrap();
        disk
    }
}

/// A disk image on the host.
pub struct Disk {
    folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Disk {
    /// e2fsck of the root partition: its exit status and its text.
    pub fn check(&self) -> (i32, String) {
        let at = self.folder.path().join("check.ext4");
        let mut from = File::open(&self.path).unwrap();
        from.seek(SeekFrom::Start(1 << 20)).unwrap();
        std::io::copy(&mut from.take(96 << 20), &mut File::create(&at).unwrap()).unwrap();
        let output = tools::e2fsck(&at);
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What debugfs says to one request about the root partition.
    pub fn debugfs(&self, request: &str) -> String {
        self.check();
        tools::stdout(Command::new("debugfs").args(["-R", request]).arg(self.folder.path().join("check.ext4")))
    }
}

/// The initramfs: PID 1, the specification, the modules, in the newc format of cpio(5).
pub fn initramfs(spec: &BootSpec) -> Vec<u8> {
    let init = bootdisk::pid1::init_binary(Architecture::X86_64).expect("PID 1 is built in").bytes;
    let mut out = Vec::new();
    entry(&mut out, "dev", 0o040755, b"");
    entry(&mut out, "modules", 0o040755, b"");
    entry(&mut out, "init", 0o100755, init);
    entry(&mut out, "boot-spec.json", 0o100644, &serde_json::to_vec(spec).unwrap());
    for (module, path) in &kernel().modules {
        entry(&mut out, &module.file[1..], 0o100644, &fs::read(path).unwrap());
    }
    entry(&mut out, "TRAILER!!!", 0, b"");
    out
}

fn entry(out: &mut Vec<u8>, name: &str, mode: u32, body: &[u8]) {
    let inode = out.len() as u32 + 1;
    out.extend(b"070701");
    for field in [inode, mode, 0, 0, 1, 0, body.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
        out.extend(format!("{field:08x}").bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// How to boot.
pub struct Boot<'a> {
    pub spec: BootSpec,
    pub disk: Option<&'a Disk>,
    pub welcome: Welcome,
    pub network: bool,
    pub memory: u32,
    /// Bytes of a sector of the disk.
    pub sector: u32,
    /// Write-protect the disk.
    pub protected: bool,
    /// Keep what the guest writes.
    pub keep: bool,
    pub cmdline: &'a str,
    /// What is typed on the serial console.
    pub console_input: Option<&'a str>,
    /// Further options of QEMU's.
    pub extra: Vec<String>,
}

impl<'a> Boot<'a> {
    pub fn new(spec: BootSpec, disk: &'a Disk) -> Self {
        let nonce = "00112233445566778899aabbccddeeff".to_owned();
        let welcome = Welcome { version: VERSION, nonce, ..Welcome::default() };
        let disk = Some(disk);
        Boot {
            spec,
            disk,
            welcome,
            network: true,
            memory: 256,
            sector: 512,
            protected: false,
            keep: false,
            cmdline: "",
            console_input: None,
            extra: Vec::new(),
        }
    }

    /// Starts QEMU, with the channel unless `without_host`.
    fn qemu(&self, folder: &Path, host: bool) -> Child {
        let initrd = folder.join("initrd");
        fs::write(&initrd, initramfs(&self.spec)).unwrap();
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg", "-display", "none"]);
        command.args(["-no-reboot", "-m", &self.memory.to_string(), "-kernel"]).arg(&kernel().image);
        command.arg("-initrd").arg(initrd);
        command.args(["-append", &format!("console=ttyS0 panic=-1 quiet no_timer_check {}", self.cmdline)]);
        command.arg("-serial").arg(match self.console_input {
            None => format!("file:{}", folder.join("console").display()),
            Some(_) => "stdio".to_owned(),
        });
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", folder.join("qmp").display()));
        if let Some(disk) = self.disk {
            let protected = if self.protected { "on" } else { "off" };
            let snapshot = if self.keep || self.protected { "off" } else { "on" };
            let path = disk.path.display();
            command
                .arg("-drive")
                .arg(format!("if=none,id=disk,format=raw,file={path},read-only={protected},snapshot={snapshot}"));
            let sector = self.sector;
            command
                .arg("-device")
                .arg(format!("virtio-blk-pci,drive=disk,logical_block_size={sector},physical_block_size={sector}"));
        }
        if self.network {
            command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
        }
        if host {
            command.args(["-device", "virtio-serial-pci", "-chardev"]);
            command.arg(format!("socket,id=host,path={},server=on,wait=off", folder.join("host").display()));
            command.args(["-device", &format!("virtserialport,chardev=host,name={PORT}")]);
        }
        command.args(&self.extra);
        command.stdin(Stdio::null());
        if let Some(text) = self.console_input {
            let typed = folder.join("typed");
            fs::write(&typed, text).unwrap();
            command.stdin(fs::File::open(typed).unwrap()).stdout(fs::File::create(folder.join("console")).unwrap());
        }
        command.spawn().expect("qemu-system-x86_64 is installed")
    }

    /// Boots with a host on the channel, up to its welcome.
    pub fn start(&self) -> Session {
        let folder = tempfile::tempdir().unwrap();
        let qemu = Machine(self.qemu(folder.path(), true));
        let socket = connect(&folder.path().join("host"));
        let mut session = Session {
            qemu,
            folder,
            socket,
            decoder: Decoder::default(),
            hello: None,
            out: BTreeMap::new(),
            credit_held: false,
            ended: BTreeMap::new(),
            started: vec![],
            logs: vec![],
            eofs: vec![],
            done: false,
        };
        session.until("hello", |session| session.hello.is_some());
        session.send(Frame::control(Kind::Welcome, &self.welcome));
        session
    }

    /// Boots with a host and runs to the end.
    pub fn run(&self) -> Session {
        let mut session = self.start();
        session.finish();
        session
    }

    /// Boots without the channel and runs to the end. What the console showed.
    pub fn run_without_host(&self) -> String {
        self.run_alone(false)
    }

    /// The same, with a channel that nobody is connected to.
    pub fn run_unheard(&self) -> String {
        self.run_alone(true)
    }

    fn run_alone(&self, port: bool) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut qemu = Machine(self.qemu(folder.path(), port));
        qemu.wait_for_end(&folder.path().join("console"));
        String::from_utf8_lossy(&fs::read(folder.path().join("console")).unwrap()).into_owned()
    }
}

/// A QEMU that does not outlive its test.
struct Machine(Child);

impl Machine {
    fn wait_for_end(&mut self, console: &Path) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let text = fs::read(console).unwrap_or_default();
                panic!("the machine does not end; its console:\n{}", String::from_utf8_lossy(&text));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn connect(path: &Path) -> UnixStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(socket) => return socket,
            Err(error) if Instant::now() > deadline => panic!("QEMU opens no socket {}: {error}", path.display()),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn parse<T: serde::de::DeserializeOwned>(frame: &Frame) -> T {
    serde_json::from_slice(&frame.payload)
        .unwrap_or_else(|error| panic!("{:?}: {error}: {}", frame.kind, String::from_utf8_lossy(&frame.payload)))
}

/// A running guest, seen from the host.
pub struct Session {
    qemu: Machine,
    folder: tempfile::TempDir,
    socket: UnixStream,
    decoder: Decoder,
    pub hello: Option<Hello>,
    /// What each stream has brought.
    pub out: BTreeMap<u32, Vec<u8>>,
    /// Keep the credit of data, as a host that is slow.
    pub credit_held: bool,
    pub started: Vec<u32>,
    pub ended: BTreeMap<u32, Ended>,
    pub logs: Vec<Log>,
    pub eofs: Vec<u32>,
    pub done: bool,
}

impl Session {
    pub fn send(&mut self, frame: Frame) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
    }

    /// Reads frames until `enough`.
    pub fn until(&mut self, what: &str, enough: impl Fn(&Session) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = vec![0u8; 65_536];
        self.socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while !enough(self) {
            assert!(Instant::now() < deadline, "waited too long for {what}; {}", self.describe());
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the machine ended before {what}; {}", self.describe()),
                Ok(count) => self.decoder.feed(&buffer[..count]),
                Err(_) => continue,
            }
            while let Some(frame) = self.decoder.next_frame().expect("PID 1 sends frames") {
                self.take(frame);
            }
        }
    }

    fn take(&mut self, frame: Frame) {
        match frame.kind {
            Kind::Hello => self.hello = Some(parse(&frame)),
            Kind::Started => {
                let started: Started = parse(&frame);
                self.started.push(started.process);
            }
            Kind::Data => {
                self.out.entry(frame.stream).or_default().extend(&frame.payload);
                if !self.credit_held {
                    self.credit(frame.stream, frame.payload.len() as u32);
                }
            }
            Kind::Eof => self.eofs.push(frame.stream),
            Kind::Result => {
                let ended: Ended = parse(&frame);
                self.ended.insert(ended.process, ended);
            }
            Kind::Log => self.logs.push(parse(&frame)),
            Kind::Done => self.done = true,
            Kind::Credit => {}
            other => panic!("PID 1 sent {other:?}"),
        }
    }

    pub fn credit(&mut self, stream: u32, bytes: u32) {
        // A machine that has just switched off takes no credit.
        let frame = Frame { stream, kind: Kind::Credit, payload: bytes.to_le_bytes().to_vec() };
        let mut encoded = Vec::new();
        frame.encode(&mut encoded).unwrap();
        _ = self.socket.write_all(&encoded);
    }

    pub fn input(&mut self, process: u32, bytes: &[u8]) {
        self.send(Frame { stream: stdin_of(process), kind: Kind::Data, payload: bytes.to_vec() });
    }

    pub fn end_input(&mut self, process: u32) {
        self.send(Frame { stream: stdin_of(process), kind: Kind::Eof, payload: vec![] });
    }

    /// Starts another process and waits for its end.
    pub fn exec(&mut self, process: u32, what: Process) -> (Outcome, String) {
        self.send(Frame::control(Kind::Exec, &Exec { process, what, terminal: None, stdin: false, copy: None }));
        self.until("the end of exec", |session| session.ended.contains_key(&process));
        (self.ended[&process].outcome.clone(), self.text(stdout_of(process)))
    }

    pub fn text(&self, stream: u32) -> String {
        String::from_utf8_lossy(self.out.get(&stream).map_or(&[], Vec::as_slice)).into_owned()
    }

    /// Standard output of the workload.
    pub fn stdout(&self) -> String {
        self.text(stdout_of(0))
    }

    pub fn outcome(&self) -> Outcome {
        self.ended[&0].outcome.clone()
    }

    pub fn warnings(&self) -> Vec<&str> {
        self.logs.iter().filter(|line| line.level != Level::Info).map(|line| line.text.as_str()).collect()
    }

    /// Waits for result, done and the end of QEMU.
    pub fn finish(&mut self) {
        self.until("done", |session| session.done);
        let console = self.folder.path().join("console");
        self.qemu.wait_for_end(&console);
    }

    /// Has QEMU execute a QMP command.
    pub fn qmp(&mut self, command: &str) {
        let mut socket = connect(&self.folder.path().join("qmp"));
        let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().starts_with("{\"QMP\""));
        for command in ["qmp_capabilities", command] {
            socket.write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes()).unwrap();
            lines.find(|line| line.contains("\"return\"")).expect("QEMU answers");
        }
    }

    /// Takes the power away.
    pub fn kill(&mut self) {
        self.qemu.0.kill().unwrap();
        self.qemu.0.wait().unwrap();
    }

    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join("console")).unwrap_or_default()).into_owned()
    }

    pub fn describe(&self) -> String {
        let out: Vec<String> = self.out.keys().map(|stream| format!("{stream}: {}", self.text(*stream))).collect();
        format!("streams {out:?}, results {:?}, log {:?}, console:\n{}", self.ended, self.logs, self.console())
    }
}
