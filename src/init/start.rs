//! Starts a process: the workload in a mount and PID namespace of its own, or one more beside it.
//!
//! The parent makes the descriptors and forks; the child does everything else, in the order a container runtime
//! does, and says over its report socket why it could not. PID 1 has one thread, so the child may allocate.

use super::failure::{Doing, Failure};
use super::namespaces::{Workload, begin_pids};
use super::report::{self, Reporter, Reports};
use super::userland::Plan;
use super::{accounts, cgroup, command, consoles, copy, environment, folders, log, signals, terminal, userland};
use crate::copy::Copy;
use crate::guest::channel::Terminal;
use crate::guest::spec::Process;
use crate::guest::surroundings::LIMITS;
use crate::guest::user::Identity;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{ForkResult, Gid, Uid, chdir, execve, fork, pipe2, setgroups, setresgid, setresuid, setsid};
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Open files of a workload, as container runtimes set it (soft and hard).
const OPEN_FILES: u64 = 1_048_576;
/// What standard streams a process gets.
#[derive(Clone, Debug)]
pub enum Streams {
    /// The machine's console, which becomes its terminal.
    Console,
    /// The machine's console, for output alone: people have a shell there.
    Messages,
    /// The console of this name, for a shell beside the workload.
    Login(String),
    /// Pipes; standard input is /dev/null unless wanted.
    Pipes {
        /// Whether somebody sends standard input.
        stdin: bool,
    },
    /// A pseudo-terminal.
    Terminal(Terminal),
}

/// Everything a process is started with.
pub struct Start<'a> {
    /// Command, environment, user, folder, merged with all overrides.
    pub process: &'a Process,
    /// Value of HOSTNAME.
    pub hostname: &'a str,
    /// Its standard streams.
    pub streams: Streams,
    /// Where it runs.
    pub place: Place<'a>,
    /// Files are copied there as root, and no program is executed.
    pub copy: Option<&'a Copy>,
}

