//! "The workload cannot tell": scenarios, each run by PID 1 in a booted machine and by a real container runtime on the
//! same root file system, and compared.
//!
//! A row of a table here is one scenario. Many share a boot: processes beside the workload are started by the
//! code that starts the workload.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test prints is shown when it fails")]

#[path = "../support/mod.rs"]
mod support;

mod docker;
mod first;
mod folders;
mod guest_side;
mod machine;
mod options;
mod process;
mod runtime;
mod scenario;
mod userland;
mod users;

use bootdisk::guest::channel::{Frame, Kind, Signal, Stop};
use guest::{Boot, Session, Userland};
use guest_side::{machine, up};
use runtime::Bundle;
use scenario::{Row, Runtime, Seen, row};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use support::{daemons, e2e, guest, images, layers, tools};

/// Runs every scenario on both sides at once. What is wrong, a sentence a scenario.
fn compare(session: &mut Session, first: u32, rootfs: &Path, read_only: bool, rows: &[Row]) -> Vec<String> {
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| in_containers(rootfs, read_only, rows));
        let ours: Vec<Seen> = (first..).zip(rows).map(|(number, row)| guest_side::run(session, number, row)).collect();
        (ours, theirs.join().expect("the runtime's side"))
    });
    rows.iter().zip(ours).zip(theirs).filter_map(|((row, ours), theirs)| row.judge(&ours, theirs.as_ref())).collect()
}

fn in_containers(rootfs: &Path, read_only: bool, rows: &[Row]) -> Vec<Option<Seen>> {
    let Some(oracle) = runtime::oracle() else { return vec![None; rows.len()] };
    let bundle = Bundle::new(oracle, rootfs, read_only);
    rows.iter().map(|row| oracle.is_asked(row).then(|| bundle.run(row))).collect()
}

fn no_difference(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} scenarios differ\n{}", wrong.len(), wrong.join("\n"));
}

/// The same change to both root file systems, by a command of theirs.
fn change(session: &mut Session, number: u32, container: &Userland, script: &str) {
    let seen = guest_side::run(session, number, &row("a change").sh(script));
    assert_eq!(seen, Seen::Ended(0, String::new()), "{script}");
    if runtime::oracle().is_some() {
        tools::stdout(std::process::Command::new("chroot").arg(container.path(".")).args(["/bin/sh", "-c", script]));
    }
}

#[test]
fn a_process_and_its_surroundings_are_what_they_are_in_a_container() {
    let userland = userland::full();
    let container = userland::copy(&userland);
    let disk = userland.disk();
    let mut session = up(machine(&["/probe", "signal"]), &disk);
    let rootfs = container.folder.path();
    let rows = [machine::rows(), process::rows(), process::deaths()].concat();
    let mut wrong = compare(&mut session, 1, rootfs, false, &rows);
    change(&mut session, 1000, &container, "cp /table/passwd /table/group /etc");
    wrong.extend(compare(&mut session, 1001, rootfs, false, &users::table()));
    change(&mut session, 2000, &container, "rm /etc/passwd /etc/group");
    wrong.extend(compare(&mut session, 2001, rootfs, false, &users::without_accounts()));
    change(&mut session, 3000, &container, "mkdir /etc/passwd; mkfifo /etc/group");
    let folders = users::without_accounts().into_iter().map(|row| row.recorded("what is no file has no accounts"));
    wrong.extend(compare(&mut session, 3001, rootfs, false, &folders.collect::<Vec<_>>()));
    no_difference(&wrong);
    assert_eq!(session.warnings(), Vec::<&str>::new());
}

#[test]
fn a_read_only_root_is_what_it_is_in_a_container() {
    let userland = userland::full();
    let container = userland::copy(&userland);
    let disk = userland.disk();
    let mut spec = machine(&["/probe", "signal"]);
    spec.root.read_only = true;
    spec.volumes = scenario::words(&["/new/volume", "/real"]);
    spec.process.working_dir = "/made/before".into();
    let mut session = up(spec, &disk);
    let wrong = compare(&mut session, 1, container.folder.path(), true, &machine::read_only());
    assert_eq!(session.warnings(), Vec::<&str>::new());
    no_difference(&wrong);
}

#[test]
fn an_image_of_one_file_is_what_it_is_in_a_container() {
    let userland = Userland::empty();
    std::fs::copy("/usr/bin/busybox", userland.path("busybox")).expect("busybox-static is installed");
    let container = userland::copy(&userland);
    // What is in the place of folders is replaced by Docker before its runtime sees it.
    for name in ["dev", "etc"] {
        std::fs::write(userland.path(name), "a file\n").unwrap();
    }
    std::os::unix::fs::symlink("busybox", userland.path("proc")).unwrap();
    std::os::unix::fs::symlink("/nowhere/sys", userland.path("sys")).unwrap();
    let disk = userland.disk();
    let mut boot = Boot::new(machine(&["/busybox", "sleep", "1000"]), &disk);
    boot.network = false;
    boot.welcome.terminal = Some(guest_side::terminal());
    let mut session = boot.start();
    session.until("the workload", |session| session.started == [0]);
    let wrong = compare(&mut session, 1, container.folder.path(), false, &machine::bare());
    assert_eq!(session.warnings(), Vec::<&str>::new());
    no_difference(&wrong);
}

