//! When what happened in a boot, so that a slow one shows where.

use std::time::Duration;

/// Points in time, each from QEMU's first instruction; absent when it was not reached, or cannot be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// It went on from a snapshot. What comes before the workload is absent then, as it was not in this machine.
    pub restored: Option<Duration>,
    /// The first byte of the console, whoever wrote it.
    pub console: Option<Duration>,
    /// The firmware handed over: to the boot stage, to systemd-boot, or to QEMU's own loader.
    pub loader: Option<Duration>,
    /// The kernel began: PID 1's arrival less the kernel's own uptime then. Until here the loader and the kernel's
    /// unpacking of itself were at work.
    pub kernel: Option<Duration>,
    /// PID 1 said hello.
    pub pid1: Option<Duration>,
    /// The workload was started, or the image's own init took over.
    pub workload: Option<Duration>,
    /// The workload's first byte of output.
    pub output: Option<Duration>,
    /// The last expectation held.
    pub ready: Option<Duration>,
    /// QEMU ended.
    pub end: Option<Duration>,
}

impl Phases {
    /// Every point that was reached, in the order of boots, under its name.
    pub fn points(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        let all = [
            ("restored", self.restored),
            ("console", self.console),
            ("loader", self.loader),
            ("kernel", self.kernel),
            ("pid1", self.pid1),
            ("workload", self.workload),
            ("output", self.output),
            ("ready", self.ready),
            ("end", self.end),
        ];
        all.into_iter().filter_map(|(name, at)| Some((name, at?)))
    }
}
