//! What is no image, or not the one that was meant, is refused: one sentence, nothing opened that was not named, no
//! hang, bounded memory. The rows of the project's case table that begin with A.

use crate::support::images::{
    ImageBuilder, Pack, TarBuilder, archive, blob_path, descriptor, oci_layout, sha256, write_files,
};
use crate::support::{images, tools};
use bootdisk::image::{Blob, Image};
use bootdisk::source::{self, Reference, Select, SourceError};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

type Files = Vec<(String, Vec<u8>)>;

fn chain(error: &dyn std::error::Error) -> String {
    let next = error.source().map(|source| format!(": {}", chain(source)));
    format!("{error}{}", next.unwrap_or_default())
}

fn open_for(path: &Path, choice: &str, platform: &str) -> Result<Image, String> {
    let mut text = path.as_os_str().to_owned();
    text.push(choice);
    let select = Select { platform: Some(platform.parse().unwrap()), ..Select::default() };
    let opened = source::open(&Reference::parse(&text).unwrap(), &select);
    opened.map_err(|error| {
        let sentence = chain(&error);
        assert!(!sentence.contains('\n') && !sentence.contains('\x1b'), "{sentence:?}");
        assert!(sentence.starts_with(|c: char| !c.is_uppercase()), "{sentence}");
        sentence
    })
}

/// Opens an image and reads all of it, as a build would.
fn read_all(path: &Path, choice: &str) -> Result<Image, String> {
    let image = open_for(path, choice, "linux/amd64")?;
    for layer in 0..image.layers.len() {
        let mut stream = image.open_layer(layer).map_err(|error| chain(&error))?;
        let copied = std::io::copy(&mut stream, &mut std::io::sink());
        stream.finish().map_err(|error| chain(&error))?;
        copied.unwrap();
    }
    Ok(image)
}

/// The same for an OCI layout of these files, as a directory and as an archive: both must agree.
fn read_files(files: &Files) -> Result<Image, String> {
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("layout"), files);
    std::fs::write(dir.path().join("x.tar"), archive(files)).unwrap();
    let from_directory = read_all(&dir.path().join("layout"), "");
    let from_archive = read_all(&dir.path().join("x.tar"), "");
    assert_eq!(from_directory.as_ref().err(), from_archive.as_ref().err());
    from_directory
}

fn read_bytes(bytes: &[u8]) -> Result<Image, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read_all(file.path(), "")
}

fn layer(seed: u8) -> Vec<u8> {
    TarBuilder::new().file(&format!("file{seed}"), 0o644, &[seed; 700]).build()
}

fn sample() -> ImageBuilder {
    ImageBuilder::new().layer(layer(1)).packed_layer(layer(2), Pack::Zstd).cmd(&["/x"]).tag("app:1")
}

/// A layout whose manifest and configuration are these, each described rightly.
fn layout_of(manifest: &Value, config: &[u8], image: &ImageBuilder) -> Files {
    let mut files = image.oci_blobs();
    let bytes = serde_json::to_vec(manifest).unwrap();
    files.push((blob_path(config), config.to_vec()));
    files.push((blob_path(&bytes), bytes.clone()));
    files.extend(layout_to(vec![descriptor("application/vnd.oci.image.manifest.v1+json", &bytes)]));
    files
}

/// `oci-layout` and an index with these entries.
fn layout_to(entries: Vec<Value>) -> Files {
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    vec![
        ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".into(), serde_json::to_vec(&index).unwrap()),
    ]
}

/// The sample with its configuration changed.
fn with_config(change: impl FnOnce(&mut Value)) -> Result<Image, String> {
    let image = sample();
    let mut config: Value = serde_json::from_slice(&image.config_json()).unwrap();
    change(&mut config);
    let config = serde_json::to_vec(&config).unwrap();
    let mut manifest = image.manifest();
    manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &config);
    read_files(&layout_of(&manifest, &config, &image))
}

/// The sample with its manifest changed.
fn with_manifest(change: impl FnOnce(&mut Value)) -> Result<Image, String> {
    let image = sample();
    let mut manifest = image.manifest();
    change(&mut manifest);
    read_files(&layout_of(&manifest, &image.config_json(), &image))
}

#[track_caller]
fn refused(result: Result<Image, String>, expected: &str) {
    match result {
        Ok(_) => panic!("accepted, instead of: {expected}"),
        Err(error) => assert!(error.contains(expected), "{error:?} instead of {expected:?}"),
    }
}

#[test]
fn a01_each_bit_of_each_blob_flipped() {
    let image = sample();
    let files = image.oci_files();
    read_files(&files).unwrap();
    let every = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 1 } else { 37 };
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), &files);
    let mut flips = 0;
    for (path, bytes) in files.iter().filter(|(path, _)| path.starts_with("blobs/")) {
        for bit in (0..bytes.len() * 8).step_by(every) {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(path), &flipped).unwrap();
            refused(read_all(dir.path(), ""), "content does not match its digest");
            flips += 1;
        }
        std::fs::write(dir.path().join(path), bytes).unwrap();
    }
    assert!(flips > 200, "{flips}");
    read_all(dir.path(), "").unwrap();
}

