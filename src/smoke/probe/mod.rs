//! Checks of a running machine, each a loop on a thread of its own: look, write on the board, and look again until it
//! holds or the machine has ended.

mod exec;
mod health;
mod http;
mod tcp;

pub(super) use exec::watch as exec;
pub(super) use health::watch as healthy;
pub(super) use http::watch as http;
pub(super) use tcp::watch as tcp;

use std::time::Duration;

/// Between two looks at the same thing.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two starts of a process: they cost the guest time.
const EXEC_PAUSE: Duration = Duration::from_secs(1);
/// A single look may take so long.
const LOOK: Duration = Duration::from_secs(10);
