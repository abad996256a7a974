//! How machines end, and that nothing of them is left: power-off, time-outs, resets, floods, panics, killed QEMUs,
//! QEMUs that never start, and a runner that is signalled or killed.

use crate::support::apart::{again, part};
use crate::support::machine::{Ran, Then, boot, boot_with, children_of, disk, is_alive};
use crate::support::small_kernel::{only, unpacked};
use crate::support::{machine, tools};
use bootdisk::qemu::{Accel, AccelChoice, Boot, MachineOptions, Reboot, RunError};
use bootdisk::session::console::{KEPT, lines};
use bootdisk::session::event::Why;
use bootdisk::session::{Event, Outcome, SessionOptions, What};
use nix::sys::signal::{self, SigHandler, Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

fn timeout(seconds: f64) -> SessionOptions {
    SessionOptions { timeout: Some(Duration::from_secs_f64(seconds)), ..SessionOptions::default() }
}

fn watch_all(_: &Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn pid_of(ran: &Ran) -> u32 {
    let started = ran.events.iter().find_map(|event| match event.what {
        What::Started { pid, accel: Accel::Tcg } => Some(pid),
        _ => None,
    });
    started.expect("every machine says its process")
}

/// No process of it, and in its directory only the disk.
fn assert_nothing_left(ran: &Ran, dir: &Path) {
    assert!(!is_alive(pid_of(ran)));
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1);
}

#[test]
fn a_machine_that_switches_itself_off_has_no_result() {
    let dir = tempfile::tempdir().unwrap();
    let ran = boot(&machine::machine(disk(dir.path(), "d", "bye\n", Then::PowerOff)));
    assert_eq!(ran.finished.outcome, Outcome::NoResult { after_hello: false });
    assert_eq!((ran.finished.outcome.status(), &ran.finished.console[..]), (125, &b"bye\n"[..]));
    assert_eq!((ran.stdout.len(), ran.stderr.len()), (0, 0), "the console is no output of a workload");
    assert!(ran.time_of(|what| *what == What::PoweredOff).is_some());
    assert_nothing_left(&ran, dir.path());
}

#[test]
fn a_silent_hang_ends_at_its_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let ran = boot_with(&machine::machine(disk(dir.path(), "d", "", Then::Hang)), timeout(2.0), watch_all).unwrap();
    assert_eq!((&ran.finished.outcome, ran.finished.outcome.status()), (&Outcome::Stopped(Why::Timeout), 124));
    assert!((2.0..5.0).contains(&ran.finished.elapsed.as_secs_f64()), "{:?}", ran.finished.elapsed);
    assert_nothing_left(&ran, dir.path());
}

#[test]
fn a_flood_on_the_console_is_kept_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let message = format!("{}\n", "flood ".repeat(30));
    let mut seen = 0;
    let machine = machine::machine(disk(dir.path(), "d", &message, Then::Flood));
    let ran = boot_with(&machine, timeout(60.0), |event| {
        if let What::Console(bytes) = &event.what {
            seen += bytes.len();
        }
        if seen > 2 * KEPT { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(ran.finished.outcome, Outcome::Stopped(Why::Watcher));
    assert!(ran.console.len() > KEPT && ran.finished.console.len() == KEPT);
    assert_eq!(lines(&ran.finished.console, 3)[1], message.trim_end_matches('\n'));
    assert_nothing_left(&ran, dir.path());
}

#[test]
fn a_loop_of_resets_is_recognised_and_one_can_be_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine::machine(disk(dir.path(), "d", "again\n", Then::Reset));
    let ran = boot(&machine);
    assert_eq!(ran.finished.outcome, Outcome::ResetLoop { resets: 3 });
    assert_eq!(ran.console_text(), "again\n".repeat(3));
    assert_nothing_left(&ran, dir.path());
    machine.reboot = Reboot::End;
    let ran = boot(&machine);
    assert_eq!((ran.finished.outcome, ran.console), (Outcome::NoResult { after_hello: false }, b"again\n".to_vec()));
}

#[test]
fn a_killed_qemu_is_named_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let machine = machine::machine(disk(dir.path(), "d", "x", Then::Hang));
    let mut killed = None;
    let mut pid = 0;
    let ran = boot_with(&machine, timeout(60.0), |event| {
        match event.what {
            What::Started { pid: started, .. } => pid = started,
            What::Console(_) if killed.is_none() => {
                killed = Some(Instant::now());
                kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
            }
            _ => {}
        }
        ControlFlow::Continue(())
    });
    let ran = ran.unwrap();
    assert!(killed.unwrap().elapsed() < Duration::from_secs(3));
    let Outcome::QemuGone { status, .. } = &ran.finished.outcome else { panic!("{:?}", ran.finished.outcome) };
    assert!(status.contains("SIGKILL"), "{status}");
    assert_nothing_left(&ran, dir.path());
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("qemu");
    tools::program(&path, format!("#!/bin/bash\n{text}\n").as_bytes(), 0o755);
    path
}

