//! All of the kernel's modules, where the userland and the kernel itself look for them.
//!
//! ```text
//!  partition "modules" ─▶ /modules of the initramfs ─┬─▶ /lib/modules/RELEASE of the userland (bind mount)
//!                                                    └─▶ requests of the kernel, answered by another start of ours
//! ```
//!
//! The kernel asks for a module (a protocol, a file system, a part of netfilter) by starting the program that
//! `kernel.modprobe` names, in the root of PID 1: the initramfs. There it is this program, so that no image needs a
//! modprobe for it. An image's own init takes PID 1's place and its root; the kernel starts the image's modprobe then.
//!
//! A request loads every module that the name is, or is an alias of, after what each depends on (modules.dep(5),
//! modprobe.d(5) "softdep"). Not supported: the image's modprobe.d, with its options and blacklists.

use super::folders::make_folders;
use super::modules::insert_file;
use super::{log, partition};
use crate::fnmatch;
use crate::guest::spec::GuestModules;
use nix::mount::{MsFlags, mount};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Where the partition is mounted in the initramfs.
const PLACE: &str = "/modules";
/// Nothing in it is a device or a program.
const FLAGS: MsFlags = MsFlags::MS_RDONLY.union(MsFlags::MS_NOSUID).union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);
/// This program in the initramfs.
const SELF: &str = "/init";
/// Which program the kernel starts for a module.
const SETTING: &str = "/proc/sys/kernel/modprobe";

/// Mounts the partition of the root's disk in the initramfs. Returns whether it is there; without it the machine has the
/// modules it booted with.
pub fn mount_partition(wanted: &GuestModules, disk: &str) -> bool {
    let mounted = (|| {
        let mut found = partition::find(&wanted.partuuid).found.into_iter();
        let device = found.find(|found| found.disk == disk).ok_or(io::ErrorKind::NotFound)?.node;
        fs::create_dir_all(PLACE)?;
        // Nobody ever writes to it, so there is no journal to replay.
        mount(Some(&device), PLACE, Some(wanted.fstype.as_str()), FLAGS, Some("noload"))?;
        Ok::<(), io::Error>(())
    })();
    if let Err(error) = &mounted {
        log::warning(format!("cannot mount the partition of kernel modules {}: {error}", wanted.partuuid));
    }
    mounted.is_ok()
}

/// Has the kernel find this program where it looks for modprobe. The setting stays: iptables reads it, and starts what
/// the image has there.
pub fn answer_requests() {
    let linked = fs::read_to_string(SETTING).and_then(|setting| {
        let place = Path::new(setting.trim_end());
        fs::create_dir_all(place.parent().unwrap_or(Path::new("/")))?;
        symlink(SELF, place)
    });
    if let Err(error) = linked {
        log::warning(format!("the kernel will not load modules by itself: {error}"));
    }
}

/// The modules' folder, opened in the initramfs: once the root has changed it has no name any more.
pub struct Opened(File);

impl Opened {
    /// Opens what [`mount_partition`] mounted.
    pub fn open() -> io::Result<Opened> {
        File::open(PLACE).map(Opened)
    }

    /// Mounts it in the root, which is the caller's by now.
    pub fn mount(&self, release: &str) {
        let target = Path::new("/lib/modules").join(release);
        let source = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let mounted = make_folders(&target).and_then(|()| {
            mount(Some(source.as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            Ok(())
        });
        if let Err(error) = mounted {
            log::warning(format!("cannot provide {}: {error}", target.display()));
        }
    }
}

/// What the kernel starts this program with: `-q -- NAME`.
pub fn requested() -> Option<String> {
    let words: Vec<_> = std::env::args_os().collect();
    match words.as_slice() {
        [_, quiet, end, name] if quiet == "-q" && end == "--" && std::process::id() != 1 => {
            name.to_str().map(Into::into)
        }
        _ => None,
    }
}

/// Answers a request. Returns whether all that was asked for is loaded.
pub fn answer(name: &str) -> bool {
    let read = |file: &str| fs::read_to_string(Path::new(PLACE).join(file)).unwrap_or_default();
    let lists = Lists { dep: &read("modules.dep"), alias: &read("modules.alias"), softdep: &read("modules.softdep") };
    let mut order = Vec::new();
    lists.resolve(name, &mut BTreeSet::new(), &mut order);
    // A module that this machine has no hardware for may refuse; those after it may do.
    let failed = order.iter().filter(|path| insert_file(&Path::new(PLACE).join(path)).is_err()).count();
    !order.is_empty() && failed < order.len()
}

/// The texts of depmod's lists.
struct Lists<'a> {
    dep: &'a str,
    alias: &'a str,
    softdep: &'a str,
}

impl<'a> Lists<'a> {
    /// Adds the files of all modules that `name` means, each after what it needs.
    fn resolve(&self, name: &str, seen: &mut BTreeSet<String>, order: &mut Vec<&'a str>) {
        // Soft dependencies may be names of names; each is looked at once, which also ends rings.
        let mut waiting = vec![(normal(name), false)];
        while let Some((name, ready)) = waiting.pop() {
            if ready {
                self.add(&name, order);
                continue;
            }
            if !seen.insert(name.clone()) {
                continue;
            }
            if self.line(&name).is_none() {
                waiting.extend(self.aliased(&name).into_iter().rev().map(|module| (module, false)));
                continue;
            }
            let (pre, post) = self.soft(&name);
            waiting.extend(post.into_iter().rev().map(|name| (name, false)));
            waiting.push((name, true));
            waiting.extend(pre.into_iter().rev().map(|name| (name, false)));
        }
    }

