//! PID 1 from the kernel's first instruction to power-off, in QEMU: how machines begin and end.

use crate::support::guest::*;
use bootdisk::guest::channel::*;
use bootdisk::guest::restart::Restart;
use bootdisk::guest::spec::{BootSpec, Init, Network, Process};
use std::os::unix::fs::symlink;

#[test]
fn a_command_runs_and_its_status_and_both_streams_arrive() {
    let disk = Userland::busybox().disk();
    let session = Boot::new(spec(&["/bin/sh", "-c", "echo out; echo err >&2; cat; exit 7"]), &disk).run();
    assert_eq!(session.outcome(), Outcome::Exited(7), "{}", session.describe());
    assert_eq!((session.stdout().as_str(), session.text(stderr_of(0)).as_str()), ("out\n", "err\n"));
    assert_eq!(session.ended[&0].nonce, "00112233445566778899aabbccddeeff");
    assert_eq!(session.started, [0]);
    assert!(session.eofs.contains(&stdout_of(0)) && session.eofs.contains(&stderr_of(0)));
    assert_eq!(session.warnings(), Vec::<&str>::new());
}

#[test]
fn one_static_file_is_a_whole_image() {
    let userland = Userland::empty();
    userland.probe();
    let disk = userland.disk();
    let session = Boot::new(spec(&["/probe", "fds"]), &disk).run();
    assert_eq!(session.outcome(), Outcome::Exited(0), "{}", session.describe());
    assert_eq!(session.stdout(), "fd 0 /dev/null\nfd 1 pipe\nfd 2 pipe\n");
    // A crash in it is death by signal 11.
    let session = Boot::new(spec(&["/probe", "crash"]), &disk).run();
    assert_eq!(session.outcome(), Outcome::Signaled(11), "{}", session.describe());
    // And a shell is not in it.
    let session = Boot::new(spec(&["bash"]), &disk).run();
    assert_eq!(session.outcome().status(), 127, "{}", session.describe());
    assert_eq!(session.started, Vec::<u32>::new());
}

#[test]
fn without_a_host_the_console_has_output_and_status() {
    let userland = Userland::busybox();
    userland.write("proof", "", 0o644);
    let disk = userland.disk();
    let spec = spec(&["/bin/sh", "-c", "echo on $(tty); exit 7"]);
    let restart = Restart::OnFailure { most: 1 };
    let console = Boot::new(BootSpec { restart, ..spec }, &disk).run_without_host();
    assert_eq!(console.matches("on /dev/console").count(), 2, "{console}");
    assert!(console.contains("bootdisk: workload exited with status 7, started again in 0.1 s (restart 1 of 1)"));
    assert!(
        console.trim_end().lines().any(|line| line.trim_end() == "bootdisk: workload exited with status 7"),
        "{console}"
    );
}

/// A host that knows nothing of policies boots a disk that has one: it sees streams that go on and a late result. Input
/// was the first life's.
#[test]
fn a_policy_works_before_any_host_and_a_stop_ends_it_between_two_lives() {
    let disk = Userland::busybox().disk();
    let script = "read line; echo \"$line\" $$ $(ls /dev/shm /run /dev/mqueue); touch /dev/shm/a /run/b /dev/mqueue/c
        sleep 1000 & exit 3";
    let mut boot = Boot::new(BootSpec { restart: Restart::Always, ..spec(&["/bin/sh", "-c", script]) }, &disk);
    boot.welcome.stdin = true;
    let mut session = boot.start();
    session.input(0, b"first\n");
    session.until("the fifth pause", |session| session.logs.iter().any(|log| log.text.ends_with("(restart 5)")));
    session.send(Frame::control(Kind::Stop, &Stop { timeout: None }));
    session.finish();
    assert_eq!(session.outcome(), Outcome::Exited(3), "{}", session.describe());
    let empty = "/dev/mqueue: /dev/shm: /run:";
    let lives = [format!("first 1 {empty}\n"), format!(" 1 {empty}\n").repeat(4)].concat();
    assert_eq!((session.stdout(), session.started.len()), (lives, 5), "{}", session.describe());
    let pauses = session.logs.iter().filter_map(|log| log.text.split_once("again in ")?.1.split(' ').next());
    assert_eq!(pauses.collect::<Vec<_>>(), ["0.1", "0.2", "0.4", "0.8", "1.6"]);
    assert_eq!(session.eofs.len(), 2, "{}", session.describe());
}

