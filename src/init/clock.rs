//! The clock: the kernel reads it from the RTC; a host that says another time is believed.

use super::log;
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::time::{ClockId, clock_gettime, clock_settime};

/// Seconds of difference that are left alone: a message takes its time.
const TOLERANCE: i64 = 2;

/// Sets the clock of a machine that has stood still, to so many milliseconds since the epoch.
pub fn catch_up(milliseconds: u64) {
    let Ok(wanted) = i64::try_from(milliseconds) else { return };
    if let Err(errno) = clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::milliseconds(wanted)) {
        log::warning(format!("cannot set the clock: {}", errno.desc()));
    }
}

/// Sets the clock when it differs from the host's. 0 means that the host did not say.
pub fn set_from_host(seconds: u64) {
    let Ok(wanted) = i64::try_from(seconds) else { return };
    let now = clock_gettime(ClockId::CLOCK_REALTIME).map_or(0, |now| now.tv_sec());
    if wanted == 0 || (wanted - now).abs() <= TOLERANCE {
        return;
    }
    match clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(wanted, 0)) {
        Ok(()) => log::info(format!("the clock was {} s off and is set", wanted - now)),
        Err(errno) => log::warning(format!("cannot set the clock: {}", errno.desc())),
    }
}
