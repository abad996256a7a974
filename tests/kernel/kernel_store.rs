//! `bootdisk kernel`: the store, through the command line's own types, with real packages.

use crate::support::{kernels, small_kernel, tools};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::support::small_kernel::make_root;
use bootdisk::arch::Arch;
use bootdisk::cli::kernel::{KernelArgs, run_in};
use bootdisk::kernel::modules::select;
use bootdisk::kernel::{Bundle, KernelError, Store};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: KernelArgs,
}

/// Runs `bootdisk kernel ARGS`: standard output, and whether the status is 0.
fn kernel(store: &Store, args: &[&str]) -> anyhow::Result<(String, bool)> {
    let line = Line::try_parse_from([&["kernel"], args].concat()).unwrap_or_else(|error| panic!("{error}"));
    let mut out = Vec::new();
    let status = run_in(store, &line.args, &mut out)?;
    Ok((String::from_utf8(out).unwrap(), format!("{status:?}") == format!("{:?}", ExitCode::SUCCESS)))
}

fn says(store: &Store, args: &[&str]) -> String {
    let (text, _) = kernel(store, args).unwrap_or_else(|error| panic!("{args:?}: {error:#}"));
    text
}

struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

fn place() -> Place {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Store::at(dir.path().join("store"));
    Place { dir, store }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small kernel with the given modules, in the folder `name` of `place`.
fn root(place: &Place, name: &str, modules: &[&str]) -> PathBuf {
    let root = place.dir.path().join(name);
    make_root(&root, modules);
    root
}

#[test]
fn real_packages_go_through_every_command() {
    let Place { dir: _dir, store } = place();
    assert!(says(&store, &["list"]).starts_with("no kernels in "));
    let (cloud, generic) = (kernels::package("cloud"), kernels::package("generic"));
    let first = says(&store, &["add", text(&cloud)]);
    let second = says(&store, &["add", text(&generic)]);
    assert!(first.ends_with("-cloud-amd64 (default for x86_64)\n"), "{first}");
    assert!(second.ends_with("-amd64\n"), "{second}");
    assert_eq!(says(&store, &["add", text(&cloud)]), first.replace("(default for x86_64)", "(already there)"));

    // What is stored is what the package has.
    for package in [&cloud, &generic] {
        let bundle = Bundle::open(package, None).unwrap();
        let stored = store.find(&bundle.release).unwrap().bundle().unwrap();
        assert!(stored.boot.read().unwrap() == bundle.boot.read().unwrap());
        assert_eq!(stored.boot.sha256(), bundle.boot.sha256());
        assert_eq!(stored.image, bundle.image);
        assert_eq!(stored.config.as_ref().unwrap().text(), bundle.config.as_ref().unwrap().text());
        let (a, b) = (select(&stored).unwrap(), select(&bundle).unwrap());
        assert_eq!(a.specs(), b.specs());
        assert!(a.read(&stored).unwrap() == b.read(&bundle).unwrap());
        assert_eq!(a.total(), b.total());
        assert_eq!(stored.modules.unwrap().len(), bundle.modules.unwrap().len());
    }

    for args in [&["list"][..], &["show"], &["check"]] {
        let table = says(&store, args);
        for line in table.lines() {
            // A path that is longer than a line is not cut.
            let long_word = line.split(' ').any(|word| word.len() > 64 && word.contains('/'));
            assert!(line.chars().count() <= 80 || long_word, "{line}");
        }
    }
    let list = says(&store, &["list"]);
    let defaults: Vec<&str> = list.lines().filter(|line| line.ends_with("yes")).collect();
    assert!(defaults.len() == 1 && defaults[0].contains("-cloud-amd64"), "{list}");
    let shown: serde_json::Value = serde_json::from_str(&says(&store, &["show", "--json"])).unwrap();
    assert_eq!(shown["compression"], "lz4");
    assert_eq!(
        shown["absent"],
        serde_json::json!(["ahci", "xhci_pci", "ehci_pci", "usb_storage", "uas", "e1000", "e1000e"])
    );

    // The cloud kernel has no AHCI driver, the generic one has: neither keeps a disk from booting.
    let (checked, ok) = kernel(&store, &["check"]).unwrap();
    assert!(ok && checked.contains("bus ahci needs CONFIG_SATA_AHCI, which is not set"), "{checked}");
    assert!(checked.contains("buses    virtio-blk virtio-scsi nvme ide\n"), "{checked}");
    let id = &second[..12];
    assert!(says(&store, &["default", id]).starts_with(id));
    let (checked, ok) = kernel(&store, &["check"]).unwrap();
    assert!(ok && checked.contains("buses    virtio-blk virtio-scsi nvme ahci ide usb-storage\n"), "{checked}");

    assert_eq!(says(&store, &["remove", &id[..4]]), format!("{id}\n"));
    let error = kernel(&store, &["default"]).unwrap_err();
    assert_eq!(error.to_string(), "no default kernel");
    let hint = error.downcast_ref::<KernelError>().unwrap().hint().unwrap();
    assert!(hint.starts_with("the store has one: bootdisk kernel default 6.1.0-"), "{hint}");
    let error = kernel(&store, &["show"]).unwrap_err();
    assert_eq!(error.to_string(), "no default kernel");
    assert_eq!(says(&store, &["list"]).lines().count(), 2);
    says(&store, &["remove", &first[..12]]);
    assert!(says(&store, &["list"]).starts_with("no kernels in "));
}

#[test]
fn a_boot_file_with_its_modules_and_configuration_elsewhere_is_one_kernel() {
    let place = place();
    let whole = root(&place, "whole", &["virtio", "virtio_ring"]);
    let first = says(&place.store, &["add", text(&whole)]);
    let kernel_file = small_kernel::only(&whole.join("boot"), "vmlinuz-");
    let config = small_kernel::only(&whole.join("boot"), "config-");
    let (alone, options) = (place.dir.path().join("bzImage"), place.dir.path().join("options"));
    fs::copy(kernel_file, &alone).unwrap();
    fs::rename(config, &options).unwrap();
    let modules = whole.join("lib/modules");
    let args = ["add", text(&alone), "--modules", text(&modules), "--config", text(&options)];
    // The identifier says what a kernel is, not where it came from.
    assert_eq!(says(&place.store, &args)[..12], first[..12]);

    let bare = says(&place.store, &["add", text(&alone)]);
    assert_ne!(bare[..12], first[..12]);
    let (checked, ok) = kernel(&place.store, &["check", &bare[..12]]).unwrap();
    assert!(ok && checked.contains("may boot a disk"), "{checked}");
    let release = bare[14..].trim();
    let error = place.store.find(release).unwrap_err();
    assert!(matches!(error, KernelError::Ambiguous { .. }), "{error}");
    assert!(matches!(place.store.find("abc"), Err(KernelError::Unknown(_))));
    assert!(matches!(place.store.find("../../etc"), Err(KernelError::Unknown(_))));
}

#[test]
fn what_an_entry_knows_of_its_modules_is_what_they_say() {
    let place = place();
    let root = root(&place, "root", &["virtio", "virtio_ring", "virtio_blk"]);
    let entry = place.store.add(&root, None, None).unwrap().entry;
    let folder = place.store.dir().join(&entry.id);
    let (info, manifest) = (folder.join("modules.info"), folder.join("manifest.json"));
    let expected = select(&Bundle::open(&root, None).unwrap()).unwrap();
    let same = |what: &str| {
        let bundle = place.store.find(&entry.id).unwrap().bundle().unwrap();
        let selection = select(&bundle).unwrap();
        assert_eq!(selection.specs(), expected.specs(), "{what}");
        assert_eq!(selection.total(), expected.total(), "{what}");
        assert!(selection.read(&bundle).unwrap() == expected.read(&bundle).unwrap(), "{what}");
    };
    same("as it is written");

    // Another word in it, and a manifest that has its digest: only the modules themselves say otherwise.
    let digest = || {
        let said = tools::stdout(Command::new("sha256sum").arg(&info));
        said.split(' ').next().unwrap().to_owned()
    };
    let (text, of_text) = (fs::read_to_string(&info).unwrap(), digest());
    let whole = fs::read_to_string(&manifest).unwrap();
    assert!(text.contains("\"virtio_ring\"") && whole.contains(&of_text));
    fs::write(&info, text.replace("\"virtio_ring\"", "\"virtio_rung\"")).unwrap();
    fs::write(&manifest, whole.replace(&of_text, &digest())).unwrap();
    let error = place.store.find(&entry.id).unwrap().check().unwrap_err().to_string();
    assert!(error.contains("has changed"), "{error}");

    // An earlier version wrote no such file.
    fs::remove_file(&info).unwrap();
    let line = whole.lines().find(|line| line.contains(&of_text)).unwrap();
    fs::write(&manifest, whole.replace(&format!("{line}\n"), "")).unwrap();
    place.store.find(&entry.id).unwrap().check().unwrap();
    same("without it");
}

#[test]
fn damage_to_any_file_of_an_entry_is_found_and_mended_by_adding_again() {
    let place = place();
    let root = root(&place, "root", &["virtio", "virtio_ring", "overlay"]);
    let id = place.store.add(&root, None, None).unwrap().entry.id;
    let entry = place.store.dir().join(&id);
    let mut names: Vec<PathBuf> = fs::read_dir(&entry).unwrap().map(|file| file.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 9, "{names:?}");
    let check = || place.store.find(&id[..12]).and_then(|entry| entry.check());
    check().unwrap();
    for path in &names {
        let bytes = fs::read(path).unwrap();
        for damage in ["flip", "cut", "gone"] {
            match damage {
                "flip" => {
                    let mut copy = bytes.clone();
                    // In the manifest, a digit of the release: elsewhere JSON itself would complain.
                    let at = if path.ends_with("manifest.json") { 35 } else { copy.len() / 2 };
                    copy[at] ^= 1;
                    fs::write(path, copy).unwrap();
                }
                "cut" => fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
                _ => fs::remove_file(path).unwrap(),
            }
            assert!(check().is_err(), "{damage} {}", path.display());
            assert!(place.store.add(&root, None, None).unwrap().new, "{damage} {}", path.display());
            check().unwrap();
        }
    }

    // A damaged module is found when it is read, too, and a damaged entry can be removed.
    let pack = entry.join("modules.pack");
    let mut bytes = fs::read(&pack).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x40);
    fs::write(&pack, bytes).unwrap();
    let bundle = place.store.default_bundle(Arch::X86_64).unwrap();
    assert!(matches!(select(&bundle).unwrap().read(&bundle), Err(KernelError::Damaged { .. })));
    fs::write(entry.join("manifest.json"), "{}").unwrap();
    assert!(says(&place.store, &["list"]).contains("damaged"));
    says(&place.store, &["remove", &id[..12]]);
    assert!(!entry.exists());
    assert!(!place.store.dir().join("default-x86_64").exists());
}