#[test]
fn a01_each_bit_of_the_members_of_docker_archives_flipped() {
    // In a legacy archive the configuration's name and the diff_ids are all there is, and they are enough.
    for bytes in [sample().docker_legacy(), sample().docker25()] {
        let whole = read_bytes(&bytes).unwrap();
        for at in (0..bytes.len()).step_by(97) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            if let Ok(image) = read_bytes(&flipped) {
                // A byte of padding, of an owner's name, of a file nobody reads, or of the tag.
                assert!(image.diff_ids().eq(whole.diff_ids()), "byte {at}");
                assert_eq!(image.config, whole.config, "byte {at}");
            }
        }
    }
}

#[test]
fn a02_sizes_that_are_not_the_size() {
    let size = |bytes: &[u8], change: i64| json!(bytes.len() as i64 + change);
    let image = sample();
    for change in [1, -1] {
        for i in 0..2 {
            let wrong = with_manifest(|m| m["layers"][i]["size"] = size(&image.layers[i].blob, change));
            refused(wrong, "its size is");
        }
        refused(with_manifest(|m| m["config"]["size"] = size(&image.config_json(), change)), "its size is");
        let mut files = image.oci_files();
        let entry = files.iter_mut().find(|(path, _)| path == "index.json").unwrap();
        let mut index: Value = serde_json::from_slice(&entry.1).unwrap();
        let right = index["manifests"][0]["size"].as_i64().unwrap();
        index["manifests"][0]["size"] = json!(right + change);
        entry.1 = serde_json::to_vec(&index).unwrap();
        refused(read_files(&files), "its size is");
    }
    for nonsense in [json!(i64::MIN), json!(-1), json!(1.5), json!("10"), json!(null)] {
        refused(with_manifest(|m| m["layers"][0]["size"] = nonsense.clone()), "invalid");
    }
    refused(with_manifest(|m| m["config"]["size"] = json!(1u64 << 30)), "more than the 20971520");
    refused(with_manifest(|m| m["layers"][0]["size"] = json!(u64::MAX)), "its size is");
}

#[test]
fn a03_digests_that_are_none() {
    let hex = sha256(b"")[7..].to_string();
    for (digest, expected) in [
        (format!("sha256:{}", hex.to_uppercase()), "is not 64 lower-case hexadecimal digits"),
        (format!("sha256:{}", &hex[1..]), "is not 64 lower-case hexadecimal digits"),
        ("sha256:../../../../../../etc/passwd".into(), "is not 64 lower-case hexadecimal digits"),
        (format!("../../sha256:{hex}"), "unsupported digest algorithm"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e".into(), "unsupported digest algorithm"),
        (String::new(), "not a digest"),
        ("/etc/passwd".into(), "not a digest"),
        ("sha256:\x1b[31m".into(), "is not 64"),
    ] {
        refused(with_manifest(|m| m["layers"][1]["digest"] = json!(digest)), expected);
        refused(with_manifest(|m| m["config"]["digest"] = json!(digest)), expected);
        refused(with_config(|c| c["rootfs"]["diff_ids"][0] = json!(digest)), expected);
        refused(read_files(&layout_to(vec![json!({ "digest": digest, "size": 1 })])), expected);
    }
}

#[test]
fn a04_sha512() {
    use sha2::Digest;
    let image = sample();
    let sha512 = |bytes: &[u8]| format!("sha512:{:x}", sha2::Sha512::digest(bytes));
    let mut manifest = image.manifest();
    let mut files = Files::new();
    let mut add = |descriptor: &mut Value, bytes: &[u8]| {
        descriptor["digest"] = json!(sha512(bytes));
        files.push((format!("blobs/sha512/{}", &sha512(bytes)[7..]), bytes.to_vec()));
    };
    add(&mut manifest["config"], &image.config_json());
    for (i, layer) in image.layers.iter().enumerate() {
        add(&mut manifest["layers"][i], &layer.blob);
    }
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &bytes);
    add(&mut entry, &bytes);
    files.extend(layout_to(vec![entry]));
    read_files(&files).unwrap();
    files[1].1[3] ^= 1;
    refused(read_files(&files), "content does not match its digest");
}

