//! What a workload leaves in the kernel beyond its processes and mounts: System V IPC and message queues. In a container
//! they go with its IPC namespace; the machine's is one for all of a workload's lives.
//!
//! Source: proc(5), /proc/sysvipc; mq_overview(7).

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;

/// Where the queues are looked at.
const QUEUES: &str = "/queues";

/// Removes all of it. A kernel without such things has none.
pub fn remove() {
    // SAFETY: removing by a number reads no memory of ours.
    of_kind("shm", |id| _ = unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) });
    // SAFETY: as above.
    of_kind("sem", |id| _ = unsafe { libc::semctl(id, 0, libc::IPC_RMID) });
    // SAFETY: as above.
    of_kind("msg", |id| _ = unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) });
    remove_queues();
}

fn of_kind(kind: &str, remove: impl Fn(i32)) {
    ids(&fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default()).for_each(remove);
}

/// The second column, below a line of titles.
fn ids(table: &str) -> impl Iterator<Item = i32> {
    table.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
}

fn remove_queues() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    _ = fs::create_dir(QUEUES);
    if mount(Some("mqueue"), QUEUES, Some("mqueue"), flags, None::<&str>).is_err() {
        return;
    }
    for entry in fs::read_dir(QUEUES).into_iter().flatten().flatten() {
        _ = fs::remove_file(entry.path());
    }
    _ = umount2(QUEUES, MntFlags::MNT_DETACH);
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn numbers_are_in_the_second_column() {
        let table = "       key      shmid perms                  size  cpid\n         0          3  1600               4096    77\n\
            -559038737      32769   666                  1     9\n";
        assert_eq!(ids(table).collect::<Vec<_>>(), [3, 32769]);
        assert_eq!(ids("").count(), 0);
    }
}
