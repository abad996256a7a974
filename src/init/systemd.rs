//! What systemd is told before it is process 1: that this is a machine, and that the console's login waits for nobody.
//!
//! ```text
//!  container                           not in the environment: it would say that this is a container (src/basic/virt.c)
//!  /run/systemd/system/*.service       over the distribution's units, under the administrator's in /etc (systemd.unit(5))
//!  /run/systemd/system-generators/*    no mounts for partitions, where nobody tells of their devices
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

/// systemd's own files, one of which every installation has.
const PLACES: [&str; 2] = ["usr/lib/systemd/systemd", "lib/systemd/systemd"];
/// The device manager, without which no `.device` unit ever comes up.
const UDEV: [&str; 4] =
    ["usr/lib/systemd/systemd-udevd", "lib/systemd/systemd-udevd", "usr/bin/udevadm", "usr/sbin/udevd"];
/// A program of systemd's that adds mounts for the partitions it finds, by their devices: masked by a link to nothing
/// (systemd.generator(7)).
const GENERATOR: &str = "run/systemd/system-generators/systemd-gpt-auto-generator";
/// The login manager, which listens to the button, and what it does not run without.
const LOGIND: [&str; 2] = ["usr/lib/systemd/systemd-logind", "lib/systemd/systemd-logind"];
const BUS: [&str; 3] = ["usr/bin/dbus-daemon", "usr/bin/dbus-broker", "bin/dbus-daemon"];
/// Units in memory.
const UNITS: &str = "run/systemd/system";
/// The login on a serial console.
const GETTY: &str = "serial-getty@.service";

/// A login that needs no `.device` unit. Otherwise as systemd's own: a terminal of the name behind the `@`, reset and
/// started again whenever it ends.
const LOGIN: &str = "\
# Made at boot, as this system has no udev: systemd's own unit would wait for a device that it never hears of.
[Unit]
Description=Serial login on %I
Documentation=man:agetty(8)
After=systemd-user-sessions.service plymouth-quit-wait.service
After=rc-local.service
Before=getty.target
IgnoreOnIsolate=yes
Conflicts=rescue.service
Before=rescue.service

[Service]
ExecStart=-/sbin/agetty --keep-baud 115200,57600,38400,9600 - $TERM
Type=idle
Restart=always
RestartSec=0
UtmpIdentifier=%I
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/%I
TTYReset=yes
TTYVHangup=yes
KillMode=process
SendSIGHUP=yes

[Install]
WantedBy=getty.target
";

/// A service that mounts what systemd would wait for. File systems are not checked: the kernel replays their journals.
const MOUNTS: &str = "bootdisk-fstab.service";
const MOUNTS_UNIT: &str = "\
# Made at boot, as this system has no udev: mount units would wait for devices that systemd never hears of.
[Unit]
Description=File systems and swap of /etc/fstab, without udev
DefaultDependencies=no
After=systemd-remount-fs.service
Before=local-fs.target swap.target

[Service]
Type=oneshot
";

/// Whether systemd below `root` is told of no device, ever.
pub fn hears_of_no_device(root: &Path) -> bool {
    let has = |places: &[&str]| places.iter().any(|place| root.join(place).exists());
    has(&PLACES) && !has(&UDEV)
}

/// Has what systemd below `root` would wait for mounted and swapped to by programs: a table of file systems, by its
/// path, and the first fields of lines for swap.
pub fn mount_without_devices(root: &Path, table: Option<&str>, swaps: &[String]) -> io::Result<()> {
    let mount = table.map(|table| format!("ExecStart=/bin/mount -a -T {table}\n"));
    // Each with a dash, so that one that fails leaves the next its turn.
    let swaps = swaps.iter().map(|swap| format!("ExecStart=-/sbin/swapon {}\n", word(swap)));
    let commands: String = swaps.chain(mount).collect();
    let units = root.join(UNITS);
    let wants = units.join("local-fs.target.wants");
    fs::create_dir_all(&wants)?;
    fs::write(units.join(MOUNTS), MOUNTS_UNIT.to_owned() + &commands)?;
    symlink(Path::new("..").join(MOUNTS), wants.join(MOUNTS))
}

/// A word of a unit's command line (systemd.service(5), "Command lines").
fn word(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{escaped}\"")
}

/// Writes what systemd needs below `root`, whose `/run` is in memory. True when there was something to write.
pub fn prepare(root: &Path) -> io::Result<bool> {
    if !hears_of_no_device(root) {
        return Ok(false);
    }
    let generator = root.join(GENERATOR);
    fs::create_dir_all(generator.parent().unwrap_or(root))?;
    symlink("/dev/null", generator)?;
    let units = root.join(UNITS);
    fs::create_dir_all(&units)?;
    fs::write(units.join(GETTY), LOGIN)?;
    Ok(true)
}

