//! Images that are pulled, kept, and pulled again.

use super::{Home, image, layout, oci};
use crate::support::http::{Server, answer};
use crate::support::images::{ImageBuilder, Pack, TarBuilder, descriptor, estargz, oci_layout, sha256, write_files};
use crate::support::registry::Registry;
use bootdisk::source::{self, Reference, Select};
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn an_image_in_a_registry_is_the_image_of_its_layout_by_tag_and_by_digest() {
    let registry = Registry::open();
    let rows: [(&str, &[Pack]); 6] = [
        ("gzip", &[Pack::Gzip]),
        ("plain", &[Pack::Plain]),
        ("zstd", &[Pack::Zstd]),
        ("frames", &[Pack::ZstdFrames(3), Pack::GzipMembers(3)]),
        ("many", &[Pack::Gzip; 9]),
        ("none", &[]),
    ];
    let home = Home::new();
    for (name, packs) in rows {
        let built = image(name, packs);
        let from = layout(&home, name, &built);
        registry.push(&oci(&from), &format!("{name}:1"), &["--preserve-digests"]);
        let digest = sha256(&serde_json::to_vec(&built.manifest()).unwrap());
        let expected = home.files_of(&from, &[]);
        for reference in [format!("{name}:1"), format!("{name}@{digest}"), format!("{name}:nonsense@{digest}")] {
            let (full, prefix) = (registry.name(&reference), ["", "docker://"]);
            for prefix in prefix {
                let ran = home.files(format!("{prefix}{full}"), &["--no-cache"]).expect_status(0);
                assert!(ran.text() == expected, "{reference}");
                assert_eq!(ran.stderr, format!("{full}\ndigest: {digest}\n"), "the full name first, then its digest");
            }
        }
    }
    assert!(home.blobs().is_empty(), "--no-cache leaves nothing");
}

#[test]
fn what_was_pulled_is_there_without_its_registry_and_each_policy_does_what_it_says() {
    let mut registry = Registry::open();
    let home = Home::new();
    let from = layout(&home, "app", &image("app", &[Pack::Gzip, Pack::Gzip]));
    registry.push(&oci(&from), "app", &[]);
    let name = format!("docker://{}", registry.name("app"));
    let expected = home.files_of(&from, &[]);
    let pull = |policy: &str| {
        let mut command = home.bootdisk();
        command.args(["build", "--kernel", "./none", "--pull", policy, &name, "-o"]).arg(home.path("disk.img"));
        crate::support::e2e::run(&mut command)
    };
    assert!(pull("never").stderr.contains("is not kept here"));
    assert_eq!(home.files(&name, &[]).expect_status(0).text(), expected);
    assert_eq!(home.blobs().len(), 4, "two layers, a configuration, a manifest");
    home.has_right_blobs();
    // The name means something else from now on; who does not ask does not know.
    registry.push(&oci(&layout(&home, "new", &image("new", &[Pack::Gzip]))), "app", &[]);
    for (policy, asks) in [("missing", false), ("never", false), ("newer", true)] {
        assert_eq!(pull(policy).stderr.contains("digest: sha256:"), asks, "{policy}");
    }
    let ran = home.files(&name, &[]).expect_status(0);
    assert!(ran.text().contains("new0/name"), "{}", ran.stderr);
    registry.stop();
    let ran = home.files(&name, &[]).expect_status(0);
    assert!(ran.stderr.is_empty() && ran.text().contains("new0/name"), "{}", ran.stderr);
    for (policy, words) in [
        ("missing", &["no such kernel"][..]),
        ("never", &["no such kernel"]),
        ("newer", &["warning: no answer from 127.0.0.1", "using the copy in the cache", "no such kernel"]),
        ("always", &["error: cannot build from docker://127.0.0.1", "no answer from 127.0.0.1"]),
    ] {
        let said = pull(policy).stderr;
        assert!(words.iter().all(|word| said.contains(word)), "{policy}: {said}");
    }
}

