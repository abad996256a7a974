//! Scenarios of one process: its environment, its user, its folder, which file it is, what it is given.

use super::scenario::{Row, row, words};
use bootdisk::guest::channel::Overrides;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// moby 20.10.24 with runc 1.1.5, tried.
const DOCKER: &str = "docker run, moby 20.10.24 with runc 1.1.5";
/// A container inherits it from the host's service manager: what systemd gives a service on Debian 12.
const INHERITED: &str = "docker run on Debian 12";
/// signal(7): what a signal does by default.
const SIGNALS: &str = "signal(7), and 128 + N as docker run reports it";

/// Every scenario of a process beside the workload.
pub fn rows() -> Vec<Row> {
    [environment(), command(), files(), statuses(), users(), folders(), attributes(), terminals()].concat()
}

/// The whole environment as the kernel keeps it: a shell would add to it.
fn env(name: &'static str, list: &[&str]) -> Row {
    row(name).cmd(&["/bin/cat", "/proc/self/environ"]).env(list)
}

/// Exactly these, in this order.
fn exactly(entries: &[&str]) -> String {
    entries.iter().map(|entry| format!("{entry}\0")).collect()
}

fn environment() -> Vec<Row> {
    const HOST: &str = "HOSTNAME=box.example";
    const HOME: &str = "HOME=/root";
    let with = |own: &[&str], home: &str| exactly(&[&[PATH, HOST], own, &[home]].concat());
    let many = |options: &mut Overrides| options.env = (0..1000).map(|n| format!("V{n}={n}")).collect();
    vec![
        env("no environment of the image's", &[]).says(&with(&[], HOME)),
        env("the image's environment", &["A=1", "B=two words"]).says(&with(&["A=1", "B=two words"], HOME)),
        env("another PATH", &["PATH=/bin:/x"]).says(&exactly(&["PATH=/bin:/x", HOST, HOME])),
        env("a HOME of the image's", &["HOME=/h"]).says(&with(&[], "HOME=/h")),
        env("an empty HOME", &["HOME="]).says(&with(&[], HOME)),
        env("a HOSTNAME of the image's", &["HOSTNAME=zz"]).says(&exactly(&[PATH, "HOSTNAME=zz", HOME])),
        env("a TERM of the image's", &["TERM=vt52"]).says(&with(&["TERM=vt52"], HOME)),
        env("the same name twice", &["A=1", "B=2", "A=3"]).says(&with(&["A=3", "B=2"], HOME)),
        env("an empty value", &["E="]).says(&with(&["E="], HOME)),
        env("a value with a line feed, quotes and =", &["X=a\nb='$\"=c"]).says(&with(&["X=a\nb='$\"=c"], HOME)),
        env("a value that is not ASCII", &["X=é\u{1f980}"]).says(&with(&["X=é\u{1f980}"], HOME)),
        env("names in lower case and with a dot", &["a.b=1", "A.B=2"]).says(&with(&["a.b=1", "A.B=2"], HOME)),
        env("a name alone, which of an exec takes a variable away", &["NOVALUE"])
            .says(&with(&[], HOME))
            .recorded("docker exec --env NAME, where the caller has none"),
        env("an entry without a name", &["=x"])
            .says(&with(&["=x"], HOME))
            .runtime_refuses("an entry of the environment without `=`"),
        env("options on top of the image's", &["A=1", "B=2"])
            .with(|options| options.env = words(&["B=3", "C=4", "C=5"]))
            .says(&with(&["B=3", "C=5", "A=1"], HOME)),
        env("a name alone as an option", &["A=1", "B=2"])
            .with(|options| options.env = words(&["A", "C"]))
            .says(&with(&["B=2"], HOME)),
        env("PATH and HOME by option", &[])
            .with(|options| options.env = words(&["PATH=/bin", "HOME=/h"]))
            .says(&exactly(&["PATH=/bin", HOST, "HOME=/h"])),
        env("home of a user", &[]).user("www").says(&with(&[], "HOME=/srv/www")),
        env("home of nobody", &[]).user("12345").says(&with(&[], "HOME=/")),
        env("home of a user who has none", &[]).user("nohome").says(&with(&[], "HOME=")).only_runc(),
        row("a thousand variables").with(many).sh("env | grep -c ^V; echo $V999").says("1000\n999\n"),
    ]
}

