//! An image by its name, booted; what is kept of it, and what the cache says of that.

use crate::support::registry::{Guards, Registry};
use crate::{busybox, e2e, images, small_kernel, small_packages, tools};
use e2e::{Bench, Kernel, Ran, image, run};
use images::{ImageBuilder, Pack};
use serde_json::{Value, json};
use small_packages::shell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

/// Puts a tar into a registry as an image of one layer.
fn push_tar(registry: &Registry, tar: &Path, name: &str) {
    let layout = tar.with_extension("oci");
    ImageBuilder::new().packed_layer(std::fs::read(tar).unwrap(), Pack::Plain).tag("latest").write_oci(&layout);
    registry.push(&format!("oci:{}", layout.display()), name, &[]);
}

#[test]
fn a_kernel_is_taken_from_an_image_in_a_registry_by_build_run_and_test() {
    let (registry, bench) = (Registry::open(), Bench::without_kernels());
    let (dir, release) = (bench.path(""), Kernel::Cloud.release());
    let from = small_kernel::unpacked("cloud");
    // As a distribution has it, and as linuxkit does.
    shell(&dir, &format!("tar --sort=name --owner=0 --group=0 -C {0} -cf debian.tar boot lib", from.display()));
    shell(
        &dir,
        &format!(
            "mkdir kit; cp {0}/boot/vmlinuz-* kit/kernel; tar -C {0} -cf kit/kernel.tar lib boot/config-{release}
             tar --sort=name --owner=0 --group=0 -C kit -cf kit.tar kernel kernel.tar",
            from.display()
        ),
    );
    push_tar(&registry, &dir.join("debian.tar"), "debian:1");
    push_tar(&registry, &dir.join("kit.tar"), "kit:1");
    busybox::image().cmd(&["/bin/uname", "-r"]).write_oci(&dir.join("app.oci"));
    registry.push(&format!("oci:{}", dir.join("app.oci").display()), "app:1", &[]);
    let name = |image: &str| format!("docker://{}", registry.name(image));
    // There is no other kernel here.
    let run_it = |what: &OsStr, options: &[&str]| bench.run(what, options).expect(0, &format!("{release}\n"));
    let disk = bench.build(name("app:1"), "app.img", &["--kernel", &name("debian:1")]);
    run_it(disk.as_os_str(), &[]);
    let spec = format!(
        "[[test]]\nname = 'app'\nimage = '{}'\nkernel = '{}'\nexpect = ['{release}']\nexit-code = 0\n",
        name("app:1"),
        name("kit:1")
    );
    std::fs::write(dir.join("smoke.toml"), spec).unwrap();
    let mut test = bench.bootdisk();
    let tested = run(test.args(["test", "--accel", "tcg", "--spec"]).arg(dir.join("smoke.toml"))).expect_status(0);
    assert!(tested.stderr.contains(&registry.name("kit:1")), "{}", tested.stderr);
    let none = run(bench.bootdisk().args(["build", "--kernel", &name("app:1"), &name("app:1"), "-o", "no.img"]));
    assert!(none.expect_status(1).stderr.contains("no kernel"));
}

fn cache(bench: &Bench, words: &[&str]) -> Ran {
    run(bench.bootdisk().arg("cache").args(words))
}

fn document(ran: Ran) -> Value {
    serde_json::from_str(&ran.text()).unwrap()
}

fn kept(bench: &Bench) -> Vec<Value> {
    serde_json::from_value(document(cache(bench, &["list", "--json"]).expect_status(0))).unwrap()
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
    let again = format!("docker://{}", registry.name("again:1"));
    registry.push(&format!("oci:{}", image("hello-c.oci").display()), "again:1", &[]);
    let compared = run(bench.bootdisk().args(["inspect", &again, "--diff", &name])).expect_status(0);
    assert!(compared.stderr.contains(&registry.name("again:1")) && !compared.text().is_empty());
    // Without its registry, from what was kept.
    registry.stop();
    let ran = bench.run(&name, &[]).expect_status(0);
    assert!(ran.text().starts_with("Hello"), "{}", ran.stderr);

    let all = kept(&bench);
    let of = |kind: &str| all.iter().filter(|kept| kept["kind"] == kind).count();
    assert_eq!((of("disk"), of("part")), (1, 0), "{all:#?}");
    assert!(
        all.iter().any(|kept| kept["images"].as_array().unwrap().contains(&json!(registry.name("hello:1")))),
        "{all:#?}"
    );
    let table = cache(&bench, &["list"]).expect_status(0).text();
    assert_eq!(table.lines().count(), all.len() + 2, "{table}");
    let place = cache(&bench, &["path"]).expect_status(0).text();
    assert_eq!(place.trim_end(), bench.path("cache/bootdisk").to_str().unwrap());
    assert_eq!(document(cache(&bench, &["path", "--json"])), json!({ "path": place.trim_end() }));

    cache(&bench, &["check"]).expect_status(0);
    for kind in ["disk", "blob"] {
        let path = kept(&bench).iter().find(|kept| kept["kind"] == kind).unwrap()["path"].as_str().unwrap().to_owned();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 30).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 30).unwrap();
        if kind == "disk" {
            assert_eq!(cache(&bench, &["check"]).expect_status(1).text().trim_end(), path);
        } else {
            let said = document(cache(&bench, &["check", "--json"]).expect_status(1));
            let damaged = &said["damaged"];
            assert_eq!(
                (&damaged[0]["path"], &damaged[0]["removed"], &damaged[1]),
                (&json!(path), &json!(true), &Value::Null)
            );
        }
        cache(&bench, &["check"]).expect_status(0);
    }
    let whole = document(cache(&bench, &["check", "--json"]).expect_status(0));
    assert_eq!(whole, json!({ "whole": kept(&bench).len(), "damaged": [] }));
    let total = |all: &[Value]| all.iter().map(|kept| kept["bytes"].as_u64().unwrap()).sum::<u64>();
    cache(&bench, &["prune", "--max", "1T"]).expect_status(0);
    assert!(total(&kept(&bench)) > 0);
    let all = kept(&bench);
    let gone = document(cache(&bench, &["prune", "--json"]).expect_status(0));
    assert_eq!((&gone["bytes"], &gone["left"]), (&json!(total(&all)), &json!(0)));
    let paths = |list: &[Value]| list.iter().map(|kept| kept["path"].to_string()).collect::<BTreeSet<_>>();
    assert_eq!(paths(gone["removed"].as_array().unwrap()), paths(&all));
    assert_eq!(kept(&bench).len(), 0);
    bench.run(&name, &["--pull", "never"]).expect_status(125);
}

