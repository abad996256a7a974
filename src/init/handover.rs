//! `init: image`: the image's own init (systemd, OpenRC) takes PID 1's place, in the root, with all of its mounts.
//!
//! No result is reported then, and the machine's end is whatever that init makes of it. The host is told before; a
//! caretaker stays for it, where there is one. What the image knows of another machine or of a container does not hold
//! the init up.

use super::caretaker::Left;
use super::failure::{Doing, Failure};
use super::fstab::{Adapted, Told};
use super::host::Host;
use super::{
    caretaker, command, consoles, environment, fstab, inittab, log, signals, systemd, tags, terminal, userland,
};
use crate::guest::channel::{Frame, HandedOver, Kind, Level};
use crate::guest::own_init::{PLACES, is_init};
use crate::guest::spec::Process;
use nix::mount::{MsFlags, mount};
use nix::unistd::execve;
use std::cell::LazyCell;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Enters the root and becomes the image's init. Returns only with why not.
pub fn hand_over(plan: &userland::Plan, process: &Process, hostname: &str, host: &mut Host) -> Failure {
    // Before the root changes.
    let initramfs = File::open("/");
    match prepare(plan, process, hostname) {
        Ok((path, arguments, env)) => {
            log::info(format!("handing over to the image's own init: {}", path.display()));
            host.send_log();
            let init = path.to_string_lossy().into_owned();
            let no_button = systemd::hears_no_button(Path::new("/"));
            let handed_over = HandedOver { nonce: host.nonce().to_owned(), init, no_button, caretaker: true };
            host.send(&Frame::control(Kind::HandedOver, &handed_over));
            host.drain();
            let left = initramfs.ok().filter(|_| host.is_there()).map(|root| caretaker::leave(host, process, &root));
            signals::reset();
            _ = std::fs::write("/proc/self/oom_score_adj", "0");
            let file = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
            let Err(errno) = execve(&file, &arguments, &env);
            left.and_then(Result::ok).into_iter().for_each(Left::take_back);
            command::explain(&path, errno)
        }
        Err(failure) => failure,
    }
}

type Program = (PathBuf, Vec<CString>, Vec<CString>);

fn prepare(plan: &userland::Plan, process: &Process, hostname: &str) -> Result<Program, Failure> {
    // Before the root changes: the names of the devices are those of /sys in the initramfs too.
    let (console, console_name) = (consoles::instead_of_the_kernels(), consoles::last());
    userland::enter(plan)?;
    if let Some(console) = console {
        terminal::stand_in(&console);
    }
    match systemd::prepare(Path::new("/")) {
        Ok(true) => log::info("this system has no udev: the serial console's login waits for no device"),
        Ok(false) => {}
        Err(error) => log::warning(format!("cannot write units for systemd: {error}")),
    }
    if let Some(file) = systemd::says_container(Path::new("/")) {
        log::warning(format!("the image's init may take this machine for a container, as the image has {file}"));
    }
    if let Err(error) = adapt_fstab() {
        log::warning(format!("cannot look after /etc/fstab: {error}"));
    }
    if let Err(error) = console_name.map_or(Ok(()), |name| adapt_inittab(&name)) {
        log::warning(format!("cannot look after /etc/inittab: {error}"));
    }
    let env = systemd::environment(environment::compose(&process.env, hostname, "/root", Some("linux")));
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

/// Puts a table over the image's that waits for nothing that is not here, for this boot. Nobody can write to it: what
/// was changed there would be gone at the end.
fn adapt_fstab() -> io::Result<()> {
    const TABLE: &str = "/etc/fstab";
    let table = match std::fs::read(TABLE) {
        Ok(table) => table,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let Ok(table) = String::from_utf8(table) else { return Ok(()) };
    let told = if systemd::hears_of_no_device(Path::new("/")) { Told::Never } else { Told::InTime };
    // Most tables of images name no device: then none is looked at.
    let known = LazyCell::new(tags::known);
    match fstab::adapt(&table, told, |field| fstab::is_there(field, &known, Path::new("/dev"))) {
        Some(adapted) => use_table(TABLE, &adapted),
        None => Ok(()),
    }
}

fn use_table(place: &str, adapted: &Adapted) -> io::Result<()> {
    const NOTE: &str =
        "# This boot's copy: no line waits for a device that is not here. The disk's own is under this mount.\n";
    const MOUNTS: &str = "/run/fstab.mounts";
    let Adapted { text, later, unused, mounts, swaps } = adapted;
    if !mounts.is_empty() {
        std::fs::write(MOUNTS, mounts)?;
    }
    if !mounts.is_empty() || !swaps.is_empty() {
        systemd::mount_without_devices(Path::new("/"), (!mounts.is_empty()).then_some(MOUNTS), swaps)?;
    }
    put_over(place, "/run/fstab.bootdisk", &(NOTE.to_owned() + text))?;
    for (devices, what) in [(later, "not waited for"), (unused, "left out")] {
        if !devices.is_empty() {
            let text = format!("/etc/fstab names what is not in this machine; {what}: {}", devices.join(", "));
            log::note(Level::Warning, text);
        }
    }
    Ok(())
}

/// Gives the console a login where the image's table of an init has none, for this boot.
fn adapt_inittab(console: &str) -> io::Result<()> {
    const TABLE: &str = "/etc/inittab";
    const GETTY: [&str; 4] = ["/sbin/getty", "/sbin/agetty", "/usr/sbin/getty", "/usr/sbin/agetty"];
    let table = match std::fs::read_to_string(TABLE) {
        Ok(table) => table,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => return Ok(()),
        Err(error) => return Err(error),
    };
    let getty = GETTY.into_iter().find(|path| Path::new(path).exists());
    match inittab::adapt(&table, console, getty) {
        Some(adapted) => put_over(TABLE, "/run/inittab.bootdisk", &adapted),
        None => Ok(()),
    }
}

/// Puts a file over another, read-only, by a copy that has no name afterwards.
fn put_over(path: &str, copy: &str, text: &str) -> io::Result<()> {
    std::fs::write(copy, text)?;
    mount(Some(copy), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, path, None::<&str>, flags, None::<&str>)?;
    std::fs::remove_file(copy)
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