fn command() -> Vec<Row> {
    let arguments = "for a in \"$0\" \"$@\"; do echo \"[$a]\"; done";
    let echo = || row("").sh("echo image");
    let named = |name, row: Row| Row { name, ..row };
    vec![
        row("Cmd alone").cmd(&["/bin/echo", "a", "b c"]).says("a b c\n"),
        row("Entrypoint alone").entrypoint(&["/bin/echo", "a"]).says("a\n"),
        row("an Entrypoint of one empty string").entrypoint(&[""]).cmd(&["/bin/echo", "a"]).says("a\n"),
        row("Entrypoint and Cmd").entrypoint(&["/bin/echo", "a"]).cmd(&["b"]).says("a b\n"),
        row("shell form").cmd(&["/bin/sh", "-c", "echo $((1+1)) | cat"]).says("2\n"),
        row("shell form as Entrypoint, Cmd becomes $0")
            .entrypoint(&["/bin/sh", "-c", "echo \"$0\" $#"])
            .cmd(&["x", "y"])
            .says("x 1\n"),
        row("no Entrypoint, no Cmd").cmd(&[]).refused(125, "no command").recorded(DOCKER),
        row("an empty word as command").cmd(&[""]).refused(127, "empty"),
        row("arguments that are empty, have spaces, quotes or line feeds")
            .cmd(&["/bin/sh", "-c", arguments, "", " ", "'\"", "a\nb", "é", "-"])
            .says("[]\n[ ]\n['\"]\n[a\nb]\n[é]\n[-]\n"),
        named("a command after --", echo().with(|o| o.cmd = Some(words(&["/bin/echo", "mine"])))).says("mine\n"),
        named("a command after --, with an Entrypoint", echo().with(|o| o.cmd = Some(words(&["mine"]))))
            .entrypoint(&["/bin/echo", "kept"])
            .says("kept mine\n"),
        named("--entrypoint clears Cmd", echo().with(|o| o.entrypoint = Some(words(&["/bin/echo"])))).says("\n"),
        named(
            "--entrypoint and a command",
            echo().with(|o| {
                o.entrypoint = Some(words(&["/bin/echo"]));
                o.cmd = Some(words(&["mine"]));
            }),
        )
        .says("mine\n"),
        named(
            "--entrypoint of nothing, and a command",
            echo().with(|o| {
                o.entrypoint = Some(words(&[""]));
                o.cmd = Some(words(&["/bin/echo", "mine"]));
            }),
        )
        .entrypoint(&["/bin/false"])
        .says("mine\n"),
        row("a user and a folder by option")
            .sh("id -u; pwd")
            .user("www")
            .dir("/etc")
            .with(|o| {
                o.user = Some("12:34".into());
                o.working_dir = Some("/real".into());
            })
            .says("12\n/real\n"),
    ]
}

