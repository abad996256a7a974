//! Scenarios of the surroundings: mounts, devices, the files of /etc, what of the image shines through.

use super::scenario::{Row, row};

/// moby 20.10.24 with runc 1.1.5, tried.
const DOCKER: &str = "docker run, moby 20.10.24 with runc 1.1.5";
const WRITABLE: &str = "`/sys`, `/proc/sys`, cgroups";

/// One line of /proc/mounts, without what only some kernels print.
fn mount(name: &'static str, at: &str) -> Row {
    row(name).sh(&format!("grep ' {at} ' /proc/mounts | sed 's/,inode64//' | tail -n 1"))
}

/// The machine's, with the full userland.
pub fn rows() -> Vec<Row> {
    [mounts(), devices(), etc(), image()].concat()
}

fn mounts() -> Vec<Row> {
    vec![
        mount("/proc", "/proc").says("proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"),
        mount("/dev", "/dev").says("tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755 0 0\n"),
        mount("/dev/pts", "/dev/pts").says(
            "devpts /dev/pts devpts \
             rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666 0 0\n",
        ),
        mount("/dev/mqueue", "/dev/mqueue").says("mqueue /dev/mqueue mqueue rw,nosuid,nodev,noexec,relatime 0 0\n"),
        mount("/dev/shm", "/dev/shm").says("shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k 0 0\n"),
        mount("/sys", "/sys").says("sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n").runtime(
            0,
            "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0\n",
            WRITABLE,
        ),
        mount("cgroups", "/sys/fs/cgroup")
            .says("cgroup /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime 0 0\n")
            .recorded(
                "docker run on cgroup v2, which has ro: docs/container.md, `/sys`, `/proc/sys`, \
             cgroups",
            ),
        mount("/run is a tmpfs", "/run")
            .says("tmpfs /run tmpfs rw,nosuid,nodev,size=X,mode=755 0 0\n")
            .sh("grep -c '^tmpfs /run tmpfs rw,nosuid,nodev' /proc/mounts")
            .says("1\n")
            .runtime(1, "0\n", "`/run`"),
        row("the root is a disk and writable")
            .sh("grep ' / ' /proc/mounts | cut -d' ' -f1-3; touch /w && rm /w")
            .says("/dev/vda1 / ext4\n")
            .recorded("a machine's root is its disk"),
        row("nothing of ours is mounted")
            .sh("grep -c -e initramfs -e rootfs -e newroot -e bootdisk /proc/mounts")
            .ends(1)
            .says("0\n"),
        row("the order of mounts")
            .sh("awk '$2 ~ /^.(proc|dev|sys)/ && $3 != \"cgroup\" && $1 != \"cgroup\" && \
             NR < 20 {print $2}' /proc/mounts | grep -E \
             '^/(proc|dev|dev/pts|sys|dev/mqueue|dev/shm)$' | tr '\\n' ' '")
            .says("/proc /dev /dev/pts /sys /dev/mqueue /dev/shm ")
            .recorded(DOCKER),
        row("/proc/sys")
            .sh("cat /proc/sys/vm/swappiness > /proc/sys/vm/swappiness && echo written")
            .says("written\n")
            .runtime(1, "", WRITABLE),
        row("modes of the mount points")
            .cmd(&[
                "/bin/stat",
                "-c",
                "%n %a %u:%g %F",
                "/",
                "/proc",
                "/sys",
                "/dev",
                "/dev/pts",
                "/dev/shm",
                "/dev/mqueue",
            ])
            .says(
                "/ 755 0:0 directory\n/proc 555 0:0 directory\n/sys 555 0:0 directory\n/dev 755 0:0 directory\n\
             /dev/pts 755 0:0 directory\n/dev/shm 1777 0:0 directory\n/dev/mqueue 1777 0:0 directory\n",
            ),
        row("nothing may be executed in /dev/shm")
            .sh("cp /bin/busybox /dev/shm/b; /dev/shm/b true; s=$?; rm /dev/shm/b; exit \
             $s")
            .ends(126),
        row("links of /proc").sh("readlink /proc/mounts; readlink /proc/net").says("self/mounts\nself/net\n"),
    ]
}