/// Whether an init below `root` hears no power button and understands Ctrl-Alt-Del: systemd, whose login manager is told
/// of buttons by udev alone and asked by D-Bus alone, and inits with a table, which need a program for it.
pub fn hears_no_button(root: &Path) -> bool {
    const LISTENERS: [&str; 4] = ["usr/sbin/acpid", "sbin/acpid", "usr/lib/elogind/elogind", "lib/elogind/elogind"];
    let has = |places: &[&str]| places.iter().any(|place| root.join(place).exists());
    let table = fs::read_to_string(root.join("etc/inittab")).unwrap_or_default();
    match has(&PLACES) {
        true => ![&UDEV[..], &LOGIND, &BUS].iter().all(|places| has(places)),
        false => super::inittab::understands_keys(&table) && !has(&LISTENERS),
    }
}

/// The environment of an init: nothing in it says that it is in a container.
pub fn environment(mut entries: Vec<String>) -> Vec<String> {
    entries.retain(|entry| entry.split('=').next() != Some("container"));
    entries
}

/// A file below `root` by which an init takes this machine for a container; podman's, in memory, is removed.
pub fn says_container(root: &Path) -> Option<&'static str> {
    _ = fs::remove_file(root.join("run/.containerenv"));
    root.join(".dockerenv").exists().then_some("/.dockerenv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_waits_for_a_device_only_where_somebody_tells_of_devices() {
        for (files, written) in [
            (&["lib/systemd/systemd"][..], true),
            (&["usr/lib/systemd/systemd", "usr/lib/systemd/systemd-udevd"], false),
            (&["lib/systemd/systemd", "usr/bin/udevadm"], false),
            (&["sbin/openrc-init"], false),
        ] {
            let root = tempfile::tempdir().unwrap();
            for file in files {
                fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
                fs::write(root.path().join(file), "").unwrap();
            }
            assert_eq!(prepare(root.path()).unwrap(), written, "{files:?}");
            assert_eq!(root.path().join(UNITS).join(GETTY).exists(), written, "{files:?}");
            let masked = fs::read_link(root.path().join(GENERATOR)).is_ok_and(|to| to == Path::new("/dev/null"));
            assert_eq!(masked, written, "{files:?}");
        }
    }

    #[test]
    fn devices_that_are_here_are_named_to_a_service_as_they_stand() {
        let root = tempfile::tempdir().unwrap();
        let swaps = ["/dev/vdb2", r#"LABEL=50%\x $HOME""#].map(str::to_owned);
        mount_without_devices(root.path(), Some("/run/table"), &swaps).unwrap();
        let wanted = root.path().join(UNITS).join("local-fs.target.wants").join(MOUNTS);
        let unit = fs::read_to_string(wanted).unwrap();
        let commands = "ExecStart=-/sbin/swapon \"/dev/vdb2\"\n\
                        ExecStart=-/sbin/swapon \"LABEL=50%%\\\\x $$HOME\\\"\"\n\
                        ExecStart=/bin/mount -a -T /run/table\n";
        assert!(unit.starts_with("# Made at boot") && unit.ends_with(commands), "{unit}");
    }

    #[test]
    fn an_init_that_nobody_tells_of_buttons_is_known() {
        const TABLE: (&str, &str) = ("etc/inittab", "ca:12345:ctrlaltdel:/sbin/shutdown -r now\n");
        const SYSTEMD: (&str, &str) = ("lib/systemd/systemd", "");
        const UDEV: (&str, &str) = ("usr/bin/udevadm", "");
        for (files, deaf) in [
            (&[SYSTEMD][..], true),
            (&[SYSTEMD, UDEV], true),
            (&[SYSTEMD, UDEV, ("lib/systemd/systemd-logind", "")], true),
            (&[SYSTEMD, ("lib/systemd/systemd-logind", ""), ("usr/bin/dbus-daemon", "")], true),
            (&[SYSTEMD, UDEV, ("lib/systemd/systemd-logind", ""), ("usr/bin/dbus-daemon", "")], false),
            (&[TABLE], true),
            (&[TABLE, ("usr/sbin/acpid", "")], false),
            (&[("etc/inittab", "::respawn:/bin/sh\n")], false),
            (&[], false),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (file, text) in files {
                fs::create_dir_all(root.path().join(file).parent().unwrap()).unwrap();
                fs::write(root.path().join(file), text).unwrap();
            }
            assert_eq!(hears_no_button(root.path()), deaf, "{files:?}");
        }
    }

    #[test]
    fn files_that_say_container_are_told_of_or_gone() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("run")).unwrap();
        fs::write(root.path().join("run/.containerenv"), "").unwrap();
        assert_eq!(says_container(root.path()), None);
        assert!(!root.path().join("run/.containerenv").exists());
        fs::write(root.path().join(".dockerenv"), "").unwrap();
        assert_eq!(says_container(root.path()), Some("/.dockerenv"));
    }

    #[test]
    fn no_variable_says_container() {
        let before = ["A=1", "container=podman", "containers=2", "container"].map(str::to_owned);
        assert_eq!(environment(before.to_vec()), ["A=1", "containers=2"]);
    }
}
