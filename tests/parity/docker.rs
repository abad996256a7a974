//! Images as Docker takes them, asked of a Docker: what their layers make, which command they have, whose shell asks for
//! their health.
//!
//! Its answers are what it does: the files of a container, the command that it would start, what a check says. Where ours
//! are others, a row of docs/images.md says so.

use super::daemons::Docker;
use super::images::{ImageBuilder, TarBuilder};
use super::layers::{layer, merge};
use super::tools;
use bootdisk::image::parse_config;
use bootdisk::rootfs::Tree;
use bootdisk::rootfs::memory::MemoryBody;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Layers in shorthand, the tree that we make of them, and Docker's with the row that tells, where it has another.
struct Merge(&'static [&'static str], &'static str, Option<(&'static str, &'static str)>);

const LINK: &str = "a layer's name below a lower layer's symbolic link";
const BOTH: &str = "a folder that its own layer deletes too";
const OPAQUE: &str = "an opaque marker at a layer's root";

const MERGES: [Merge; 14] = [
    Merge(&["a/ a/f=1 a/g=2", "a/.wh.f"], "a/ a/g=2", None),
    Merge(&["a/ a/x a/d/ a/d/y", "a/ a/.wh..wh..opq a/new=1"], "a/ a/new=1", None),
    Merge(&["p=1", "p/ p/q=2"], "p/ p/q=2", None),
    Merge(&["p/ p/q=1", "p=2"], "p=2", None),
    Merge(&["p/ p/q=1 t/", "p->t"], "p->t t/", None),
    Merge(&["t/ t/f=1 lib->t", "lib/ lib/g=2"], "lib/ lib/g=2 t/ t/f=1", None),
    Merge(&["x=1", ".wh.x x/ x/y=2"], "x/ x/y=2", None),
    Merge(
        &["usr/ usr/lib/ lib->usr/lib", "lib/x=1"],
        "lib->usr/lib usr/ usr/lib/ usr/lib/x=1",
        Some(("lib/ lib/x=1 usr/ usr/lib/", LINK)),
    ),
    Merge(&["a->b b/ b/c/", "a/c/x=1"], "a->b b/ b/c/ b/c/x=1", Some(("a/ a/c/ a/c/x=1 b/ b/c/", LINK))),
    Merge(&["x/ x/y=1", ".wh.x x/ x/z=1"], "x/ x/z=1", Some(("x/ x/y=1 x/z=1", BOTH))),
    Merge(&["x/ x/y=1", "x/ x/z=1 .wh.x"], "x/ x/z=1", Some(("refused", BOTH))),
    Merge(&["d/ d/x/ d/x/y=1", "d/ d/.wh.x d/x/"], "d/ d/x/", Some(("d/ d/x/ d/x/y=1", BOTH))),
    Merge(&["x=1", ".wh..wh..opq y=1"], "y=1", Some(("x=1 y=1", OPAQUE))),
    Merge(&["a/ a/f=1", "a/b/c=2"], "a/ a/b/ a/b/c=2 a/f=1", None),
];

/// Fields of a configuration, and the command they are.
fn commands() -> Vec<(Value, &'static [&'static str])> {
    vec![
        (json!({ "Entrypoint": ["/a", "b"], "Cmd": ["c d"] }), &["/a", "b", "c d"]),
        (json!({ "Entrypoint": [""], "Cmd": ["/a", "b"] }), &["/a", "b"]),
        (json!({ "Entrypoint": null, "Cmd": ["/a"] }), &["/a"]),
        (json!({ "Entrypoint": [], "Cmd": ["/a", ""] }), &["/a", ""]),
        (json!({ "cmd": ["/a", "b"] }), &["/a", "b"]),
        (json!({ "ENTRYPOINT": ["/a"], "cMD": ["b"] }), &["/a", "b"]),
        (json!({ "Entrypoint": "/a b", "Cmd": ["c"] }), &["/a b", "c"]),
        (json!({ "Cmd": "/a b" }), &["/a b"]),
    ]
}

/// An image with a program, whose root belongs to nobody else and is closed, in the words of its layer.
fn closed(command: &[&str]) -> ImageBuilder {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is missing; run scripts/test");
    let tar = TarBuilder::new().member("./", tar::EntryType::Directory, b"", |header| {
        header.set_mode(0o700);
        header.set_uid(7);
    });
    ImageBuilder::new().layer(tar.dir("bin", 0o755).file("bin/busybox", 0o755, &busybox).build()).cmd(command)
}

impl Docker {
    /// Puts an image into its store; false when it does not take it.
    fn load(&self, image: &ImageBuilder, name: &str) -> bool {
        let archive = image.clone().tag(&format!("{name}:latest")).docker_legacy();
        let mut child = self.docker().arg("load").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        child.wait().unwrap().success()
    }