#[test]
fn people_at_the_console_get_a_shell_beside_the_workload_and_another_when_it_ends() {
    let userland = Userland::busybox();
    // What each shell for a person does first. The second one ends the workload.
    userland.write("shell", "echo shell >> /shells; [ $(wc -l < /shells) -lt 2 ] || touch /done\n", 0o644);
    let disk = userland.disk();
    let script = "read line || echo no input; while [ ! -e /done ]; do sleep 0.1; done; exit 7";
    let mut spec = BootSpec { console_login: true, ..spec(&["/bin/sh", "-c", script]) };
    spec.process.env.push("ENV=/shell".into());
    let mut boot = Boot::new(spec, &disk);
    // A port that is opened forgets what it has received: some lines may be lost.
    let typed = "\n".repeat(40) + "echo $((6 * 7)) as $(id -u)\nexit\n";
    boot.console_input = Some(&typed);
    let console = boot.run_without_host();
    for line in ["no input", "42 as 0", "bootdisk: workload exited with status 7"] {
        assert!(console.contains(line), "{line}: {console}");
    }
}

#[test]
fn a_workload_that_ignores_the_stop_signal_is_killed_and_the_disk_is_clean() {
    let disk = Userland::busybox().disk();
    let script = "trap '' TERM; echo ready; while :; do echo x >> /log; sleep 0.05; done";
    let mut boot = Boot::new(BootSpec { restart: Restart::Always, ..spec(&["/bin/sh", "-c", script]) }, &disk);
    boot.keep = true;
    let mut session = boot.start();
    session.until("the workload", |session| session.stdout() == "ready\n");
    session.send(Frame::control(Kind::Stop, &Stop { timeout: Some(1) }));
    session.finish();
    assert_eq!(session.started, [0], "what was asked to stop does not start again");
    assert_eq!(session.outcome(), Outcome::Signaled(9), "{}", session.describe());
    let (status, text) = disk.check();
    assert_eq!(status, 0, "{text}");
    assert!(!text.contains("recovering journal"), "{text}");
}

#[test]
fn a_disk_that_lost_power_while_written_comes_up_again() {
    let disk = Userland::busybox().disk();
    let script = "while :; do echo x >> /log; sync; echo y; done";
    let mut boot = Boot::new(spec(&["/bin/sh", "-c", script]), &disk);
    boot.keep = true;
    let mut session = boot.start();
    session.until("writes", |session| session.stdout().len() > 20);
    session.kill();
    let mut again = Boot::new(spec(&["/bin/sh", "-c", "test -s /log && echo kept"]), &disk);
    again.keep = true;
    let session = again.run();
    assert_eq!(session.stdout(), "kept\n", "{}", session.describe());
    let (status, text) = disk.check();
    assert_eq!(status, 0, "{text}");
}

#[test]
fn all_output_arrives_from_a_fast_workload_to_a_slow_host() {
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let bytes: usize = if full { 100 << 20 } else { 12 << 20 };
    let disk = Userland::busybox().disk();
    let script = format!("/probe flood {bytes}; cat");
    let mut boot = Boot::new(spec(&["/bin/sh", "-c", &script]), &disk);
    boot.welcome.stdin = true;
    let mut session = boot.start();
    // A host that gives no credit gets one window and no more, and the machine goes on.
    session.credit_held = true;
    session.until("a window", |session| session.out.get(&2).is_some_and(|out| out.len() == WINDOW as usize));
    session.send(Frame::control(
        Kind::Exec,
        &Exec { process: 1, what: say("still here"), terminal: None, stdin: false, copy: None },
    ));
    session.until("another process", |session| session.ended.contains_key(&1));
    assert_eq!((session.text(stdout_of(1)).as_str(), session.out[&2].len()), ("still here\n", WINDOW as usize));
    session.credit_held = false;
    session.credit(stdout_of(0), WINDOW);
    session.until("the flood", |session| session.out[&2].len() == bytes);
    session.input(0, b"over\n");
    session.end_input(0);
    session.finish();
    let out = &session.out[&2];
    assert_eq!(out[bytes..], *b"over\n");
    for (line, text) in out[..bytes].chunks_exact(16).enumerate() {
        assert_eq!(text, format!("{line:015}\n").as_bytes());
    }
}

