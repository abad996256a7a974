//! What `build` says of a disk that it has made, held against other programs' word, and a disk held against what was said.

use crate::{e2e, e2e_disk, schema, tools};
use e2e::{Bench, Kernel, image, run, run_with_input, sha256};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In the environment of a disk, and in no statement.
const SECRET: &str = "not-for-everybody";

fn json_at(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The resource of this name, in a list of them.
#[track_caller]
fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list.as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("no {name:?} in {list:#}"))
}

#[track_caller]
fn digest<'a>(list: &'a Value, name: &str) -> &'a str {
    named(list, name)["digest"]["sha256"].as_str().unwrap()
}

/// SHA-256 of a range of a file, by dd and coreutils.
fn range_sha256(bench: &Bench, disk: &Path, offset: u64, bytes: u64) -> String {
    let part = bench.path("part");
    e2e_disk::extract(disk, e2e_disk::Slice { start: offset, length: bytes }, &part);
    sha256(&part)
}

/// A copy of a disk with something changed.
fn changed(bench: &Bench, disk: &Path, change: impl FnOnce(&Path)) -> PathBuf {
    let copy = bench.path("changed.img");
    tools::stdout(Command::new("cp").arg("--sparse=always").args([disk, &copy]));
    change(&copy);
    copy
}

