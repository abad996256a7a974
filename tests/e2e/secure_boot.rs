//! Signed disks: other programs confirm the signatures, OVMF starts what is signed and nothing else.

use crate::{e2e, e2e_disk, tools};
use e2e::{Bench, Kernel, Ran, arm64_loader, image, run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Keys, each with its certificate: `a` and `b` of RSA.
fn keys(bench: &Bench) {
    for name in ["a", "b"] {
        let subject = format!("/CN=Signer {name}");
        let files = [format!("{name}.key"), format!("{name}.pem")];
        let mut command = bench.at_home("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", &subject]);
        tools::run(command.args(["-keyout", &files[0], "-out", &files[1]]).current_dir(bench.path("")));
    }
}

fn path(bench: &Bench, name: &str) -> String {
    bench.path(name).to_str().unwrap().to_owned()
}

/// Options that sign with a key.
fn signed_by(bench: &Bench, key: &str) -> [String; 4] {
    let file = |end: &str| path(bench, &format!("{key}.{end}"));
    ["--sign-key".into(), file("key"), "--sign-cert".into(), file("pem")]
}

fn build(bench: &Bench, name: &str, options: &[String]) -> PathBuf {
    bench.build(image("hello-c.oci"), name, &options.iter().map(String::as_str).collect::<Vec<_>>())
}

fn esp(disk: &Path) -> String {
    format!("{}@@{}", disk.display(), e2e_disk::partition(disk, e2e_disk::ESP).start)
}

fn copied_out(disk: &Path, file: &str, to: &Path) -> Vec<u8> {
    tools::run(Command::new("mcopy").args(["-n", "-o", "-i", &esp(disk), &format!("::/{file}")]).arg(to));
    fs::read(to).unwrap()
}

fn copied_in(disk: &Path, file: &str, bytes: &[u8], by: &Path) {
    fs::write(by, bytes).unwrap();
    tools::run(Command::new("mcopy").args(["-D", "o", "-i", &esp(disk)]).arg(by).arg(format!("::/{file}")));
}

/// The EFI programs of a disk with what inspect says of their signatures.
fn programs(bench: &Bench, what: &Path) -> Vec<(String, String)> {
    let report = run(bench.bootdisk().args(["inspect", "--json"]).arg(what)).expect_status(0).text();
    let report: Value = serde_json::from_str(&report).unwrap();
    let text = |program: &Value, key: &str| program[key].as_str().unwrap_or_default().to_owned();
    let programs = report["programs"].as_array().into_iter().flatten();
    let name = |evidence: String| evidence.split(": ").last().unwrap_or_default().to_owned();
    programs.map(|program| (name(text(program, "evidence")), text(program, "signature"))).collect()
}

/// Starts it where signatures are asked for.
fn secure(bench: &Bench, disk: &Path, options: &[&str]) -> Ran {
    run(bench.run_command(disk, &[&["--secure-boot"], options].concat()).env_remove("BOOTDISK_ACCEL"))
}

fn sbverify(program: &Path, certificate: &str) -> bool {
    Command::new("sbverify").args(["--cert", certificate]).arg(program).output().unwrap().status.success()
}

fn osslsigncode(program: &Path, certificate: &str) -> bool {
    let mut command = Command::new("osslsigncode");
    command.args(["verify", "-CAfile", certificate, "-in"]).arg(program).output().unwrap().status.success()
}

/// pesign tells who signed, and that is all.
fn pesign(program: &Path) -> String {
    tools::stdout(Command::new("pesign").args(["-S", "-i"]).arg(program))
}

/// Places of a program's sections in its file.
fn sections(file: &[u8]) -> Vec<(String, usize, usize)> {
    let field = |at: usize, bytes: usize| file[at..at + bytes].iter().rev().fold(0, |n, b| n << 8 | usize::from(*b));
    let pe = field(60, 4);
    let first = pe + 24 + field(pe + 20, 2);
    let section = |at: usize| {
        let name = String::from_utf8_lossy(&file[at..at + 8]).trim_end_matches('\0').to_owned();
        (name, field(at + 20, 4), field(at + 16, 4))
    };
    (0..field(pe + 6, 2)).map(|n| section(first + 40 * n)).filter(|(_, _, length)| *length > 0).collect()
}