fn files() -> Vec<Row> {
    let path = |name, value: &str| row(name).env(&[&format!("PATH={value}")]).cmd(&["ok", "1"]);
    let file = |name, path: &str| row(name).cmd(&[path, "1"]);
    let status = "missing interpreter";
    let relative = "relative entry in PATH";
    let way = "a file, or a ring of links";
    vec![
        file("a script", "/x/ok").says("ok /x/ok 1\n"),
        file("a link to a script", "/x/link").says("ok /x/link 1\n"),
        file("a script whose interpreter has arguments", "/x/arguments").says("a b /x/arguments 1\n"),
        file("spaces before the interpreter", "/x/spaces").says("spaces\n"),
        file("a script whose interpreter is a script", "/x/nested").says("ok /x/ok z /x/nested 1\n"),
        file("a missing interpreter", "/x/missing").refused(127, "interpreter /no/such").runtime(1, "", status),
        file("an interpreter with a carriage return", "/x/crlf")
            .refused(127, "interpreter /bin/sh")
            .runtime(1, "", status),
        file("no first line", "/x/plain").refused(126, "exec format error").runtime(1, "", status),
        file("an empty file", "/x/empty").refused(126, "empty file").runtime(1, "", status),
        file("another architecture", "/x/foreign").refused(126, "s390x").runtime(1, "", status),
        file("an ELF file that is cut", "/x/cut").refused(126, "damaged").runtime(1, "", status),
        file("a missing loader", "/x/dynamic").refused(127, "ld-linux").runtime(1, "", status),
        file("a missing loader of 32 bits", "/x/narrow-dynamic").refused(127, "ld-linux.so.2").runtime(1, "", status),
        file("a program of 32 bits", "/x/narrow")
            .ends(5)
            .recorded("docker run on amd64; not every host's kernel has it"),
        file("a folder as interpreter", "/x/folder-as-interpreter").refused(126, "denied").runtime(1, "", status),
        file("an interpreter that is not executable", "/x/file-as-interpreter")
            .refused(126, "denied")
            .runtime(1, "", status),
        file("no such file", "/no/such").refused(127, "no such file"),
        file("a link to nowhere", "/x/dangling").refused(127, "no such file"),
        file("a ring of links", "/x/ring").refused(126, "symbolic links").runtime_refuses(way),
        file("a file as a folder", "/x/ok/z").refused(126, "not a directory").runtime_refuses(way),
        file("not executable", "/x/noexec").refused(126, "not executable"),
        file("a folder", "/etc").refused(126, "directory"),
        file("root's own program, as root", "/x/private").says("private\n"),
        file("root's own program, as somebody", "/x/private").user("www").refused(126, "not executable").only_runc(),
        file("a program in a folder that is locked", "/locked/file").user("www").refused(126, "denied"),
        row("a command relative to the folder").dir("/x").cmd(&["./ok"]).says("ok ./ok\n").only_runc(),
        row("a command relative to the folder, with ..")
            .dir("/real")
            .cmd(&["../x/ok"])
            .says("ok ../x/ok\n")
            .only_runc(),
        row("a command with a slash and no dot").dir("/").cmd(&["x/ok"]).says("ok x/ok\n").only_runc(),
        path("found by PATH", "/nowhere:/x").says("ok /x/ok 1\n"),
        path("a file that is not executable is passed over", "/not-executable:/x").says("ok /x/ok 1\n"),
        path("a folder is passed over", "/folders:/x").says("ok /x/ok 1\n"),
        path("a file in PATH is passed over", "/x/link:/x").says("ok /x/ok 1\n"),
        path("a PATH without it", "/bin").refused(127, "not found in $PATH: ok"),
        path("an empty PATH", "").refused(127, "not found in $PATH: ok"),
        path("only one that is not executable", "/not-executable").refused(127, "not found in $PATH: ok"),
        path("an empty entry in PATH", ":/bin").dir("/x").says("ok ./ok 1\n").runtime_refuses(relative),
        path("a relative entry in PATH", "x").dir("/").says("ok x/ok 1\n").runtime_refuses(relative),
        row("a dot is no command").cmd(&["."]).refused(127, "not found in $PATH: ."),
    ]
}

