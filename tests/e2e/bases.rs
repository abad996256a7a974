//! Builds that begin at the layers of an earlier one: the same disk, without a look at these layers, and whatever becomes of
//! what was kept.

use crate::{e2e, images};
use e2e::{Bench, Kernel, Running, run, sha256};
use images::{ImageBuilder, Pack, TarBuilder};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for the images below.
const SIZES: [&str; 6] = ["--firmware", "bios", "--esp-size", "48M", "--size", "96M"];

/// An OCI layout of two layers: one that is worth a base, packed like this, and the one given.
pub fn image(bench: &Bench, name: &str, pack: Pack, top: Vec<u8>) -> PathBuf {
    let mut word = 1u64;
    let noise = std::iter::from_fn(|| {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Some((word >> 56) as u8)
    });
    let noise: Vec<u8> = noise.take(9 << 20).collect();
    // What can be packed, so that copying it takes little time beside unpacking; and zeros at the end.
    let lower = TarBuilder::new().file("lib/one", 0o644, &noise).file("lib/two", 0o644, &[5; 9 << 20]);
    // Zeros lie where something else was given back, and more of that is free.
    let lower = lower.file("lib/again", 0o644, &[3; 90_000]).file("lib/again", 0o644, b"shorter");
    let lower = lower.file("lib/zeros", 0o644, &[0; 9_000]).build();
    let path = bench.path(name);
    ImageBuilder::new().packed_layer(lower, pack).layer(top).cmd(&["/app"]).write_oci(&path);
    path
}

fn top(text: &str) -> Vec<u8> {
    TarBuilder::new().file("app", 0o755, text.as_bytes()).whiteout("lib/two").build()
}

pub fn kept(bench: &Bench) -> Vec<PathBuf> {
    let entries = fs::read_dir(bench.path("cache/bootdisk/bases")).into_iter().flatten();
    let entries = entries.map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|end| end == "base")).collect()
}

/// Whether blocks are shared where the bench is: then the first build of an image leaves a base.
fn can_share(bench: &Bench) -> bool {
    let [from, to] = ["share.from", "share.to"].map(|name| bench.path(name));
    fs::write(&from, [1; 4096]).unwrap();
    let copied = Command::new("cp").arg("--reflink=always").arg(&from).arg(&to).output().unwrap();
    copied.status.success()
}

