//! What a process sees: PID 1's side of "the workload cannot tell". One boot, many processes beside the workload.

use crate::support::guest::*;
use bootdisk::guest::channel::*;
use bootdisk::guest::spec::Process;
use std::os::unix::fs::{PermissionsExt, symlink};

/// A process of the table: what is started, how it ends, what it writes.
struct Row {
    name: &'static str,
    process: Process,
    status: u8,
    /// Lines, or for a process that never starts a part of the reason.
    says: String,
}

fn sh(script: &str) -> Process {
    Process { cmd: strings(&["/bin/sh", "-c", script]), ..Process::default() }
}

fn command(words: &[&str]) -> Process {
    Process { cmd: strings(words), ..Process::default() }
}

fn row(name: &'static str, process: Process, status: u8, says: &str) -> Row {
    Row { name, process, status, says: says.to_owned() }
}

fn rows() -> Vec<Row> {
    let user = |user: &str, process: Process| Process { user: user.to_owned(), ..process };
    let folder = |folder: &str, process: Process| Process { working_dir: folder.to_owned(), ..process };
    let env = |env: &[&str], process: Process| Process { env: strings(env), ..process };
    let id = || sh("id");
    let mut rows = exits();
    rows.extend([
        row("root", user("root", id()), 0, "uid=0(root) gid=0(root) groups=0(root)\n"),
        row("by name", user("www", id()), 0, "uid=33(www) gid=33(www) groups=33(www),44(extra)\n"),
        row("by number", user("33", id()), 0, "uid=33(www) gid=33(www) groups=33(www),44(extra)\n"),
        row("user:group", user("www:extra", id()), 0, "uid=33(www) gid=44(extra) groups=44(extra)\n"),
        row("numbers nobody has", user("12345:54321", id()), 0, "uid=12345 gid=54321 groups=54321\n"),
        row("a number alone", user("12345", id()), 0, "uid=12345 gid=0(root) groups=0(root)\n"),
        row("home", user("www", sh("echo $HOME")), 0, "/srv/www\n"),
        row("home of nobody", user("12345", sh("echo $HOME")), 0, "/\n"),
        row("home given", env(&["HOME=/x"], user("www", sh("echo $HOME"))), 0, "/x\n"),
        row("path", sh("echo $PATH"), 0, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"),
        row("image's and own env", env(&["B=2", "A=3"], sh("echo $A $B")), 0, "3 2\n"),
        row("no term", sh("echo \"${TERM-none}\""), 0, "none\n"),
        row("home given empty", env(&["HOME="], user("www", sh("echo $HOME"))), 0, "/srv/www\n"),
        row("another HOSTNAME", env(&["HOSTNAME=zz"], sh("echo $HOSTNAME; hostname")), 0, "zz\nweb.example\n"),
        row("odd env", env(&["NOVALUE", "X=a b\"\n'$"], sh("echo \"$X\"")), 0, "a b\"\n'$\n"),
        row("folder", folder("/srv/www", sh("pwd")), 0, "/srv/www\n"),
        row("relative folder", folder("srv", sh("pwd")), 0, "/srv\n"),
        row("folder out of the root", folder("../../srv", sh("pwd")), 0, "/srv\n"),
        row("the workload's folder, made behind a link", sh("pwd -P"), 0, "/srv/elsewhere/made\n"),
        row("folder of root's", folder("/srv/locked", user("www", command(&["/bin/pwd"]))), 0, "/srv/locked\n"),
        row("relative path", env(&["PATH=."], folder("/srv/www", command(&["here"]))), 0, "here\n"),
        row("relative command", folder("/srv/www", command(&["./here"])), 0, "here\n"),
        row("path look-up", env(&["PATH=/nowhere:/srv/www"], command(&["here"])), 0, "here\n"),
        row("descriptors", command(&["/probe", "fds"]), 0, "fd 0 /dev/null\nfd 1 pipe\nfd 2 pipe\n"),
        row("umask", sh("umask"), 0, "0022\n"),
        row("open files", sh("ulimit -n; ulimit -Hn"), 0, "1048576\n1048576\n"),
        row(
            "processes",
            sh("grep -o 'processes *unlimited *unlimited' /proc/self/limits | tr -s ' '"),
            0,
            "processes unlimited unlimited\n",
        ),
        row("nice", sh("cut -d' ' -f19 /proc/self/stat"), 0, "0\n"),
        row("seccomp", sh("grep Seccomp: /proc/self/status"), 0, "Seccomp:\t0\n"),
        row("oom score", sh("cat /proc/self/oom_score_adj"), 0, "0\n"),
        row(
            "signals",
            command(&["/bin/grep", "-E", "Sig(Blk|Ign|Cgt)", "/proc/self/status"]),
            0,
            "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n",
        ),
        row(
            "root's capabilities",
            command(&["/bin/grep", "-E", "NoNewPrivs|CapInh|CapAmb", "/proc/self/status"]),
            0,
            "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n",
        ),
        row(
            "a user's capabilities",
            user("www", sh("grep CapEff /proc/self/status")),
            0,
            "CapEff:\t0000000000000000\n",
        ),
        row(
            "a session of its own",
            sh("cut -d' ' -f 1,5,6 /proc/$$/stat | awk '{print ($1==$2 && $2==$3)}'"),
            0,
            "1\n",
        ),
        row("standard streams by name", user("www", sh("echo x > /dev/stdout; : > /dev/stderr")), 0, "x\n"),
        row("process 1 is the workload", sh("cat /proc/1/comm"), 0, "probe\n"),
        row("process 1 cannot be killed from inside", sh("kill -9 1; kill -0 1 && echo on"), 0, "on\n"),
        row(
            "orphans go to process 1",
            sh("p=$(sh -c 'sleep 3 > /dev/null & echo $!'); cut -d' ' -f4 /proc/$p/stat"),
            0,
            "1\n",
        ),
        row("a process that stays behind with the output", sh("sleep 1000 & echo out"), 0, "out\n"),
        row("own processes only", sh("ps | grep -c '[k]threadd'"), 1, "0\n"),
        row("hostname", sh("hostname; cat /etc/hostname"), 0, "web.example\nweb.example\n"),
        row("hosts", sh("grep web.example /etc/hosts"), 0, "10.0.2.15\tweb.example web\n"),
        row("resolv.conf", sh("cat /etc/resolv.conf"), 0, "nameserver 10.0.2.3\n"),
        row("address", sh("ip -4 addr show dev eth0 | grep -o 'inet [0-9./]*'"), 0, "inet 10.0.2.15/24\n"),
        row("route", sh("ip route | head -n 1"), 0, "default via 10.0.2.2 dev eth0 \n"),
        row("lo", sh("ping -c 1 127.0.0.1 > /dev/null && echo up"), 0, "up\n"),
        row("any user on port 80", user("www", sh("timeout 1 nc -l -p 80; echo $?")), 0, "143\n"),
        row(
            "message queues and shared memory",
            sh("stat -c %a /dev/shm /dev/mqueue; echo > /dev/shm/x"),
            0,
            "1777\n1777\n",
        ),
        row(
            "size of shared memory",
            sh("grep -o '^shm /dev/shm tmpfs .*size=65536k' /proc/mounts | cut -d' ' -f1,2"),
            0,
            "shm /dev/shm\n",
        ),
        row("the mount table", sh("readlink /etc/mtab; grep -c initramfs /etc/mtab"), 1, "/proc/mounts\n0\n"),
        row("root's device", sh("grep ' / ' /proc/mounts | cut -d' ' -f1-3"), 0, "/dev/vda1 / ext4\n"),
        row("cgroup", sh("cat /proc/self/cgroup; mkdir /sys/fs/cgroup/x && echo made"), 0, "0::/\nmade\n"),
        row(
            "nothing of ours",
            sh("ls / | tr '\\n' ' '"),
            0,
            "bin dev etc lost+found newroot probe proc run srv sys volume ",
        ),
        row("the image's own files", sh("cat /newroot /run/kept/file"), 0, "image\nkept\n"),
        row("a volume", sh("echo x > /volume/data/y && echo written"), 0, "written\n"),
    ]);
    rows
}

fn exits() -> Vec<Row> {
    let mut rows: Vec<Row> =
        [0u8, 1, 3, 77, 255].iter().map(|n| row("status", sh(&format!("exit {n}")), *n, "")).collect();
    let user = |user: &str| Process { user: user.to_owned(), ..sh("id") };
    let env = |env: &[&str], process: Process| Process { env: strings(env), ..process };
    rows.extend([
        row("not found by path", command(&["/no/such"]), 127, "no such file or directory: /no/such"),
        row("not found by name", command(&["no-such"]), 127, "not found in $PATH: no-such"),
        row("an empty path", env(&["PATH="], command(&["sh"])), 127, "not found in $PATH: sh"),
        row("no program by name", env(&["PATH=/etc"], command(&["passwd"])), 127, "not found in $PATH: passwd"),
        row(
            "another user's program by name",
            Process { user: "www".into(), ..env(&["PATH=/srv/www"], command(&["private"])) },
            126,
            "not executable: private",
        ),
        row("not executable", command(&["/etc/passwd"]), 126, "not executable: /etc/passwd"),
        row("a folder", command(&["/etc"]), 126, "is a directory: /etc"),
        row("no interpreter", command(&["/srv/www/script"]), 127, "interpreter /no/such/sh is not in the image"),
        row("foreign", command(&["/srv/www/foreign"]), 126, "built for s390x"),
        row("no format", command(&["/srv/www/text"]), 126, "exec format error"),
        row("no command", Process::default(), 125, "no command"),
        row("an unknown user", user("nobody-here"), 125, "no such user"),
        row("an unknown group", user("www:none"), 125, "no such group"),
        row("a user out of range", user("4294967296"), 125, "out of range"),
        row(
            "a folder that is a file",
            Process { working_dir: "/etc/passwd".into(), ..sh("pwd") },
            125,
            "working folder, not a directory: /etc/passwd",
        ),
        row("a crash", command(&["/probe", "crash"]), 139, ""),
        row("a kill", sh("kill -9 $$"), 137, ""),
    ]);
    rows
}

#[test]
fn a_process_sees_what_it_sees_in_a_container() {
    let userland = Userland::busybox();
    userland.write("srv/www/here", "#!/bin/sh\necho here\n", 0o755);
    userland.write("srv/www/script", "#!/no/such/sh\n", 0o755);
    userland.write("srv/www/text", "text\n", 0o755);
    userland.write("srv/www/foreign", "\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x02\0\x16\0\0\0\x01", 0o755);
    userland.write("srv/www/private", "#!/bin/sh\necho private\n", 0o700);
    userland.write("srv/locked/file", "", 0o600);
    std::fs::set_permissions(userland.path("srv/locked"), std::fs::Permissions::from_mode(0o700)).unwrap();
    symlink("/srv/elsewhere", userland.path("srv/link")).unwrap();
    userland.write("run/kept/file", "kept\n", 0o644);
    // Names that PID 1 uses in the initramfs, as the image's own.
    userland.write("newroot", "image\n", 0o644);
    symlink("../run/elsewhere/resolv.conf", userland.path("etc/resolv.conf")).unwrap();
    let disk = userland.disk();

    let mut spec = spec(&["/probe", "signal"]);
    spec.hostname = Some("web.example".into());
    spec.volumes = vec!["/volume/data".into()];
    spec.process.env = strings(&["A=1"]);
    spec.process.working_dir = "/srv/link/made".into();
    spec.process.stop_signal = Some("SIGQUIT".into());
    let mut boot = Boot::new(spec, &disk);
    boot.keep = true;
    let mut session = boot.start();
    session.until("the workload", |session| session.stdout() == "ready\n");

    let mut wrong = Vec::new();
    for (number, row) in (1u32..).zip(rows()) {
        let (outcome, mut said) = session.exec(number, row.process);
        let not_started = match &outcome {
            Outcome::NotStarted { reason, .. } => {
                said.clone_from(reason);
                reason.contains(&row.says)
            }
            _ => said == row.says,
        };
        if outcome.status() != row.status || !not_started {
            let stderr = session.text(stderr_of(number));
            wrong.push(format!("{}: {outcome:?} {said:?} {stderr:?}, not {} {:?}", row.name, row.status, row.says));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), session.describe());

    // The power button: the image's stop signal, once, and a clean end.
    session.qmp("system_powerdown");
    session.finish();
    assert_eq!(session.stdout(), "ready\nsignal 3\n");
    assert_eq!(session.outcome(), Outcome::Exited(3));
    assert_eq!(session.warnings(), Vec::<&str>::new());
    let (status, text) = disk.check();
    assert_eq!(status, 0, "{text}");
    // The image's files are as they were.
    assert!(disk.debugfs("stat /etc/resolv.conf").contains("Fast link dest: \"../run/elsewhere/resolv.conf\""));
    assert!(disk.debugfs("ls -p /run").contains("/kept/"));
    assert!(!disk.debugfs("ls -p /run").contains("elsewhere"));
}