/// An arm64 `Image` as far as it is looked at.
fn arm64_kernel(place: &Place) -> PathBuf {
    let path = place.dir.path().join("Image");
    let mut bytes = vec![0; 4096];
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes.extend(b"Linux version 6.1.0-arm64 (somebody) #1\n\0");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_default_is_the_one_asked_for_or_the_only_one_or_the_hosts() {
    let place = place();
    let find = |arch| place.store.find_for("default", arch).map(|entry| entry.arch);
    let none = |arch| matches!(find(arch), Err(KernelError::NoDefault { arch: of, stored: None }) if of == arch);
    for arch in [None, Some(Arch::X86_64), Some(Arch::Aarch64)] {
        assert!(none(arch), "{arch:?}");
    }
    place.store.add(&arm64_kernel(&place), None, None).unwrap();
    assert_eq!(find(None).unwrap(), Arch::Aarch64, "the only one there is");
    assert_eq!(find(Some(Arch::Aarch64)).unwrap(), Arch::Aarch64);
    assert!(none(Some(Arch::X86_64)));
    assert!(says(&place.store, &["show"]).contains("aarch64"));
    place.store.add(&root(&place, "a", &["virtio"]), None, None).unwrap();
    assert_eq!(find(None).unwrap(), Arch::from_name(std::env::consts::ARCH).unwrap(), "this host's");
    assert_eq!(find(Some(Arch::Aarch64)).unwrap(), Arch::Aarch64);
    assert_eq!(find(Some(Arch::X86_64)).unwrap(), Arch::X86_64);
    assert_eq!(says(&place.store, &["default"]).lines().count(), 2);
}

#[test]
fn concurrent_adds_end_with_one_whole_entry_each() {
    let place = place();
    let roots = [root(&place, "a", &["virtio"]), root(&place, "b", &["virtio_ring"])];
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (store, root) = (&place.store, &roots[i % 2]);
            scope.spawn(move || {
                let added = store.add(root, None, None).unwrap();
                added.entry.bundle().unwrap();
                // Readers and a default that changes, meanwhile.
                store.set_default(&added.entry).unwrap();
                store.default_entry(Arch::X86_64).unwrap();
            });
        }
    });
    let entries = place.store.list().unwrap();
    assert_eq!(entries.len(), 2);
    for entry in entries {
        entry.unwrap().check().unwrap();
    }
}