#[test]
fn a_signed_disk_boots_where_signatures_are_asked_for_and_nothing_else_does() {
    let bench = Bench::new(Kernel::Cloud);
    keys(&bench);
    let disk = build(&bench, "s.img", &[&signed_by(&bench, "a")[..], &["--verify".into()]].concat());
    let mut test = bench.bootdisk();
    test.args([
        "test",
        "--accel",
        "tcg",
        "--secure-boot",
        "--exit-code",
        "0",
        "--json",
        "--matrix",
        "firmware=bios,uefi",
    ]);
    let tested: Value = serde_json::from_str(&run(test.arg(&disk)).expect_status(0).text()).unwrap();
    let verdicts: Vec<&str> =
        tested["tests"].as_array().unwrap().iter().filter_map(|t| t["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["skipped", "passed"], "{tested}");
    let refused = secure(&bench, &disk, &["--sign-cert", &path(&bench, "b.pem")]).expect_status(125).stderr;
    assert!(
        refused.contains("Access Denied") && refused.contains("hint: the firmware has Secure Boot on"),
        "{refused}"
    );

    // A program that signs makes the same disk.
    let command = format!("openssl pkeyutl -sign -inkey '{}' -pkeyopt digest:sha256", path(&bench, "a.key"));
    let by_program = ["--sign-command".into(), command, "--sign-cert".into(), path(&bench, "a.pem")];
    let again = build(&bench, "again.img", &by_program);
    assert!(e2e::sha256(&disk) == e2e::sha256(&again), "by a key and by a program");

    // Three others confirm each program, and none of them one that was changed.
    let found = programs(&bench, &disk);
    assert!(found.len() >= 2 && found.iter().all(|(_, signature)| signature == "right"), "{found:?}");
    let (file, changed) = (bench.path("program.efi"), bench.path("changed.efi"));
    for (name, _) in &found {
        let mut bytes = copied_out(&disk, name, &file);
        assert!(sbverify(&file, &path(&bench, "a.pem")), "{name}");
        // It digests what lies between two sections, as in a unified kernel image, and firmware does not.
        let is_loader = name.starts_with("EFI/BOOT/");
        assert_eq!(osslsigncode(&file, &path(&bench, "a.pem")), is_loader, "{name}");
        assert!(!sbverify(&file, &path(&bench, "b.pem")) && !osslsigncode(&file, &path(&bench, "b.pem")), "{name}");
        assert!(pesign(&file).contains("The signer's common name is Signer a"), "{name}");
        let (_, place, length) = sections(&bytes).into_iter().max_by_key(|section| section.2).unwrap();
        bytes[place + length / 2] ^= 1;
        fs::write(&changed, &bytes).unwrap();
        assert!(!sbverify(&changed, &path(&bench, "a.pem")) && !osslsigncode(&changed, &path(&bench, "a.pem")));
    }
    assert_eq!(programs(&bench, &changed)[0].1, "of other bytes");
    let unsigned = Path::new("/usr/lib/systemd/boot/efi/systemd-bootx64.efi");
    assert!(!sbverify(unsigned, &path(&bench, "a.pem")) && !pesign(unsigned).contains("common name"));
    let told = run(bench.bootdisk().arg("inspect").arg(unsigned)).expect_status(0).text();
    assert!(told.starts_with("EFI program for x86_64, not signed\n"), "{told}");
    let told = run(bench.bootdisk().arg("inspect").arg(&disk)).expect_status(0).text();
    assert!(told.contains("CN=Signer a") && told.contains("certificate, SHA-256"), "{told}");
    let page = bench.path("s.html");
    run(bench.bootdisk().args(["inspect", "--html"]).arg(&page).arg(&disk)).expect_status(0);
    let page = fs::read_to_string(&page).unwrap();
    assert!(page.contains(">Signatures<") && page.contains("CN=Signer a"), "{page}");

    // Another kernel has no signature: it is refused, and the disk is as it was.
    let before = e2e::sha256(&disk);
    let set = run(bench.bootdisk().args(["kernel", "set"]).arg(&disk).arg(Kernel::Generic.package()));
    let refused = set.expect_status(1).stderr;
    assert!(refused.contains("disk is signed by CN=Signer a, and its firmware would refuse"), "{refused}");
    assert!(e2e::sha256(&disk) == before, "nothing was changed");

    // What firmware and libvirt get.
    let variables = bench.path("s.vars");
    run(bench.bootdisk().arg("export").arg(&disk).arg("--uefi-vars").arg(&variables)).expect(0, "");
    let length = fs::metadata("/usr/share/OVMF/OVMF_VARS_4M.fd").unwrap().len();
    assert_eq!(fs::metadata(&variables).unwrap().len(), length);
    let domain = run(bench.bootdisk().arg("export").arg(&disk).args(["--libvirt", "--secure-boot"]).arg(&variables));
    let domain = domain.expect_status(0).text();
    assert!(domain.contains("secure='yes'") && domain.contains("<smm state='on'/>"), "{domain}");

    // What would verify nothing is refused.
    let refused = |options: &[&str], says: &str| {
        let mut command = bench.bootdisk();
        command.arg("build").arg(image("hello-c.oci")).arg("-o").arg(bench.path("x.img")).args(options);
        let ran = run(&mut command);
        assert!(ran.stderr.contains(says), "{options:?}: {}", ran.stderr);
        assert!(!bench.path("x.img").exists(), "{options:?}");
    };
    let [option, key, certificate, pem] = signed_by(&bench, "a");
    let signed = [option.as_str(), &key, &certificate, &pem];
    refused(&[&signed[..], &["--firmware", "bios"]].concat(), "a BIOS verifies no signature");
    refused(&["--sign-key", &key], "--sign-cert");
    refused(&["--sign-cert", &pem], "--sign-key");
    refused(&["--sign-key", &path(&bench, "b.key"), "--sign-cert", &pem], "does not belong to the signing key");
    let unsigned = build(&bench, "u.img", &[]);
    let told = secure(&bench, &unsigned, &[]).expect_status(125).stderr;
    assert!(told.contains("Secure Boot starts signed disks alone, and this one is not signed"), "{told}");
}

#[test]
#[ignore = "boots OVMF two dozen times"]
fn what_is_not_signed_as_it_is_is_refused() {
    let bench = Bench::new(Kernel::Cloud);
    keys(&bench);
    let certificate = path(&bench, "a.pem");
    let signed = build(&bench, "s.img", &signed_by(&bench, "a"));
    let (disk, file) = (bench.path("changed.img"), bench.path("program.efi"));
    let mut seen = Vec::new();
    let mut refused = |what: &str, disk: &Path| {
        let told = secure(&bench, disk, &["--sign-cert", &certificate]).expect_status(125).stderr;
        let line = told.lines().find(|line| line.starts_with("error: ")).unwrap_or_default().to_owned();
        assert!(
            line.contains("Access Denied") || line.contains("Security Violation") || line.contains("ccess denied"),
            "{what}: {told}"
        );
        println!("{what}: {line}");
        seen.push(what.to_owned());
    };
    let fresh = || tools::run(Command::new("cp").args(["--sparse=always"]).arg(&signed).arg(&disk));

    refused("not signed", &build(&bench, "u.img", &["--firmware".into(), "uefi".into()]));
    refused("signed by another key", &build(&bench, "b.img", &signed_by(&bench, "b")));
    let other = build(&bench, "b2.img", &signed_by(&bench, "b"));
    for (name, _) in programs(&bench, &signed) {
        let bytes = copied_out(&signed, &name, &file);
        for (section, place, length) in sections(&bytes) {
            fresh();
            let mut changed = bytes.clone();
            changed[place + length / 2] ^= 1;
            copied_in(&disk, &name, &changed, &file);
            refused(&format!("a byte of {section} of {name}"), &disk);
        }
        fresh();
        copied_in(&disk, &name, &copied_out(&other, &name, &file), &file);
        refused(&format!("{name} of another signer"), &disk);
    }
    assert!(seen.len() > 10, "{seen:?}");
}

/// Debian's own keys, keys of curves, and a firmware that gets the keys from the disk itself.
#[test]
#[ignore = "boots OVMF a few times"]
fn other_keys_and_other_ways_to_enroll_them() {
    let bench = Bench::new(Kernel::Cloud);
    keys(&bench);
    // The key has a passphrase that Debian tells.
    let snakeoil = bench.path("snakeoil.key");
    tools::run(
        Command::new("openssl")
            .args(["pkey", "-in", "/usr/share/ovmf/PkKek-1-snakeoil.key", "-passin", "pass:snakeoil", "-out"])
            .arg(&snakeoil),
    );
    let pem = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
    let options = ["--sign-key", snakeoil.to_str().unwrap(), "--sign-cert", pem].map(str::to_owned);
    let disk = build(&bench, "debian.img", &options);
    let with = |disk: &Path, variables: &str| {
        let mut command = bench.run_command(disk, &["--secure-boot"]);
        command.env("BOOTDISK_UEFI_CODE", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd");
        run(command.env("BOOTDISK_UEFI_VARS", variables))
    };
    let theirs = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
    with(&disk, theirs).expect_status(0);
    let ours = build(&bench, "a.img", &signed_by(&bench, "a"));
    assert!(with(&ours, theirs).expect_status(125).stderr.contains("Access Denied"), "Debian does not know us");
    // Variables that were exported.
    let variables = path(&bench, "a.vars");
    run(bench.bootdisk().arg("export").arg(&ours).args(["--uefi-vars", &variables])).expect(0, "");
    with(&ours, &variables).expect_status(0);
    assert!(with(&disk, &variables).expect_status(125).stderr.contains("Access Denied"), "nor we Debian");
}

#[test]
#[ignore = "an emulated aarch64 machine under UEFI, twice"]
fn aarch64_asks_for_signatures_too() {
    let bench = Bench::new(Kernel::CloudArm64);
    keys(&bench);
    let loader = arm64_loader();
    let mut options = vec!["--verity", "--platform", "linux/arm64", "--efi-loader", loader.to_str().unwrap()];
    let signed = signed_by(&bench, "a");
    options.extend(signed.iter().map(String::as_str));
    let disk = bench.build(image("hello-multi.oci"), "arm.img", &options);
    let line = format!("Hello from OS-less container (Go, Linux {} on arm64)\n", Kernel::CloudArm64.release());
    secure(&bench, &disk, &[]).expect(0, &line);
    let refused = secure(&bench, &disk, &["--sign-cert", &path(&bench, "b.pem")]).expect_status(125).stderr;
    assert!(refused.contains("Access Denied"), "{refused}");
}
