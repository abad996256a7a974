//! Images that other programs keep or build, and root file systems that are in no image.

use crate::{busybox, daemons, e2e, e2e_disk, images, tools};
use daemons::{Containerd, Docker, Storage};
use e2e::{Bench, Kernel, image, run};
use images::{ImageBuilder, TarBuilder};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Busybox with a second layer, which deletes and replaces.
fn sample() -> ImageBuilder {
    let second = TarBuilder::new()
        .whiteout("library/book")
        .file("data/numbers", 0o640, b"other numbers\n")
        .member("data/owned", tar::EntryType::Regular, b"x", |header| {
            header.set_uid(1234);
            header.set_mtime(1_000_000_000);
        })
        .build();
    busybox::image().layer(second)
}

/// What is different for one run of bootdisk.
type Change<'a> = &'a dyn Fn(&mut Command);

/// Everything of these tests: programs with their stores, and an image in all of them.
struct Kept {
    bench: Bench,
    dir: tempfile::TempDir,
    docker: Docker,
    containerd: Containerd,
    storage: Storage,
}

impl Kept {
    fn new() -> Kept {
        // A socket's path is at most 107 bytes long.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let at = |name: &str| dir.path().join(name);
        let sample = sample();
        sample.write_oci(&at("layout"));
        fs::write(at("app.tar"), sample.docker_legacy()).unwrap();
        let (docker, containerd, storage) = std::thread::scope(|scope| {
            let docker = scope.spawn(|| Docker::start(dir.path()));
            let containerd = scope.spawn(|| Containerd::start(dir.path()));
            (docker.join().unwrap(), containerd.join().unwrap(), Storage::new(dir.path()))
        });
        tools::stdout(docker.docker().args(["load", "-i"]).arg(at("app.tar")));
        tools::stdout(storage.program("podman").args(["load", "-q", "-i"]).arg(at("app.tar")));
        tools::stdout(containerd.ctr().args(["images", "import", "--no-unpack"]).arg(at("app.tar")));
        Kept { bench: Bench::new(Kernel::Cloud), dir, docker, containerd, storage }
    }

    /// bootdisk where all of them are found.
    fn bootdisk(&self) -> Command {
        let mut command = self.bench.bootdisk();
        self.storage.used_by(&mut command);
        command.env("DOCKER_HOST", &self.docker.host).env("CONTAINERD_ADDRESS", &self.containerd.address);
        command.current_dir(self.dir.path());
        command
    }

    /// The digest of the root partition of the disk that a reference makes.
    fn root(&self, reference: &str, change: Change<'_>) -> String {
        let (disk, root) = (self.bench.path("disk.img"), self.bench.path("root.ext4"));
        let mut command = self.bootdisk();
        command.args(["build", "--no-sync", reference, "-o"]).arg(&disk);
        change(&mut command);
        println!("{reference}: {}", run(&mut command).expect(0, "").stderr);
        e2e_disk::extract(&disk, e2e_disk::partition(&disk, e2e_disk::ROOT), &root);
        e2e::sha256(&root)
    }
}

/// A folder with every program of this host but these.
fn path_without(dir: &Path, programs: &[&str]) -> String {
    let bin = dir.join(format!("without-{}", programs.join("-")));
    fs::create_dir(&bin).unwrap();
    for folder in ["/usr/local/bin", "/usr/sbin", "/usr/bin"] {
        for file in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if !programs.iter().any(|program| file.file_name() == **program) {
                // The first of a name counts, as in PATH.
                _ = std::os::unix::fs::symlink(file.path(), bin.join(file.file_name()));
            }
        }
    }
    bin.to_str().unwrap().to_owned()
}