#[test]
fn what_an_interrupted_add_left_is_neither_seen_nor_kept() {
    let place = place();
    let root = root(&place, "root", &["virtio"]);
    fs::create_dir_all(place.store.dir().join(".new-left")).unwrap();
    fs::write(place.store.dir().join(".new-left/boot"), "half").unwrap();
    assert_eq!(place.store.list().unwrap().len(), 0);
    place.store.add(&root, None, None).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(place.store.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    // The third is the kernel's, called by its digest.
    names.retain(|name| name.len() != 64);
    assert_eq!(names, ["default-x86_64", "lock"]);

    // A kernel that is refused leaves nothing either.
    let bad = place.dir.path().join("bad");
    fs::write(&bad, "no kernel").unwrap();
    let error = kernel(&place.store, &["add", text(&bad)]).unwrap_err();
    assert!(format!("{error:#}").contains("a kernel is needed, but this is text"), "{error:#}");
    assert_eq!(fs::read_dir(place.store.dir()).unwrap().count(), 3);
}

/// A kernel and that it is the first come together: whoever is stopped between them has neither.
#[test]
fn a_first_kernel_that_cannot_be_made_the_default_is_not_there() {
    let place = place();
    let root = root(&place, "root", &["virtio"]);
    let default = place.store.dir().join("default-x86_64");
    fs::create_dir_all(&default).unwrap();
    place.store.add(&root, None, None).unwrap_err();
    assert_eq!(place.store.list().unwrap().len(), 0);
    // A default that names what never came is none.
    fs::remove_dir(&default).unwrap();
    fs::write(&default, format!("{}\n", "a".repeat(64))).unwrap();
    assert!(place.store.find("default").is_err());
    let added = place.store.add(&root, None, None).unwrap();
    assert!(added.new && added.became_default);
    assert_eq!(place.store.find("default").unwrap().id, added.entry.id);
}