#[test]
fn a_copy_that_is_damaged_is_found_out_and_fetched_anew() {
    let registry = Registry::open();
    let home = Home::new();
    let from = layout(&home, "app", &image("app", &[Pack::Gzip]));
    registry.push(&oci(&from), "app", &[]);
    let name = format!("docker://{}", registry.name("app"));
    let expected = home.files(&name, &[]).expect_status(0).text();
    for path in home.blobs() {
        for damage in ["flip", "cut"] {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            if damage == "flip" {
                bytes[middle] ^= 1
            } else {
                bytes.truncate(middle)
            }
            std::fs::write(&path, bytes).unwrap();
            let first = home.files(&name, &[]);
            // A document is fetched again at once, of a layer a part may have been used already.
            if first.status != Some(0) {
                assert!(first.stderr.contains("the copy in the cache is damaged, and was removed"), "{}", first.stderr);
            }
            assert_eq!(home.files(&name, &[]).expect_status(0).text(), expected, "{damage} {}", path.display());
        }
    }
    home.has_right_blobs();
}

/// Puts an attestation of an image into a repository: a manifest that is like an image's, with a statement as its layer.
fn attestation(registry: &Registry, repository: &str, image: &Value) -> Value {
    let statement =
        br#"{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2"}"#;
    let config = br#"{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    registry.put_blob(repository, statement);
    registry.put_blob(repository, config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.in-toto+json", statement)],
    });
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let mut made = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    registry.put_manifest(repository, &sha256(&manifest), "application/vnd.oci.image.manifest.v1+json", &manifest);
    made["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    made["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image["digest"],
    });
    made
}

/// As containers of Docker have it: an index that is a file of the layer is one of the root file system as well.
#[test]
fn a_layer_of_estargz_is_its_files_and_its_index() {
    let noise: Vec<u8> = (0..60_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let files: [(&str, &[u8]); 3] = [("empty", b""), ("name", b"app"), ("noise", &noise)];
    let mut lazy = ImageBuilder::new();
    lazy.layers.push(estargz(&files));
    let plain = files.iter().fold(TarBuilder::new(), |tar, (path, data)| tar.file(path, 0o644, data));
    let (registry, home) = (Registry::open(), Home::new());
    let plain = layout(&home, "plain", &ImageBuilder::new().layer(plain.build()));
    registry.push(&oci(&layout(&home, "lazy", &lazy)), "lazy", &["--preserve-digests"]);
    let ran = home.files(format!("docker://{}", registry.name("lazy")), &[]).expect_status(0);
    let (index, others): (Vec<&str>, Vec<&str>) = ran
        .stdout
        .split(|byte| *byte == b'\n')
        .map(|line| std::str::from_utf8(line).unwrap())
        .partition(|line| line.contains("stargz.index.json"));
    assert_eq!((index.len(), others.join("\n")), (1, home.files_of(&plain, &[])));
}

/// A table of contents follows in frames that a reader of zstd passes over.
#[test]
fn a_layer_of_zstd_chunked_is_its_files() {
    let (registry, home) = (Registry::open(), Home::new());
    // skopeo 1.9 never ends where a layer has one file only.
    let files = ["bin", "etc/name", "etc/noise", "last"];
    let tar = files.iter().fold(TarBuilder::new().dir("etc", 0o755), |tar, path| {
        let data: Vec<u8> = path.bytes().cycle().take(40_000 * path.len()).collect();
        tar.file(path, 0o644, &data)
    });
    let from = layout(&home, "app", &ImageBuilder::new().layer(tar.build()));
    registry.push(&oci(&from), "chunked", &["--dest-compress-format", "zstd:chunked"]);
    let name = registry.name("chunked");
    let accept = ("accept", "application/vnd.oci.image.manifest.v1+json");
    let manifest = crate::support::http::ask(registry.port, "GET", "/v2/chunked/manifests/latest", &[accept], b"").body;
    let manifest = String::from_utf8(manifest).unwrap();
    assert!(manifest.contains("zstd-chunked.manifest-checksum"), "{manifest}");
    for options in [&["--no-cache"][..], &[]] {
        assert_eq!(home.files(format!("docker://{name}"), options).expect_status(0).text(), home.files_of(&from, &[]));
    }
    home.has_right_blobs();
}

#[test]
fn the_platform_decides_in_an_index_and_in_one_within_another() {
    let registry = Registry::open();
    let home = Home::new();
    let images = ["linux/amd64", "linux/arm64"]
        .map(|platform| image(&platform.replace('/', "-"), &[Pack::Gzip]).platform(platform));
    let from = home.path("both");
    write_files(&from, &oci_layout(&[&images[0], &images[1]]));
    for image in &images {
        image.oci_blobs().iter().for_each(|(_, bytes)| registry.put_blob("both", bytes));
        let manifest = serde_json::to_vec(&image.manifest()).unwrap();
        registry.put_manifest("both", &sha256(&manifest), "application/vnd.oci.image.manifest.v1+json", &manifest);
    }
    let index = std::fs::read(from.join("index.json")).unwrap();
    registry.put_manifest("both", "flat", INDEX, &index);
    let nested = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(INDEX, &index)] });
    registry.put_manifest("both", "nested", INDEX, &serde_json::to_vec(&nested).unwrap());
    // What buildx puts beside an image: how it was made.
    let mut beside: Value = serde_json::from_slice(&index).unwrap();
    let made = attestation(&registry, "both", &beside["manifests"][0]);
    beside["manifests"].as_array_mut().unwrap().insert(0, made);
    registry.put_manifest("both", "attested", INDEX, &serde_json::to_vec(&beside).unwrap());
    for tag in ["flat", "nested", "attested"] {
        for platform in ["linux/amd64", "linux/arm64"] {
            let options = ["--platform", platform];
            let ran = home.files(format!("docker://{}", registry.name(&format!("both:{tag}"))), &options);
            assert_eq!(ran.expect_status(0).text(), home.files_of(&from, &options), "{tag} {platform}");
        }
        let none = home.files(registry.name(&format!("both:{tag}")), &["--platform", "linux/s390x"]).expect_status(1);
        assert!(
            none.stderr.contains("no image for linux/s390x in it, only for: linux/amd64, linux/arm64"),
            "{}",
            none.stderr
        );
    }
}