/// Where a process runs.
pub enum Place<'a> {
    /// It is the workload: the root is made ready around it.
    New(&'a Plan),
    /// Beside the workload.
    Beside(&'a Workload),
}

/// A child that is becoming its program.
pub struct Child {
    /// Its number in PID 1's namespace.
    pub pid: i32,
    /// Whether it is process 1 of a namespace of its own.
    pub own_pids: bool,
    /// Log lines, the terminal, or why it failed; closed when the program runs.
    pub reports: Reports,
    /// Its standard input, non-blocking.
    pub stdin: Option<OwnedFd>,
    /// Its standard output, non-blocking.
    pub stdout: Option<OwnedFd>,
    /// Its standard error, non-blocking.
    pub stderr: Option<OwnedFd>,
}

/// The child's side of its standard streams: 0, 1, 2.
struct Standard([Option<OwnedFd>; 3]);

/// Forks. What goes wrong in the child arrives in [`Child::reports`].
pub fn start(start: &Start) -> Result<Child, Failure> {
    let (reporter, reports) = report::pair().doing("make a socket pair")?;
    let (standard, [stdin, stdout, stderr]) = make_streams(&start.streams).doing("make pipes")?;
    let pids = match &start.place {
        Place::New(_) => begin_pids(),
        Place::Beside(workload) => workload.join_pids().doing("join the workload's processes, which has ended")?,
    };
    // SAFETY: PID 1 has one thread, so the child may do anything.
    let forked = unsafe { fork() };
    if let Ok(ForkResult::Child) = forked {
        become_program(start, standard, reporter);
    }
    pids.end();
    let Ok(ForkResult::Parent { child }) = forked else {
        return Err(Failure::machine(format!("cannot start a process: {}", Errno::last().desc())));
    };
    let own_pids = matches!(&start.place, Place::New(_)) && pids.is_own();
    Ok(Child { pid: child.as_raw(), own_pids, reports, stdin, stdout, stderr })
}

fn make_streams(streams: &Streams) -> std::io::Result<(Standard, [Option<OwnedFd>; 3])> {
    let Streams::Pipes { stdin } = streams else {
        return Ok((Standard([None, None, None]), [None, None, None]));
    };
    let pipe = || pipe2(OFlag::O_CLOEXEC);
    let (input, input_end) = if *stdin {
        let (read, write) = pipe()?;
        (read, Some(write))
    } else {
        // Both ways, as a runtime opens it.
        (OpenOptions::new().read(true).write(true).open("/dev/null")?.into(), None)
    };
    let (output_end, output) = pipe()?;
    let (error_end, error) = pipe()?;
    let ours = [input_end, Some(output_end), Some(error_end)];
    for end in ours.iter().flatten() {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((Standard([Some(input), Some(output), Some(error)]), ours))
}

fn become_program(start: &Start, standard: Standard, reporter: Reporter) -> ! {
    if let Ok(second) = reporter.duplicate() {
        log::become_child(second);
    }
    let status = match set_up(start, standard, &reporter) {
        Ok(copy) => {
            close_the_rest(0);
            copy::run(copy)
        }
        Err(failure) => {
            reporter.failed(&failure);
            i32::from(failure.status)
        }
    };
    // SAFETY: ends at once, without running anything of the parent's.
    unsafe { libc::_exit(status) }
}

/// Returns with an error, or in the place where files are to be copied.
fn set_up<'a>(start: &Start<'a>, standard: Standard, reporter: &Reporter) -> Result<&'a Copy, Failure> {
    signals::reset();
    _ = setsid();
    umask(Mode::empty());
    // Before the root changes: both are files of the initramfs.
    _ = fs::write("/proc/self/oom_score_adj", "0");
    cgroup::join();
    let mut console = None;
    match &start.place {
        Place::New(plan) => {
            separate_mounts()?;
            // In the new mount namespace, or it could not be bind-mounted; in the old root, where all devices are.
            let wanted = matches!(start.streams, Streams::Console | Streams::Messages);
            console = wanted.then(consoles::terminal).flatten();
            userland::enter(plan)?;
        }
        Place::Beside(workload) => {
            if let Streams::Login(name) = &start.streams {
                console = consoles::open_for_people(name);
            }
            workload.join_rest().doing("join the workload, which has ended")?;
        }
    }
    match &start.streams {
        Streams::Console => terminal::use_console(console),
        Streams::Messages => terminal::only_output(console),
        Streams::Login(name) => terminal::log_in(console).doing(format!("use the console {name}"))?,
        Streams::Terminal(wanted) => {
            let is_workload = matches!(start.place, Place::New(_));
            let master = terminal::make(wanted, is_workload).doing("make a terminal")?;
            reporter.terminal(master.as_fd());
        }
        Streams::Pipes { .. } => take(standard).doing("take the standard streams")?,
    }
    match start.copy {
        Some(copy) => Ok(copy),
        None => {
            let Err(failure) = run(start);
            Err(failure)
        }
    }
}

fn separate_mounts() -> Result<(), Failure> {
    use nix::sched::{CloneFlags, unshare};
    unshare(CloneFlags::CLONE_NEWNS).doing("make a mount namespace")?;
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWCGROUP) {
        log::warning(format!("this kernel has no cgroup namespaces: {}", errno.desc()));
    }
    Ok(())
}

fn take(standard: Standard) -> nix::Result<()> {
    for (number, fd) in standard.0.into_iter().enumerate() {
        if let Some(fd) = fd {
            // SAFETY: replaces a standard descriptor of this child.
            Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number as i32) })?;
        }
    }
    Ok(())
}

