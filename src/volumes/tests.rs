//! The store of volumes: what is made, kept, refused.

use super::*;
use std::process::Command;

fn store() -> (tempfile::TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::at(home.path().join("bootdisk/volumes"));
    (home, store)
}

#[track_caller]
fn sound(path: &Path) {
    let checked = Command::new("e2fsck").args(["-fn"]).arg(path).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_new_volume_is_a_sound_file_system_of_its_size_that_takes_little_room() {
    let (_home, store) = store();
    for (name, size, is) in
        [("data", None, USUAL_SIZE), ("small", Some(LEAST_SIZE), LEAST_SIZE), ("odd", Some(20_000_001), 20_000_768)]
    {
        assert!(store.create(name, size).unwrap(), "{name}");
        assert!(!store.create(name, size).unwrap(), "{name} is there");
        let entry = store.entry(name).unwrap();
        assert_eq!((entry.size, entry.in_use), (is, false), "{name}");
        assert!(entry.allocated < 8 << 20, "{name}: {}", entry.allocated);
        sound(&entry.path);
    }
    let names: Vec<String> = store.list().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["data", "odd", "small"]);
}

#[test]
fn one_machine_has_a_volume_and_others_are_refused_by_its_name() {
    let (_home, store) = store();
    let taken = store.take("data", Some(LEAST_SIZE)).unwrap();
    for error in [store.take("data", None).unwrap_err(), store.remove("data").unwrap_err()] {
        assert_eq!(error.to_string(), "volume is in use by another machine: data");
    }
    assert!(store.entry("data").unwrap().in_use);
    drop(taken);
    store.remove("data").unwrap();
    assert_eq!(store.remove("data").unwrap_err().to_string(), "no such volume: data");
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn what_is_no_volume_is_not_listed_and_harms_no_list() {
    let (home, store) = store();
    store.create("data", Some(LEAST_SIZE)).unwrap();
    let folder = store.path("data").unwrap().parent().unwrap().to_owned();
    std::os::unix::fs::symlink("data.img", folder.join("link.img")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("broken.img")).unwrap();
    std::fs::create_dir(folder.join("folder.img")).unwrap();
    std::fs::write(folder.join("notes.txt"), "").unwrap();
    let names: Vec<String> = store.list().unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["data"]);
    assert!(store.entry("link").unwrap_err().to_string().contains("cannot open the volume"));
    drop(home);
}

#[test]
fn a_volume_grows_and_never_shrinks() {
    let (_home, store) = store();
    drop(store.take("data", Some(LEAST_SIZE)).unwrap());
    drop(store.take("data", None).unwrap());
    assert_eq!(store.entry("data").unwrap().size, LEAST_SIZE);
    drop(store.take("data", Some(LEAST_SIZE * 2)).unwrap());
    assert_eq!(store.entry("data").unwrap().size, LEAST_SIZE * 2);
    let smaller = store.take("data", Some(LEAST_SIZE)).unwrap_err();
    assert!(smaller.to_string().contains("smaller than it is, 33554432 bytes: data"), "{smaller}");
    for size in [0, 1, LEAST_SIZE - 1, u64::MAX] {
        let error = store.take("new", Some(size)).unwrap_err();
        assert!(error.to_string().starts_with("a volume has at least"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn names_are_dockers_and_no_paths() {
    for (name, good) in [
        ("data", true),
        ("db_1.x-y", true),
        ("9a", true),
        ("a", false),
        ("", false),
        ("-a", false),
        (".a", false),
        ("a/b", false),
        ("a b", false),
        ("ä1", false),
        ("a\u{1b}b", false),
        (&"x".repeat(64), true),
        (&"x".repeat(65), false),
    ] {
        assert_eq!(name::check(name).is_ok(), good, "{name:?}");
    }
}
