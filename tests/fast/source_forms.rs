//! One image in every form that tools write gives one and the same image.

use crate::support::images::{ImageBuilder, Pack, TarBuilder};
use crate::support::{images, tools};
use bootdisk::image::{Format, Image};
use bootdisk::source::{self, Reference, Select, SourceError};
use serde_json::json;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::Command;

fn open(reference: impl AsRef<OsStr>) -> Result<Image, SourceError> {
    let select = Select { platform: Some("linux/amd64".parse().unwrap()), ..Select::default() };
    source::open(&Reference::parse(reference.as_ref()).unwrap(), &select)
}

fn opened(reference: impl AsRef<OsStr>) -> Image {
    open(&reference).unwrap_or_else(|error| panic!("{:?}: {}", reference.as_ref(), chain(&error)))
}

fn chain(error: &dyn std::error::Error) -> String {
    let next = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", next.unwrap_or_default())
}

/// Every layer's tar, verified.
fn tars(image: &Image) -> Vec<Vec<u8>> {
    (0..image.layers.len())
        .map(|i| {
            let mut stream = image.open_layer(i).unwrap();
            let mut tar = Vec::new();
            stream.read_to_end(&mut tar).unwrap();
            stream.finish().unwrap_or_else(|error| panic!("layer {i}: {}", chain(&error)));
            tar
        })
        .collect()
}

fn layer(seed: u8) -> Vec<u8> {
    let body: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect();
    TarBuilder::new().dir("data/", 0o755).file(&format!("data/{seed}"), 0o644, &body).build()
}

fn sample() -> ImageBuilder {
    ImageBuilder::new()
        .packed_layer(layer(1), Pack::Gzip)
        .packed_layer(layer(2), Pack::GzipMembers(7))
        .packed_layer(layer(3), Pack::Zstd)
        .packed_layer(layer(4), Pack::ZstdFrames(3))
        .packed_layer(layer(5), Pack::Plain)
        .cmd(&["/bin/sh", "-c", "exit 7"])
        .set("Env", json!(["PATH=/bin", "A=b"]))
        .set("User", json!("nobody:users"))
        .set("WorkingDir", json!("/srv"))
        .set("StopSignal", json!("SIGINT"))
        .set("Volumes", json!({"/data": {}, "/cache": {}}))
        .set("ExposedPorts", json!({"80/tcp": {}}))
        .set("Labels", json!({"a": "b"}))
        .set("Entrypoint", json!(null))
        .set("Healthcheck", json!({"Test": ["CMD", "true"], "Interval": 5_000_000_000u64}))
        .tag("app:1.0")
}

fn assert_same(found: &Image, image: &ImageBuilder, from: &str) {
    let diff_ids: Vec<_> = found.diff_ids().map(|digest| digest.to_string()).collect();
    assert_eq!(diff_ids, image.diff_ids(), "{from}");
    assert!(tars(found).iter().eq(image.layers.iter().map(|layer| &layer.tar)), "{from}");
    assert!(found.warnings.is_empty(), "{from}: {:?}", found.warnings);
}

