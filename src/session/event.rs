//! What a running machine tells: typed events while it runs, and how it ended.

use crate::guest::channel::{Hello, Log, Outcome as Workload};
use crate::qemu::Accel;
use crate::session::control::Health;
use std::time::Duration;

/// Something that happened to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since QEMU was started; zero before.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something the user should know and need not act upon. One line.
    Note(String),
    /// Something is other than it was asked for.
    Told(String),
    /// What serves the machine on this host has failed: where the machine uses it, it hangs.
    Failed(String),
    /// QEMU runs and the machine begins.
    Started {
        /// QEMU's process.
        pid: u32,
        /// The accelerator in use.
        accel: Accel,
    },
    /// It goes on from a snapshot. What was told before that was made follows, with its times.
    Restored,
    /// Bytes of the firmware's own log, with [`crate::qemu::MachineOptions::firmware_log`].
    Firmware(Vec<u8>),
    /// The firmware has started something that boots: a boot sector, an EFI program, the kernel of a direct boot.
    /// Only when its words for it could be seen.
    FirmwareDone,
    /// Bytes of the serial console as they came: anything at all, in chunks of any size.
    Console(Vec<u8>),
    /// PID 1 is there.
    Hello(Hello),
    /// The workload began.
    WorkloadStarted,
    /// PID 1 gives its place to the image's own init: this program, escaped. From here on the console is the
    /// machine's standard output.
    HandedOver(String),
    /// PID 1 has something to say about the machine.
    Log(Log),
    /// The workload has ended and starts again, as its restart policy says. [`What::WorkloadStarted`] follows.
    Restarting {
        /// How it ended.
        outcome: Workload,
        /// How often it was started again, this time with it.
        count: u32,
        /// The time until then.
        pause: Duration,
    },
    /// The workload's health is another.
    Health {
        /// What it is now.
        status: Health,
        /// The same as a sentence, printable, with why it is unhealthy.
        sentence: String,
    },
    /// The workload ended. Data of its streams may still be on the way out.
    Result {
        /// How.
        outcome: Workload,
        /// The kernel's out-of-memory killer was at work.
        oom: bool,
    },
    /// PID 1 has synced and unmounted every file system.
    FileSystemsClean,
    /// The machine was asked to stop.
    Stopping(Why),
    /// The guest's kernel panicked.
    Panic,
    /// The guest reset the machine, which boots again.
    Reset,
    /// The workload has restarted the machine so many times in a row, and is not started again.
    NotRestarted {
        /// How often.
        times: u32,
    },
    /// The guest switched the machine off.
    PoweredOff,
    /// The host has no space for what the guest writes: the machine stands still until it has.
    NoSpace(Scarce),
    /// It goes on.
    SpaceAgain,
    /// PID 1 has not come up yet.
    Slow {
        /// So long after the boot began.
        after: Duration,
        /// The last line of console or firmware, printable.
        last: Option<String>,
    },
}

/// Where the host has no space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scarce {
    /// Folder, file or block device, printable.
    pub place: String,
    /// What is kept there.
    pub what: Kept,
}

/// What a machine writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Its disk.
    Disk,
    /// What it writes instead of to its disk, for as long as it runs.
    Overlay,
    /// A volume.
    Volume,
}

impl std::fmt::Display for Scarce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.what {
            Kept::Disk => "the disk in",
            Kept::Overlay => "the temporary overlay in",
            Kept::Volume => "the volume in",
        };
        write!(f, "the host has no space left for {what} {}", self.place)
    }
}

/// Who speaks in a machine before PID 1 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The disk's boot stage for BIOS.
    Stage,
    /// SeaBIOS, OVMF or AAVMF.
    Firmware,
    /// systemd-boot.
    Loader,
    /// The kernel.
    Kernel,
}

impl Speaker {
    fn name(self) -> &'static str {
        match self {
            Speaker::Stage => "the disk's boot stage",
            Speaker::Firmware => "the firmware",
            Speaker::Loader => "the boot loader",
            Speaker::Kernel => "the kernel",
        }
    }
}

/// The words of a boot that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GaveUp {
    /// Whose.
    pub speaker: Speaker,
    /// One line, printable.
    pub line: String,
}

impl GaveUp {
    /// What can be done about it.
    fn hint(&self) -> Option<&'static str> {
        let says = |words: &[&str]| words.iter().any(|word| self.line.contains(word));
        Some(match self.speaker {
            _ if says(&["Access Denied", "Security Violation"]) => {
                "the firmware has Secure Boot on, and trusts no signature of what it is to start: sign the disk with its key, or \
                 start it without --secure-boot"
            }
            _ if says(&["too little memory", "Out of memory", "Out of Resources", "Failed to allocate"]) => {
                "give the machine more memory: -m 512m"
            }
            Speaker::Stage if says(&["rebuild the disk", "second boot stage"]) => "build the disk again",
            Speaker::Stage if says(&["no BIOS boot"]) => "start it with --firmware uefi",
            Speaker::Firmware if says(&["exception", "Exception", "ASSERT"]) => return None,
            Speaker::Firmware => "build the disk for both firmwares: bootdisk build IMAGE -o DISK --firmware bios,uefi",
            _ => return None,
        })
    }
}