#[test]
fn a05_a06_a07_diff_ids() {
    let other = sha256(b"other");
    refused(with_config(|c| c["rootfs"]["diff_ids"][1] = json!(other)), "does not match its diff_id");
    refused(with_config(|c| c["rootfs"]["diff_ids"] = json!([])), "2 layers but 0 diff_ids");
    refused(with_config(|c| _ = c["rootfs"]["diff_ids"].as_array_mut().unwrap().pop()), "2 layers but 1 diff_ids");
    refused(with_config(|c| c["rootfs"]["diff_ids"].as_array_mut().unwrap().push(json!(other))), "2 layers but 3");
    refused(with_config(|c| c["rootfs"]["diff_ids"] = json!(null)), "no rootfs");
    refused(with_config(|c| c["rootfs"] = json!(null)), "no rootfs");
    refused(with_config(|c| _ = c.as_object_mut().unwrap().remove("rootfs")), "no rootfs");
    refused(with_config(|c| c["rootfs"]["type"] = json!("x")), "unsupported rootfs type \"x\"");
    refused(with_config(|c| c["rootfs"]["type"] = json!(null)), "unsupported rootfs type");
    // The same in a docker archive.
    let mut image = sample();
    image.config["rootfs"] = json!({ "type": "layers", "diff_ids": [other] });
    refused(read_bytes(&image.docker_legacy()), "2 layers but 1 diff_ids");
    image.config["rootfs"] = json!({ "type": "layers", "diff_ids": [other, other] });
    refused(read_bytes(&image.docker_legacy()), "does not match its diff_id");
}

#[test]
fn a08_histories() {
    let (made, empty) = (json!({"created_by": "x"}), json!({"created_by": "y", "empty_layer": true}));
    for history in [
        json!([made, made]),
        json!([empty, made, made]),
        json!([made, empty, made]),
        json!([made, made, empty]),
        json!([empty, made, empty, empty, made, empty]),
        json!([]),
        json!(null),
    ] {
        let image = with_config(|c| c["history"] = history.clone()).unwrap();
        assert!(image.warnings.is_empty(), "{history}");
    }
    // Nobody else refuses these, and the history is only told, not used.
    let image = with_config(|c| c["history"] = json!([made])).unwrap();
    assert_eq!(image.warnings, ["the image has 2 layers, but its history has 1"]);
}

fn nested(levels: usize) -> Files {
    let image = sample();
    let mut files = image.oci_blobs();
    let mut entries = image.index_entries();
    for _ in 0..levels {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        let bytes = serde_json::to_vec(&index).unwrap();
        entries = vec![descriptor(INDEX, &bytes)];
        files.push((blob_path(&bytes), bytes));
    }
    files.extend(layout_to(entries));
    files
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn a09_indexes_in_indexes() {
    for levels in [0, 1, 2, 8] {
        read_files(&nested(levels)).unwrap();
    }
    for levels in [9, 40] {
        refused(read_files(&nested(levels)), "indexes nested more than 8 deep");
    }
    // A cycle needs a wrong digest somewhere, and that is what is found.
    let digest = sha256(b"itself");
    let index = json!({ "schemaVersion": 2, "manifests": [{ "mediaType": INDEX, "digest": digest, "size": 1 }] });
    let mut files = layout_to(vec![json!({ "mediaType": INDEX, "digest": digest, "size": index.to_string().len() })]);
    files.push((format!("blobs/sha256/{}", &digest[7..]), index.to_string().into_bytes()));
    refused(read_files(&files), "content does not match its digest");
    // Two to the power of eight and more ways through eight levels.
    let image = sample();
    let mut files = image.oci_blobs();
    let mut entries = [image.index_entries(), image.index_entries()].concat();
    for _ in 0..8 {
        let bytes = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": entries })).unwrap();
        entries = vec![descriptor(INDEX, &bytes); 3];
        files.push((blob_path(&bytes), bytes));
    }
    files.extend(layout_to(entries));
    refused(read_files(&files), "or too many of them");
}

#[test]
fn a10_a11_platforms() {
    let platforms = ["linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/arm64", "windows/amd64"];
    let images: Vec<_> = platforms.iter().map(|p| sample().platform(p).set("Labels", json!({"for": p}))).collect();
    let mut files: Files = images.iter().flat_map(|image| image.oci_blobs()).collect();
    let mut entries: Vec<_> = images.iter().flat_map(|image| image.index_entries()).collect();
    let mut attestation = sample().index_entries()[0].clone();
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    entries.insert(0, attestation);
    entries.push(json!({ "mediaType": "application/vnd.example+json", "digest": sha256(b""), "size": 0 }));
    let index = json!({ "schemaVersion": 2, "manifests": entries, "mediaType": INDEX });
    let bytes = serde_json::to_vec(&index).unwrap();
    files.push((blob_path(&bytes), bytes.clone()));
    let nested = [files.clone(), layout_to(vec![descriptor(INDEX, &bytes)])].concat();
    let flat = [files, layout_to(entries)].concat();
    let bare = {
        // No platforms in the index: the configurations have them.
        let mut image_files: Files = images.iter().flat_map(|image| image.oci_blobs()).collect();
        let mut entries: Vec<_> = images.iter().flat_map(|image| image.index_entries()).collect();
        entries.iter_mut().for_each(|entry| _ = entry.as_object_mut().unwrap().remove("platform"));
        image_files.extend(layout_to(entries));
        image_files
    };
    for files in [nested, flat, bare] {
        let dir = tempfile::tempdir().unwrap();
        write_files(dir.path(), &files);
        for (wanted, found) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            let image = open_for(dir.path(), "", wanted).unwrap();
            assert_eq!(image.platform.to_string(), found);
            assert_eq!(image.config.labels["for"], found);
        }
        let error = open_for(dir.path(), "", "linux/riscv64").unwrap_err();
        assert_eq!(
            error,
            "no image for linux/riscv64 in it, only for: linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64, windows/amd64"
        );
    }
}