fn devices() -> Vec<Row> {
    let nodes = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| format!("/dev/{name}"));
    let mut list = vec!["/bin/stat", "-c", "%n %a %u:%g %t,%T %F"];
    list.extend(nodes.iter().map(String::as_str));
    vec![
        row("nodes").cmd(&list).says(
            "/dev/null 666 0:0 1,3 character special file\n/dev/zero 666 0:0 1,5 character special file\n\
             /dev/full 666 0:0 1,7 character special file\n/dev/random 666 0:0 1,8 character special file\n\
             /dev/urandom 666 0:0 1,9 character special file\n/dev/tty 666 0:0 5,0 character special file\n",
        ),
        row("links")
            .sh("cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done")
            .says("/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n"),
        row("all there is in /dev").sh("ls /dev | grep -v -x -e core -e console | tr '\\n' ' '").says(
            "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom \
             zero ",
        ),
        row("/dev/core leads to a /proc/kcore that is there")
            .sh("[ -e /proc/kcore ] = [ -L /dev/core ] || [ ! -e /proc/kcore ] && [ ! -L \
             /dev/core ] || readlink /dev/core")
            .recorded(DOCKER)
            .says("/proc/kcore\n"),
        row("/dev/console").sh("stat -c '%F %t,%T' /dev/console").says("character special file 5,1\n").runtime(
            1,
            "",
            "`/dev/console`",
        ),
        row("/dev/pts").sh("ls /dev/pts; stat -c %a /dev/pts/ptmx").says("ptmx\n666\n"),
        row("a named pipe and a socket can be made")
            .sh("mkfifo /tmp/p && stat -c %F /tmp/p && rm /tmp/p")
            .says("fifo\n"),
        row("a device can be made")
            .sh("mknod /tmp/n c 1 3 && echo x > /tmp/n && stat -c %t,%T /tmp/n && rm \
             /tmp/n")
            .says("1,3\n"),
        row("a file system can be mounted")
            .sh("mkdir -p /tmp/m; mount -t tmpfs t /tmp/m 2>/dev/null && umount /tmp/m \
             && echo mounted")
            .says("mounted\n")
            .runtime(1, "", "capabilities, seccomp"),
    ]
}

fn etc() -> Vec<Row> {
    vec![
        row("/etc/hostname")
            .sh("cat /etc/hostname; stat -c '%F %a %u:%g' /etc/hostname")
            .says("box.example\nregular file 644 0:0\n"),
        row("/etc/hosts")
            .sh("cat /etc/hosts")
            .says(
                "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n\
             10.0.2.15\tbox.example box\n",
            )
            .recorded("docker run --network bridge --hostname web.example, moby 20.10.24"),
        row("/etc/resolv.conf")
            .sh("cat /etc/resolv.conf; [ -e /run/elsewhere ] || echo untouched")
            .says("nameserver 10.0.2.3\nuntouched\n")
            .recorded("docker run, which puts a file in the link's place"),
        row("/etc/resolv.conf is no link")
            .sh("stat -c '%F %a %u:%g' /etc/resolv.conf")
            .says("regular file 644 0:0\n")
            .recorded(DOCKER),
        row("root can write to /etc/hosts")
            .sh("echo '10.9.9.9 added' >> /etc/hosts && tail -n 1 /etc/hosts")
            .says("10.9.9.9 added\n"),
        row("/etc/hosts cannot be replaced")
            .sh("rm /etc/hosts 2>/dev/null; echo $?; mv /etc/passwd /etc/hosts \
             2>/dev/null; echo $?")
            .says("1\n1\n"),
        row("/etc/mtab, which the image has as a file")
            .sh("readlink /etc/mtab")
            .says("/proc/mounts\n")
            .recorded(DOCKER),
        row("the files of /etc are mounts")
            .sh("grep -c -E ' /etc/(hosts|hostname|resolv.conf) ' /proc/mounts")
            .says("3\n")
            .recorded(DOCKER),
        row("lo is up").sh("ip -4 addr show lo | grep -o 'inet [0-9./]*'").says("inet 127.0.0.1/8\n"),
        row("anybody may listen on port 80")
            .user("www")
            .sh("timeout 1 nc -l -p 80; echo $?")
            .says("143\n")
            .recorded(DOCKER),
        row("the clock is right").sh("[ $(date +%Y) -ge 2024 ] && echo right").says("right\n"),
    ]
}

fn image() -> Vec<Row> {
    let command_and_environment = "tr '\\0' ' ' < /proc/1/cmdline; tr '\\0' '\\n' < /proc/1/environ | sort";
    let folders = "bin dev etc folders link locked not-executable out probe proc real run sys table tmp x ";
    vec![
        row("the image's files in /proc, /sys and /dev are covered")
            .sh("ls /proc/hidden /sys/hidden /dev/hidden 2>/dev/null | wc -l")
            .says("0\n"),
        row("the image's files in /run")
            .sh("cat /run/kept/file; stat -c '%a %u:%g' /run/kept/file")
            .says("kept\n640 0:0\n"),
        row("the image's files in /tmp").sh("cat /tmp/kept; stat -c %a /tmp").says("kept\n1777\n"),
        row("the image's folders and nothing else").sh("ls -A / | grep -v lost+found | tr '\\n' ' '").says(folders),
        row("no processes of the machine")
            .sh("ps | grep -c -e '[k]threadd' -e '[b]ootdisk' -e '[/]init'")
            .ends(1)
            .says("0\n"),
        row("nothing of the machine's start in the kernel's view of process 1")
            .sh(command_and_environment)
            .says(
                "/probe signal HOME=/root\nHOSTNAME=box.example\n\
                 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
            )
            .recorded("the workload of this machine"),
    ]
}

