//! `/etc/fstab` of another machine, under an init of the image's own: devices that are not here are not waited for
//! (fstab(5), systemd.mount(5), systemd.swap(5)).
//!
//! ```text
//!                        device here                device not here
//!  init told in time     as it stands               nofail: goes on, and takes the device when it comes; swap: left out
//!  init told never       by mount and swapon        left out
//! ```
//!
//! An image that was made from a machine's disk has the table of that machine. systemd would wait 90 seconds for each
//! device and then stop in its emergency shell. For swap it waits even with `nofail`, before it starts anything else. And
//! without udev no device ever comes for it, of those that are here neither: they are left to programs that need none.
//! The root is mounted by then, whoever tells of its device.

use std::path::Path;

/// Longest table that is looked at, in bytes.
const MAX: usize = 1 << 16;

/// How an init hears of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// As they come.
    InTime,
    /// Never.
    Never,
}

/// A table that can be used here.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Adapted {
    /// Its text.
    pub text: String,
    /// Devices that are not waited for and used once they come, by their first fields.
    pub later: Vec<String>,
    /// Devices that are left out.
    pub unused: Vec<String>,
    /// A table of the file systems here that the init would not mount.
    pub mounts: String,
    /// Swap here that the init would not use.
    pub swaps: Vec<String>,
}

/// Changes the lines that something would wait for in vain; `None` when there are none.
pub fn adapt(table: &str, told: Told, is_there: impl Fn(&str) -> bool) -> Option<Adapted> {
    if table.len() > MAX {
        return None;
    }
    let mut adapted = Adapted::default();
    for text in table.lines() {
        let kept = Line::parse(text).and_then(|line| adapted.take(&line, told, &is_there));
        adapted.text += kept.as_deref().unwrap_or(text);
        adapted.text.push('\n');
    }
    let Adapted { later, unused, mounts, swaps, .. } = &adapted;
    let changed = !(later.is_empty() && unused.is_empty() && mounts.is_empty() && swaps.is_empty());
    changed.then_some(adapted)
}

impl Adapted {
    /// What stands instead of a line, where something does.
    fn take(&mut self, line: &Line, told: Told, is_there: impl Fn(&str) -> bool) -> Option<String> {
        if !is_device(line.device) || line.has(&["noauto", "bind", "rbind"]) {
            return None;
        }
        let (here, device, text) = (is_there(line.device), line.device.to_owned(), line.text);
        let never = told == Told::Never && line.target != "/";
        match here {
            true if !never => None,
            true if line.is_swap() => {
                self.swaps.push(device);
                Some(format!("# by swapon: {text}"))
            }
            true => {
                // As systemd makes places that are not there.
                self.mounts += &(line.with("X-mount.mkdir") + "\n");
                Some(format!("# by mount: {text}"))
            }
            false if never || line.is_swap() => {
                self.unused.push(device);
                Some(format!("# not here: {text}"))
            }
            false if line.has(&["nofail"]) => None,
            false => {
                self.later.push(device);
                Some(line.with("nofail"))
            }
        }
    }
}

/// A line that mounts something.
struct Line<'a> {
    text: &'a str,
    device: &'a str,
    target: &'a str,
    kind: &'a str,
    options: &'a str,
    dump: &'a str,
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Line<'a>> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [device, target, kind, rest @ ..] = fields.as_slice() else { return None };
        let field = |at: usize, default| rest.get(at).copied().unwrap_or(default);
        let (options, dump) = (field(0, "defaults"), field(1, "0"));
        (!device.starts_with('#')).then_some(Line { text, device, target, kind, options, dump })
    }

    fn is_swap(&self) -> bool {
        self.kind == "swap"
    }

    fn has(&self, options: &[&str]) -> bool {
        self.options.split(',').any(|option| options.contains(&option))
    }

    /// With one more option, and without a check: nobody can make it.
    fn with(&self, option: &str) -> String {
        let Line { device, target, kind, options, dump, .. } = self;
        format!("{device} {target} {kind} {options},{option} {dump} 0")
    }
}

/// Whether the first field names a block device of the machine.
fn is_device(field: &str) -> bool {
    const TAGS: [&str; 4] = ["UUID=", "LABEL=", "PARTUUID=", "PARTLABEL="];
    TAGS.iter().any(|tag| field.starts_with(tag)) || (field.starts_with("/dev/") && field != "/dev/shm")
}

/// Whether a device of the table is in this machine: by its node below `dev`, or by one of the tags.
pub fn is_there(field: &str, known: &[String], dev: &Path) -> bool {
    let plain = field.replace('"', "").replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
    match plain.strip_prefix("/dev/") {
        Some(name) => {
            let tag = name.strip_prefix("disk/by-").and_then(|link| link.split_once('/'));
            match tag {
                Some((kind, value)) => is_known(&format!("{}={value}", kind.to_ascii_uppercase()), known),
                None => dev.join(name).exists(),
            }
        }
        None => is_known(&plain, known),
    }
}

