//! The cache of `bootdisk run IMAGE`: used twice, by two at once, and not in the way when it cannot be.

use crate::e2e;
use e2e::{Bench, Kernel, Running, image, run};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn disks(bench: &Bench) -> Vec<String> {
    let listing = fs::read_dir(bench.path("cache/bootdisk/disks")).unwrap();
    let names = listing.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".img")).collect()
}

#[test]
fn two_runs_at_once_and_a_third_share_one_disk() {
    let bench = Bench::new(Kernel::Cloud);
    let command = || bench.run_command(image("hello-c.docker.tar"), &["--progress", "plain"]);
    let both = [Running::start(&mut command()), Running::start(&mut command())].map(Running::finish);
    let built = |text: &str| text.contains("reading 1 layer");
    assert_eq!(both.iter().filter(|ran| built(&ran.stderr)).count(), 1);
    for ran in both {
        assert!(ran.expect_status(0).text().starts_with("Hello"));
    }
    // The same image in another packing is the same disk.
    let again = bench.run(image("hello-c.oci"), &["--progress", "plain"]).expect_status(0);
    assert!(!built(&again.stderr), "{}", again.stderr);
    assert_eq!(disks(&bench).len(), 1);

    // A disk that is no longer what was built is built again, and nobody but its owner can read it.
    let folder = bench.path("cache/bootdisk/disks");
    let disk = folder.join(&disks(&bench)[0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&disk)), (0o700, 0o600));
    File::options().write(true).open(&disk).unwrap().set_len(1 << 20).unwrap();
    let again = bench.run(image("hello-c.oci"), &["--progress", "plain"]).expect_status(0);
    assert!(built(&again.stderr) && again.text().starts_with("Hello"), "{}", again.stderr);
}

#[test]
fn without_a_place_for_it_there_is_no_cache_and_no_failure() {
    let bench = Bench::new(Kernel::Cloud);
    let file = bench.path("file");
    fs::write(&file, "in the way").unwrap();
    let temporary = bench.path("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = bench.run_command(image("hello-c.oci"), &[]);
    let ran = run(command.env("XDG_CACHE_HOME", &file).env("TMPDIR", &temporary)).expect_status(0);
    assert!(ran.text().starts_with("Hello"));
    assert_eq!(ran.stderr, "", "standard error is the workload's");
    assert!(is_empty(&temporary), "something was left behind");
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}