/// With `--read-only` and a volume, in the order they are run.
pub fn read_only() -> Vec<Row> {
    let tmpfs = "`--read-only`";
    vec![
        row("the root").sh("touch /x 2>&1").ends(1).says("touch: /x: Read-only file system\n"),
        row("the root's mount").sh("awk '$2 == \"/\" {print substr($4, 1, 2)}' /proc/mounts").says("ro\n"),
        row("/etc/hosts").sh("(echo x >> /etc/hosts) 2>/dev/null").ends(1),
        row("/etc/resolv.conf").sh("(echo x >> /etc/resolv.conf) 2>/dev/null").ends(1),
        row("/etc/passwd").sh("(echo x >> /etc/passwd) 2>/dev/null").ends(1),
        row("/dev/shm").sh("echo x > /dev/shm/x && cat /dev/shm/x").says("x\n"),
        row("/dev").sh("echo x > /dev/x && cat /dev/x").says("x\n"),
        row("/tmp").sh("touch /tmp/x 2>/dev/null && ls /tmp").says("kept\nx\n").runtime(1, "", tmpfs),
        row("/run").sh("touch /run/x 2>/dev/null && ls /run").says("kept\nx\n").runtime(1, "", tmpfs),
        row("a volume with contents")
            .sh("cat /real/deep/file && echo x > /real/x && cat /real/x")
            .says("x\n")
            .recorded(DOCKER),
        row("a volume that is not in the image")
            .sh("touch /new/volume/x && stat -c '%a %u:%g' /new /new/volume; touch \
             /new/y 2>/dev/null || echo refused")
            .says("755 0:0\n755 0:0\nrefused\n")
            .recorded(DOCKER),
        row("the host's name").sh("hostname; cat /etc/hostname").says("box.example\nbox.example\n"),
        row("the working folder was made before").sh("pwd").says("/made/before\n").recorded(DOCKER),
    ]
}

/// An image of one file, `/busybox`.
pub fn bare() -> Vec<Row> {
    let busybox = |name, list: &[&str]| row(name).cmd(&[&["/busybox"], list].concat());
    vec![
        busybox("what is in the root", &["sh", "-c", "/busybox ls -A / | /busybox grep -v lost"])
            .says("busybox\ndev\netc\nproc\nrun\nsys\n")
            .runtime(0, "busybox\ndev\netc\nproc\nsys\n", "`/run`"),
        busybox("what was made", &["stat", "-c", "%n %a %u:%g", "/", "/etc", "/proc", "/sys", "/dev"])
            .says("/ 755 0:0\n/etc 755 0:0\n/proc 555 0:0\n/sys 555 0:0\n/dev 755 0:0\n"),
        busybox("files of /etc", &["ls", "/etc"]).says("hostname\nhosts\nmtab\nresolv.conf\n").recorded(DOCKER),
        busybox("/etc/hostname", &["cat", "/etc/hostname"]).says("box.example\n"),
        busybox("nobody has a name", &["id"]).says("uid=0 gid=0\n").recorded(DOCKER).says("uid=0 gid=0 groups=0\n"),
        busybox("a number", &["id", "-u"]).user("1000").says("1000\n"),
        busybox("a name", &["id", "-u"]).user("root").refused(125, "no such user"),
        busybox("environment", &["env"])
            .says("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nHOSTNAME=box.example\nHOME=/\n"),
        busybox("working folder", &["pwd"]).says("/\n"),
        busybox("shared memory", &["touch", "/dev/shm/x"]),
        busybox(
            "the workload's terminal is the console",
            &["stat", "-c", "%F %t,%T %a %u:%g", "/dev/console", "/dev/pts/0"],
        )
        .says("character special file 88,0 620 0:5\ncharacter special file 88,0 620 0:5\n")
        .recorded(DOCKER),
        busybox("terminals", &["ls", "/dev/pts"]).says("0\nptmx\n").recorded(DOCKER),
        row("a shell is not there").cmd(&["bash"]).refused(127, "not found in $PATH: bash"),
        row("nor is one by its path")
            .cmd(&["/bin/sh", "-c", "true"])
            .refused(127, "no such file or directory: /bin/sh"),
        row("a relative command").cmd(&["./busybox", "echo", "x"]).says("x\n"),
    ]
}
