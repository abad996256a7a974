//! An image by its name, booted; what is kept of it, and what the cache says of that.

use crate::e2e;
use crate::support::registry::Registry;
use e2e::{Bench, Kernel, Ran, image, run};
use serde_json::Value;
use std::fs::File;
use std::os::unix::fs::FileExt;

fn cache(bench: &Bench, words: &[&str]) -> Ran {
    run(bench.bootdisk().arg("cache").args(words))
}

fn kept(bench: &Bench) -> Vec<Value> {
    serde_json::from_str(&cache(bench, &["list", "--json"]).expect_status(0).text()).unwrap()
}

#[test]
fn an_image_boots_by_its_name_and_is_kept_until_it_is_pruned() {
    let mut registry = Registry::open();
    registry.push(&format!("oci:{}", image("hello-c.oci").display()), "hello:1", &[]);
    let bench = Bench::new(Kernel::Cloud);
    let name = format!("docker://{}", registry.name("hello:1"));
    let disk = bench.path("hello.img");
    let built = run(bench.bootdisk().args(["build", &name, "-o"]).arg(&disk)).expect_status(0);
    assert!(built.stderr.starts_with(&format!("{}\ndigest: sha256:", registry.name("hello:1"))), "{}", built.stderr);
    let layout = bench.build(image("hello-c.oci"), "layout.img", &[]);
    assert_eq!(e2e::sha256(&disk), e2e::sha256(&layout), "one image is one disk");
    // Without its registry, from what was kept.
    registry.stop();
    let ran = bench.run(&name, &[]).expect_status(0);
    assert!(ran.text().starts_with("Hello"), "{}", ran.stderr);

    let all = kept(&bench);
    let of = |kind: &str| all.iter().filter(|kept| kept["kind"] == kind).count();
    assert_eq!((of("disk"), of("part")), (1, 0), "{all:#?}");
    assert!(all.iter().any(|kept| kept["images"][0] == registry.name("hello:1")), "{all:#?}");
    let table = cache(&bench, &["list"]).expect_status(0).text();
    assert_eq!(table.lines().count(), all.len() + 2, "{table}");
    let place = cache(&bench, &["path"]).expect_status(0).text();
    assert_eq!(place.trim_end(), bench.path("cache/bootdisk").to_str().unwrap());

    cache(&bench, &["check"]).expect_status(0);
    for kind in ["disk", "blob"] {
        let path = kept(&bench).iter().find(|kept| kept["kind"] == kind).unwrap()["path"].as_str().unwrap().to_owned();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 30).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 30).unwrap();
        assert_eq!(cache(&bench, &["check"]).expect_status(1).text().trim_end(), path);
        cache(&bench, &["check"]).expect_status(0);
    }
    let total = |all: &[Value]| all.iter().map(|kept| kept["bytes"].as_u64().unwrap()).sum::<u64>();
    cache(&bench, &["prune", "--max", "1T"]).expect_status(0);
    assert!(total(&kept(&bench)) > 0);
    cache(&bench, &["prune"]).expect_status(0);
    assert_eq!(kept(&bench).len(), 0);
    bench.run(&name, &["--pull", "never"]).expect_status(125);
}
