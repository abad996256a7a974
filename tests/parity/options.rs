//! Scenarios of the command line: the same options given to `bootdisk build`, to `bootdisk run`, and to both.

use super::e2e::{Bench, Kernel, run};
use super::images::{ImageBuilder, Pack};
use super::scenario::{Row, Seen, row, words};
use super::tools;
use bootdisk::guest::channel::Overrides;
use bootdisk::guest::surroundings::{Limit, Surroundings};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the workload says of itself.
const SCRIPT: &str = "tr '\\0' '\\n' < /proc/1/environ | sort; id -u; id -g; pwd; hostname; echo \"[$0] [$*] $#\"; \
    ulimit -Sn; ulimit -Hn; ulimit -Sc; for at in /dev/shm /made/tmp /srv; do \
    grep \" $at \" /proc/mounts | sed 's/,inode64//' | tail -n 1; stat -c '%a %u:%g' $at; done";

/// What both runs have mounted, but for /srv.
const MOUNTS: &str = "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=32768k 0 0\n1777 0:0\n\
    tmpfs /made/tmp tmpfs rw,nosuid,nodev,noexec,relatime,size=1024k,mode=755 0 0\n755 0:0\n";

/// One run: options of the disk's build, options of the run, and what is seen.
pub struct Run {
    pub row: Row,
    build: Vec<String>,
    run: Vec<String>,
}

/// An image with everything set, and an environment file beside it.
fn image() -> Row {
    row("the image's own")
        .entrypoint(&["/bin/sh", "-c", SCRIPT])
        .cmd(&["image", "cmd"])
        .env(&["A=image", "B=image"])
        .user("www")
        .dir("/made/by/image")
}

/// The rows, with the runtime's options beside bootdisk's. What a build was told is the image's as far as a run knows.
pub fn rows(env_file: &Path) -> Vec<Run> {
    let file = env_file.to_str().expect("a path of this test");
    let path =
        "HOME=/srv/www\nHOSTNAME=box.example\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n";
    let mut built = words(&["--env", "B=build", "--env", "C=", "--user", "www:extra", "--workdir", "/made/by/build"]);
    built.extend(words(&["--shm-size", "32m", "--tmpfs", "/made/tmp:size=1m,mode=0755", "--tmpfs", "/srv:exec"]));
    built.extend(words(&["--ulimit", "nofile=512:1024", "--ulimit", "core=0"]));
    let tmpfs =
        |srv: &str| [("/made/tmp", "size=1m,mode=0755"), ("/srv", srv)].map(|(a, b)| (a.to_owned(), b.to_owned()));
    let limit = |soft, hard| Limit { soft: Some(soft), hard: Some(hard) };
    let around = |srv| Surroundings { shm_size: Some(32 << 20), tmpfs: tmpfs(srv).into(), ..Surroundings::default() };
    let as_built = Overrides {
        surroundings: around("exec"),
        ulimits: [("nofile".to_owned(), limit(512, 1024)), ("core".to_owned(), limit(0, 0))].into(),
        env: words(&["B=build", "C="]),
        user: Some("www:extra".into()),
        working_dir: Some("/made/by/build".into()),
        ..Overrides::default()
    };
    let plain = row("options of the build").says(&format!(
        "A=image\nB=build\nC=\n{path}33\n44\n/made/by/build\nbox.example\n[image] [cmd] 1\n512\n1024\n0\n{MOUNTS}\
            tmpfs /srv tmpfs rw,nosuid,nodev,relatime 0 0\n711 0:0\n"
    ));
    let plain = Row { image: image().image, options: as_built, ..plain };
    let mut again = Row { image: plain.process(), ..row("options of the run on top of the build's") };
    again.options = Overrides {
        entrypoint: Some(words(&["/bin/sh"])),
        cmd: Some(words(&["-c", SCRIPT, "run", "two words", ""])),
        env: words(&["D=file", "A=file", "B=run", "C"]),
        user: Some("12:34".into()),
        working_dir: Some("/made/by/run".into()),
        surroundings: around("size=2m,ro"),
        ulimits: [("nofile".to_owned(), limit(256, 256))].into(),
        ..Overrides::default()
    };
    let path = path.replace("/srv/www", "/");
    let again = again.says(&format!(
        "A=file\nB=run\nD=file\n{path}12\n34\n/made/by/run\nbox.example\n[run] [two words ] 2\n256\n256\n0\n{MOUNTS}\
            tmpfs /srv tmpfs ro,nosuid,nodev,noexec,relatime,size=2048k 0 0\n711 0:0\n"
    ));
    let ran = ["--env-file", file, "--env", "B=run", "--env", "C", "--user", "12:34", "--workdir", "/made/by/run"];
    let more = [
        "--tmpfs",
        "/srv:size=2m,ro",
        "--ulimit",
        "nofile=256",
        "--entrypoint",
        "/bin/sh",
        "--",
        "-c",
        SCRIPT,
        "run",
        "two words",
        "",
    ];
    vec![
        Run { row: plain, build: built.clone(), run: vec![] },
        Run { row: again, build: built, run: words(&[&ran[..], &more].concat()) },
    ]
}

/// Writes the environment file of the rows.
pub fn env_file(bench: &Bench) -> PathBuf {
    let at = bench.path("environment");
    std::fs::write(&at, "# a comment\n\nD=file\n  A=file\nB=file\n").unwrap();
    at
}

/// Builds the disk once, and boots it once for each row.
pub fn boot(bench: &Bench, rootfs: &Path, runs: &[Run]) -> Vec<Seen> {
    let tar = bench.path("layer.tar");
    tools::stdout(Command::new("tar").arg("-C").arg(rootfs).arg("-cf").arg(&tar).arg("."));
    let process = image().image;
    let mut image = ImageBuilder::new().packed_layer(std::fs::read(&tar).unwrap(), Pack::Plain);
    image = image.set("Entrypoint", json!(process.entrypoint)).set("Cmd", json!(process.cmd));
    image = image.set("Env", json!(process.env)).set("User", json!(process.user));
    image = image.set("WorkingDir", json!(process.working_dir));
    let layout = bench.path("image");
    image.write_oci(&layout);
    let name = super::runtime::HOSTNAME;
    let options: Vec<&str> = runs[0].build.iter().map(String::as_str).chain(["--hostname", name]).collect();
    let disk = bench.build(&layout, "disk.img", &options);
    let boot = |one: &Run| {
        let (before, command) = one.run.split_at(one.run.iter().position(|word| word == "--").unwrap_or(one.run.len()));
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let ran = run(bench.run_command(&disk, &before).args(command));
        Seen::Ended(ran.status.expect("an exit status") as u8, ran.text())
    };
    runs.iter().map(boot).collect()
}

/// A home with a kernel.
pub fn bench() -> Bench {
    Bench::new(Kernel::Cloud)
}