#[test]
fn forms_composed_in_code_are_the_same_image() {
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let write = |name: &str, bytes: &[u8]| std::fs::write(at(name), bytes).unwrap();
    image.write_oci(&dir.path().join("layout"));
    write("legacy.tar", &image.docker_legacy());
    write("docker25.tar", &image.docker25());
    write("oci.tar", &image.oci_archive());
    write("legacy.tar.gz", &Pack::Gzip.pack(&image.docker_legacy()));
    write("members.tar.gz", &Pack::GzipMembers(5).pack(&image.docker25()));
    write("oci.tar.zst", &Pack::Zstd.pack(&image.oci_archive()));
    let references = [
        at("layout"),
        at("legacy.tar"),
        at("docker25.tar"),
        at("oci.tar"),
        at("legacy.tar.gz"),
        at("members.tar.gz"),
        at("oci.tar.zst"),
        format!("oci:{}", at("layout")),
        format!("oci:{}:1.0", at("layout")),
        format!("oci:{}:@0", at("layout")),
        format!("oci-archive:{}", at("oci.tar")),
        format!("oci-archive:{}:1.0", at("docker25.tar")),
        format!("docker-archive:{}", at("legacy.tar")),
        format!("docker-archive:{}:app:1.0", at("docker25.tar")),
        format!("docker-archive:{}:docker.io/library/app:1.0", at("legacy.tar")),
        format!("docker-archive:{}:@0", at("legacy.tar")),
        format!("{}:1.0", at("legacy.tar")),
    ];
    let first = opened(&references[0]);
    assert_eq!(first.config.cmd, ["/bin/sh", "-c", "exit 7"]);
    assert_eq!(first.config.entrypoint, [""; 0]);
    assert_eq!(first.config.volumes, ["/cache", "/data"]);
    assert_eq!(first.config.exposed_ports, ["80/tcp"]);
    assert_eq!(first.config.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
    assert_eq!(first.platform.to_string(), "linux/amd64");
    for reference in &references {
        let found = opened(reference);
        assert_same(&found, &image, reference);
        assert_eq!(found.config, first.config, "{reference}");
        assert_eq!(found.chain_id(), first.chain_id(), "{reference}");
        assert_eq!(found.config_digest, first.config_digest, "{reference}");
        assert!(found.name.as_deref().is_some_and(|name| name.ends_with("1.0")), "{reference}");
    }
    let formats: Vec<_> = (0..5).map(|i| first.open_layer(i).unwrap().format()).collect();
    assert_eq!(formats, [Format::Gzip, Format::Gzip, Format::Zstd, Format::Zstd, Format::Tar]);
}

#[test]
fn podman_skopeo_buildah_and_umoci_images() {
    let dir = tempfile::tempdir().unwrap();
    let mut image = sample();
    // skopeo 1.9 writes no docker archive from zstd layers.
    for layer in &mut image.layers[2..4] {
        layer.blob = Pack::Gzip.pack(&layer.tar);
        layer.media_type = Pack::Gzip.media_type().into();
    }
    image.write_oci(&dir.path().join("layout"));
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        tools::stdout(command.current_dir(dir.path()).args(args))
    };
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    run("skopeo", &["copy", "oci:layout:1.0", "docker-archive:skopeo-docker.tar:app:1.0"]);
    run("skopeo", &["copy", "oci:layout:1.0", "oci-archive:skopeo-oci.tar:1.0"]);
    run("skopeo", &["copy", "--dest-compress-format", "zstd", "oci:layout:1.0", "oci:skopeo-zstd:1.0"]);
    let store = ["--storage-driver", "vfs", "--root", &at("store"), "--runroot", &at("run")].map(String::from);
    let podman = |args: &[&str]| {
        let all: Vec<_> = store.iter().map(String::as_str).chain(args.iter().copied()).collect();
        run("podman", &all)
    };
    // Podman keeps Docker's healthcheck only in Docker's own format; the rest of the configuration is the same.
    podman(&["load", "-q", "-i", "skopeo-docker.tar"]);
    podman(&["save", "-q", "--format", "docker-archive", "-o", "podman-docker.tar", "app:1.0"]);
    podman(&["save", "-q", "--format", "oci-archive", "-o", "podman-oci.tar", "app:1.0"]);
    let other = ImageBuilder::new().layer(layer(1)).layer(layer(9)).tag("other:2");
    std::fs::write(dir.path().join("other.tar"), other.docker_legacy()).unwrap();
    podman(&["load", "-q", "-i", "other.tar"]);
    podman(&["save", "-q", "-m", "-o", "podman-both.tar", "app:1.0", "other:2"]);
    podman(&["push", "-q", "--compression-format", "zstd:chunked", "app:1.0", "oci:podman-chunked:1.0"]);
    let buildah: Vec<_> =
        store.iter().map(String::as_str).chain(["push", "-q", "app:1.0", "oci:buildah:1.0"]).collect();
    run("buildah", &buildah);
    let first = opened(at("layout"));
    for name in [
        "skopeo-docker.tar",
        "skopeo-oci.tar",
        "skopeo-zstd",
        "podman-docker.tar",
        "podman-oci.tar",
        "podman-chunked",
        "podman-both.tar:app:1.0",
        "buildah",
    ] {
        let found = opened(at(name));
        assert_same(&found, &image, name);
        assert_eq!(found.chain_id(), first.chain_id(), "{name}");
        let without_check = |image: &Image| {
            let mut config = image.config.clone();
            config.healthcheck = None;
            config.hostname.clear();
            config
        };
        assert_eq!(without_check(&found), without_check(&first), "{name}");
    }
    let chunked = opened(at("podman-chunked")).open_layer(0).unwrap().format();
    assert_eq!(chunked, Format::Zstd);
    let SourceError::Several(names) = open(at("podman-both.tar")).unwrap_err() else { panic!("two images") };
    assert!(names.len() == 2, "{names:?}");
    assert_same(&opened(at("podman-both.tar:2")), &other, "podman-both.tar:2");
}

