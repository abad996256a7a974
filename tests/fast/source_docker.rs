//! What a real Docker Engine builds and saves: its archive, one layer a symbolic link to another image's, against what
//! Docker itself says of the images.

use crate::support::daemons::Docker;
use crate::support::images::ImageBuilder;
use crate::support::layers::{Member, archive, layer, merge, pax_record};
use crate::support::tools;
use bootdisk::source::{self, Reference, Select, SourceError};
use std::path::Path;
use std::process::Command;

#[test]
fn docker_save() {
    // A socket's path is at most 108 bytes long.
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let daemon = Docker::start(dir.path());
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    for name in ["a", "b"] {
        std::fs::write(context.join(name), name.repeat(5000)).unwrap();
    }
    let build = |tag: &str, dockerfile: &str| {
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        tools::stdout(daemon.docker().args(["build", "-q", "-t", tag]).arg(&context));
    };
    build("app:1", "FROM scratch\nCOPY a /a\nENV X=y\nCMD [\"/a\"]\n");
    build("app:2", "FROM scratch\nCOPY b /b\nCOPY a /a\nUSER 1:2\nVOLUME /v\nEXPOSE 80\nENTRYPOINT [\"/b\"]\n");
    let archive = dir.path().join("both.tar");
    tools::stdout(daemon.docker().args(["save", "-o"]).arg(&archive).args(["app:1", "app:2"]));
    let listing = tools::stdout(Command::new("tar").arg("-tvf").arg(&archive));
    assert!(listing.contains("layer.tar -> ../"), "no linked layer:\n{listing}");

    let select = Select::default();
    let open = |choice: &str| {
        let reference = format!("{}{choice}", archive.display());
        source::open(&Reference::parse(reference.as_ref()).unwrap(), &select)
    };
    let SourceError::Several(mut names) = open("").unwrap_err() else { panic!("two images and no choice") };
    // Docker 20 writes its manifest in no fixed order.
    names.sort();
    assert!(names[0].starts_with("app:1 (sha256:") && names[1].starts_with("app:2 (sha256:"), "{names:?}");
    for tag in ["app:1", "app:2"] {
        let image = open(&format!(":{tag}")).unwrap();
        let said = tools::stdout(daemon.docker().args(["image", "inspect", tag]));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let diff_ids: Vec<_> = image.diff_ids().map(|digest| digest.to_string()).collect();
        assert_eq!(said[0]["RootFS"]["Layers"], serde_json::json!(diff_ids));
        assert_eq!(said[0]["Id"], image.config_digest.to_string());
        let words =
            |words: &[String]| if words.is_empty() { serde_json::Value::Null } else { serde_json::json!(words) };
        assert_eq!(said[0]["Config"]["Cmd"], words(&image.config.cmd));
        assert_eq!(said[0]["Config"]["Entrypoint"], words(&image.config.entrypoint));
        assert_eq!(said[0]["Config"]["Env"], words(&image.config.env));
        assert_eq!(said[0]["Config"]["User"], image.config.user);
        assert_eq!(said[0]["Created"], image.created.clone().unwrap());
        for i in 0..image.layers.len() {
            let mut stream = image.open_layer(i).unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
            stream.finish().unwrap();
        }
    }
    odd_images_are_taken_as_docker_takes_them(&daemon, dir.path());
    let second = open(":app:2").unwrap().config;
    assert_eq!((second.volumes, second.exposed_ports), (vec!["/v".to_string()], vec!["80/tcp".to_string()]));
}

/// What docs/images.md says of Docker, asked of it.
fn odd_images_are_taken_as_docker_takes_them(daemon: &Docker, dir: &Path) {
    let at = dir.join("odd.tar");
    let load = |image: ImageBuilder| {
        std::fs::write(&at, image.tag("odd:1").docker_legacy()).unwrap();
        tools::stdout(daemon.docker().args(["load", "-i"]).arg(&at));
        source::open(&Reference::parse(at.as_os_str()).unwrap(), &Select::default()).unwrap().config
    };
    let inspected = || -> serde_json::Value {
        let said = tools::stdout(daemon.docker().args(["image", "inspect", "odd:1"]));
        serde_json::from_str::<serde_json::Value>(&said).unwrap()[0]["Config"].clone()
    };
    let word = serde_json::json!("/x y");
    for (field, value, words) in [
        ("cmd", serde_json::json!(["/a", ""]), "Cmd"),
        ("CMD", word.clone(), "Cmd"),
        ("entrypoint", word, "Entrypoint"),
        ("Entrypoint", serde_json::json!([null, "/a"]), "Entrypoint"),
    ] {
        let ours = load(ImageBuilder::new().layer(layer("a")).set(field, value));
        let ours = if words == "Cmd" { ours.cmd } else { ours.entrypoint };
        assert_eq!(inspected()[words], serde_json::json!(ours), "{field}");
    }

    let global = Member { body: pax_record(b"uid", b"123"), ..Member::new(b'g', "g") };
    let members = [
        global,
        Member::file("x/", "abc"),
        Member::file("e/", ""),
        Member::new(0, "old/"),
        Member::file("y", "y"),
        Member::dir("./").mode(0o700).owner(7, 8),
    ];
    let odd = archive(&members);
    load(ImageBuilder::new().layer(odd.clone()).cmd(&["/x"]));
    let container = tools::stdout(daemon.docker().args(["create", "odd:1"]));
    let exported = dir.join("exported.tar");
    tools::stdout(daemon.docker().args(["export", "-o"]).arg(&exported).arg(container.trim()));
    let listing = tools::stdout(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&exported));
    for (name, begin) in [("x", "-rw-r--r-- 0/0 "), ("e", "-rw-r--r-- 0/0 "), ("old/", "drw"), ("y", "-rw-r--r-- 0/0 ")]
    {
        let line = listing.lines().find(|line| line.ends_with(&format!(" {name}"))).unwrap_or_default();
        assert!(line.starts_with(begin), "{name}: {listing}");
    }
    let merged = merge(&[odd]).unwrap();
    assert_eq!(merged.short(), "e old/ x=abc y=y");
    assert_eq!((merged.attrs("y").uid, merged.attrs("").mode), (0, 0o755));
}