/// What `convert` pushes and puts into a layout is an image to skopeo and umoci, and its disk boots.
#[test]
fn disks_are_pushed_and_put_into_a_layout_as_one_image_for_each_architecture() {
    // Its password is `canary-password`.
    let bench = Bench::new(Kernel::Cloud);
    let htpasswd = bench.path("htpasswd");
    std::fs::write(&htpasswd, "me:$2b$05$abcdefghijklmnopqrstuuTvmw3qcMpAvEgQGhbFMhqjD3R/evDDW\n").unwrap();
    let auth = format!("  htpasswd: {{realm: x, path: {}}}", htpasswd.display());
    let registry = Registry::start(&Guards { auth, tls: None });
    let raw = bench.build(image("hello-c.oci"), "raw.img", &["--size", "min"]);
    let arm = bench.path("arm.img");
    shell(&bench.path(""), "truncate -s 4M arm.img && sgdisk -n 1 -t 1:B921B045-1DF0-41C3-AF44-4C6F280D3FAE arm.img");
    let convert = |disks: &[&Path], to: &str| run(bench.bootdisk().arg("convert").args(disks).arg("-o").arg(to));
    let (one, both) =
        (format!("docker://{}", registry.name("t/app:1")), format!("docker://{}", registry.name("t/app:2")));
    let refused = convert(&[&raw], &one).expect(1, "");
    assert!(refused.stderr.contains("no user is logged in") && refused.stderr.contains("hint: docker login"));

    let config = bench.path("docker");
    std::fs::create_dir(&config).unwrap();
    let login = json!({"auths": {registry.name("").trim_end_matches('/'): {"auth": "bWU6Y2FuYXJ5LXBhc3N3b3Jk"}}});
    std::fs::write(config.join("config.json"), login.to_string()).unwrap();
    let convert = |disks: &[&Path], to: &str| {
        run(bench.bootdisk().env("DOCKER_CONFIG", &config).args(["convert", "--verify"]).args(disks).arg("-o").arg(to))
    };
    convert(&[&raw], &one).expect(0, "");
    // Its layer is there already.
    convert(&[&raw, &arm], &both).expect(0, "");
    let layout = format!("oci:{}", bench.path("layout").display());
    for (disks, tag) in [(&[&raw as &Path, &arm][..], "both"), (&[&raw], "one"), (&[&arm, &raw], "both")] {
        convert(disks, &format!("{layout}:{tag}")).expect(0, "");
    }
    let inspect = |of: &str| -> Value {
        let creds = "--creds=me:canary-password";
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["inspect", "--raw", of]);
        if of.starts_with("docker:") {
            skopeo.args(["--tls-verify=false", creds]);
        }
        serde_json::from_str(&tools::stdout(&mut skopeo)).unwrap()
    };
    for (of, expected) in [(&both, ["amd64", "arm64"]), (&format!("{layout}:both"), ["arm64", "amd64"])] {
        let index = inspect(of);
        let found: Vec<_> =
            (0..2).map(|at| index["manifests"][at]["platform"]["architecture"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{index}");
    }
    assert_eq!(inspect(&one), inspect(&format!("{layout}:one")));
    shell(
        &bench.path(""),
        &format!(
            "skopeo copy -q --src-tls-verify=false --src-creds me:canary-password {both} oci:copy:2
             umoci unpack --rootless --image copy:2 made
             skopeo copy -q --override-arch amd64 {layout}:both oci:copy:3
             chmod u+rw made/rootfs/disk/disk.qcow2",
        ),
    );
    let disk = bench.path("made/rootfs/disk/disk.qcow2");
    let said = bench.run(&disk, &[]).expect_status(0).text();
    assert!(said.contains("Hello from OS-less container"), "{said}");

    for (disks, to, words) in [
        (&[&raw as &Path, &raw][..], &both, "two disks are for amd64"),
        (&[&raw, &arm], &"x.qcow2".to_owned(), "several disks are one image only in"),
        (&[&raw], &format!("oci:{}", bench.path("").display()), "the folder has something else in it"),
        (&[&raw], &format!("{one}@sha256:{:064}", 0), "under a tag"),
    ] {
        let refused = convert(disks, to).expect(1, "");
        assert!(refused.stderr.contains(words), "{to}: {}", refused.stderr);
    }
}