#[test]
fn process_1_is_what_it_is_in_a_container() {
    let userland = userland::full();
    let container = userland::copy(&userland);
    let disk = userland.disk();
    let first = first::workload();
    let mut spec = machine(&[]);
    spec.process = first.process();
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs =
            scope.spawn(|| in_containers(container.folder.path(), false, std::slice::from_ref(&first)).remove(0));
        let session = Boot::new(spec, &disk).run();
        (guest_side::seen(&session.outcome(), session.stdout()), theirs.join().expect("the runtime's side"))
    });
    let Seen::Ended(128_u8.., _) = &ours else { panic!("{ours:?}") };
    let mut wrong = Vec::new();
    for (who, seen) in [("we", Some(&ours)), ("the runtime", theirs.as_ref())] {
        let Some(Seen::Ended(status, output)) = seen else { continue };
        let said = first::paragraphs(output);
        let expected = first::PARAGRAPHS.map(|part| (part.name.to_owned(), part.says.to_owned()));
        let differ = expected.iter().zip(&said).filter(|(expected, said)| expected != said);
        wrong.extend(differ.map(|(expected, said)| format!("{who}: expected {expected:?}, gave {said:?}")));
        if (*status, said.len()) != (139, expected.len()) {
            wrong.push(format!("{who}: ended with {status} after {} paragraphs of {}", said.len(), expected.len()));
        }
    }
    no_difference(&wrong);
}

#[test]
fn options_of_build_and_run_are_what_they_are_of_docker_run() {
    let userland = Userland::busybox();
    std::fs::create_dir(userland.path("srv")).unwrap();
    std::fs::set_permissions(userland.path("srv"), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let bench = options::bench();
    let runs = options::rows(&options::env_file(&bench));
    let rows: Vec<Row> = runs.iter().map(|run| run.row.clone()).collect();
    let container = userland::copy(&userland);
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| in_containers(container.folder.path(), false, &rows));
        (options::boot(&bench, userland.folder.path(), &runs), theirs.join().expect("the runtime's side"))
    });
    let judged = rows.iter().zip(ours).zip(theirs);
    let wrong = judged.filter_map(|((row, ours), theirs)| row.judge(&ours, theirs.as_ref()));
    no_difference(&wrong.collect::<Vec<_>>());
}

#[test]
fn a_folder_of_the_host_is_what_it_is_as_a_bind_mount() {
    let userland = userland::full();
    let container = userland::copy(&userland);
    let bench = options::bench();
    // Of one length, as links name them.
    let [ours, theirs] = ["north", "south"].map(|name| bench.path(name));
    [&ours, &theirs].into_iter().for_each(|folder| folders::make(folder));
    let (seen, expected) = std::thread::scope(|scope| {
        let rows = [folders::scenario(&theirs)];
        let rootfs = container.folder.path();
        let expected = scope.spawn(move || in_containers(rootfs, false, &rows).remove(0));
        let seen = folders::in_a_machine(&bench, userland.folder.path(), &folders::scenario(&ours));
        (seen, expected.join().expect("the runtime's side"))
    });
    let Some(expected) = expected else { return };
    let (Seen::Ended(status, said), Seen::Ended(wanted, words)) = (&seen, &expected) else {
        panic!("{seen:?} {expected:?}")
    };
    let places = |text: &str| text.replace("south", "north");
    assert!((*status, said) == (*wanted, &places(words)), "we said\n{said}\nthe runtime\n{words}");
    assert!(said.contains("10000\n") && said.ends_with("33:33 644\n"), "{said}");
    let (here, there) = (folders::found(&ours), folders::found(&theirs));
    let differ: Vec<_> = here.iter().zip(&there).filter(|(ours, theirs)| **ours != places(theirs)).collect();
    assert!(here.len() == there.len() && here.len() > 10_100 && differ.is_empty(), "{differ:?}");
}

/// Signals that cannot be caught, that the kernel sends by itself, or that are libc's own.
fn is_catchable(signal: i32) -> bool {
    ![9, 17, 19, 32, 33].contains(&signal)
}