fn statuses() -> Vec<Row> {
    let mut rows: Vec<Row> = [0u8, 1, 2, 7, 42, 77, 125, 126, 127, 128, 137, 143, 254, 255]
        .into_iter()
        .map(|status| row("an exit status").sh(&format!("exit {status}")).ends(status))
        .collect();
    rows.extend([
        row("an exit status above 255").cmd(&["/probe", "exit", "256"]),
        row("a negative exit status").cmd(&["/probe", "exit", "-1"]).ends(255),
        row("a crash").cmd(&["/probe", "crash"]).ends(139),
        row("an abort of a child").sh("/probe abort; echo $?").says("134\n"),
        row("a child's death is the shell's status").sh("sh -c 'kill -9 $$'; exit $?").ends(137),
        row("output before the end").sh("echo out; echo err >&2; exit 7").ends(7).says("out\n"),
        row("a background process outlives its parent").sh("sleep 1000 & echo out; exit 3").ends(3).says("out\n"),
        row("closed standard streams").cmd(&["/probe", "closed"]).ends(6),
    ]);
    rows
}

/// Every signal that ends a process: sent by itself, so the row's name is the number.
pub fn deaths() -> Vec<Row> {
    const IGNORED_OR_STOPPING: [i32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];
    (1..=64)
        .filter(|signal| !IGNORED_OR_STOPPING.contains(signal))
        .map(|signal| {
            let number = signal.to_string();
            row("a signal that ends it").cmd(&["/probe", "die", &number]).ends(128 + signal as u8).recorded(SIGNALS)
        })
        .chain([17, 18, 23, 28].map(|signal| {
            row("a signal that does nothing").cmd(&["/probe", "die", &signal.to_string()]).recorded(SIGNALS)
        }))
        .collect()
}

fn users() -> Vec<Row> {
    let id = "grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr '\\t\\n' '  '; echo";
    let user = |name, user: &str| row(name).sh(id).user(user);
    let same = |uid: u32, gid: u32, groups: &str| {
        format!(
            "Uid: {uid} {uid} {uid} {uid} Gid: {gid} {gid} {gid} {gid} Groups: \
             {groups}  \n"
        )
    };
    vec![
        user("root without saying so", "").says(&same(0, 0, "0")).recorded(DOCKER),
        user("by name", "www").says(&same(33, 33, "33 44")).recorded(DOCKER),
        user("by number", "33").says(&same(33, 33, "33 44")).recorded(DOCKER),
        user("user and group", "www:extra").says(&same(33, 44, "44")).recorded(DOCKER),
        user("numbers nobody has", "12345:54321").says(&same(12345, 54321, "54321")).recorded(DOCKER),
        user("a group alone", ":44").says(&same(0, 44, "44")).recorded(DOCKER),
        user("a user and a colon", "www:").says(&same(33, 33, "33 44")).recorded(DOCKER),
        user("a number with zeros", "0033").says(&same(33, 33, "33 44")).recorded(DOCKER),
        user("a number with a plus sign", "+33").says(&same(33, 33, "33 44")).recorded(DOCKER),
        user("a name nobody has", "nobody-here").refused(125, "no such user"),
        user("a group nobody has", "www:none").refused(125, "no such group"),
        user("a space after the name", "www ").refused(125, "no such user"),
        user("a number in hexadecimal", "0x21").refused(125, "no such user"),
        row("a user's capabilities")
            .sh("grep -E 'Cap(Eff|Prm|Amb)' /proc/self/status")
            .user("www")
            .says("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"),
        row("a user's file")
            .sh("umask; : > /tmp/mine; stat -c '%a %u:%g' /tmp/mine; rm /tmp/mine")
            .user("www")
            .says("0022\n644 33:33\n"),
        row("what a user may not read")
            .user("www")
            .cmd(&["/bin/sh", "-c", "cat /locked/file 2>&1"])
            .ends(1)
            .says("cat: can't open '/locked/file': Permission denied\n"),
        row("where a user may not write").user("www").cmd(&["/bin/touch", "/root-only"]).ends(1),
    ]
}