#[test]
fn signals_of_the_host_reach_the_workload() {
    let disk = Userland::busybox().disk();
    let mut session = Boot::new(spec(&["/probe", "signal"]), &disk).start();
    session.until("the workload", |session| session.stdout() == "ready\n");
    session.send(Frame::control(Kind::Signal, &Signal { process: 0, signal: 64 }));
    session.finish();
    assert_eq!((session.stdout().as_str(), session.outcome()), ("ready\nsignal 64\n", Outcome::Exited(64)));
}

#[test]
fn a_host_that_reads_no_more_ends_the_writer() {
    let disk = Userland::busybox().disk();
    let mut session = Boot::new(spec(&["/bin/sh", "-c", "yes; echo status $? >&2"]), &disk).start();
    session.until("output", |session| session.stdout().len() > 100);
    session.send(Frame { stream: stdout_of(0), kind: Kind::Eof, payload: vec![] });
    session.finish();
    assert_eq!(session.text(stderr_of(0)), "status 141\n", "{:?}", session.outcome());
}

fn say(text: &str) -> Process {
    Process { cmd: strings(&["/bin/echo", text]), ..Process::default() }
}

#[test]
fn a_terminal_has_a_size_job_control_and_an_end() {
    let disk = Userland::busybox().disk();
    let mut boot = Boot::new(spec(&["/bin/sh"]), &disk);
    boot.welcome.stdin = true;
    boot.welcome.terminal = Some(Terminal { term: "vt100".into(), rows: 33, cols: 99 });
    let mut session = boot.start();
    let step = |session: &mut Session, input: &str, expected: &'static str| {
        session.input(0, input.as_bytes());
        session.until(expected, move |session| session.stdout().contains(expected));
    };
    step(&mut session, "echo $TERM $(tty) $(stty size) $((1+1))\n", "vt100 /dev/pts/0 33 99 2");
    session.send(Frame::control(Kind::Resize, &Resize { process: 0, rows: 40, cols: 120 }));
    step(&mut session, "echo size $(stty size)\n", "size 40 120");
    step(&mut session, "sh -c 'echo begun $((2+2)); exec sleep 1000'; echo after\n", "begun 4");
    // Ctrl-C ends the sleep; a shell without job control would end with it.
    session.input(0, b"\x03");
    step(&mut session, "echo still $((3+3))\n", "still 6");
    session.input(0, b"exit 9\n");
    session.finish();
    assert_eq!(session.outcome(), Outcome::Exited(9), "{}", session.describe());
    assert!(!session.stdout().contains("job control turned off"), "{}", session.stdout());
}

#[test]
fn a_read_only_root_stays_as_it_is_and_volumes_can_be_written() {
    let userland = Userland::busybox();
    userland.write("data/kept", "kept\n", 0o644);
    userland.write("tmp/here", "", 0o644);
    // More than what is copied to memory.
    userland.write("large/kept", &"kept\n".repeat(2 << 20), 0o644);
    let disk = userland.disk();
    let script = "touch /x 2>/dev/null || echo root refused; for d in /tmp /run /data /dev/shm /large; do echo > $d/y && echo $d; done; cat /data/kept; wc -c < /large/kept; rm /large/kept; ls /large";
    let mut spec = spec(&["/bin/sh", "-c", script]);
    spec.volumes = vec!["/data".into(), "/large".into()];
    let mut boot = Boot::new(spec, &disk);
    boot.welcome.overrides.read_only = Some(true);
    let session = boot.run();
    assert_eq!(
        session.stdout(),
        "root refused\n/tmp\n/run\n/data\n/dev/shm\n/large\nkept\n10485760\ny\n",
        "{}",
        session.describe()
    );
    assert_eq!(session.warnings(), Vec::<&str>::new());
    assert!(disk.debugfs("ls /large").contains("kept"));
}