#[test]
fn a_qemu_that_never_starts_says_why() {
    let (dir, tools) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let base = machine::machine(disk(dir.path(), "d", "", Then::Hang));
    let error = |qemu: PathBuf, machine: &MachineOptions| {
        let machine = MachineOptions { qemu: Some(qemu), ..machine.clone() };
        boot_with(&machine, timeout(60.0), watch_all).err().expect("it did not start")
    };

    let missing = error("/nonexistent/qemu".into(), &base);
    assert_eq!(missing.to_string(), "cannot find QEMU: /nonexistent/qemu");

    let crash = error(script(tools.path(), "printf 'qemu: bad \\033[31mthing\\n' >&2; exit 3"), &base);
    assert_eq!(crash.to_string(), "QEMU did not start (exit status: 3): qemu: bad \\x1b[31mthing");
    assert_eq!(crash.hint(), None);

    let old = "[ \"$1\" = --version ] && echo 'QEMU emulator version 5.2.0' && exit 0; exit 1";
    let old = error(script(tools.path(), old), &base);
    assert_eq!(old.hint().unwrap(), "bootdisk needs QEMU 6.0 or later");

    let killed = error(script(tools.path(), "kill -SEGV $$"), &base);
    assert!(killed.to_string().contains("SIGSEGV"), "{killed}");

    let unusable = tools.path().join("text");
    tools::program(&unusable, b"#!/nonexistent/interpreter\n", 0o755);
    assert!(matches!(error(unusable, &base), RunError::QemuUnusable { .. }));

    let talks = error(
        script(
            tools.path(),
            "for a; do case $a in socket,id=qmp,fd=*) fd=${a##*=};; esac; done; eval \"echo nonsense >&$fd\"; sleep 60",
        ),
        &base,
    );
    assert!(matches!(&talks, RunError::Qmp(_)), "{talks}");

    // A real QEMU and an option of the user's that it does not know.
    let base = MachineOptions { extra: vec!["-no-such-option".into()], ..base };
    let option = boot_with(&base, timeout(60.0), watch_all).err().unwrap();
    assert!(option.to_string().contains("-no-such-option: invalid option"), "{option}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn what_no_machine_has_is_refused_before_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let base = machine::machine(disk(dir.path(), "d", "", Then::PowerOff));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let forward = MachineOptions {
        forwards: vec![format!("{port}:80").parse().unwrap()],
        network: Some(Default::default()),
        ..base.clone()
    };
    let refused = |machine: &MachineOptions| boot_with(machine, timeout(60.0), watch_all).err().unwrap();
    let error = refused(&forward);
    assert_eq!(
        error.to_string(),
        format!("cannot listen on forwarded port 127.0.0.1:{port}:80: Address already in use (os error 98)")
    );
    assert!(error.hint().is_some());
    drop(taken);
    let ran = boot(&forward);
    assert_eq!(ran.finished.outcome, Outcome::NoResult { after_hello: false });

    assert!(matches!(refused(&MachineOptions { cpus: 0, ..base.clone() }), RunError::Unsupported(_)));
    assert!(matches!(refused(&MachineOptions { network: None, ..forward }), RunError::Unsupported(_)));
    let terminal = SessionOptions { terminal: true, stdin: true, ..timeout(60.0) };
    assert!(matches!(boot_with(&base, terminal, watch_all), Err(RunError::NotATerminal)));
}