fn folders() -> Vec<Row> {
    let pwd = |name, dir: &str| row(name).cmd(&["/bin/pwd", "-P"]).dir(dir);
    vec![
        pwd("no folder", "").says("/\n"),
        pwd("a folder", "/real/deep").says("/real/deep\n"),
        pwd("a folder behind a link", "/link/deep").says("/real/deep\n"),
        pwd("a folder with .. and double slashes", "//real//../etc/").says("/etc\n"),
        pwd("a link out of the root", "/out").says("/etc\n"),
        pwd("more .. than there are folders", "/../../../etc").says("/etc\n"),
        pwd("a relative folder", "real").says("/real\n").recorded("docs/container.md, relative working directory"),
        pwd("a folder that is root's alone, as somebody", "/locked").user("www").says("/locked\n").recorded(DOCKER),
        pwd("a file in the folder's place", "/etc/passwd").refused(125, "not a directory"),
        row("PWD is not in the environment")
            .sh("tr '\\0' '\\n' < /proc/$PPID/environ > /dev/null; grep -c PWD= \
             /proc/self/environ")
            .recorded(DOCKER)
            .ends(0)
            .says("1\n"),
    ]
}

fn attributes() -> Vec<Row> {
    let status = |name, pattern: &str| row(name).cmd(&["/bin/grep", "-E", pattern, "/proc/self/status"]);
    let limits = |name, pattern: &str| row(name).sh(&format!("grep '{pattern}' /proc/self/limits | tr -s ' '"));
    vec![
        row("standard input without one can be read and written, as /dev/null can")
            .cmd(&["/bin/busybox", "grep", "flags", "/proc/self/fdinfo/0"])
            .says("flags:\t0100002\n")
            .recorded(DOCKER),
        row("descriptors").cmd(&["/probe", "fds"]).says("fd 0 /dev/null\nfd 1 pipe\nfd 2 pipe\n").recorded(DOCKER),
        row("descriptors, with standard input")
            .cmd(&["/probe", "fds"])
            .stdin("")
            .says("fd 0 pipe\nfd 1 pipe\nfd 2 pipe\n"),
        row("standard input arrives and ends").cmd(&["/bin/cat"]).stdin("in\n").says("in\n"),
        row("no standard input is its end").cmd(&["/bin/cat"]),
        row("standard streams by name, as somebody")
            .user("www")
            .sh("echo x > /dev/stdout; : > /dev/stderr; cat < /dev/stdin")
            .says("x\n")
            .recorded(DOCKER),
        status("signals are neither blocked, ignored nor caught", "Sig(Blk|Ign|Cgt)|ShdPnd|SigPnd")
            .says(
                "SigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\t0000000000000000\n\
             SigIgn:\t0000000000000000\nSigCgt:\t0000000000000000\n",
            )
            .recorded(DOCKER),
        status("no inherited or ambient capabilities, new privileges allowed", "NoNewPrivs|CapInh|CapAmb")
            .says("CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\n"),
        status("root's capabilities", "Cap(Prm|Eff|Bnd)")
            .says("CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n")
            .runtime(
                0,
                "CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\n",
                "capabilities, seccomp",
            ),
        status("umask in /proc", "Umask").says("Umask:\t0022\n"),
        status("one thread", "Threads").says("Threads:\t1\n"),
        row("umask").sh("umask").says("0022\n"),
        row("what is made").sh("cd /tmp; : > f; mkdir d; stat -c %a f d; rm -r f d").says("644\n755\n"),
        row("out of memory score").cmd(&["/bin/cat", "/proc/self/oom_score_adj"]).says("0\n").recorded(DOCKER),
        row("niceness and scheduler").sh("cut -d' ' -f19,41 /proc/self/stat").says("0 0\n").recorded(INHERITED),
        row("timer slack and personality")
            .sh("cat /proc/self/timerslack_ns /proc/self/personality")
            .says("50000\n00000000\n")
            .recorded(INHERITED),
        limits("open files", "open files")
            .says("Max open files 1048576 1048576 files \n")
            .recorded("docker.service of Debian 12: LimitNOFILE=1048576"),
        limits("processes", "processes")
            .says("Max processes unlimited unlimited processes \n")
            .recorded("docker.service: LimitNPROC=infinity"),
        limits("core files", "core")
            .says("Max core file size unlimited unlimited bytes \n")
            .recorded("docker.service: LimitCORE=infinity"),
        limits("stack", "stack").says("Max stack size 8388608 unlimited bytes \n").recorded(INHERITED),
        limits("locked memory", "locked").says("Max locked memory 8388608 8388608 bytes \n").recorded(INHERITED),
        limits("everything else is unlimited", "Max \\(cpu\\|file size\\|data\\|resident\\|address\\|file locks\\)")
            .says(
                "Max cpu time unlimited unlimited seconds \nMax file size unlimited unlimited bytes \n\
             Max data size unlimited unlimited bytes \nMax resident set unlimited unlimited bytes \n\
             Max address space unlimited unlimited bytes \nMax file locks unlimited unlimited locks \n",
            )
            .recorded(INHERITED),
        row("a session and a process group of its own")
            .sh("awk '{print ($1==$5), ($1==$6), $7}' /proc/$$/stat")
            .says("1 1 0\n"),
        row("no terminal").sh("tty; echo > /dev/tty").ends(1).says("not a tty\n"),
        row("groups of control")
            .sh("cat /proc/self/cgroup | tail -n 1")
            .says("0::/\n")
            .recorded("cgroup namespace, as Docker has it on cgroup v2"),
        row("the name of the host")
            .sh("hostname; cat /proc/sys/kernel/domainname; echo $HOSTNAME; uname -n")
            .says("box.example\n(none)\nbox.example\nbox.example\n"),
        row("orphans of orphans are reaped by process 1")
            .cmd(&["/probe", "orphans", "300"])
            .says("orphans 0\n")
            .recorded(
                "the workload of this machine reaps; as process 1 see the workload's \
             scenarios",
            ),
        row("message queues and shared memory can be used")
            .user("www")
            .sh("echo x > /dev/shm/x && cat /dev/shm/x && rm /dev/shm/x; : > \
             /dev/mqueue/q && ls /dev/mqueue && rm /dev/mqueue/q")
            .says("x\nq\n"),
        row("entropy and zeros")
            .sh("head -c 9 /dev/urandom | wc -c; head -c 3 /dev/zero | od -An -tx1; echo \
             x > /dev/full")
            .ends(1)
            .says("9\n 00 00 00\n"),
    ]
}

