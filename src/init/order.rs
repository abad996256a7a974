//! The order to switch the machine off, to an image's own init, in its own way.
//!
//! ```text
//!  systemd   SIGRTMIN+4 (systemd(1), "Signals"): needs no D-Bus, and does no harm when it comes again
//!  others    the image's own `poweroff`: sysvinit, OpenRC, busybox, s6, runit, dinit and finit each have one
//! ```
//!
//! Not supported: an init whose image has no program to switch off; its power button is left.

use super::namespaces::Workload;
use super::{command, signals};
use crate::guest::channel::Outcome;
use crate::guest::spec::DEFAULT_PATH;
use nix::unistd::{ForkResult, execve, fork, setsid};
use std::ffi::CString;
use std::fs;

/// What switches a machine off, the first that is there.
const COMMANDS: [&[&str]; 2] = [&["poweroff"], &["shutdown", "-h", "now"]];

/// What has become of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Nobody has given it, or it was in vain.
    #[default]
    None,
    /// This program gives it.
    Under(i32),
    /// It was given. Asked again, sysvinit's program would switch off at once.
    Given,
}

impl Order {
    /// Gives it to the process with this number, unless that was done.
    pub fn give(&mut self, init: i32) {
        if is_systemd(&format!("/proc/{init}/exe")) {
            _ = signals::send(init, signals::POWER_BUTTON);
        } else if *self == Order::None {
            // SAFETY: the caretaker has one thread, so the child may do anything.
            match unsafe { fork() } {
                Ok(ForkResult::Child) => switch_off(init),
                Ok(ForkResult::Parent { child }) => *self = Order::Under(child.as_raw()),
                Err(_) => {}
            }
        }
    }

    /// A child has ended.
    pub fn ended(&mut self, pid: i32, outcome: &Outcome) {
        if *self == Order::Under(pid) {
            *self = if *outcome == Outcome::Exited(0) { Order::Given } else { Order::None };
        }
    }
}

/// By its program, which a link may lead to. It becomes systemd-shutdown in the end, which needs no order any more.
fn is_systemd(exe: &str) -> bool {
    let names = ["systemd", "systemd-shutdown"];
    fs::read_link(exe).is_ok_and(|program| names.iter().any(|name| program.file_name() == Some(name.as_ref())))
}

/// In a child: becomes the image's own program for it.
fn switch_off(init: i32) -> ! {
    signals::reset();
    _ = setsid();
    _ = fs::write("/proc/self/oom_score_adj", "0");
    if Workload::of(init, false).join_rest().is_ok() {
        COMMANDS.iter().for_each(|words| become_program(words));
    }
    // SAFETY: ends at once, without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

/// Returns only where there is none.
fn become_program(words: &[&str]) {
    let path = format!("PATH={DEFAULT_PATH}");
    let Ok(file) = command::look_up(words[0], std::slice::from_ref(&path)) else { return };
    let strings = |list: &[&str]| list.iter().map(|text| CString::new(*text)).collect::<Result<Vec<_>, _>>();
    if let (Ok(file), Ok(words), Ok(env)) =
        (CString::new(file.into_os_string().into_encoded_bytes()), strings(words), strings(&[&path]))
    {
        _ = execve(&file, &words, &env);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_given_once_and_again_where_it_was_in_vain() {
        let mut order = Order::Under(7);
        order.ended(8, &Outcome::Exited(1));
        assert_eq!(order, Order::Under(7));
        for (outcome, after) in [
            (Outcome::Exited(0), Order::Given),
            (Outcome::Exited(127), Order::None),
            (Outcome::Signaled(15), Order::None),
        ] {
            let mut order = Order::Under(7);
            order.ended(7, &outcome);
            assert_eq!(order, after, "{outcome:?}");
            order.ended(7, &Outcome::Exited(0));
            assert_eq!(order, after, "{outcome:?}");
        }
    }

    #[test]
    fn systemd_is_known_by_its_program_whatever_the_link_to_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        for (program, is) in [
            ("/usr/lib/systemd/systemd", true),
            ("/lib/systemd/systemd", true),
            ("/usr/lib/systemd/systemd-shutdown", true),
            ("/usr/sbin/init", false),
            ("/opt/systemd/init", false),
        ] {
            let exe = folder.path().join("exe");
            _ = fs::remove_file(&exe);
            std::os::unix::fs::symlink(program, &exe).unwrap();
            assert_eq!(is_systemd(exe.to_str().unwrap()), is, "{program}");
        }
        assert!(!is_systemd("/nonexistent/exe"));
    }
}
