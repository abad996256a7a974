//! The article's workload and its relatives: a line of text and an exit status come out of a machine that holds
//! nothing but one static executable.

use crate::{e2e, e2e_disk};
use e2e::{Bench, Kernel, image, tagged};

/// What the C and the Go edition print under a kernel.
fn lines(kernel: Kernel) -> [String; 2] {
    let release = kernel.release();
    [
        format!("Hello from OS-less container (C, Linux {release} on x86_64)\n"),
        format!("Hello from OS-less container (Go, Linux {release} on amd64)\n"),
    ]
}

#[test]
fn the_article_boots_under_bios() {
    boots_under("bios");
}

#[test]
fn the_article_boots_under_uefi() {
    boots_under("uefi");
}

fn boots_under(firmware: &str) {
    let bench = Bench::new(Kernel::Cloud);
    for (name, line) in ["hello-c.oci", "hello-go.oci.tar"].into_iter().zip(lines(Kernel::Cloud)) {
        let disk = bench.build(image(name), "hello.img", &[]);
        e2e_disk::check(&disk);
        bench.run(&disk, &["--firmware", firmware]).expect(0, &line);
    }
}

#[test]
fn an_image_runs_without_a_disk_being_named() {
    let bench = Bench::new(Kernel::Cloud);
    let [line, _] = lines(Kernel::Cloud);
    let archive = image("hello-c.docker.tar");
    bench.run(&archive, &[]).expect(0, &line);
    // Once more, from the cache.
    bench.run(&archive, &[]).expect(0, &line);
}

#[test]
fn a_kernel_package_needs_no_store() {
    let bench = Bench::without_kernels();
    let kernel = Kernel::Cloud.package();
    let [line, _] = lines(Kernel::Cloud);
    let disk = bench.build(image("hello-c.oci"), "hello.img", &["--kernel", kernel.to_str().unwrap()]);
    bench.run(&disk, &["--firmware", "direct"]).expect(0, &line);
}

#[test]
fn the_exit_status_is_the_workloads() {
    let bench = Bench::new(Kernel::Cloud);
    for (tag, status) in [
        ("exit7", 7),
        ("missing", 127),
        ("not-executable", 126),
        ("sigill", 128 + 4),
        ("sigsegv", 128 + 11),
        ("unknown-user", 125),
        ("no-command", 125),
    ] {
        println!("{tag}");
        let ran = bench.run(tagged("probe.oci", tag), &[]).expect(status, "");
        // A status that is not the workload's own comes with its reason.
        let has_reason = ran.stderr.lines().any(|line| line.starts_with("error: "));
        assert_eq!(has_reason, (125..=127).contains(&status), "{tag}: {}", ran.stderr);
    }
}

#[test]
fn a_repeated_layer_is_a_layer_like_any_other() {
    let bench = Bench::new(Kernel::Cloud);
    bench.run(image("twice.oci"), &[]).expect(7, "");
    bench.run(image("twice.legacy.tar"), &[]).expect(7, "");
}

#[test]
fn a_file_capability_survives() {
    let bench = Bench::new(Kernel::Cloud);
    bench.run(tagged("capability.oci", "latest"), &[]).expect(0, "listening on port 80 as uid 1000\n");
    let without = bench.run(tagged("capability.oci", "without"), &[]).expect(99, "");
    assert!(without.stderr.contains("CAP_NET_BIND_SERVICE is not effective"), "{}", without.stderr);
}

#[test]
fn the_process_is_what_the_image_and_the_options_say() {
    let bench = Bench::new(Kernel::Cloud);
    let plain = bench.run(tagged("probe.oci", "probe"), &[]).expect_status(0).text();
    assert!(plain.starts_with("pid=1 ppid=0 uid=0 gid=0 "), "{plain}");
    assert!(plain.contains("\ncwd=/\n"), "{plain}");
    assert!(plain.contains("\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"), "{plain}");

    let options = [
        "--user",
        "1234:5678",
        "--workdir",
        "/made/here",
        "--hostname",
        "box",
        "--env",
        "A=b=c",
        "--env",
        "B=with space",
    ];
    let changed = bench.run(tagged("probe.oci", "probe"), &options).expect_status(0).text();
    for line in ["uid=1234 gid=5678 ", "\ncwd=/made/here\n", "\nhostname=box\n", "\nA=b=c\n", "\nB=with space\n"] {
        assert!(changed.contains(line), "no {line:?} in:\n{changed}");
    }
    bench
        .run_other(tagged("probe.oci", "probe"), &[], &["/probe", "echo", "two words", "", "$HOME"])
        .expect(0, "two words\n\n$HOME\n");
}

#[test]
fn the_streams_stay_apart_and_whole() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(tagged("probe.oci", "probe"), "probe.img", &[]);
    let both = bench.run_other(&disk, &[], &["/probe", "streams"]).expect(0, "to standard output\n");
    assert!(both.stderr.lines().any(|line| line == "to standard error"), "{}", both.stderr);

    let many = bench.run_other(&disk, &[], &["/probe", "bytes", "3000000"]).expect_status(0);
    let pattern: Vec<u8> = (0..3_000_000u32).map(|i| (i * 31 + (i >> 8)) as u8).collect();
    assert!(many.stdout == pattern, "{} bytes came, not the 3,000,000 of the pattern", many.stdout.len());
}

#[test]
fn standard_input_reaches_the_workload_when_asked_for() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(tagged("probe.oci", "probe"), "probe.img", &[]);
    let input: Vec<u8> = (0..300_000u32).map(|i| (i * 7 + (i >> 9)) as u8).collect();
    let cat = |options: &[&str]| {
        let mut command = bench.run_command(&disk, options);
        command.args(["--", "/probe", "cat"]);
        e2e::run_with_input(&mut command, input.clone()).expect_status(0).stdout
    };
    assert!(cat(&["-i"]) == input, "standard input came back changed");
    assert_eq!(cat(&[]), b"", "without -i it is /dev/null");
}

#[test]
fn a_workload_that_does_not_end_is_ended() {
    let bench = Bench::new(Kernel::Cloud);
    let disk = bench.build(tagged("probe.oci", "probe"), "probe.img", &[]);
    let ran = bench.run_other(&disk, &["--timeout", "20s"], &["/probe", "sleep", "1000"]).expect(124, "");
    assert!(ran.took.as_secs() < 60, "it took {:?}", ran.took);
}