#[test]
fn a_write_protected_disk_boots_with_a_warning() {
    let userland = Userland::busybox();
    for folder in ["proc", "sys", "dev", "run"] {
        std::fs::create_dir(userland.path(folder)).unwrap();
    }
    let disk = userland.disk();
    let mut boot = Boot::new(spec(&["/bin/echo", "up"]), &disk);
    boot.protected = true;
    let session = boot.run();
    assert_eq!(session.stdout(), "up\n", "{}", session.describe());
    assert!(session.warnings().iter().any(|line| line.contains("write-protected")), "{:?}", session.warnings());
}

#[test]
fn what_is_in_the_way_of_a_mount_is_named() {
    let userland = Userland::busybox();
    symlink("/etc", userland.path("proc")).unwrap();
    let disk = userland.disk();
    let mut boot = Boot::new(spec(&["/bin/true"]), &disk);
    // Else it would be replaced.
    boot.protected = true;
    let session = boot.run();
    assert_eq!(session.outcome().status(), 125);
    assert!(format!("{:?}", session.outcome()).contains("instead of the folder /proc"));
}

#[test]
fn a_missing_root_is_an_error_that_lists_the_disks() {
    let disk = Userland::busybox().disk();
    let mut spec = spec(&["/bin/true"]);
    spec.root.partuuid = "11111111-2222-3333-4444-555555555555".into();
    let session = Boot::new(spec, &disk).run();
    let Outcome::NotStarted { status: 125, reason } = session.outcome() else { panic!("{:?}", session.outcome()) };
    let here =
        "block devices here: vda, vda1; wanted PARTUUID 11111111-2222-3333-4444-555555555555; controllers: SCSI ";
    assert!(reason.starts_with(&format!("root file system not found: {here}")), "{reason}");
    assert!(reason.contains(" with virtio-pci, SATA ") && reason.contains("virtio_blk"), "{reason}");
    let told = session.logs.iter().find(|log| log.note).expect("somebody waits");
    assert!(told.text.starts_with(&format!("still waiting for the root file system: {here}")), "{}", told.text);
}

#[test]
fn a_table_for_other_sectors_than_the_disks_is_told_and_not_waited_for() {
    let disk = Userland::busybox().disk();
    let mut boot = Boot::new(spec(&["/bin/true"]), &disk);
    (boot.sector, boot.network) = (4096, false);
    let session = boot.run();
    let Outcome::NotStarted { status: 125, reason } = session.outcome() else { panic!("{:?}", session.outcome()) };
    let says = "root file system not found: vda has sectors of 4096 bytes, and its partition table is for 512; wanted ";
    assert!(reason.starts_with(says), "{reason}");
}

#[test]
fn an_ephemeral_root_needs_a_kernel_with_overlayfs() {
    let disk = Userland::busybox().disk();
    let mut boot = Boot::new(spec(&["/bin/true"]), &disk);
    boot.spec.modules.retain(|module| module.name != "overlay");
    boot.spec.root.ephemeral = true;
    let session = boot.run();
    let Outcome::NotStarted { status: 125, reason } = session.outcome() else { panic!("{:?}", session.outcome()) };
    assert_eq!(reason, "this kernel has no overlayfs (CONFIG_OVERLAY_FS), which an ephemeral root needs");
}

