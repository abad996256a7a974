//! The workflow file that docs/testing.md offers: its steps, taken out of the file and run in a folder that has nothing but a
//! Dockerfile and a smoke.toml, with a home of their own.
//!
//! Compiling bootdisk in release mode takes minutes: without `BOOTDISK_TEST_FULL` that step is left out, and the program
//! under test is in PATH instead.

use crate::smoke::check_junit;
use crate::tools;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A step that runs a script.
struct Step {
    name: String,
    script: String,
}

/// The scripts of a workflow file that is written as ours is: two levels of mappings, one job.
fn steps(workflow: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<usize> = None;
    for line in workflow.lines() {
        let indent = line.len() - line.trim_start().len();
        let text = line.trim_start();
        if let Some(outer) = block {
            if indent > outer || text.is_empty() {
                let step = steps.last_mut().unwrap();
                step.script.push_str(text);
                step.script.push('\n');
                continue;
            }
            block = None;
        }
        if let Some(name) = text.strip_prefix("- name: ") {
            steps.push(Step { name: name.to_owned(), script: String::new() });
        } else if let Some(script) = text.strip_prefix("run: ") {
            match script {
                "|" => block = Some(indent),
                script => steps.last_mut().unwrap().script = script.to_owned(),
            }
        }
    }
    steps.retain(|step| !step.script.is_empty());
    steps
}

#[test]
fn steps_are_found() {
    let found = steps(
        "      - name: A\n        run: |\n          x\n          y z\n      - name: B\n        uses: q\n      - name: C\n        run: w\n",
    );
    let shown: Vec<(&str, &str)> = found.iter().map(|step| (&*step.name, &*step.script)).collect();
    assert_eq!(shown, [("A", "x\ny z\n"), ("C", "w")]);
}

/// What a user has: a Dockerfile, what goes into it, and a smoke.toml. The image is FROM scratch, as no registry is at
/// hand; the accelerator is said, as a machine with a broken KVM would spend time on finding that out.
fn project(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/images/hello.c");
    fs::create_dir_all(folder).unwrap();
    tools::stdout(Command::new("gcc").args(["-O2", "-static", "-s", "-o"]).arg(folder.join("hello")).arg(source));
    fs::write(folder.join("Dockerfile"), "FROM scratch\nCOPY hello /hello\nCMD [\"/hello\"]\n").unwrap();
    let test = "[[test]]\nname = \"says hello\"\nimage = \"app.tar\"\nexpect = [\"Hello from\"]\nmatrix = [\"accel=tcg\"]\n\
        timeout = \"200s\"\nboot-timeout = \"150s\"\n";
    fs::write(folder.join("smoke.toml"), test).unwrap();
}

#[test]
fn the_workflow_works_as_it_stands() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workflow = fs::read_to_string(checkout.join("examples/github-workflow.yml")).unwrap();
    let steps = steps(&workflow);
    assert_eq!(steps.len(), 5, "every step that runs something");
    // Below /tmp: what buildah keeps at run time must have a short path.
    let home = tempfile::tempdir().unwrap();
    let (project, bin) = (home.path().join("project"), home.path().join("bin"));
    self::project(&project);
    fs::create_dir(&bin).unwrap();
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    match full {
        true => {
            _ = tools::stdout(Command::new("git").args(["clone", "-q"]).arg(checkout).arg(project.join("bootdisk")))
        }
        false => std::os::unix::fs::symlink(assert_cmd::cargo::cargo_bin!("bootdisk"), bin.join("bootdisk")).unwrap(),
    }
    for step in &steps {
        if step.script.starts_with("cargo install") && !full {
            continue;
        }
        // As the runner does it: a script file, and the first command that fails ends it.
        let script = home.path().join("step.sh");
        fs::write(&script, &step.script).unwrap();
        // Without a time limit: one step compiles.
        let output =
            tools::run(in_home(Command::new("bash").arg("-e").arg(&script), home.path(), &bin).current_dir(&project));
        let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {said}\n{complained}", step.name);
        if step.name == "Boot it" {
            assert!(said.ends_with("\n1 passed\n"), "{said}");
        }
    }
    check_junit(&project.join("report.xml"), &["tests=\"1\"", "failures=\"0\"", "classname=\"says hello\""]);
    // What the last step uploads.
    let kept = workflow.rsplit_once("path: |\n").unwrap().1.lines().map(|line| project.join(line.trim()));
    let kept: Vec<PathBuf> = kept.collect();
    assert!(kept.len() == 2 && kept.iter().all(|path| path.exists()), "{kept:?}");
    assert!(fs::read_dir(project.join("logs")).unwrap().count() > 0);
}

/// The home of a machine that was just made, and nothing of this one's user.
fn in_home<'a>(command: &'a mut Command, home: &Path, bin: &Path) -> &'a mut Command {
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([bin.to_owned()].into_iter().chain(std::env::split_paths(&path))).unwrap();
    let storage = home.join("storage.conf");
    let shown = home.display();
    let text = format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{shown}/images\"\nrunroot = \"{shown}/run\"\n");
    fs::write(&storage, text).unwrap();
    let apt = home.join("apt.conf");
    // Other tests may be installing something. What is here stays as it is, however new the lists are that the workflow
    // fetches: machines are booting beside this, and half of a newer QEMU starts none.
    fs::write(&apt, "DPkg::Lock::Timeout \"120\";\nAPT::Get::Upgrade \"false\";\n").unwrap();
    for name in ["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "CARGO_TARGET_DIR"] {
        command.env_remove(name);
    }
    // Cargo and rustup stay where they are, but what is installed goes elsewhere.
    let cargo = std::env::var_os("CARGO_HOME").map_or_else(|| user_home().join(".cargo"), PathBuf::from);
    let rustup = std::env::var_os("RUSTUP_HOME").map_or_else(|| user_home().join(".rustup"), PathBuf::from);
    command.env("CARGO_HOME", cargo).env("RUSTUP_HOME", rustup).env("CARGO_INSTALL_ROOT", home);
    command.env("HOME", home).env("PATH", path).env("CONTAINERS_STORAGE_CONF", storage).env("APT_CONFIG", apt);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("NO_COLOR", "1").stdin(std::process::Stdio::null())
}

fn user_home() -> PathBuf {
    std::env::home_dir().unwrap()
}
