//! Namespaces of the workload, kept open by PID 1 so that further processes can join them.

use super::log;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;

/// Whether the next child begins a PID namespace.
#[derive(Debug)]
pub enum NewPids {
    /// It will be process 1 of its own; the file is PID 1's own namespace, to come back to.
    Own(File),
    /// The kernel has none: the child is a plain one.
    Shared,
}

/// Arranges that the next child is process 1 of a new PID namespace, as in a container.
pub fn begin_pids() -> NewPids {
    let begun = File::open("/proc/self/ns/pid")
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
        .and_then(|own| unshare(CloneFlags::CLONE_NEWPID).map(|()| own));
    match begun {
        Ok(own) => NewPids::Own(own),
        Err(errno) => {
            log::warning(format!(
                "this kernel has no PID namespaces ({}); the workload is not process 1",
                errno.desc()
            ));
            NewPids::Shared
        }
    }
}

impl NewPids {
    /// Further children of PID 1 are in its own namespace again.
    pub fn end(&self) {
        if let NewPids::Own(own) = self
            && let Err(errno) = setns(own, CloneFlags::CLONE_NEWPID)
        {
            log::warning(format!("cannot return to PID 1's own namespace: {}", errno.desc()));
        }
    }

    /// Whether there is one.
    pub fn is_own(&self) -> bool {
        matches!(self, NewPids::Own(_))
    }
}

/// What a further process joins.
pub struct Workload {
    pids: Option<File>,
    mounts: Option<File>,
    cgroup: Option<File>,
}

impl Workload {
    /// The namespaces of a workload that has become its program.
    pub fn of(pid: i32, own_pids: bool) -> Workload {
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).ok();
        Workload { pids: if own_pids { open("pid") } else { None }, mounts: open("mnt"), cgroup: open("cgroup") }
    }

    /// Arranges that the next child is in the workload's PID namespace. [`NewPids::end`] comes after the fork.
    pub fn join_pids(&self) -> nix::Result<NewPids> {
        let Some(pids) = &self.pids else { return Ok(NewPids::Shared) };
        let own = File::open("/proc/self/ns/pid").map_err(|_| Errno::ENOENT)?;
        setns(pids, CloneFlags::CLONE_NEWPID)?;
        Ok(NewPids::Own(own))
    }

    /// In the child: the workload's mounts and its view of the cgroups. The root becomes the workload's root.
    pub fn join_rest(&self) -> nix::Result<()> {
        if let Some(cgroup) = &self.cgroup {
            setns(cgroup, CloneFlags::CLONE_NEWCGROUP)?;
        }
        match &self.mounts {
            Some(mounts) => setns(mounts, CloneFlags::CLONE_NEWNS),
            None => Err(Errno::ENOENT),
        }
    }
}
