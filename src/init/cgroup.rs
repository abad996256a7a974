//! The workload's control group: what it does with memory, and whether the kernel killed in it for lack of memory.
//!
//! Best effort: a kernel without cgroup2 gives a warning and nothing else.

use super::log;
use nix::mount::{MsFlags, mount};
use std::fs;
use std::path::Path;

const HIERARCHY: &str = "/sys/fs/cgroup";
const GROUP: &str = "/sys/fs/cgroup/workload";

/// Mounts cgroup2 in the initramfs, and makes the group with every controller the kernel has.
pub fn create() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if let Err(errno) = mount(Some("cgroup2"), HIERARCHY, Some("cgroup2"), flags, None::<&str>) {
        return log::warning(format!("this kernel has no cgroup2: {}", errno.desc()));
    }
    let controllers = fs::read_to_string(format!("{HIERARCHY}/cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        _ = fs::write(format!("{HIERARCHY}/cgroup.subtree_control"), format!("+{controller}"));
    }
    make();
}

fn make() {
    if let Err(error) = fs::create_dir(GROUP) {
        log::warning(format!("cannot make the workload's control group: {error}"));
    }
}

/// The group anew, for a workload that starts again: nothing is counted in it, and none of the limits set that the one
/// before has set. Nobody may be left in it.
pub fn renew() {
    if fs::exists(GROUP).unwrap_or(false) {
        remove(Path::new(GROUP));
        make();
    }
}

/// A group goes when those in it have gone.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    _ = fs::remove_dir(group);
}

/// In a child, before it leaves the initramfs: joins the group.
pub fn join() {
    _ = fs::write(format!("{GROUP}/cgroup.procs"), "0");
}

/// How many processes of the group the kernel has killed for lack of memory.
pub fn oom_kills() -> u64 {
    // Of the group and all groups in it (cgroup v2, "memory.events").
    fs::read_to_string(format!("{GROUP}/memory.events")).map_or(0, |events| count_in(&events))
}

fn count_in(events: &str) -> u64 {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::count_in;

    #[test]
    fn kills_are_counted_and_not_confused_with_other_events() {
        assert_eq!(count_in("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n"), 3);
        assert_eq!(count_in(""), 0);
    }
}
