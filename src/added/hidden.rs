//! What a boot hides of the layer: places where PID 1, or the image's own init, mounts something else.

use crate::escape::escape;
use crate::guest::spec::{Init, Process};
use crate::guest::surroundings::Surroundings;

/// A place that shows something else than the disk has there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    path: String,
    why: &'static str,
}

/// Everywhere.
const ALWAYS: [(&str, &str); 7] = [
    ("/proc", "the kernel's own is mounted there"),
    ("/sys", "the kernel's own is mounted there"),
    ("/dev", "the machine's devices are mounted there"),
    ("/etc/hosts", "every boot mounts its own there; see --add-host"),
    ("/etc/hostname", "every boot mounts its own there; see --hostname"),
    ("/etc/resolv.conf", "every boot mounts its own there; see --dns"),
    ("/etc/mtab", "every boot puts its own there"),
];

impl Cover {
    /// All of a disk that starts this process with these volumes and surroundings.
    pub fn all(
        init: Init,
        process: &Process,
        volumes: &[String],
        surroundings: &Surroundings,
        guest_modules: bool,
    ) -> Vec<Cover> {
        let cover = |path: &str, why| Cover { path: path.trim_end_matches('/').to_owned(), why };
        let always = ALWAYS.iter().map(|(path, why)| cover(path, why));
        let volume = "it is a volume of the image; one that is kept (--volumes keep) shows what it began with";
        let volumes = volumes.iter().map(|path| cover(path, volume));
        let tmpfs = surroundings.tmpfs.keys().map(|path| cover(path, "--tmpfs mounts an empty one there"));
        let is_image = init.settle(process) == Init::Image;
        let tmp = is_image.then(|| cover("/tmp", "the image's own init may mount an empty one there, or clear it"));
        let folders: &[&str] = if guest_modules { &["/lib/modules", "/usr/lib/modules"] } else { &[] };
        let modules = folders.iter().map(|path| cover(path, "--guest-modules all mounts the kernel's there"));
        always.chain(volumes).chain(tmpfs).chain(tmp).chain(modules).collect()
    }

    fn hides(&self, path: &[u8]) -> bool {
        let cover = self.path.as_bytes().strip_prefix(b"/").unwrap_or(self.path.as_bytes());
        path.strip_prefix(cover).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

/// A sentence for each place that hides some of these paths.
pub fn warnings<'a>(paths: impl Iterator<Item = &'a [u8]>, covers: &[Cover]) -> Vec<String> {
    let mut hidden: Vec<Option<(&[u8], usize)>> = vec![None; covers.len()];
    for path in paths {
        for (cover, found) in covers.iter().zip(&mut hidden) {
            if cover.hides(path) {
                let (_, count) = found.get_or_insert((path, 0));
                *count += 1;
            }
        }
    }
    let sentence = |(cover, found): (&Cover, Option<(&[u8], usize)>)| {
        let (first, count) = found?;
        let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
        let (first, place) = (escape(first), escape(cover.path.as_bytes()));
        let place = if place == format!("/{first}") { String::new() } else { format!(" in {place}") };
        Some(format!("the booted machine may not see /{first}{more}{place}: {}", cover.why))
    };
    covers.iter().zip(hidden).filter_map(sentence).collect()
}