/// A registry of one image that keeps back the second half of its layer until it is told to go on.
fn slow(image: ImageBuilder) -> (Server, Sender<()>, Arc<Mutex<Vec<String>>>) {
    let (go_on, wait) = channel::<()>();
    let (wait, ranges) = (Mutex::new(wait), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&ranges);
    let server = Server::with(move |request, stream| {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        let manifest = serde_json::to_vec(&image.manifest()).unwrap();
        let mut say = |bytes: &[u8]| _ = stream.write_all(bytes);
        if request.path.contains("/manifests/") {
            return say(&answer(200, &[("content-type", "application/vnd.oci.image.manifest.v1+json")], &manifest));
        }
        let (_, bytes) = image.oci_blobs().into_iter().find(|(_, bytes)| sha256(bytes) == last).unwrap();
        if last != sha256(&image.layers[0].blob) {
            return say(&answer(200, &[], &bytes));
        }
        noted.lock().unwrap().push(request.header("range").to_owned());
        let from = request.header("range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
        let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
        let whole = answer(if from > 0 { 206 } else { 200 }, &[("content-range", &range)], &bytes[from..]);
        let half = if from > 0 { whole.len() } else { whole.len() / 2 };
        say(&whole[..half]);
        // Whoever lets go of the other end lets it end here.
        if half < whole.len() && wait.lock().unwrap().recv().is_ok() {
            say(&whole[half..]);
        }
    });
    (server, go_on, ranges)
}

/// Much that does not compress.
fn large() -> ImageBuilder {
    let noise: Vec<u8> = (0..4u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    ImageBuilder::new().packed_layer(TarBuilder::new().file("noise", 0o644, &noise).build(), Pack::Plain)
}

#[test]
fn a_layer_is_decoded_while_it_arrives() {
    let (server, go_on, _) = slow(large());
    let reference = Reference::parse(format!("docker://127.0.0.1:{}/large", server.port).as_ref()).unwrap();
    let opened =
        source::open(&reference, &Select { platform: Some("linux/amd64".parse().unwrap()), ..Select::default() })
            .unwrap();
    let mut layer = opened.open_layer(0).unwrap();
    let mut read = 0;
    while read < 1 << 20 {
        let count = layer.fill_buf().unwrap().len();
        layer.consume(count);
        read += count;
    }
    go_on.send(()).unwrap();
    layer.finish().unwrap();
}

#[test]
fn what_is_pruned_meanwhile_does_not_hurt_a_pull() {
    let image = large();
    let (server, go_on, _) = slow(image.clone());
    let home = Home::new();
    let name = format!("docker://127.0.0.1:{}/large", server.port);
    let running = crate::support::e2e::Running::start(home.bootdisk().args(["inspect", "--files", "jsonl", &name]));
    while !home.blobs().iter().any(|path| path.metadata().is_ok_and(|facts| facts.len() > 1 << 20)) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    crate::support::e2e::run(home.bootdisk().args(["cache", "prune"])).expect_status(0);
    go_on.send(()).unwrap();
    let ran = running.finish().expect_status(0);
    assert_eq!(ran.text(), home.files_of(&layout(&home, "large", &image), &[]));
    assert_eq!(home.blobs().len(), 1, "the layer that was on its way");
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was() {
    let image = large();
    let size = image.layers[0].blob.len() as u64;
    let (server, go_on, ranges) = slow(image.clone());
    let home = Home::new();
    let name = format!("docker://127.0.0.1:{}/large", server.port);
    let mut first = home.bootdisk().args(["inspect", &name]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let part = || home.blobs().into_iter().find(|path| path.extension().is_some());
    let has_come = || part().and_then(|path| path.metadata().ok()).map_or(0, |facts| facts.len());
    while has_come() < size / 4 {
        assert!(first.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let had = has_come();
    drop(go_on);
    // Damage in what is left is found out, and then all of it is fetched.
    for (damage, asked) in [(true, vec![format!("bytes={had}-"), String::new()]), (false, vec![])] {
        ranges.lock().unwrap().clear();
        if damage {
            let path = part().unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
        let ran = home.files(&name, &[]);
        // From its beginning it comes by halves, and then by the rest.
        assert_eq!(ran.expect_status(0).text(), home.files_of(&layout(&home, "large", &image), &[]));
        let seen = ranges.lock().unwrap();
        assert!(seen.starts_with(&asked), "{seen:?}");
    }
    home.has_right_blobs();
}

/// Files that are no part of an image, nor on their way to be one.
fn leftovers(home: &Home) -> Vec<String> {
    let entries = std::fs::read_dir(home.path("cache/bootdisk/blobs")).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_pull_that_was_killed_while_it_kept_something_leaves_nothing_for_ever() {
    let registry = Registry::open();
    let home = Home::new();
    let from = layout(&home, "app", &image("app", &[Pack::Gzip]));
    registry.push(&oci(&from), "app", &[]);
    let name = format!("docker://{}", registry.name("app"));
    let expected = home.files_of(&from, &[]);
    // The manifest, what the name means, the configuration.
    for kept in 1..=3 {
        let kill = format!("inject=/^renameat:signal=KILL:when={kept}");
        let command = home.bootdisk();
        let mut strace = std::process::Command::new("strace");
        strace.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", &kill]).arg(command.get_program());
        command.get_envs().for_each(|(name, value)| _ = value.map(|value| strace.env(name, value)));
        let killed = crate::support::e2e::run(strace.args(["inspect", &name]));
        assert!(killed.status != Some(0) && leftovers(&home).len() == 1, "{kept}: {}", killed.stderr);
        let files = home.files(&name, &[]).expect_status(0);
        assert_eq!((files.text(), leftovers(&home)), (expected.clone(), vec![]), "{kept}");
        crate::support::e2e::run(home.bootdisk().args(["cache", "prune"])).expect_status(0);
    }
}

#[test]
fn several_that_pull_one_image_at_once_fetch_it_once() {
    let registry = Registry::open();
    let home = Home::new();
    let from = layout(&home, "app", &image("app", &[Pack::Gzip; 4]));
    registry.push(&oci(&from), "app", &[]);
    let name = format!("docker://{}", registry.name("app"));
    let expected = home.files_of(&from, &[]);
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| home.files(&name, &[]).expect_status(0).text())).collect();
        assert!(pulls.into_iter().all(|pull| pull.join().unwrap() == expected));
    });
    home.has_right_blobs();
    assert_eq!(home.blobs().len(), 6, "no part is left");
}