#[test]
fn umoci_adds_a_layer() {
    let dir = tempfile::tempdir().unwrap();
    let base = ImageBuilder::new().layer(layer(1)).tag("app:1.0");
    base.write_oci(&dir.path().join("layout"));
    std::fs::write(dir.path().join("added"), b"by umoci\n").unwrap();
    let mut umoci = Command::new("umoci");
    umoci.current_dir(dir.path()).args([
        "insert",
        "--rootless",
        "--image",
        "layout:1.0",
        "--tag",
        "2.0",
        "added",
        "/added",
    ]);
    tools::stdout(&mut umoci);
    let layout = dir.path().join("layout").to_str().unwrap().to_string();
    let SourceError::Several(found) = open(&layout).unwrap_err() else { panic!("two tags of different images") };
    assert!(found.len() == 2 && found[0].starts_with("1.0 ") && found[1].starts_with("2.0 "), "{found:?}");
    let second = opened(format!("{layout}:2.0"));
    assert_eq!(second.layers.len(), 2);
    let tars = tars(&second);
    assert_eq!(tars[0], base.layers[0].tar);
    assert!(tars[1].windows(9).any(|window| window == b"by umoci\n"));
}

#[test]
fn standard_input_and_pipes_are_spooled() {
    use std::os::fd::{AsRawFd, OwnedFd};
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    for bytes in [image.docker_legacy(), Pack::Gzip.pack(&image.oci_archive())] {
        // A pipe by its path: what a shell's <(docker save …) gives, and what /dev/stdin is.
        let (reader, mut writer) = std::io::pipe().unwrap();
        let feeder = std::thread::spawn({
            let bytes = bytes.clone();
            move || writer.write_all(&bytes).unwrap()
        });
        let fd = OwnedFd::from(reader);
        let found = opened(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        feeder.join().unwrap();
        assert_same(&found, &image, "pipe");
        // A FIFO in a directory.
        let fifo = dir.path().join("fifo");
        _ = std::fs::remove_file(&fifo);
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let feeder = std::thread::spawn({
            let fifo = fifo.clone();
            move || std::fs::write(fifo, bytes).unwrap()
        });
        let found = opened(&fifo);
        feeder.join().unwrap();
        assert_same(&found, &image, "fifo");
    }
}

#[test]
fn the_archive_may_be_written_in_any_order_and_with_any_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    image.write_oci(&dir.path().join("layout"));
    let run = |args: &[&str]| {
        let mut tar = Command::new("tar");
        tools::stdout(tar.current_dir(dir.path()).args(args));
    };
    run(&["cf", "dot.tar", "-C", "layout", "."]);
    run(&["cf", "first.tar", "-C", "layout", "index.json", "oci-layout", "blobs"]);
    run(&["cf", "last.tar", "-C", "layout", "blobs", "oci-layout", "index.json"]);
    run(&["--format=pax", "--pax-option=comment=x", "-cf", "pax.tar", "-C", "layout", "."]);
    run(&["--format=v7", "-cf", "v7.tar", "-C", "layout", "."]);
    for name in ["dot.tar", "first.tar", "last.tar", "pax.tar", "v7.tar"] {
        assert_same(&opened(dir.path().join(name)), &image, name);
    }
    // The same for a docker archive.
    std::fs::write(dir.path().join("legacy.tar"), image.docker_legacy()).unwrap();
    std::fs::create_dir(dir.path().join("x")).unwrap();
    run(&["xf", "legacy.tar", "-C", "x"]);
    run(&["cf", "dot-legacy.tar", "-C", "x", "."]);
    assert_same(&opened(dir.path().join("dot-legacy.tar")), &image, "dot-legacy.tar");
}