#[test]
fn a11_the_best_variant_of_one_index() {
    let images = ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6"].map(|p| sample().platform(p));
    let mut files: Files = images.iter().flat_map(|image| image.oci_blobs()).collect();
    let entries: Vec<_> = images.iter().flat_map(|image| image.index_entries()).collect();
    let bytes = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": entries })).unwrap();
    files.push((blob_path(&bytes), bytes.clone()));
    files.extend(layout_to(vec![descriptor(INDEX, &bytes)]));
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), &files);
    for (wanted, found) in [("linux/arm", "v7"), ("linux/arm/v8", "v7"), ("linux/arm/v6", "v6"), ("linux/arm/v5", "v5")]
    {
        assert_eq!(open_for(dir.path(), "", wanted).unwrap().platform.variant.as_deref(), Some(found));
    }
}

#[test]
fn a12_a13_a23_documents_that_are_something_else() {
    refused(with_manifest(|m| m["manifests"] = json!([])), "it has both manifests and layers");
    refused(with_manifest(|m| m["mediaType"] = json!(INDEX)), "does not match its mediaType");
    refused(with_manifest(|m| m["schemaVersion"] = json!(1)), "obsolete image manifest schema 1");
    refused(with_manifest(|m| m["fsLayers"] = json!([])), "obsolete image manifest schema 1");
    refused(with_manifest(|m| m["schemaVersion"] = json!(3)), "unsupported schemaVersion 3");
    refused(with_manifest(|m| m["schemaVersion"] = json!(null)), "unsupported schemaVersion");
    let empty = "application/vnd.oci.empty.v1+json";
    refused(with_manifest(|m| m["config"]["mediaType"] = json!(empty)), "not a container image but an artifact");
    refused(with_manifest(|m| m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json")), "helm");
    let of_type = |m: &mut Value| (m["artifactType"], m["config"]["mediaType"]) = (json!("x/y"), json!(empty));
    refused(with_manifest(of_type), "an artifact of type x/y");
    refused(with_manifest(|m| m["config"] = json!(null)), "neither an image manifest nor an index");
    refused(with_manifest(|m| m["mediaType"] = json!("\x1b[2J")), "artifact of type \\x1b[2J");
    // An index that its entry calls a manifest.
    let bytes = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [] })).unwrap();
    let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &bytes);
    let files = [vec![(blob_path(&bytes), bytes)], layout_to(vec![entry])].concat();
    refused(read_files(&files), "it does not match its descriptor");
    let schema1 = json!({ "schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [] }).to_string().into_bytes();
    let entry = descriptor("application/vnd.docker.distribution.manifest.v1+prettyjws", &schema1);
    refused(read_files(&[vec![(blob_path(&schema1), schema1)], layout_to(vec![entry])].concat()), "schema 1");
}

#[test]
fn a14_embedded_data() {
    let image = sample();
    let mut files = image.oci_blobs();
    let config = image.config_json();
    let base64 = |bytes: &[u8]| {
        let mut command = std::process::Command::new("base64");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        tools::stdout(command.arg("-w0").arg(file.path()))
    };
    let mut manifest = image.manifest();
    for (data, right) in [(base64(&config), true), (base64(b"{}"), false), ("!".into(), false)] {
        manifest["config"]["data"] = json!(data);
        let result = read_files(&layout_of(&manifest, &config, &image));
        match right {
            true => _ = result.unwrap(),
            false => refused(result, "the data embedded in its descriptor is not its content"),
        }
    }
    // Content that is nowhere but in its descriptor.
    manifest["config"]["data"] = json!(base64(&config));
    files.retain(|(path, _)| *path != blob_path(&config));
    let bytes = serde_json::to_vec(&manifest).unwrap();
    files.push((blob_path(&bytes), bytes.clone()));
    files.extend(layout_to(vec![descriptor("application/vnd.oci.image.manifest.v1+json", &bytes)]));
    read_files(&files).unwrap();
}

#[test]
fn a15_files_of_a_layout_that_are_no_regular_files() {
    use std::os::unix::fs::symlink;
    let image = sample();
    let names = [
        "index.json".to_string(),
        "oci-layout".into(),
        blob_path(&image.layers[0].blob),
        blob_path(&image.config_json()),
        blob_path(&serde_json::to_vec(&image.manifest()).unwrap()),
    ];
    let fifo = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    type Replacement<'a> = (&'a str, &'a dyn Fn(&Path));
    let replacements: [Replacement; 5] = [
        ("a symbolic link", &|path| {
            std::fs::rename(path, path.with_extension("moved")).unwrap();
            symlink(path.with_extension("moved"), path).unwrap();
        }),
        ("a symbolic link", &|path| {
            std::fs::remove_file(path).unwrap();
            symlink("/dev/zero", path).unwrap();
        }),
        ("a FIFO", &|path| {
            std::fs::remove_file(path).unwrap();
            fifo(path);
        }),
        ("a directory", &|path| {
            std::fs::remove_file(path).unwrap();
            std::fs::create_dir(path).unwrap();
        }),
        ("a socket", &|path| {
            std::fs::remove_file(path).unwrap();
            // The path of a socket is at most 108 bytes long.
            let short = tempfile::tempdir_in("/tmp").unwrap();
            socket(&short.path().join("s"));
            std::fs::rename(short.path().join("s"), path).unwrap();
        }),
    ];
    for name in &names {
        for (what, replace) in &replacements {
            let dir = tempfile::tempdir_in("/tmp").unwrap();
            image.write_oci(dir.path());
            replace(&dir.path().join(name));
            refused(read_all(dir.path(), ""), &format!("it is not a regular file but {what}"));
        }
        let dir = tempfile::tempdir().unwrap();
        image.write_oci(dir.path());
        std::fs::remove_file(dir.path().join(name)).unwrap();
        let expected = if name == "oci-layout" { "no oci-layout in it" } else { "it is missing from the image" };
        refused(read_all(dir.path(), ""), expected);
    }
    let error = Blob::file("null", "/dev/null".into()).unwrap_err();
    assert_eq!(chain(&error), "null: it is not a regular file but a device");
}

#[test]
fn a16_linked_layers_in_docker_archives() {
    let image = ImageBuilder::new().layer(layer(1)).layer(layer(2)).layer(layer(1)).layer(layer(2));
    let config = image.config_json();
    let config_name = format!("{}.json", &sha256(&config)[7..]);
    let manifest = json!([{ "Config": config_name, "RepoTags": null,
        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar", "d/layer.tar"] }]);
    let with = |c: &str, d: &str, hard: bool| {
        let tar = TarBuilder::new()
            .file("a/layer.tar", 0o644, &layer(1))
            .file("b/layer.tar", 0o644, &layer(2))
            .symlink("e/layer.tar", "/b/layer.tar")
            .file(&config_name, 0o644, &config)
            .file("manifest.json", 0o644, manifest.to_string().as_bytes());
        let tar = if hard { tar.hard_link("c/layer.tar", c) } else { tar.symlink("c/layer.tar", c) };
        read_bytes(&tar.symlink("d/layer.tar", d).build())
    };
    with("../a/layer.tar", "../b/layer.tar", false).unwrap();
    with("a/layer.tar", ".././e/../e/layer.tar", true).unwrap();
    refused(with("../b/layer.tar", "../c/layer.tar", false), "does not match its diff_id");
    refused(with("../d/layer.tar", "../c/layer.tar", false), "links that never end");
    refused(with("layer.tar", "layer.tar", false), "links that never end");
    refused(with("../x/layer.tar", "../b/layer.tar", false), "no such member: x/layer.tar");
    refused(with("../../../etc/hostname", "../b/layer.tar", false), "a path that leaves the archive");
    let cycle = TarBuilder::new().symlink("manifest.json", "config.json").symlink("config.json", "manifest.json");
    refused(read_bytes(&cycle.build()), "links that never end");
}

#[test]
fn a19_manifests_that_are_none() {
    let deep = format!("[{}", "[".repeat(10_000));
    let deep_value = format!(r#"[{{"Config":"c","Layers":{}"#, "[".repeat(10_000));
    let unknown_deep = format!(r#"[{{"x":{}"#, "[".repeat(1_000_000));
    let utf16: Vec<u8> = "[{}]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let many = format!("[{}{{}}]", "{\"Config\":\"c\"},".repeat(1001)).replace("{}", "{\"Config\":\"c\"}");
    for (bytes, expected) in [
        (&b"null"[..], "no container image in it"),
        (b"[]", "no container image in it"),
        (b"", "EOF"),
        (b"{}", "invalid type"),
        (b"[{}]", "missing field `Config`"),
        (b"[null]", "invalid type"),
        (b"\xef\xbb\xbf[]", "expected value"),
        (&utf16, "expected"),
        (b"[{\"Config\":\"a\",\"Config\":\"b\"}]", "duplicate field `Config`"),
        (b"[{\"Config\":null,\"Layers\":[]}]", "invalid type: null"),
        (b"[{\"Config\":\"\\u001b[2J\",\"Layers\":[]}]", "no such member: \\x1b[2J"),
        (b"[{\"Config\":\"\xff\"}]", "invalid unicode"),
        (b"[] x", "trailing characters"),
        (deep.as_bytes(), ""),
        (deep_value.as_bytes(), ""),
        (unknown_deep.as_bytes(), ""),
        (many.as_bytes(), "more than 1000 images"),
    ] {
        let tar = TarBuilder::new().file("manifest.json", 0o644, bytes).build();
        refused(read_bytes(&tar), expected);
    }
    refused(read_bytes(&TarBuilder::new().file("x", 0o644, b"x").build()), "neither manifest.json nor index.json");
    for (index, expected) in [
        (&b"null"[..], "invalid type"),
        (b"{}", "neither an image manifest nor an index"),
        (b"{\"schemaVersion\":2,\"manifests\":[]}", "no container image in it"),
        (b"{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}", "duplicate field"),
        (b"{\"schemaVersion\":2,\"manifests\":null}", "neither an image manifest nor an index"),
    ] {
        let mut files = sample().oci_files();
        files.iter_mut().find(|(path, _)| path == "index.json").unwrap().1 = index.to_vec();
        refused(read_files(&files), expected);
    }
    let mut files = sample().oci_files();
    files.iter_mut().find(|(path, _)| path == "oci-layout").unwrap().1 = br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec();
    refused(read_files(&files), "unsupported OCI image layout version \"2.0.0\"");
}

/// Documents that are rightly described and wrong in one byte: refused or another image, never a panic or a hang.
#[test]
fn a19_each_byte_of_each_document_replaced() {
    let image = sample();
    let (config, manifest) = (image.config_json(), serde_json::to_vec(&image.manifest()).unwrap());
    let every = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 1 } else { 11 };
    let mut accepted = 0;
    let mut total = 0;
    let mut try_one = |files: Files| {
        total += 1;
        accepted += usize::from(read_bytes(&archive(&files)).is_ok());
    };
    for byte in [b'"', b'}', b'[', b'0', b'-', b'\\', 0, 0xff] {
        for at in (0..config.len()).step_by(every) {
            let mut config = config.clone();
            config[at] = byte;
            let mut manifest = image.manifest();
            manifest["config"] = descriptor("application/vnd.oci.image.config.v1+json", &config);
            try_one(layout_of(&manifest, &config, &image));
        }
        for at in (0..manifest.len()).step_by(every) {
            let mut manifest = manifest.clone();
            manifest[at] = byte;
            let entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            let files = [image.oci_blobs(), vec![(blob_path(&manifest), manifest)], layout_to(vec![entry])];
            try_one(files.concat());
        }
    }
    assert!(total > 500 && accepted < total / 2, "{accepted} of {total} accepted");
}

#[test]
fn a20_names_that_leave_the_archive() {
    let image = sample();
    let config = image.config_json();
    for (config_name, layer_name, expected) in [
        ("c.json", "../../../../../../etc/hostname", "a path that leaves the archive: ../../"),
        ("c.json", "/etc/hostname", "a path that leaves the archive: /etc/hostname"),
        ("/etc/passwd", "l", "a path that leaves the archive: /etc/passwd"),
        ("../c.json", "l", "a path that leaves the archive: ../c.json"),
        ("c.json", "", "a path that leaves the archive: "),
        ("c.json", "etc/hostname", "no such member: etc/hostname"),
    ] {
        let manifest = json!([{ "Config": config_name, "Layers": [layer_name, "l"] }]);
        let tar = TarBuilder::new()
            .file("manifest.json", 0o644, manifest.to_string().as_bytes())
            .file("c.json", 0o644, &config)
            .file("l", 0o644, &layer(1));
        refused(read_bytes(&tar.build()), expected);
    }
}

#[test]
fn a21_a25_the_same_layer_twice_and_no_layer_at_all() {
    let twice = ImageBuilder::new().layer(layer(1)).layer(layer(1));
    let none = ImageBuilder::new();
    let empty = ImageBuilder::new().layer(TarBuilder::new().build());
    for image in [twice, none, empty] {
        let from_oci = read_files(&image.oci_files()).unwrap();
        let from_docker = read_bytes(&image.docker_legacy()).unwrap();
        assert_eq!(from_oci.layers.len(), image.layers.len());
        assert_eq!(from_oci.chain_id(), from_docker.chain_id());
    }
    let mut null = ImageBuilder::new();
    null.config["rootfs"] = json!({ "type": "layers", "diff_ids": null });
    assert_eq!(read_files(&null.oci_files()).unwrap().layers.len(), 0);
}

#[test]
fn a22_several_images_and_no_choice() {
    let one = ImageBuilder::new().layer(layer(1)).tag("app:1");
    let two = ImageBuilder::new().layer(layer(2)).tag("app:2").tag("app:latest");
    let dir = tempfile::tempdir().unwrap();
    let (docker, oci) = (dir.path().join("docker.tar"), dir.path().join("oci"));
    std::fs::write(&docker, images::docker_legacy(&[&one, &two])).unwrap();
    write_files(&oci, &oci_layout(&[&one, &two]));
    for (path, names) in
        [(&docker, ["app:1 (", "app:2 app:latest ("]), (&oci, ["1 linux/amd64 (@", "2 linux/amd64 (@"])]
    {
        let error = read_all(path, "").unwrap_err();
        assert!(error.contains("images and no choice: "), "{error}");
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
        assert_eq!(read_all(path, ":1").unwrap().diff_ids().next().unwrap().to_string(), one.diff_ids()[0]);
        assert_eq!(read_all(path, ":@1").unwrap().diff_ids().next().unwrap().to_string(), two.diff_ids()[0]);
        assert_eq!(read_all(path, ":latest").unwrap().diff_ids().next().unwrap().to_string(), two.diff_ids()[0]);
        refused(read_all(path, ":3"), "no image 3 in it, only: ");
        refused(read_all(path, ":@7"), "no image @7 in it, only: ");
        refused(read_all(path, &format!(":@{}", sha256(b"x"))), "no image sha256:");
    }
    let by_digest = format!(":@{}", sha256(&serde_json::to_vec(&two.manifest()).unwrap()));
    assert_eq!(read_all(&oci, &by_digest).unwrap().diff_ids().next().unwrap().to_string(), two.diff_ids()[0]);
    let by_digest = format!(":@{}", sha256(&two.config_json()));
    assert_eq!(read_all(&docker, &by_digest).unwrap().diff_ids().next().unwrap().to_string(), two.diff_ids()[0]);
    // Two names of one image are no question.
    write_files(&dir.path().join("names"), &two.oci_files());
    read_all(&dir.path().join("names"), "").unwrap();
}

#[test]
fn a24_a26_layers_and_platforms_that_cannot_be_used() {
    for media_type in
        ["application/vnd.oci.image.layer.v1.tar+invalid", "application/vnd.in-toto+json", "", "application/x-tar"]
    {
        refused(with_manifest(|m| m["layers"][1]["mediaType"] = json!(media_type)), "unsupported media type");
    }
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    refused(with_manifest(|m| m["layers"][1]["mediaType"] = json!(encrypted)), "layer 2 is encrypted");
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        with_manifest(|m| m["layers"][0]["mediaType"] = json!(media_type)).unwrap();
    }
    let foreign = json!({ "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": sha256(b"elsewhere"), "size": 9, "urls": ["http://127.0.0.1:9/x"] });
    refused(with_manifest(|m| m["layers"][0] = foreign), "it is missing from the image");
    refused(with_config(|c| c["os"] = json!("windows")), "the image is for windows/amd64, not for linux/amd64");
    refused(with_config(|c| c["architecture"] = json!("arm64")), "the image is for linux/arm64, not for linux/amd64");
    let wrong = read_bytes(&sample().platform("linux/s390x").docker_legacy());
    refused(wrong, "the image is for linux/s390x, not for linux/amd64");
    // Old tools leave it out.
    with_config(|c| c["architecture"] = json!(null)).unwrap();
}

#[test]
fn a27_archives_cut_short_anywhere() {
    let body: Vec<u8> = (0..20_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let tar = TarBuilder::new().file("body", 0o644, &body).build();
    let long = ImageBuilder::new().packed_layer(tar, Pack::Plain).tag("a:1");
    for (whole, gz) in [(long.docker_legacy(), false), (long.docker25(), false), (long.oci_archive(), true)] {
        let whole = if gz { Pack::Gzip.pack(&whole) } else { whole };
        let image = read_bytes(&whole).unwrap();
        for point in 0..200 {
            let length = whole.len() * point / 200;
            // What is missing may be the end marker, or a member that is no part of the image.
            match read_bytes(&whole[..length]) {
                Ok(same) => assert!(!gz && same.diff_ids().eq(image.diff_ids()), "{length} of {}", whole.len()),
                Err(error) => assert!(!error.is_empty(), "{length} of {}", whole.len()),
            }
        }
        for less in [1, 511, 513, 1023] {
            read_bytes(&whole[..whole.len() - less]).map(drop).unwrap_err();
        }
        // The end marker may be one block or missing: no member is.
        for less in [512, 1024] {
            assert_eq!(read_bytes(&whole[..whole.len() - less]).is_ok(), !gz, "{less}");
        }
    }
}

#[test]
fn a28_inputs_that_are_no_archive() {
    let started = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("empty"), b"").unwrap();
    std::fs::write(at("short"), b"x").unwrap();
    std::fs::write(at("text"), "text\n".repeat(1000)).unwrap();
    std::fs::write(at("zeros"), [0; 10_240]).unwrap();
    std::fs::write(at("xz"), b"\xfd7zXZ\0").unwrap();
    std::fs::write(at("twice"), Pack::Gzip.pack(&Pack::Gzip.pack(&sample().docker_legacy()))).unwrap();
    std::fs::write(at("gz"), Pack::Gzip.pack(b"text")).unwrap();
    std::fs::write(at("layer.tar"), layer(1)).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    for (path, expected) in [
        (at("empty"), "this is an empty file"),
        (at("short"), "this is text"),
        (at("text"), "this is text"),
        (at("zeros"), "this is nothing but zeros"),
        (at("xz"), "the xz data is cut short"),
        (at("twice"), "compressed twice"),
        (at("gz"), "this is a gzip-compressed text"),
        (at("layer.tar"), "neither manifest.json nor index.json"),
        (at("directory"), "this is an empty folder"),
        (at("missing"), "cannot open"),
        ("/dev/zero".into(), "this is nothing but zeros"),
        ("/dev/null".into(), "this is an empty file"),
        ("/dev/urandom".into(), "an image is needed, but this is "),
    ] {
        refused(read_all(&path, ""), expected);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn hints_name_the_remedy() {
    let hint = |text: &str| {
        let reference = Reference::parse(text.as_ref()).unwrap();
        source::open(&reference, &Select::default()).unwrap_err().hint().unwrap_or_default()
    };
    assert!(hint("nginx").ends_with(": docker://nginx"));
    assert!(hint("quay.io/org/app:1.2").ends_with(": docker://quay.io/org/app:1.2"));
    assert_eq!(hint("./nginx.tar"), "");
    assert_eq!(hint("https://quay.io/x"), "");
    assert!(hint("oci-archive:/tmp").contains("oci:PATH"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x.tar"), sample().platform("linux/s390x").docker_legacy()).unwrap();
    assert!(hint(dir.path().join("x.tar").to_str().unwrap()).contains("--platform linux/s390x"));
    assert!(hint(&format!("oci:{}/x.tar", dir.path().display())).contains("oci-archive:PATH"));

    // The right archive for the other transport, and directories that hold an image in a form that is not read.
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("oci.tar"), sample().oci_archive()).unwrap();
    assert!(hint(&format!("docker-archive:{}", at("oci.tar"))).contains("oci-archive:PATH"));
    assert!(hint(&format!("oci-archive:{}", at("x.tar"))).contains("docker-archive:PATH"));
    std::fs::write(at("none.tar"), layer(1)).unwrap();
    for transport in ["docker-archive", "oci-archive"] {
        assert!(hint(&format!("{transport}:{}", at("none.tar"))).contains("docker save"), "{transport}");
    }
    sample().write_oci(&dir.path().join("linked"));
    let (kept, blob) = (dir.path().join("kept"), dir.path().join("linked").join(blob_path(&sample().config_json())));
    std::fs::rename(&blob, &kept).unwrap();
    std::os::unix::fs::symlink(&kept, &blob).unwrap();
    assert!(hint(&at("linked")).ends_with("cp -rL LAYOUT COPY"));
    std::fs::create_dir(at("form")).unwrap();
    assert!(hint(&at("form")).contains("skopeo copy docker://NAME oci:image.oci:app"));
    std::fs::write(at("form/manifest.json"), "[]").unwrap();
    assert!(
        hint(&at("form")).starts_with("tar -C ") && hint(&at("form")).ends_with("form -c . | bootdisk build - -o DISK")
    );
    std::fs::write(at("form/version"), "Directory Transport Version: 1.1\n").unwrap();
    assert!(hint(&format!("oci:{}", at("form"))).starts_with("bootdisk build dir:/"));
}

#[test]
fn b11_more_layers_than_anybody_has() {
    let many = |count: usize| {
        let mut image = ImageBuilder::new();
        image.layers = vec![ImageBuilder::new().packed_layer(layer(1), Pack::Plain).layers.remove(0); count];
        image
    };
    assert_eq!(read_files(&many(1000).oci_files()).unwrap().layers.len(), 1000);
    refused(read_files(&many(1001).oci_files()), "1001 layers, more than 1000");
    refused(read_bytes(&many(1001).docker25()), "1001 layers, more than 1000");
    let padded = sample();
    let mut manifest = padded.manifest();
    manifest["annotations"] = json!({ "x": "y".repeat(4 << 20) });
    refused(read_files(&layout_of(&manifest, &padded.config_json(), &padded)), "more than the 4194304");
}

#[test]
fn errors_of_a_source_are_errors() {
    fn check<E: std::error::Error + Send + Sync + 'static>() {}
    check::<SourceError>();
}