/// The part that is about the image: who, where, with what, and which file.
fn run(start: &Start) -> Result<std::convert::Infallible, Failure> {
    let process = start.process;
    let words: Vec<&String> = process.words().collect();
    let Some(name) = words.first() else {
        return Err(Failure::machine("the image has no command, and none was given"));
    };
    let identity = accounts::identify(&process.user)?;
    let term = match &start.streams {
        Streams::Terminal(terminal) => Some(terminal.term.as_str()),
        Streams::Console => Some("linux"),
        Streams::Login(name) => Some(if name == "tty1" { "linux" } else { "vt100" }),
        Streams::Pipes { .. } | Streams::Messages => None,
    };
    let env = environment::compose(&process.env, start.hostname, &identity.home, term);
    setrlimit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES).doing("set the limit of open files")?;
    setrlimit(Resource::RLIMIT_CORE, RLIM_INFINITY, RLIM_INFINITY).doing("lift the limit of core files")?;
    // The kernel's own limit depends on the memory, and a small machine's is small.
    setrlimit(Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY).doing("lift the limit of processes")?;
    limit(process)?;
    let entered = enter_folder(&process.working_dir)?;
    own_streams(&identity);
    become_user(&identity).doing(format!("become the user {}", process.user))?;
    if !entered {
        // Root may be kept out where the user is not (NFS, FUSE).
        chdir(&folders::in_root(&process.working_dir)).map_err(|errno| no_folder(&process.working_dir, errno))?;
    }
    umask(Mode::from_bits_truncate(0o022));
    let path = command::look_up(name, &env)?;
    let arguments = words.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>()?;
    let env = env.iter().map(|entry| c_string(entry)).collect::<Result<Vec<_>, _>>()?;
    let file = c_string(path.to_string_lossy().as_ref())?;
    command::warn_of(&path);
    close_the_rest(CLOSE_RANGE_CLOEXEC);
    let Err(errno) = execve(&file, &arguments, &env);
    Err(command::explain(&path, errno))
}

/// The limits that were asked for, on top of those.
fn limit(process: &Process) -> Result<(), Failure> {
    for (name, limit) in &process.ulimits {
        let Some((_, number)) = LIMITS.iter().find(|(known, _)| known == name) else { continue };
        let value = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
        let both = libc::rlimit { rlim_cur: value(limit.soft), rlim_max: value(limit.hard) };
        // SAFETY: the kernel reads one structure.
        let set = unsafe { libc::setrlimit(*number as _, &both) };
        Errno::result(set).doing(format!("set the limit {name}"))?;
    }
    Ok(())
}

/// Whether the folder was entered; not when only the user may.
fn enter_folder(folder: &str) -> Result<bool, Failure> {
    match chdir(&folders::in_root(folder)) {
        Ok(()) => Ok(true),
        Err(Errno::EACCES) => Ok(false),
        Err(errno) => Err(no_folder(folder, errno)),
    }
}

fn no_folder(folder: &str, errno: Errno) -> Failure {
    let reason = format!("cannot enter the working folder, {}: {folder}", errno.desc().to_lowercase());
    // A runtime's 126 is about permission; a file or a ring of links in the folder's place is the image's defect.
    if errno == Errno::EACCES { Failure::not_executable(reason) } else { Failure::machine(reason) }
}

/// The user owns the pipes and terminals it was given, so that it can open /dev/stdout.
fn own_streams(identity: &Identity) {
    use nix::sys::stat::{fstat, makedev};
    let null = makedev(1, 3);
    for fd in [std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()] {
        if fstat(fd).is_ok_and(|stat| stat.st_rdev != null) {
            _ = nix::unistd::fchown(fd, Some(Uid::from_raw(identity.uid)), None);
        }
    }
}

/// Root keeps every capability: the machine is its own. Anybody else has none, as exec takes them away; the bounding
/// set stays full, so that setuid programs work.
fn become_user(identity: &Identity) -> nix::Result<()> {
    let groups: Vec<Gid> = identity.all_groups().into_iter().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::machine(format!("a zero byte in the command or environment: {text}")))
}

/// Closes at the exec, and not now.
const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;

/// Nothing but 0, 1 and 2 survives the exec (CVE-2024-21626). Ours are all close-on-exec; this is for what is not.
fn close_the_rest(flags: libc::c_uint) {
    // SAFETY: marks descriptors, or closes them in a child that uses none of them again. Kernels before 5.11 refuse to
    // mark, and have nothing to mark.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if done != 0 && flags == 0 {
        // SAFETY: as above; PID 1 has few.
        (3..1024).for_each(|fd| _ = unsafe { libc::close(fd) });
    }
}
