//! What is told of a growth that takes long, and to whom; and whether somebody does not want to wait for it.

use super::ext4::Progress;
use crate::guest::channel::Level;
use crate::init::host::Host;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A growth that is over by then is not told of on the way.
const FIRST: Duration = Duration::from_secs(1);
/// From one line to the next.
const EVERY: Duration = Duration::from_secs(10);

/// Somebody who sees the file system grow.
pub struct Watch<'a> {
    host: &'a mut Host,
    due: Instant,
}

impl<'a> Watch<'a> {
    /// From now on, for this host or, without one, on the consoles.
    pub fn new(host: &'a mut Host) -> Watch<'a> {
        Watch { host, due: Instant::now() + FIRST }
    }

    /// Between two steps: whether to go on.
    pub fn step(&mut self, progress: Progress) -> ControlFlow<()> {
        if Instant::now() >= self.due {
            self.due = Instant::now() + EVERY;
            self.host.tell(Level::Info, &line(progress));
        }
        if self.host.stop_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn line(progress: Progress) -> String {
    let Progress { begin, now, end } = progress;
    let done = now.saturating_sub(begin) as u128 * 100 / u128::from(end.saturating_sub(begin).max(1));
    format!("the root file system grows to {}: {done} % done", size(end))
}

fn size(bytes: u64) -> String {
    let (unit, name) = if bytes >= 1 << 40 { (1u64 << 40, "TiB") } else { (1 << 30, "GiB") };
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_where_it_goes_and_how_much_of_the_way_is_done() {
        let line = |begin, now, end| line(Progress { begin, now, end });
        assert_eq!(line(1 << 30, 3 << 40, 10 << 40), "the root file system grows to 10.0 TiB: 29 % done");
        assert_eq!(line(2 << 30, 2 << 30, 100 << 30), "the root file system grows to 100.0 GiB: 0 % done");
        assert_eq!(line(0, u64::MAX, u64::MAX), "the root file system grows to 16777216.0 TiB: 100 % done");
        assert_eq!(line(5, 5, 5), "the root file system grows to 0.0 GiB: 0 % done");
    }
}