#[test]
fn overrides_of_the_host_hold_for_this_boot() {
    let disk = Userland::busybox().disk();
    let mut boot = Boot::new(spec(&["/bin/false"]), &disk);
    boot.network = false;
    boot.welcome.overrides = Overrides {
        entrypoint: Some(strings(&["/bin/sh", "-c"])),
        cmd: Some(strings(&["echo $X; id -u; pwd; hostname; date +%Y; tail -n 1 /etc/hosts"])),
        env: strings(&["X=1"]),
        user: Some("www".into()),
        working_dir: Some("/made/here".into()),
        hostname: Some("other".into()),
        ..Overrides::default()
    };
    boot.welcome.time = 4_102_444_800 + 86_400;
    let session = boot.run();
    assert_eq!(session.stdout(), "1\n33\n/made/here\nother\n2100\n127.0.1.1\tother\n", "{}", session.describe());
}

#[test]
fn memory_that_runs_out_is_told_apart_from_a_kill() {
    let disk = Userland::busybox().disk();
    let session = Boot::new(spec(&["/probe", "memory"]), &disk).run();
    assert_eq!(session.outcome(), Outcome::Signaled(9), "{}", session.describe());
    assert!(session.ended[&0].oom);
}

#[test]
fn a_workload_that_switches_the_machine_off_is_obeyed_and_background_children_end_with_it() {
    let disk = Userland::busybox().disk();
    let mut boot = Boot::new(spec(&["/probe", "poweroff"]), &disk);
    boot.spec.network = Network::None;
    assert_eq!(boot.run().outcome(), Outcome::Exited(0));
    let mut boot = Boot::new(spec(&["/probe", "daemon"]), &disk);
    boot.spec.network = Network::None;
    assert_eq!(boot.run().outcome(), Outcome::Exited(5));
}

#[test]
fn the_images_own_init_takes_over_as_process_one_with_nothing_of_ours_where_no_host_listens() {
    let userland = Userland::busybox();
    userland.write("etc/inittab", "::sysinit:/bin/sh /etc/rc\n", 0o644);
    let rc = "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' >/tmp/all\n\
        echo own init, $(cat /proc/1/comm) $(ls /dev/vda), $(grep -c ^@ /tmp/all) beside\nsync\npoweroff -f\n";
    userland.write("etc/rc", rc, 0o755);
    std::fs::create_dir(userland.path("tmp")).unwrap();
    std::fs::create_dir(userland.path("sbin")).unwrap();
    symlink("../bin/busybox", userland.path("sbin/init")).unwrap();
    let disk = userland.disk();
    let mut spec = spec(&[]);
    (spec.init, spec.restart) = (Init::Image, Restart::Always);
    let boot = Boot { cmdline: "loglevel=5", ..Boot::new(spec, &disk) };
    let console = boot.run_unheard();
    assert!(console.contains("own init, init /dev/vda, 0 beside"), "{console}");
    assert!(console.contains("no restart policy applies, and this is always"), "{console}");
}

#[test]
fn an_unreadable_specification_ends_the_machine_with_a_reason() {
    let disk = Userland::empty().disk();
    let mut spec = spec(&[]);
    spec.version += 1;
    let console = Boot::new(spec, &disk).run_without_host();
    assert!(
        console.contains("bootdisk: workload not started (status 125): the boot specification has a version newer")
    );
}

#[test]
fn without_pid_namespaces_the_workload_runs_and_process_one_reaps_its_orphans() {
    let disk = Userland::busybox().disk();
    let script = "/probe orphans 500; while ps -o stat | grep -q Z; do sleep 0.1; done; grep VmRSS /proc/1/status
        sleep 1000 & exit 4";
    let mut boot = Boot::new(spec(&["/bin/sh", "-c", script]), &disk);
    boot.cmdline = "sysctl.user.max_pid_namespaces=0";
    let session = boot.run();
    assert_eq!(session.outcome(), Outcome::Exited(4), "{}", session.describe());
    let text = session.stdout();
    let rss = text.strip_prefix("orphans 0\nVmRSS:").and_then(|rest| rest.trim().strip_suffix(" kB"));
    let rss: u32 = rss.and_then(|rss| rss.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"));
    assert!(rss <= 4096, "PID 1 takes {rss} KiB");
    assert!(session.warnings().iter().any(|line| line.contains("no PID namespaces")), "{:?}", session.warnings());
}