/// The larger layer of an image.
fn lowest(layout: &Path) -> PathBuf {
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    blobs.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Puts something of the same length in its place.
fn spoil(layout: &Path) {
    let blob = lowest(layout);
    fs::write(&blob, vec![0; blob.metadata().unwrap().len() as usize]).unwrap();
}

/// A build of this image must fail: it looks at all layers, and one is another.
fn looks_at_all(bench: &Bench, layout: &Path, options: &[&str]) {
    let mut build = bench.bootdisk();
    build.args(["build", "-o"]).arg(bench.path("none.img")).arg(layout).args(SIZES).args(options);
    assert!(run(&mut build).expect_status(1).stderr.contains("digest"), "{options:?}");
    assert!(!bench.path("none.img").exists());
}

#[test]
fn a_changed_top_layer_is_all_that_is_read_and_the_disk_is_the_same() {
    let bench = Bench::new(Kernel::Cloud);
    let [first, second] = ["one", "two"].map(|text| image(&bench, text, Pack::Gzip, top(text)));
    let cold = sha256(&bench.build(&second, "cold.img", &[&SIZES[..], &["--no-cache"]].concat()));
    assert!(kept(&bench).is_empty(), "--no-cache keeps nothing");
    // Copying takes its time: it is left for when a second image has the same lower layer.
    bench.build(image(&bench, "zero", Pack::Gzip, top("zero")), "zero.img", &SIZES);
    assert_eq!(kept(&bench).len(), usize::from(can_share(&bench)));
    // A root of 8 TiB has its first body elsewhere: what it left could be used by none that is smaller.
    bench.build(&first, "huge.img", &["--firmware", "bios", "--size", "9T"]);
    assert_eq!(kept(&bench).len(), usize::from(can_share(&bench)));
    bench.run(&first, &[&SIZES[2..], &["--qemu", "/bin/false"]].concat()).expect_status(125);
    let [base] = &kept(&bench)[..] else { panic!("one is kept: {:?}", kept(&bench)) };
    let listed = run(bench.bootdisk().args(["cache", "list"])).expect_status(0).text();
    assert!(listed.lines().any(|line| line.starts_with("base ")), "{listed}");
    run(bench.bootdisk().args(["cache", "check"])).expect_status(0);

    // What was given back cannot be erased at first: nothing is kept then, and the disk is right all the same.
    fs::remove_file(base).unwrap();
    let mut stubborn = bench.at_home("strace");
    stubborn.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fallocate:error=EIO:when=1"]);
    stubborn.arg(bench.bootdisk().get_program()).args(["build", "-o"]).arg(bench.path("stubborn.img"));
    run(stubborn.arg(&second).args(SIZES)).expect_status(0);
    assert_eq!((sha256(&bench.path("stubborn.img")), kept(&bench).len()), (cold.clone(), 0));
    bench.build(&second, "kept.img", &SIZES);
    assert_eq!(kept(&bench), std::slice::from_ref(base));

    // With a damaged one it is as if there were none, and it is made anew.
    let damage = || {
        let file = File::options().read(true).write(true).open(base).unwrap();
        let (at, mut byte) = (300 * 4096, [0]);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    };
    damage();
    assert_eq!(sha256(&bench.build(&second, "again.img", &SIZES)), cold);
    run(bench.bootdisk().args(["cache", "check"])).expect_status(0);
    damage();
    let checked = run(bench.bootdisk().args(["cache", "check"])).expect_status(1).text();
    assert_eq!(checked, format!("{}\n", base.display()));
    assert!(kept(&bench).is_empty() && !base.with_extension("seal").exists(), "it is taken away");

    // Two at once, the second of which may or may not begin at what the first leaves.
    let both = ["left.img", "right.img"].map(|name| {
        let disk = bench.path(name);
        let mut build = bench.bootdisk();
        build.arg("build").arg(&second).arg("-o").arg(&disk).args(SIZES);
        (Running::start(&mut build), disk)
    });
    for (build, disk) in both {
        build.finish().expect_status(0);
        assert_eq!(sha256(&disk), cold);
    }
    assert_eq!(kept(&bench), std::slice::from_ref(base));

    // What packs the layers otherwise has the same tars and is another image.
    let packed = image(&bench, "zstd", Pack::Zstd, top("two"));
    spoil(&packed);
    looks_at_all(&bench, &packed, &[]);

    // The lower layer is not opened: there is something else.
    spoil(&second);
    assert_eq!(sha256(&bench.build(&second, "warm.img", &SIZES)), cold);
    // What is copied is compared each time; what is shared, when it has no seal.
    let seal = base.with_extension("seal");
    for was_removed in [false, true] {
        assert_eq!(seal.exists(), can_share(&bench), "removed: {was_removed}");
        _ = fs::remove_file(&seal);
        assert_eq!(sha256(&bench.build(&second, "warm.img", &SIZES)), cold);
    }
    let list = bench.path("list.json");
    let with_list = bench.build(&second, "list.img", &[&SIZES[..], &["--sbom", list.to_str().unwrap()]].concat());
    assert_eq!((sha256(&with_list), list.exists()), (cold, true));
    looks_at_all(&bench, &second, &["--no-cache"]);
    looks_at_all(&bench, &second, &["--verify"]);
    let statement = bench.path("statement.json");
    looks_at_all(&bench, &second, &["--provenance", statement.to_str().unwrap()]);
    assert!(!statement.exists(), "nothing is said of what was not seen");

    // Neither a link nor another user's folder is followed.
    let away = bench.path("away");
    fs::rename(base, &away).unwrap();
    symlink(&away, base).unwrap();
    looks_at_all(&bench, &second, &[]);
    fs::remove_file(base).unwrap();
    fs::rename(&away, base).unwrap();
    let folder = bench.path("cache/bootdisk/bases");
    chown(&folder, Some(54_321), None).unwrap();
    looks_at_all(&bench, &second, &[]);
    chown(&folder, Some(0), None).unwrap();
    bench.build(&second, "warm.img", &SIZES);
}