fn flip(disk: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(disk).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// Puts a file onto the EFI System Partition.
fn put(disk: &Path, file: &Path, name: &str) {
    let esp = format!("{}@@{}", disk.display(), e2e_disk::partition(disk, e2e_disk::ESP).start);
    tools::stdout(Command::new("mcopy").args(["-o", "-i", &esp]).arg(file).arg(format!("::{name}")));
}

#[test]
fn a_statement_is_true_and_a_disk_is_held_against_it() {
    let bench = Bench::new(Kernel::Cloud);
    let added = bench.path("added");
    fs::write(&added, "from this host\n").unwrap();
    let copy = format!("{}:/etc/added", added.display());
    let variable = format!("TOKEN={SECRET}");
    let options = ["--size", "min", "--env", &variable, "--copy-in", &copy, "-q"];
    let plain = bench.build(image("hello-c.oci"), "plain.img", &options);
    let at = |name: &str| bench.path(name).display().to_string();
    let (sbom, said) = (at("disk.cdx.json"), at("disk.intoto.json"));
    let records = ["--sbom", &sbom, "--provenance", &said];
    let disk = bench.build(image("hello-c.oci"), "disk.img", &[&options[..], &records].concat());
    assert_eq!(sha256(&disk), sha256(&plain), "what is said of a disk changes nothing of it");

    // The shape (in-toto Statement v1, SLSA Provenance v1), and what it says by other programs' word.
    let text = fs::read_to_string(&said).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    let statement = json_at(Path::new(&said));
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(statement["subject"].as_array().unwrap().len(), 1);
    assert_eq!(digest(&statement["subject"], "disk.img"), sha256(&disk));
    let definition = &statement["predicate"]["buildDefinition"];
    for uri in [&definition["buildType"], &statement["predicate"]["runDetails"]["builder"]["id"]] {
        assert!(uri.as_str().unwrap().starts_with("pkg:cargo/bootdisk"), "{uri}");
    }
    let expected = json!({ "--size": "min", "--env": ["TOKEN"], "--copy-in": [copy] });
    assert_eq!(definition["externalParameters"]["options"], expected);
    let from = &definition["resolvedDependencies"];
    for one in from.as_array().unwrap() {
        assert!(one["name"].is_string() && one["digest"].as_object().is_some_and(|set| set.len() == 1), "{one}");
    }
    let index = json_at(&image("hello-c.oci").join("index.json"));
    assert_eq!(index["manifests"][0]["digest"], format!("sha256:{}", digest(from, "image")));
    assert!(image("hello-c.oci").join("blobs/sha256").join(digest(from, "layer 1")).exists());
    assert_eq!(digest(from, "added file /etc/added"), sha256(&added));
    assert_eq!(digest(from, "EFI loader"), sha256(Path::new("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")));
    let builder = &statement["predicate"]["runDetails"]["builder"]["builderDependencies"];
    assert_eq!(digest(builder, "bootdisk"), sha256(assert_cmd::cargo::cargo_bin!("bootdisk")));

    let parts = &statement["predicate"]["runDetails"]["byproducts"];
    let mut partitions = 0;
    for area in parts.as_array().unwrap().iter().filter(|one| one["annotations"]["kind"] == "area") {
        let (offset, bytes) = (&area["annotations"]["offset"], &area["annotations"]["bytes"]);
        let (offset, bytes) = (offset.as_u64().unwrap(), bytes.as_u64().unwrap());
        assert_eq!(area["digest"]["sha256"], range_sha256(&bench, &disk, offset, bytes), "{area}");
        if let Some(number) = area["annotations"]["number"].as_u64() {
            let slice = e2e_disk::partition(&disk, number as u32);
            assert_eq!((slice.start, slice.length), (offset, bytes), "{area}");
            partitions += 1;
        }
    }
    assert_eq!(partitions, 3);
    let esp = format!("{}@@{}", disk.display(), e2e_disk::partition(&disk, e2e_disk::ESP).start);
    let taken = bench.path("taken");
    tools::stdout(Command::new("mcopy").args(["-n", "-i", &esp, "::bootdisk/linux"]).arg(&taken));
    assert_eq!(digest(parts, "bootdisk/linux"), sha256(&taken));
    assert_eq!(digest(from, "kernel"), sha256(&taken));
    assert_eq!(digest(parts, "PID 1"), digest(builder, "PID 1"));
    assert_eq!(digest(parts, "disk.cdx.json"), sha256(Path::new(&sbom)));

    // Built again it says the same, to standard output too; nothing is kept or used of other runs.
    let args = ["-o", &at("disk.img"), "--provenance", "-", "--sbom", &sbom];
    let again = run(bench.bootdisk().arg("build").arg(image("hello-c.oci")).args(options).args(args));
    assert_eq!(again.expect_status(0).text(), text);

    // Equal, in another form too; and what differs is named.
    let against = |disk: &Path, said: &str| run(bench.bootdisk().arg("inspect").arg(disk).args(["--against", said]));
    let equal = format!("equal: {} is what {said} says\n", disk.display());
    against(&disk, &said).expect(0, &equal);
    let stdin =
        run_with_input(bench.bootdisk().arg("inspect").arg(&disk).args(["--against", "-"]), text.clone().into());
    assert_eq!(stdin.status, Some(0), "{stdin:?}");
    let said_of_form = at("form.json");
    let form =
        bench.build(image("hello-c.oci"), "disk.qcow2", &[&options[..], &["--provenance", &said_of_form]].concat());
    let subjects = &json_at(Path::new(&said_of_form))["subject"];
    assert_eq!(digest(subjects, "disk.qcow2"), sha256(&form));
    assert_eq!(digest(subjects, "disk.qcow2 (the raw disk in it)"), sha256(&disk));
    for said in [&said, &said_of_form] {
        assert_eq!(against(&form, said).status, Some(0));
    }
    let said_of_uki = at("uki.json");
    bench.build(
        image("hello-c.oci"),
        "uki.img",
        &[
            "--size",
            "min",
            "--firmware",
            "uefi",
            "--uki",
            "--cmdline",
            "loglevel=7",
            "--provenance",
            &said_of_uki,
            "-q",
        ],
    );
    let unified = json_at(Path::new(&said_of_uki));
    let parts_of_uki = &unified["predicate"]["runDetails"]["byproducts"];
    assert_eq!(digest(parts_of_uki, "PID 1"), digest(builder, "PID 1"));
    let line = named(parts_of_uki, "command line")["annotations"]["text"].as_str().unwrap();
    assert!(line.contains("loglevel=7"), "{line}");
    assert!(digest(&unified["predicate"]["buildDefinition"]["resolvedDependencies"], "EFI stub").len() == 64);

    let published: Value = serde_json::from_str(include_str!("../../docs/against.schema.json")).unwrap();
    let root = e2e_disk::partition(&disk, e2e_disk::ROOT);
    let other = bench.path("other");
    fs::write(&other, "another kernel").unwrap();
    let entry = bench.path("entry");
    fs::write(&entry, "title x\nlinux /bootdisk/linux\ninitrd /bootdisk/initrd\noptions init=/bin/sh\n").unwrap();
    let grow = |disk: &Path| {
        let file = File::options().write(true).open(disk).unwrap();
        file.set_len(file.metadata().unwrap().len() + (16 << 20)).unwrap();
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: [(Change<'_>, &[&str], &[&str]); 7] = [
        (
            &|disk| flip(disk, root.start + root.length / 2),
            &["partition 3 (root)"],
            &["partition 2", "PID 1", "kernel:"],
        ),
        (&|disk| flip(disk, 100), &["boot code"], &["partition table", "partition 3"]),
        (
            &|disk| put(disk, &other, "bootdisk/linux"),
            &["kernel: bootdisk/linux", "partition 2"],
            &["partition 3", "PID 1"],
        ),
        (
            &|disk| put(disk, &other, "bootdisk/initrd"),
            &["initramfs: bootdisk/initrd", "PID 1"],
            &["partition 3", "kernel:"],
        ),
        (
            &|disk| put(disk, &entry, "loader/entries/bootdisk.conf"),
            &["boot entry: loader/entries/bootdisk.conf", "command line"],
            &["partition 3", "kernel:"],
        ),
        (&grow, &["size"], &["partition 1", "partition 2", "partition 3", "PID 1"]),
        (
            &|disk| {
                grow(disk);
                tools::stdout(Command::new("sgdisk").args(["-e", "-d", "3", "-n", "3:0:0", "-c", "3:root"]).arg(disk));
            },
            &["size", "partition table"],
            &["partition 1", "partition 2", "partition 3 (root)", "PID 1"],
        ),
    ];
    for (change, differ, same) in cases {
        let copy = changed(&bench, &disk, change);
        let ran = run(bench.bootdisk().arg("inspect").arg(&copy).args(["--against", &said, "--json"]));
        let found: Value = serde_json::from_slice(&ran.expect_status(1).stdout).unwrap();
        assert_eq!(schema::complaint(&published, &published, &found, ""), None);
        let told: Vec<&str> =
            found["differences"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
        assert_eq!((found["equal"].as_bool(), told[0]), (Some(false), "disk"), "{found:#}");
        for what in differ {
            assert!(told.iter().any(|told| told.starts_with(what)), "no {what:?} in {told:?}");
        }
        let kept: Vec<&str> = found["same"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        for what in same {
            assert!(kept.iter().any(|kept| kept.starts_with(what)), "no {what:?} in {kept:?}");
        }
        assert_eq!(found["only_grown"], json!(differ.contains(&"size")), "{found:#}");
        assert_eq!(against(&copy, &said).status, Some(1));
    }

    // What is no statement, and places that cannot be.
    for (text, says) in [
        ("{", "not a statement: EOF"),
        ("{\"_type\": \"\\u001b[2J\", \"subject\": []}", "its _type is \"\\x1b[2J\""),
        ("{\"_type\": \"https://in-toto.io/Statement/v1\", \"subject\": []}", "has no SHA-256 of a disk"),
        ("{\"bomFormat\": \"CycloneDX\"}", "names no package"),
        (&"[".repeat(100_000), "not a statement: "),
    ] {
        fs::write(bench.path("hostile"), text).unwrap();
        let ran = against(&disk, &at("hostile"));
        assert_eq!((ran.status, ran.stdout.len()), (Some(2), 0), "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.lines().count() == 1, "{}", ran.stderr);
    }
    for (options, says) in [
        (&["-o", "one", "--sbom", "one"][..], "-o and --sbom have one place: one"),
        (&["-o", "one", "--sbom", "./two", "--provenance", "two"], "--sbom and --provenance have one place: two"),
        (&["-o", "one", "--json", "--sbom", "-"], "--json and --sbom have one place: -"),
        (&["-o", "one", "--sbom", "/"], "output is a directory"),
    ] {
        let mut command = bench.bootdisk();
        let ran = run(command.current_dir(bench.path("")).arg("build").arg(image("hello-c.oci")).args(options));
        assert!(ran.status == Some(1) && ran.stderr.contains(says), "{ran:?}");
        assert!(!bench.path("one").exists());
    }
}

/// What python3-jsonschema says of a document by CycloneDX's own schema; nothing of one that is right. Licences and signatures,
/// whose schemas are files of their own, are not in our documents.
fn complaint(document: &Path) -> String {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cyclonedx-1.5.schema.json");
    let script = "import json, sys, warnings; warnings.simplefilter('ignore'); import jsonschema\n\
        schema, document = (json.load(open(path)) for path in sys.argv[1:])\n\
        print('\\n'.join(e.message[:200] for e in jsonschema.Draft7Validator(schema).iter_errors(document)), end='')";
    tools::stdout(Command::new("python3").args(["-c", script]).args([&schema, document]))
}

/// Name, version and architecture of what dpkg has as installed, by dpkg-query.
fn by_dpkg(rootfs: &Path) -> BTreeSet<String> {
    let text = tools::stdout(
        Command::new("dpkg-query").arg(format!("--admindir={}", rootfs.join("var/lib/dpkg").display())).args([
            "-W",
            "-f",
            "${db:Status-Status} ${Package} ${Version} ${Architecture}\\n",
        ]),
    );
    text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

/// The same of a list of components, from its package URLs.
pub fn packages(document: &Value) -> BTreeSet<String> {
    let library = |one: &&Value| one["type"] == "library";
    let words = |one: &Value| {
        let purl = one["purl"].as_str().unwrap();
        let arch = purl.split(['?', '&']).find_map(|word| word.strip_prefix("arch=")).unwrap();
        let text = |field: &str| one[field].as_str().unwrap().to_owned();
        format!("{} {} {arch}", text("name"), text("version"))
    };
    document["components"].as_array().unwrap().iter().filter(library).map(words).collect()
}

#[test]
fn a_list_of_components_is_what_dpkg_says_and_what_its_schema_allows() {
    let bench = Bench::new(Kernel::Cloud);
    let path = bench.path("debian.cdx.json");
    let shown = path.display().to_string();
    let disk = bench.build(image("debian.oci"), "debian.img", &["--size", "min", "--sbom", &shown, "-q"]);
    let document = json_at(&path);
    assert_eq!(complaint(&path), "");
    let mut wrong = document.clone();
    wrong["components"][0]["type"] = json!("disk");
    fs::write(bench.path("wrong"), wrong.to_string()).unwrap();
    assert!(complaint(&bench.path("wrong")).contains("'disk' is not one of"), "the schema is looked at");

    let rootfs = bench.path("rootfs");
    fs::create_dir(&rootfs).unwrap();
    let index = json_at(&image("debian.oci").join("index.json"));
    let blob = |digest: &Value| image("debian.oci").join("blobs").join(digest.as_str().unwrap().replace(':', "/"));
    let manifest = json_at(&blob(&index["manifests"][0]["digest"]));
    let layer = blob(&manifest["layers"][0]["digest"]);
    tools::stdout(Command::new("tar").arg("-C").arg(&rootfs).arg("-xzf").arg(layer).arg("./var/lib/dpkg"));
    let expected = by_dpkg(&rootfs);
    assert!(expected.len() > 50, "{expected:?}");
    assert_eq!(packages(&document), expected);

    let component = |name: &str| named(&document["components"], name);
    assert_eq!(
        (&component("debian")["type"], &component("debian")["version"]),
        (&json!("operating-system"), &json!("12"))
    );
    assert_eq!(component("linux")["version"], Kernel::Cloud.release());
    assert_eq!(component("bootdisk-init")["version"], env!("CARGO_PKG_VERSION"));
    assert!(component("systemd-boot")["version"].as_str().unwrap().starts_with("25"));
    let libc = component("libc6")["purl"].as_str().unwrap();
    assert!(
        libc.starts_with("pkg:deb/debian/libc6@2.36-") && libc.contains("distro=debian-12&upstream=glibc"),
        "{libc}"
    );

    let against = |path: &Path| run(bench.bootdisk().arg("inspect").arg(&disk).arg("--against").arg(path));
    assert_eq!(against(&path).status, Some(0));
    let mut other = document.clone();
    let library = other["components"].as_array_mut().unwrap().last_mut().unwrap();
    library["purl"] = json!("pkg:deb/debian/nothing@1?arch=all");
    fs::write(bench.path("other"), other.to_string()).unwrap();
    let text = against(&bench.path("other")).expect_status(1).text();
    assert!(text.contains("expected  pkg:deb/debian/nothing@1?arch=all, and it is not there"), "{text}");
    assert!(text.contains(", and none was expected"), "{text}");
}