/// Docker archives as tools other than Docker name and order their members.
#[test]
fn the_names_that_other_tools_give_in_docker_archives() {
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    let config = image.config_json();
    let hex = |bytes: &[u8]| images::sha256(bytes)[7..].to_string();
    let config_hex = hex(&config);
    // Tool, configuration, prefix and end of a layer's name, how it is packed, prefix of the members' names alone.
    for (tool, config_name, prefix, end, pack, member_prefix) in [
        ("ko", format!("sha256:{config_hex}"), "", ".tar.gz", Pack::Gzip, ""),
        ("crane", format!("sha256:{config_hex}"), "sha256:", ".tar.gz", Pack::Gzip, ""),
        ("jib", "config.json".into(), "", ".tar.gz", Pack::Gzip, ""),
        ("kaniko", format!("sha256:{config_hex}"), "", ".tar.gz", Pack::GzipMembers(3), ""),
        ("bazel", format!("{config_hex}.json"), "", "/layer.tar", Pack::Plain, "./"),
        ("bazel, old", format!("./{config_hex}.json"), "./", "/layer.tar", Pack::Plain, ""),
        ("nix", format!("{config_hex}.json"), "", "/layer.tar", Pack::Plain, ""),
        ("zstd", "config.json".into(), "layers/", ".tar.zst", Pack::ZstdFrames(2), ""),
    ] {
        let stored: Vec<_> = image.layers.iter().map(|layer| pack.pack(&layer.tar)).collect();
        let names: Vec<_> = stored.iter().map(|blob| format!("{prefix}{}{end}", hex(blob))).collect();
        let manifest = json!([{ "Config": config_name, "RepoTags": image.tags, "Layers": names }]);
        let mut files = vec![(config_name.clone(), config.clone())];
        files.extend(names.into_iter().zip(stored));
        files.push(("manifest.json".into(), manifest.to_string().into_bytes()));
        files.iter_mut().for_each(|(name, _)| *name = format!("{member_prefix}{name}"));
        for order in ["manifest last", "manifest first"] {
            let path = dir.path().join(format!("{tool} {order}.tar"));
            std::fs::write(&path, images::archive(&files)).unwrap();
            assert_same(&opened(&path), &image, &format!("{tool}, {order}"));
            files.rotate_right(1);
        }
    }
}

#[test]
fn paths_with_colons_and_bytes_that_are_no_text() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    let strange = dir.path().join(OsStr::from_bytes(b"a:b\xff.tar"));
    std::fs::write(&strange, image.docker_legacy()).unwrap();
    assert_same(&opened(&strange), &image, "strange path");
    let mut reference = std::ffi::OsString::from("docker-archive:");
    reference.push(&strange);
    reference.push(":app:1.0");
    assert_same(&opened(&reference), &image, "strange path with a name");
}

#[test]
fn a_symbolic_link_to_an_archive_is_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let image = sample();
    std::fs::write(dir.path().join("x.tar"), image.docker_legacy()).unwrap();
    std::os::unix::fs::symlink("x.tar", dir.path().join("link")).unwrap();
    image.write_oci(&dir.path().join("layout"));
    std::os::unix::fs::symlink("layout", dir.path().join("dirlink")).unwrap();
    for name in ["link", "dirlink"] {
        assert_same(&opened(dir.path().join(name)), &image, name);
    }
}