    /// The modules that have the name as an alias.
    fn aliased(&self, name: &str) -> Vec<String> {
        let aliases = self.alias.lines().filter_map(|line| line.strip_prefix("alias ")?.rsplit_once(' '));
        let means = |pattern: &str| fnmatch::matches(normal_pattern(pattern).as_bytes(), name.as_bytes());
        aliases.filter(|(pattern, _)| means(pattern)).map(|(_, module)| module.to_owned()).collect()
    }

    /// A module's line: its file, and the files it needs.
    fn line(&self, module: &str) -> Option<(&'a str, &'a str)> {
        let of = |path: &str| path.rsplit('/').next().and_then(|file| file.split('.').next()).map(normal);
        self.dep.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| of(path).as_deref() == Some(module))
    }

    /// What should be loaded before a module, and after it.
    fn soft(&self, module: &str) -> (Vec<String>, Vec<String>) {
        let (mut pre, mut post) = (Vec::new(), Vec::new());
        let lines = self.softdep.lines().filter_map(|line| line.strip_prefix("softdep ")?.split_once(' '));
        for (_, words) in lines.filter(|(name, _)| normal(name) == module) {
            let mut into: Option<&mut Vec<String>> = None;
            for word in words.split_ascii_whitespace() {
                match (word, &mut into) {
                    ("pre:", _) => into = Some(&mut pre),
                    ("post:", _) => into = Some(&mut post),
                    (name, Some(list)) => list.push(normal(name)),
                    _ => {}
                }
            }
        }
        (pre, post)
    }

    fn add(&self, module: &str, order: &mut Vec<&'a str>) {
        let Some((path, needed)) = self.line(module) else { return };
        for path in needed.split_ascii_whitespace().rev().chain([path]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// As a name, but for the ranges in brackets.
fn normal_pattern(pattern: &str) -> String {
    let mut inside = false;
    let normal = |letter: char| {
        inside = letter == '[' || (inside && letter != ']');
        if letter == '-' && !inside { '_' } else { letter }
    };
    pattern.chars().map(normal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: Lists<'static> = Lists {
        dep: "kernel/a-x.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\nkernel/d.ko:\nkernel/e.ko:\n",
        alias: "# Comment\nalias net-pf-10 a_x\nalias pci:v[0-9]* d\nalias pci:* e\nalias crypto-c c\nalias block-major-[4-5]3-* b\n",
        softdep: "softdep d pre: crypto-c e post: b\nsoftdep e pre: d\n",
    };

    fn asked(name: &str) -> Vec<&'static str> {
        let mut order = Vec::new();
        LISTS.resolve(name, &mut BTreeSet::new(), &mut order);
        order
    }

    #[test]
    fn what_a_module_needs_comes_before_it() {
        for name in ["a-x", "a_x", "net-pf-10", "net_pf_10"] {
            assert_eq!(asked(name), ["kernel/c.ko", "kernel/b.ko", "kernel/a-x.ko"], "{name}");
        }
        assert_eq!(asked("block-major-43-0"), ["kernel/c.ko", "kernel/b.ko"]);
        assert_eq!(asked("nothing"), [""; 0]);
    }

    #[test]
    fn soft_dependencies_are_asked_for_and_rings_of_them_end() {
        assert_eq!(asked("d"), ["kernel/c.ko", "kernel/e.ko", "kernel/d.ko", "kernel/b.ko"]);
        assert_eq!(asked("pci:v5"), asked("d"), "both, of which one wants the other before it");
    }
}