#[test]
fn every_signal_reaches_the_workload_as_in_a_container_and_the_stop_signal_ends_it() {
    let signals: Vec<i32> = (1..=64).filter(|signal| is_catchable(*signal)).collect();
    let expected: Vec<String> = signals.iter().map(|signal| format!("signal {signal}")).collect();
    let workload = row("signals").cmd(&["/probe", "signals"]);
    let userland = userland::full();
    let container = userland::copy(&userland);
    let disk = userland.disk();
    let mut spec = machine(&[]);
    spec.process = workload.process();
    spec.process.stop_signal = Some("SIGRTMIN+3".into());
    let theirs = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| signalled(container.folder.path(), &workload, &signals));
        let mut session = Boot::new(spec, &disk).start();
        session.until("the workload", |session| session.stdout() == "ready\n");
        for (at, signal) in signals.iter().enumerate() {
            session.send(Frame::control(Kind::Signal, &Signal { process: 0, signal: *signal }));
            session.until("a signal", |session| session.stdout().lines().count() == at + 2);
        }
        let lines: Vec<String> = session.stdout().lines().skip(1).map(str::to_owned).collect();
        assert_eq!(lines, expected);
        // The stop signal, then, as it is caught and nothing follows, the end by force.
        session.send(Frame::control(Kind::Stop, &Stop { timeout: Some(1) }));
        session.finish();
        assert!(session.stdout().ends_with("signal 64\nsignal 37\n"), "{}", session.stdout());
        assert_eq!(session.outcome().status(), 137);
        theirs.join().expect("the runtime's side")
    });
    if let Some(lines) = theirs {
        assert_eq!(lines, expected, "the runtime");
    }
}

fn signalled(rootfs: &Path, workload: &Row, signals: &[i32]) -> Option<Vec<String>> {
    let bundle = Bundle::new(runtime::oracle()?, rootfs, false);
    let mut container = bundle.start(workload).expect("a container");
    let stdout = BufReader::new(container.stdout());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
    let next = || receiver.recv_timeout(Duration::from_secs(60)).expect("the container says it");
    assert_eq!(next(), "ready");
    let mut said = Vec::new();
    for signal in signals {
        container.signal(*signal);
        let line = format!("signal {signal}");
        // runc is a Go program: SIGURG is its scheduler's too, and it passes on what comes to it.
        while next() != line {}
        said.push(line);
    }
    container.signal(9);
    assert_eq!(container.finish(None), Seen::Ended(137, String::new()));
    Some(said)
}

/// The comparison itself: every way of being wrong is found, and named.
#[test]
fn a_wrong_expectation_is_told_with_what_both_sides_gave() {
    let ended = |status, text: &str| Seen::Ended(status, text.to_owned());
    let right = row("umask").says("0022\n");
    let seen = ended(0, "0022\n");
    assert_eq!(right.judge(&seen, Some(&seen)), None);
    assert_eq!(right.judge(&seen, None), None);
    for (ours, theirs) in [
        (ended(0, "0077\n"), seen.clone()),
        (seen.clone(), ended(0, "0077\n")),
        (ended(1, "0022\n"), seen.clone()),
        (seen.clone(), ended(1, "0022\n")),
        (Seen::Refused(125, "0022\n".into()), seen.clone()),
        (seen.clone(), Seen::Refused(125, "0022\n".into())),
    ] {
        let told = right.judge(&ours, Some(&theirs)).expect("a difference");
        assert!(told.starts_with("umask:") && told.contains(&format!("we gave  {ours:?}")), "{told}");
        assert!(told.contains(&format!("gave {theirs:?}")), "{told}");
    }
    let refused = row("no such file").refused(127, "no such file");
    let reason = |status, why: &str| Seen::Refused(status, why.to_owned());
    assert_eq!(refused.judge(&reason(127, "no such file: /x"), Some(&reason(125, "exec: stat"))), None);
    assert!(refused.judge(&reason(126, "no such file: /x"), None).is_some());
    assert!(refused.judge(&reason(127, "denied"), None).is_some());
    assert!(refused.judge(&reason(127, "no such file"), Some(&ended(127, ""))).is_some());
    // A difference that is gone is one too, as is an oracle that agrees with everything.
    let differs = row("a script").refused(127, "interpreter").runtime(1, "", "missing interpreter");
    assert!(differs.judge(&reason(127, "interpreter"), Some(&reason(125, ""))).is_some());
    if let Some(oracle) = runtime::oracle() {
        let userland = Userland::busybox();
        let bundle = Bundle::new(oracle, userland.folder.path(), false);
        assert_eq!(bundle.run(&row("seven").sh("echo x; exit 7")), ended(7, "x\n"));
        assert!(matches!(bundle.run(&row("none").cmd(&["/no/such"])), Seen::Refused(..)));
        assert!(matches!(bundle.run(&row("nobody").sh("true").user("nobody-here")), Seen::Refused(..)));
    }
}

/// Every difference that a row speaks of is in the table of docs/container.md.
#[test]
fn every_known_difference_is_documented() {
    let document = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/container.md")).unwrap();
    let tables = [process::rows(), machine::rows(), machine::read_only(), machine::bare(), users::table()];
    for row in tables.concat() {
        if let Runtime::Differs(_, text) = row.runtime {
            assert!(document.contains(&format!("\n| {text}")), "{}: not a row of docs/container.md: {text}", row.name);
        }
    }
}