fn terminals() -> Vec<Row> {
    vec![
        row("TERM, with a terminal").tty().sh("echo $TERM; tty").says("xterm\r\n/dev/pts/0\r\n").recorded(DOCKER),
        row("a terminal's modes")
            .tty()
            .sh("stty -a | tail -n +2 | head -n 20 | tr -s ' \\r\\n' ' ' | grep -o ' \
             icrnl ixon \\| opost .*onlcr\\| isig icanon iexten echo echoe echok '")
            .says(
                " icrnl ixon \r\n opost -olcuc -ocrnl onlcr\r\n isig icanon iexten echo \
             echoe echok \r\n",
            )
            .recorded(DOCKER),
        row("a terminal's standard streams")
            .tty()
            .cmd(&["/probe", "fds"])
            .says("fd 0 /dev/pts/0\r\nfd 1 /dev/pts/0\r\nfd 2 /dev/pts/0\r\n")
            .recorded(DOCKER),
        row("a terminal controls the session")
            .tty()
            .sh("awk '{print ($7 != 0), ($8 == $5)}' /proc/$$/stat; echo x > /dev/tty")
            .says("1 1\r\nx\r\n"),
        row("a terminal's owner and mode")
            .tty()
            .user("www")
            .sh("stat -c '%a %u:%g' $(tty); echo x > /dev/stdout")
            .says("620 33:5\r\nx\r\n"),
    ]
}