#[test]
fn uefi_firmware_runs_from_a_copy_of_its_variables() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine::machine(disk(dir.path(), "d", "", Then::Hang));
    (machine.boot, machine.memory) = (Boot::Uefi, 128);
    let templates =
        ["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"].map(|path| std::fs::read(path).ok());
    let mut console = Vec::new();
    let ran = boot_with(&machine, timeout(120.0), |event| {
        if let What::Console(bytes) = &event.what {
            console.extend_from_slice(bytes);
        }
        // The boot manager's name, in every edition of the firmware.
        match console.windows(6).any(|window| window == b"BdsDxe") {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    let ran = ran.unwrap();
    assert_eq!(ran.finished.outcome, Outcome::Stopped(Why::Watcher), "{:?}", lines(&ran.console, 20));
    let after =
        ["/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_VARS.fd"].map(|path| std::fs::read(path).ok());
    assert!(templates == after);
    assert_nothing_left(&ran, dir.path());
}

#[test]
fn a_kernel_panic_before_any_hello_is_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine::machine(disk(dir.path(), "d", "", Then::Hang));
    machine.memory = 256;
    let cmdline = "console=ttyS0 root=/dev/vda panic=0".into();
    machine.boot = Boot::Direct { kernel: only(&unpacked("cloud").join("boot"), "vmlinuz-"), initrd: None, cmdline };
    let ran = boot(&machine);
    let Outcome::Panic { message, after_hello: false } = &ran.finished.outcome else {
        panic!("{:?}: {:?}", ran.finished.outcome, lines(&ran.console, 20))
    };
    assert!(message.starts_with("Kernel panic - not syncing: VFS: Unable to mount root fs"), "{message}");
    let at = ran.time_of(|what| *what == What::Panic).unwrap();
    assert!(ran.finished.elapsed - at < Duration::from_secs(3), "{at:?}, {:?}", ran.finished.elapsed);
    assert_eq!(ran.finished.outcome.status(), 125);
    assert_nothing_left(&ran, dir.path());
}

#[test]
fn kvm_is_used_only_where_it_works() {
    let dir = tempfile::tempdir().unwrap();
    let mut machine = machine::machine(disk(dir.path(), "d", "alive\n", Then::PowerOff));
    machine.accel = AccelChoice::Auto;
    let ran = boot(&machine);
    assert_eq!((ran.finished.outcome, ran.console), (Outcome::NoResult { after_hello: false }, b"alive\n".to_vec()));
    let accel = ran.events.iter().find_map(|event| match event.what {
        What::Started { accel, .. } => Some(accel),
        _ => None,
    });
    let noted = ran.events.iter().any(|event| matches!(event.what, What::Note(_)));
    assert_eq!(accel == Some(Accel::Tcg), noted, "a fallback is told, and only a fallback");
}

/// What a runner does in a process of its own, for the tests below: a machine with this disk.
fn be_the_runner(disk: PathBuf) -> ! {
    let ran = boot_with(&machine::machine(disk), timeout(60.0), |event| {
        match &event.what {
            What::Started { pid, .. } => println!("\nqemu {pid}"),
            What::Console(_) => println!("console"),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    println!("status {}", ran.unwrap().finished.outcome.status());
    std::process::exit(0);
}

/// Starts the test again as a runner, sends it a signal once its machine runs, and returns what it says from then on and
/// QEMU's process.
fn signal_a_runner(test: &str, signal: Signal) -> (Vec<String>, u32, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), "d", "x", Then::Hang);
    let mut runner = again(&format!("qemu_end::{test}"), &path, &[]);
    // Below nohup it would go on ignoring what it is sent.
    // SAFETY: signal(2) may be called between fork and exec, and no handler is set.
    let heard = || unsafe { signal::signal(Signal::SIGHUP, SigHandler::SigDfl) }.map(drop).map_err(Into::into);
    // SAFETY: as above.
    unsafe { runner.pre_exec(heard) };
    let mut runner = runner.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(runner.stdout.take().unwrap()).lines().map(Result::unwrap);
    let qemu = lines.find_map(|line| line.strip_prefix("qemu ").map(|pid| pid.parse::<u32>().unwrap())).unwrap();
    lines.find(|line| line == "console").unwrap();
    assert_eq!(children_of(runner.id()).iter().map(|child| child.0).collect::<Vec<_>>(), [qemu]);
    kill(Pid::from_raw(runner.id() as i32), signal).unwrap();
    let rest = lines.collect();
    runner.wait().unwrap();
    (rest, qemu, dir)
}

#[test]
fn a_signal_to_the_runner_ends_the_machine() {
    if let Some(disk) = part() {
        be_the_runner(disk);
    }
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let start = Instant::now();
        let (said, qemu, dir) = signal_a_runner("a_signal_to_the_runner_ends_the_machine", signal);
        assert_eq!(said, [format!("status {status}")]);
        assert!(!is_alive(qemu) && start.elapsed() < Duration::from_secs(15), "{signal}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn qemu_does_not_outlive_a_killed_runner() {
    if let Some(disk) = part() {
        be_the_runner(disk);
    }
    let (said, qemu, dir) = signal_a_runner("qemu_does_not_outlive_a_killed_runner", Signal::SIGKILL);
    assert_eq!(said, [""; 0]);
    let start = Instant::now();
    while is_alive(qemu) {
        assert!(start.elapsed() < Duration::from_secs(3));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
