//! The documents, played: every command of README.md and docs/ runs, and prints what the document says.
//!
//! `scripts/lib/play.py` plays them, for these tests and for `scripts/tour`. A program named bootdisk stands in front of
//! the one under test: it emulates, as a machine with a broken KVM would spend time on finding that out.

use crate::e2e::{Bench, Kernel, image, run};
use crate::{busybox, tools};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The release that the documents name, and what the package of these tests has there.
const RELEASE: &str = "6.1.0-56";

fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Writes the program that stands in front of the one under test.
fn emulating(path: &Path) {
    let program = assert_cmd::cargo::cargo_bin!("bootdisk").display().to_string();
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in\n    run | test) command=\"$1\"; shift; \
         exec {program} \"$command\" --accel tcg --cpus 1 \"$@\" ;;\nesac\nexec {program} \"$@\"\n"
    );
    tools::program(path, text.as_bytes(), 0o755);
}

/// A home with the files that the documents speak of.
struct Desk {
    bench: Bench,
    folder: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let bench = Bench::without_kernels();
        let (folder, bin) = (bench.path("desk"), bench.path("bin"));
        fs::create_dir(&folder).unwrap();
        fs::create_dir(&bin).unwrap();
        emulating(&bin.join("bootdisk"));
        for (name, given) in
            [("hello.tar", "hello-c.docker.tar"), ("nginx.tar", "nginx.docker.tar"), ("debian.oci", "debian.oci")]
        {
            symlink(image(given), folder.join(name)).unwrap();
        }
        fs::rename(busybox::archive(&folder), folder.join("busybox.tar")).unwrap();
        for kernel in [Kernel::Cloud, Kernel::Generic] {
            let package = kernel.package();
            symlink(&package, folder.join(package.file_name().unwrap())).unwrap();
        }
        Desk { bench, folder }
    }

    /// Plays documents there.
    fn play(&self, documents: &[PathBuf]) -> Output {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let release = Kernel::Cloud.release();
        let mut command = self.bench.at_home("python3");
        command.arg(checkout("scripts/lib/play.py")).args(["--replace", &format!("8080={free}")]);
        if let Some(release) = release.strip_suffix("-cloud-amd64").filter(|release| *release != RELEASE) {
            command.args(["--replace", &format!("{RELEASE}={release}")]);
        }
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bench.path("bin").display()));
        // Without a limit for all of it: each command has its own.
        tools::run(command.args(documents).current_dir(&self.folder))
    }

    /// Plays one document of these lines.
    fn play_text(&self, text: &str) -> Output {
        let path = self.folder.join("document.md");
        fs::write(&path, text).unwrap();
        self.play(&[path])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// README.md first, as it adds the kernel; then docs/ in the order of their names. The tour plays in a home of its own.
fn documents() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(checkout("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|end| end == "md") && !path.ends_with("tour.md"));
    pages.sort();
    pages.insert(0, checkout("README.md"));
    pages
}

#[test]
fn every_command_of_the_documents_prints_what_they_say() {
    let ran = Desk::new().play(&documents());
    let said = text(&ran.stdout);
    println!("{said}");
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let executed: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(executed > 40, "{said}");
}

/// Targets of links and pictures, `[..](TARGET)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target).collect()
}

/// The name that a heading can be linked by.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut pages = documents();
    pages.extend(["docs/tour.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"].map(checkout));
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", page.display());
            if !heading.is_empty() {
                let found = fs::read_to_string(&target).unwrap();
                let mut headings = found.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|line| anchor(line) == heading), "{}: {link}", page.display());
            }
        }
    }
    let size = fs::metadata(checkout("README.md")).unwrap().len();
    assert!((5_000..7_500).contains(&size), "README.md is to be read in five minutes: {size} bytes");
    let readme = fs::read_to_string(checkout("README.md")).unwrap();
    for page in fs::read_dir(checkout("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(!page.ends_with(".md") || readme.contains(&format!("(docs/{page})")), "README.md does not name {page}");
    }
}