#[test]
fn one_image_is_one_root_partition_whoever_gives_it() {
    let kept = Kept::new();
    let at = |name: &str| kept.dir.path().join(name);
    let shell = |script: &str| tools::stdout(Command::new("sh").current_dir(kept.dir.path()).args(["-ec", script]));
    shell("skopeo copy -q oci:layout:1 dir:skopeo; xz -0 -k app.tar; bzip2 -1 -k app.tar; lz4 -q app.tar app.tar.lz4");
    tools::stdout(kept.docker.docker().args(["save", "-o"]).arg(at("old.tar")).arg("busybox:1"));
    shell(
        "mkdir old; tar -C old -xf old.tar; rm old/manifest.json; tar -C old -cf old.tar .; tar -tf old.tar ./repositories",
    );
    fs::create_dir(at("context")).unwrap();
    fs::write(at("context/Containerfile"), "FROM docker.io/library/busybox:1\n").unwrap();
    // podman and buildah know what was loaded by a name of their own.
    fs::create_dir(at("local")).unwrap();
    fs::write(at("local/Containerfile"), "FROM localhost/busybox:1\n").unwrap();
    let podman = kept.storage.service(kept.dir.path());

    let no_docker = path_without(kept.dir.path(), &["docker"]);
    let podman_alone = path_without(kept.dir.path(), &["docker", "buildah", "skopeo"]);
    let skopeo_alone = path_without(kept.dir.path(), &["docker", "buildah", "podman"]);
    let buildah_alone = path_without(kept.dir.path(), &["docker", "skopeo", "podman"]);
    let host = |host: &str| {
        let host = host.to_owned();
        move |command: &mut Command| {
            command.env("DOCKER_HOST", &host);
        }
    };
    let path = |path: &str| {
        let path = path.to_owned();
        move |command: &mut Command| {
            command.env("PATH", &path);
        }
    };
    let (as_is, by_podman) = (|_: &mut Command| (), host(&podman.host));
    let file = |command: &mut Command| {
        command.args(["--file", "context/Containerfile"]);
    };
    let first = kept.root("app.tar", &as_is);
    let ways: [(&str, Change<'_>); 18] = [
        ("layout", &as_is),
        ("app.tar.xz", &as_is),
        ("docker-archive:app.tar.bz2", &as_is),
        ("app.tar.lz4", &as_is),
        ("old.tar:busybox:1", &as_is),
        ("dir:skopeo", &as_is),
        ("skopeo", &as_is),
        ("docker-daemon:busybox:1", &as_is),
        ("docker-daemon:busybox:1", &by_podman),
        ("containers-storage:busybox:1", &path(&podman_alone)),
        ("containers-storage:busybox:1", &path(&skopeo_alone)),
        ("containers-storage:busybox:1", &path(&buildah_alone)),
        ("containerd:docker.io/library/busybox:1", &as_is),
        ("containerd:busybox:1", &as_is),
        ("dockerfile:context", &as_is),
        ("dockerfile:local", &path(&no_docker)),
        ("dockerfile:local", &path(&podman_alone)),
        ("context", &file),
    ];
    for (at, (reference, change)) in ways.into_iter().enumerate() {
        assert_eq!(kept.root(reference, change), first, "{at}: {reference}");
    }
    told_what_is_missing(&kept, &skopeo_alone);
    an_export_has_the_same_files(&kept);
}

/// Each with a sentence and with what goes on from there; by build, and by whoever else takes images.
fn told_what_is_missing(kept: &Kept, without: &str) {
    let at = |name: &str| kept.dir.path().join(name);
    fs::create_dir(at("nothing")).unwrap();
    fs::create_dir(at("broken")).unwrap();
    fs::write(at("broken/Dockerfile"), "FROM scratch\nCOPY no-such-file /\n").unwrap();
    let nobody = "unix:///nowhere/docker.sock";
    let as_is: Change<'_> = &|_| ();
    let alone = |command: &mut Command| {
        command.env("PATH", without);
    };
    let none = |command: &mut Command| {
        command.env("PATH", "/nowhere");
    };
    let cases: [(&str, Change<'_>, &str, &str); 15] = [
        ("docker-daemon:no/such:2", as_is, "has no image no/such:2", "docker pull NAME"),
        ("docker-daemon:such", as_is, "has no image such", "docker images"),
        (
            "docker-daemon:busybox:1",
            &|c| {
                c.env("DOCKER_HOST", nobody);
            },
            "no container daemon answers",
            "DOCKER_HOST=",
        ),
        (
            "docker-daemon:busybox:1",
            &|c| {
                c.env("DOCKER_HOST", "ssh://h");
            },
            "DOCKER_HOST does not name a socket",
            "docker save",
        ),
        ("containers-storage:no/such", as_is, "podman failed: ", "podman pull NAME"),
        ("containers-storage:no/such", &alone, "skopeo failed: ", "podman pull NAME"),
        ("containers-storage:no/such", &none, "none is installed: podman, skopeo, buildah", "apt-get install podman"),
        ("containerd:no/such", as_is, "not found", "ctr namespaces list"),
        ("containerd:no/such", &none, "none is installed: ctr", "apt-get install containerd"),
        ("dockerfile:nothing", as_is, "no Dockerfile in nothing", "--file FILE DIR"),
        ("dockerfile:missing", as_is, "cannot open missing", ""),
        ("dockerfile:app.tar", as_is, "cannot open app.tar: not a directory", ""),
        ("dockerfile:broken", as_is, "docker failed: it ended with exit status: 1", "its messages are above"),
        ("dockerfile:broken", &none, "none is installed: docker, buildah, podman", "apt-get install docker.io"),
        ("dir:nothing", as_is, "no manifest.json and version in it", "skopeo copy"),
    ];
    for (reference, change, sentence, hint) in cases {
        for words in [&["build", "-o", "no.img"][..], &["inspect"], &["inspect", "app.tar", "--diff"]] {
            if words[0] == "inspect" && reference.starts_with("dockerfile:") {
                continue;
            }
            let mut command = kept.bootdisk();
            change(command.args(words).arg(reference));
            let ran = run(&mut command).expect_status(if words.contains(&"--diff") { 2 } else { 1 });
            assert!(ran.stderr.contains(sentence) && ran.stderr.contains(hint), "{reference}: {}", ran.stderr);
        }
    }
    let ran = run(kept.bootdisk().args(["inspect", "dockerfile:broken"])).expect_status(1);
    assert!(ran.stderr.contains("only build, run and test build from a Dockerfile"), "{}", ran.stderr);
    let quiet = run(kept.bootdisk().args(["build", "-q", "-o", "no.img", "dockerfile:broken"])).expect_status(1);
    let lines = quiet.stderr.lines().filter(|line| !line.starts_with("error: ") && !line.starts_with("hint: "));
    assert!(lines.count() == 0 && quiet.stderr.contains("no-such-file"), "{}", quiet.stderr);
    let files = tools::stdout(kept.bootdisk().args(["inspect", "--diff", "docker-daemon:busybox:1", "dir:skopeo"]));
    assert!(!files.is_empty());
    assert!(!at("no.img").exists());
}

/// Of a container that never ran: the image's files, and the folders that Docker mounts upon.
fn an_export_has_the_same_files(kept: &Kept) {
    let container = tools::stdout(kept.docker.docker().args(["create", "busybox:1"]));
    let export = kept.dir.path().join("export.tar");
    tools::stdout(kept.docker.docker().args(["export", "-o"]).arg(&export).arg(container.trim()));
    let listed = |subject: &str| -> BTreeSet<String> {
        let lines = tools::stdout(kept.bootdisk().args(["inspect", "--files", "mtree", subject]));
        let without_time = |line: &str| {
            line.split(' ')
                .filter(|word| !word.starts_with("time=") && !word.starts_with("nlink="))
                .collect::<Vec<_>>()
                .join(" ")
        };
        lines.lines().map(without_time).collect()
    };
    let (image, export) = (listed("app.tar"), listed("rootfs:export.tar"));
    let lost: Vec<_> = image.difference(&export).collect();
    assert!(lost.is_empty(), "{lost:?}");
    let added: Vec<_> = export.difference(&image).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(added, ["./dev", "./dev/pts", "./dev/shm", "./etc/mtab", "./proc", "./sys"]);
    let said = run(kept.bootdisk().args(["inspect", "rootfs:export.tar"])).expect_status(0).stdout;
    // In lines of a page's width.
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    let left_out = "container runtime's own): .dockerenv, dev/console, etc/hostname, etc/hosts, etc/resolv.conf";
    assert!(said.contains(left_out), "{said}");
}

#[test]
fn root_file_systems_boot_from_folders_and_tars() {
    let bench = Bench::new(Kernel::Cloud);
    let (debian, small) = (bench.path("debian"), bench.path("small"));
    // What mmdebstrap made of Debian, in a folder.
    let unpacked = bench.path("unpacked");
    let mut umoci = Command::new("umoci");
    umoci.args(["unpack", "--image"]).arg(format!("{}:latest", image("debian.oci").display())).arg(&unpacked);
    tools::stdout(&mut umoci);
    fs::rename(unpacked.join("rootfs"), &debian).unwrap();
    let ran = bench.run_other(
        rootfs(&debian),
        &[],
        &["/bin/sh", "-c", "cat /etc/debian_version; stat -c %u:%a /tmp; exit 3"],
    );
    let ran = ran.expect_status(3);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(said.starts_with("12.") && said.ends_with("\n0:1777\n"), "{said}");

    // A busybox tree with an init of its own, which becomes PID 1.
    for folder in ["bin", "sbin", "etc", "proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(small.join(folder)).unwrap();
    }
    fs::copy("/usr/bin/busybox", small.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", small.join("bin/sh")).unwrap();
    std::os::unix::fs::symlink("../bin/busybox", small.join("sbin/init")).unwrap();
    let inittab = "::sysinit:/bin/busybox echo the tree has PID 1\n::once:/bin/busybox poweroff -f\n";
    fs::write(small.join("etc/inittab"), inittab).unwrap();
    let packed = bench.path("small.tar.xz");
    tools::stdout(Command::new("tar").args(["--sort=name", "-cJf"]).arg(&packed).arg("-C").arg(&small).arg("."));
    let disks = [
        bench.build(rootfs(&small), "folder.img", &["--owner", "0:0"]),
        bench.build(rootfs(&packed), "packed.img", &["--owner", "0:0"]),
        bench.build(rootfs(&small), "again.img", &["--owner", "0:0"]),
    ];
    assert_eq!(e2e::sha256(&disks[0]), e2e::sha256(&disks[2]), "one tree is one disk");
    disks.iter().for_each(|disk| e2e_disk::check(disk));
    let ran = bench.run(&disks[1], &[]).expect_status(0);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("the tree has PID 1"), "{}", ran.stderr);

    // Without a transport nobody knows that it is one, and options for it alone are refused elsewhere.
    for (words, sentence, hint) in [
        (
            &["build", "small", "-o", "x.img"][..],
            "this is a folder with a root file system",
            "build rootfs:small -o DISK",
        ),
        (&["run", "small.tar.xz"], "this is a root file system in a tar archive", "bootdisk run rootfs:small.tar.xz"),
        (&["inspect", "debian"], "this is a folder with a root file system", "bootdisk inspect rootfs:debian"),
        (
            &["build", "small.tar.xz", "--owner", "0:0", "-o", "x.img"],
            "--owner is only for a root file system",
            "rootfs:PATH",
        ),
        (&["build", "rootfs:small", "--file", "x", "-o", "x.img"], "--file is only for a folder", "--file FILE DIR"),
        (&["build", "rootfs:small", "--owner", "root", "-o", "x.img"], "an owner is two numbers", ""),
        (&["run", "folder.img", "--owner", "0:0"], "--owner is for building a disk", "omit --owner"),
    ] {
        let mut command = bench.bootdisk();
        let ran = run(command.current_dir(bench.path("")).args(words).stdin(Stdio::null()));
        assert!(ran.stderr.contains(sentence) && ran.stderr.contains(hint), "{words:?}: {}", ran.stderr);
    }
    assert!(!bench.path("x.img").exists());
}

fn rootfs(path: &Path) -> String {
    format!("rootfs:{}", path.display())
}

#[test]
fn a_program_that_is_asked_for_an_image_ends_when_we_end() {
    let bench = Bench::without_kernels();
    let (bin, said) = (bench.path("bin"), bench.path("pid"));
    fs::create_dir(&bin).unwrap();
    for signal in [nix::sys::signal::SIGINT, nix::sys::signal::SIGTERM, nix::sys::signal::SIGKILL] {
        let script = format!("#!/bin/sh\necho $$ > {0}.new && mv {0}.new {0}\nexec sleep 1000\n", said.display());
        tools::program(&bin.join("podman"), script.as_bytes(), 0o755);
        let mut command = bench.bootdisk();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        command.env("PATH", path).args(["build", "containers-storage:app", "-o"]).arg(bench.path("x.img"));
        let running = e2e::Running::start(&mut command);
        let pid = wait_for(&|| fs::read_to_string(&said).ok());
        running.signal(signal);
        running.finish();
        wait_for(&|| (!is_running(pid.trim())).then_some(()));
        fs::remove_file(&said).unwrap();
    }
    assert!(!bench.path("x.img").exists());
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
}

/// What comes, if nothing hangs.
fn wait_for<T>(found: &dyn Fn() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "it has not come");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
