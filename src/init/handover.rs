//! `init: image`: the image's own init (systemd, OpenRC) takes PID 1's place, in the root, with all of its mounts.
//!
//! Nothing of ours is left then: no result is reported, and the machine's end is whatever that init makes of it. The
//! host is told before.

use super::failure::{Doing, Failure};
use super::host::Host;
use super::{command, environment, log, signals, userland};
use crate::guest::channel::{Frame, HandedOver, Kind};
use crate::guest::own_init::{PLACES, is_init};
use crate::guest::spec::Process;
use nix::unistd::execve;
use std::ffi::CString;
use std::path::PathBuf;

/// Enters the root and becomes the image's init. Returns only with why not.
pub fn hand_over(plan: &userland::Plan, process: &Process, hostname: &str, host: &mut Host) -> Failure {
    match prepare(plan, process, hostname) {
        Ok((path, arguments, env)) => {
            log::info(format!("handing over to the image's own init: {}", path.display()));
            host.send_log();
            let init = path.to_string_lossy().into_owned();
            host.send(&Frame::control(Kind::HandedOver, &HandedOver { nonce: host.nonce().to_owned(), init }));
            host.drain();
            signals::reset();
            _ = std::fs::write("/proc/self/oom_score_adj", "0");
            let file = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
            let Err(errno) = execve(&file, &arguments, &env);
            command::explain(&path, errno)
        }
        Err(failure) => failure,
    }
}

type Program = (PathBuf, Vec<CString>, Vec<CString>);

fn prepare(plan: &userland::Plan, process: &Process, hostname: &str) -> Result<Program, Failure> {
    userland::enter(plan)?;
    let env = environment::compose(&process.env, hostname, "/root", Some("linux"));
    let words: Vec<String> = process.words().cloned().collect();
    let (path, words) = match words.first() {
        // The image's command is an init itself.
        Some(first) if is_init(first) => (command::look_up(first, &env)?, words),
        _ => {
            let path = PLACES.iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
                Failure::not_found(format!("the image has no init of its own, at none of: {}", PLACES.join(", ")))
            })?;
            let name = path.to_string_lossy().into_owned();
            (path, vec![name])
        }
    };
    let strings = |list: &[String]| list.iter().map(|text| CString::new(text.as_str())).collect::<Result<Vec<_>, _>>();
    Ok((path, strings(&words).doing("pass the arguments")?, strings(&env).doing("pass the environment")?))
}

#[cfg(test)]
mod tests {
    use super::is_init;

    #[test]
    fn commands_that_are_an_init() {
        assert!(is_init("/lib/systemd/systemd") && is_init("/sbin/init") && is_init("init"));
        assert!(!is_init("/bin/sh") && !is_init("/usr/bin/tini") && !is_init(""));
    }
}