    fn says(&self, words: &[&str]) -> String {
        tools::stdout(self.docker().args(words))
    }

    fn create(&self, name: &str, command: &[&str]) -> String {
        self.says(&[&["create", "--network=none", name], command].concat()).trim().to_owned()
    }

    /// The files of a container, without those that Docker puts into each.
    fn tree(&self, container: &str) -> String {
        const OWN: [&str; 5] = [".dockerenv", "dev/", "etc/", "proc/", "sys/"];
        let exported = tools::run(self.docker().args(["export", container])).stdout;
        let all = merge(&[exported]).unwrap().short();
        let names: Vec<&str> = all.split(' ').filter(|name| !OWN.iter().any(|own| name.starts_with(own))).collect();
        names.join(" ")
    }
}

#[test]
fn an_image_is_what_docker_makes_of_it_or_a_row_of_the_documents_says_so() {
    let rows = include_str!("../../docs/images.md");
    // A socket's path is at most 107 bytes long.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let docker = Docker::start_with(dir.path(), "overlay2");
    let mut wrong = Vec::new();
    let mut judge = |what: &str, ours: &str, theirs: &str, expected: (&str, &str)| {
        if (ours, theirs) != expected {
            wrong.push(format!("{what}: we {ours:?}, Docker {theirs:?}, expected {expected:?}"));
        }
    };
    for (number, Merge(layers, ours, differs)) in MERGES.iter().enumerate() {
        let layers: Vec<Vec<u8>> = layers.iter().map(|text| layer(text)).collect();
        let image = layers.iter().fold(ImageBuilder::new(), |image, tar| image.layer(tar.clone()));
        let name = format!("merge-{number}");
        let taken = docker.load(&image, &name);
        let theirs = if taken { docker.tree(&docker.create(&name, &["x"])) } else { "refused".to_owned() };
        judge(
            &format!("{:?}", MERGES[number].0),
            &merge(&layers).unwrap().short(),
            &theirs,
            (ours, differs.map_or(ours, |(tree, _)| tree)),
        );
        assert!(differs.is_none_or(|(_, row)| rows.contains(&format!("\n| {row} |"))), "no row: {differs:?}");
    }
    for (number, (fields, words)) in commands().into_iter().enumerate() {
        let mut image = ImageBuilder::new().layer(layer("a=1"));
        for (field, value) in fields.as_object().unwrap() {
            image = image.set(field, value.clone());
        }
        let name = format!("command-{number}");
        assert!(docker.load(&image, &name), "{fields}");
        let theirs: Value = serde_json::from_str(&docker.says(&[
            "inspect",
            "-f",
            "[{{json .Path}},{{json .Args}}]",
            &docker.create(&name, &[]),
        ]))
        .unwrap();
        let theirs = json!([&[theirs[0].clone()], &theirs[1].as_array().unwrap()[..]].concat());
        let process = parse_config(&image.config_json(), 1).unwrap().config.process();
        let words = json!(words).to_string();
        judge(
            &fields.to_string(),
            &json!(process.words().collect::<Vec<_>>()).to_string(),
            &theirs.to_string(),
            (&words, &words),
        );
    }
    let image = closed(&["/bin/busybox", "stat", "-c", "%a %u:%g", "/"]).set("User", json!("1000"));
    assert!(docker.load(&image, "closed"));
    let theirs = docker.says(&["run", "--rm", "--network=none", "closed"]);
    let merged = merge(&[image.layers[0].tar.clone()]).unwrap();
    let root = &merged.tree.inode(Tree::<MemoryBody>::ROOT).attrs;
    let ours = format!("{:o} {}:{}\n", root.mode, root.uid, root.gid);
    judge("a closed root", &ours, &theirs, ("755 0:0\n", "755 0:0\n"));

    let check = json!({ "Test": ["CMD-SHELL", "me & you"], "Interval": 1_000_000_000 });
    let image = closed(&["/bin/busybox", "sleep", "1000"]).set("Healthcheck", check);
    let image = image.set("Shell", json!(["/bin/busybox", "echo", "asked by"]));
    assert!(docker.load(&image, "health"));
    let container = docker.says(&["run", "-d", "--network=none", "health"]);
    let said = || docker.says(&["inspect", "-f", "{{range .State.Health.Log}}{{.Output}}{{end}}", container.trim()]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while said().trim().is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    let theirs = said();
    docker.says(&["rm", "-f", container.trim()]);
    let health = parse_config(&image.config_json(), 1).unwrap().config.health().unwrap();
    let ours = health.command().unwrap()[2..].join(" ");
    // The image's shell does not become the container's there, and this image has no /bin/sh.
    let theirs = if theirs.contains("\"/bin/sh\"") { "asked by /bin/sh" } else { &theirs };
    judge("a health check", &ours, theirs, ("asked by me & you", "asked by /bin/sh"));
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}