fn is_known(tag: &str, known: &[String]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "UUID=0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

    fn adapted(table: &str) -> Option<Adapted> {
        let dev = tempfile::tempdir().unwrap();
        std::fs::write(dev.path().join("vda3"), "").unwrap();
        let known = [HERE.to_owned(), "LABEL=my disk".to_owned()];
        adapt(table, Told::InTime, |field| is_there(field, &known, dev.path()))
    }

    #[test]
    fn what_is_here_and_what_nobody_waits_for_stays() {
        for line in [
            "",
            "# UUID=dead / ext4 defaults 0 1",
            "UUID=0F1E2D3C-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 errors=remount-ro 0 1",
            "UUID=\"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\" / ext4 defaults 0 1",
            "/dev/disk/by-uuid/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0 / ext4 defaults 0 1",
            "/dev/vda3 / ext4",
            "tmpfs /tmp tmpfs defaults 0 0",
            "proc /proc proc defaults 0 0",
            "server:/export /mnt nfs defaults 0 0",
            "/srv /mnt none bind 0 0",
            "/dev/sdb1 /mnt ext4 noauto 0 0",
            "LABEL=data /data xfs defaults,nofail 0 2",
            "LABEL=my\\040disk /data xfs defaults 0 2",
            "/dev/sdb2 none swap sw,noauto 0 0",
            "/dev/vda3 none swap sw 0 0",
            "two fields",
        ] {
            assert_eq!(adapted(line), None, "{line}");
        }
        assert_eq!(adapted(&"UUID=dead / ext4 defaults 0 1\n".repeat(4000)), None);
    }

    #[test]
    fn what_is_not_here_is_not_waited_for() {
        let table = "# mine\nUUID=dead\t/\text4 errors=remount-ro 0 1\n/dev/sda2 none swap sw 0 0\n\
                     LABEL=data /data xfs\nPARTUUID=beef /boot/efi vfat umask=0077 0 1\ntmpfs /tmp tmpfs defaults 0 0\n";
        let adapted = adapted(table).unwrap();
        assert_eq!(adapted.later, ["UUID=dead", "LABEL=data", "PARTUUID=beef"]);
        assert_eq!(adapted.unused, ["/dev/sda2"]);
        let expected = "# mine\nUUID=dead / ext4 errors=remount-ro,nofail 0 0\n# not here: /dev/sda2 none swap sw 0 0\n\
                        LABEL=data /data xfs defaults,nofail 0 0\nPARTUUID=beef /boot/efi vfat umask=0077,nofail 0 0\n\
                        tmpfs /tmp tmpfs defaults 0 0\n";
        assert_eq!(adapted.text, expected);
        // Once more changes nothing.
        assert_eq!(adapt(&adapted.text, Told::InTime, |_| false), None);
    }

    #[test]
    fn swap_and_devices_that_nobody_tells_of_are_not_waited_for_with_nofail_either() {
        use Told::{InTime, Never};
        const OUT: Option<&str> = Some("# not here");
        const MOUNT: Option<&str> = Some("# by mount");
        for (line, told, there, becomes) in [
            ("/dev/sda2 none swap sw,nofail 0 0", InTime, false, OUT),
            ("/dev/sda2 none swap sw 0 0", InTime, true, None),
            ("/dev/sda2 none swap sw 0 0", Never, true, Some("# by swapon")),
            ("/dev/sda2 none swap sw 0 0", Never, false, OUT),
            ("LABEL=data /data xfs", Never, true, MOUNT),
            ("LABEL=data /data xfs nofail,x-systemd.automount", Never, true, MOUNT),
            ("LABEL=data /data xfs", Never, false, OUT),
            ("LABEL=data /data xfs nofail", Never, false, OUT),
            ("LABEL=data /data xfs noauto", Never, false, None),
            ("LABEL=root / ext4 defaults 0 1", Never, true, None),
            ("LABEL=root / ext4 nofail 0 1", Never, false, None),
            ("LABEL=root / ext4 defaults 0 1", Never, false, Some("LABEL=root / ext4 defaults,nofail 0 0")),
            ("/srv /mnt none bind 0 0", Never, true, None),
            ("tmpfs /srv tmpfs defaults 0 0", Never, false, None),
        ] {
            let adapted = adapt(line, told, |_| there);
            let text = becomes.map(|start| match start.starts_with('#') {
                true => format!("{start}: {line}\n"),
                false => format!("{start}\n"),
            });
            assert_eq!(adapted.as_ref().map(|adapted| &adapted.text), text.as_ref(), "{line}");
            let Adapted { mounts, swaps, .. } = adapted.unwrap_or_default();
            assert_eq!(mounts.ends_with(",X-mount.mkdir 0 0\n"), becomes == MOUNT, "{line}");
            assert_eq!(swaps.len(), usize::from(becomes == Some("# by swapon")), "{line}");
        }
    }
}