/// Why a machine was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// This signal to bootdisk.
    Signal(i32),
    /// Its time was up.
    Timeout,
    /// A client of its control connection, `bootdisk stop` for one.
    Asked,
    /// Nobody reads its output any more.
    OutputClosed,
    /// Whoever watched its events had seen enough.
    Watcher,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The workload ran to its end, or was found not to be startable.
    Workload {
        /// How it ended.
        outcome: Workload,
        /// The kernel's out-of-memory killer was at work.
        oom: bool,
        /// Every file system was synced and unmounted afterwards.
        clean: bool,
    },
    /// The image's own init took PID 1's place and switched the machine off.
    OwnInit,
    /// The kernel panicked: before PID 1's hello the console said so, after it the machine.
    Panic {
        /// The console's line about it, escaped.
        message: String,
        /// PID 1 had said hello.
        after_hello: bool,
    },
    /// The machine was reset behind PID 1's back, before the workload's result, and no kernel panicked.
    Reset,
    /// It never got to PID 1.
    GaveUp(GaveUp),
    /// PID 1 said that the machine cannot do its work, and ended it.
    Init {
        /// What it said, escaped.
        message: String,
    },
    /// The guest switched the machine off and there was no result.
    NoResult {
        /// PID 1 had said hello.
        after_hello: bool,
    },
    /// The guest reset the machine again and again.
    ResetLoop {
        /// How often.
        resets: u32,
    },
    /// PID 1 does not speak this program's protocol, or not correctly.
    Protocol {
        /// What was wrong, escaped.
        message: String,
    },
    /// It was asked for what its disk's PID 1 has never heard of.
    Older {
        /// The option.
        option: &'static str,
    },
    /// It was stopped from outside before there was a result.
    Stopped(Why),
    /// QEMU ended on its own while the machine ran.
    QemuGone {
        /// Its exit status or signal, in words.
        status: String,
        /// What it said on standard error, escaped.
        message: String,
    },
}

impl Outcome {
    /// The exit status of `bootdisk run`: the workload's own, 0 for an own init that came to its end, 124 on timeout, 128 + signal when interrupted, else 125.
    pub fn status(&self) -> u8 {
        match self {
            Outcome::Workload { outcome, .. } => outcome.status(),
            Outcome::OwnInit => 0,
            Outcome::Stopped(Why::Timeout) => 124,
            Outcome::Stopped(Why::Signal(signal)) => 128u8.saturating_add(*signal as u8),
            Outcome::Stopped(Why::Asked) => 128 + libc::SIGTERM as u8,
            // What a shell reports for a writer whose reader has gone.
            Outcome::Stopped(Why::OutputClosed) => 128 + libc::SIGPIPE as u8,
            _ => 125,
        }
    }

    /// What can be done about it, for a `hint:` line.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Outcome::GaveUp(gave_up) => gave_up.hint(),
            Outcome::Older { .. } => Some("build the disk again, or omit the option"),
            Outcome::Reset => Some("to restart the machine cleanly, the workload calls reboot"),
            _ => None,
        }
    }

    /// One sentence for standard error, lower case; `None` when the workload's status says all there is to say.
    pub fn sentence(&self) -> Option<String> {
        Some(match self {
            Outcome::Workload { oom: true, outcome: Workload::Signaled(9), .. } => {
                "the machine ran out of memory and the kernel killed the workload".into()
            }
            Outcome::Workload { oom: true, .. } => {
                "the machine ran out of memory and the kernel killed a process of the workload".into()
            }
            Outcome::Workload { outcome: Workload::NotStarted { reason, .. }, .. } => {
                crate::escape::escape(reason.as_bytes())
            }
            Outcome::Workload { .. } | Outcome::OwnInit => return None,
            Outcome::Panic { message, .. } => format!("the guest's kernel panicked: {message}"),
            Outcome::Reset => {
                "the guest reset the machine before the workload's result, and its kernel did not panic: sysrq's b does \
                 so, and a triple fault"
                    .into()
            }
            Outcome::GaveUp(GaveUp { speaker, line }) => {
                format!("the machine did not get to PID 1; {} says: {line}", speaker.name())
            }
            Outcome::Init { message } => format!("the machine could not start its workload: {message}"),
            Outcome::NoResult { after_hello: true } => "the machine ended without the workload's result".into(),
            Outcome::NoResult { after_hello: false } => "the machine ended before PID 1 came up".into(),
            Outcome::ResetLoop { resets } => format!("the guest resets the machine again and again: {resets} times"),
            Outcome::Protocol { message } => format!("cannot understand the guest's PID 1: {message}"),
            Outcome::Older { option } => format!("the disk was made by an older bootdisk, which had no {option}"),
            Outcome::Stopped(Why::Timeout) => "the machine did not end in time".into(),
            Outcome::Stopped(Why::Signal(_) | Why::Asked) => {
                "the machine was stopped before the workload's result".into()
            }
            Outcome::Stopped(Why::OutputClosed | Why::Watcher) => return None,
            Outcome::QemuGone { status, message } if message.is_empty() => {
                format!("QEMU ended while the machine ran: {status}")
            }
            Outcome::QemuGone { status, message } => format!("QEMU ended while the machine ran ({status}): {message}"),
        })
    }
}

/// A machine that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How.
    pub outcome: Outcome,
    /// From QEMU's start to its end.
    pub elapsed: Duration,
    /// The last bytes of the serial console, at most [`super::console::KEPT`]; show them through
    /// [`super::console::lines`].
    pub console: Vec<u8>,
    /// Which of the workload's streams could not be passed on whole, and why; one that nobody reads any more is none.
    pub lost: Vec<String>,
}

impl Finished {
    /// The exit status of `bootdisk run`: output that was lost is a failure, whatever became of the workload.
    pub fn status(&self) -> u8 {
        if self.lost.is_empty() { self.outcome.status() } else { 125 }
    }
}