#[test]
fn the_tour_plays_from_its_script() {
    let bench = Bench::without_kernels();
    let bootdisk = bench.path("bootdisk");
    emulating(&bootdisk);
    let mut command = Command::new(checkout("scripts/tour"));
    command.arg("--bootdisk").arg(&bootdisk).env("CARGO_TARGET_DIR", bench.path("target"));
    command.env("BOOTDISK_TEST_KERNELS", Kernel::Cloud.package().parent().unwrap());
    command.env("BOOTDISK_TEST_IMAGES", image("debian.oci").parent().unwrap());
    let ran = tools::run(&mut command);
    let said = text(&ran.stdout);
    assert!(ran.status.success(), "{said}\n{}", text(&ran.stderr));
    assert!(said.contains("userland: identical") && said.ends_with(" 0 faults\n"), "{said}");
}

#[test]
fn a_document_that_is_wrong_is_found_out() {
    let desk = Desk::new();
    for (name, block, status, told) in [
        (
            "right",
            "```console\n$ echo a  b; (exit 3)\na b\n$ echo $?\n3\n```",
            0,
            "2 commands executed, 2 compared, 0 ",
        ),
        ("elided", "```console\n$ seq 9\n1\n…\n9\n$ echo 12 MiB in 1.5 s\n13 MiB in 2 s\n```", 0, "2 compared"),
        ("other output", "```console\n$ echo a\nb\n```", 1, "1 faults"),
        ("output that is not told", "```console\n$ echo a\n```", 1, "1 faults"),
        ("output that does not come", "```console\n$ true\na\n```", 1, "1 faults"),
        ("a script that fails", "```sh\nfalse\ntrue\n```", 1, "1 commands executed, 0 compared"),
        ("a script", "```sh\ntrue\n```", 0, "1 commands executed"),
        ("a reason", "<!-- not run: no such program -->\n```sh\nfalse\n```", 0, "1 blocks not run for a reason"),
        ("a reason of another block", "<!-- not run: x -->\ntext\n\n```sh\nfalse\n```", 1, "1 faults"),
        ("a block of no kind", "```\n$ true\n```", 1, "1 faults"),
    ] {
        let ran = desk.play_text(block);
        let said = text(&ran.stdout);
        assert!(ran.status.code() == Some(status) && said.contains(told), "{name}: {said}");
    }
}

/// What apt would do is not asked: a program in its place says what it was called with.
#[test]
fn packages_are_installed_and_none_removed() {
    let bench = Bench::without_kernels();
    let bin = bench.path("bin");
    fs::create_dir(&bin).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = |words: &[&str]| {
        let mut command = Command::new(checkout("scripts/install-packages"));
        run(command.args(words).env("PATH", &path))
    };
    tools::program(&bin.join("dpkg-query"), b"#!/bin/sh\ncase \"$*\" in *\" gcc\") echo installed;; esac\n", 0o755);
    tools::program(&bin.join("apt-cache"), b"#!/bin/sh\necho '  Candidate: 1'\n", 0o755);
    tools::program(&bin.join("sudo"), b"#!/bin/sh\nshift; exec \"$@\"\n", 0o755);
    tools::program(&bin.join("apt-get"), b"#!/bin/sh\necho \"called: $*\" >&2\n", 0o755);
    let dry = script(&["--dry-run", "quickstart"]).expect_status(0);
    assert!(dry.text().contains("qemu-system-x86\n") && !dry.text().contains("gcc"), "{}", dry.text());
    assert!(!dry.stderr.contains("called"), "{}", dry.stderr);
    let done = script(&["quickstart"]).expect_status(0);
    assert!(done.stderr.contains("called: ") && done.stderr.contains("--no-remove"), "{}", done.stderr);
    assert!(!done.stderr.contains("downgrade"), "{}", done.stderr);
    // Where apt refuses, nothing else is tried.
    tools::program(&bin.join("apt-get"), b"#!/bin/sh\n[ \"$*\" != \"${*#*update}\" ]\n", 0o755);
    let refused = script(&["quickstart"]).expect_status(1);
    assert!(refused.stderr.contains("without removing or replacing"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: apt-get install --simulate"), "{}", refused.stderr);
    for (distribution, words) in [("fedora", "dnf install "), ("arch", "pacman -S "), ("alpine", "apk add ")] {
        assert!(script(&["--names", distribution]).expect_status(0).text().starts_with(words));
    }
}
