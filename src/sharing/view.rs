//! A daemon's own view of the host's files, where the daemon itself cannot hold to what is meant.
//!
//! ```text
//!  a mount namespace of its own (and a user namespace, for who is not root)
//!    /tmp         the folder, or a tmpfs with nothing in it but
//!    /tmp/FILE    the one file
//!    read-only, with all that is mounted below it, if that is wanted
//! ```
//!
//! The kernel keeps it, whatever the daemon does: a file that is shared leads to no other file, and what is read-only
//! cannot be written from the guest. It goes with the daemon, and nothing of it is ever seen outside.
//!
//! Source: mount_namespaces(7), user_namespaces(7), mount_setattr(2).

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Every host has it, and no daemon needs it.
pub const PLACE: &str = "/tmp";
const PLACE_C: &CStr = c"/tmp";

/// MOUNT_ATTR_RDONLY (linux/mount.h).
const RDONLY: u64 = 1;

/// `struct mount_attr` (linux/mount.h).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

/// Made before the fork; [`View::take`] is for the child.
pub struct View {
    source: CString,
    /// Where a single file goes.
    file: Option<CString>,
    read_only: bool,
    /// What becomes root in a user namespace: lines of uid_map and gid_map.
    maps: Option<[String; 2]>,
}

impl View {
    /// Of a folder, or of a file that is then called `name`.
    pub fn of(source: &Path, name: Option<&str>, read_only: bool) -> io::Result<View> {
        let place = |name: &str| CString::new(format!("{PLACE}/{name}"));
        let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
        Ok(View {
            source: CString::new(source.as_os_str().as_bytes())?,
            file: name.map(place).transpose()?,
            read_only,
            maps: (!user.is_root()).then(|| [format!("0 {user} 1"), format!("0 {group} 1")]),
        })
    }

    /// Between fork and exec: only system calls, nothing allocates.
    pub fn take(&self) -> io::Result<()> {
        let user = if self.maps.is_some() { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
        unshare(CloneFlags::CLONE_NEWNS | user)?;
        if let Some([users, groups]) = &self.maps {
            write(c"/proc/self/uid_map", users)?;
            write(c"/proc/self/setgroups", "deny")?;
            write(c"/proc/self/gid_map", groups)?;
        }
        mount(None::<&CStr>, c"/", None::<&CStr>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&CStr>)?;
        // Before anything is mounted over it.
        let source = open(self.source.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        match &self.file {
            None => bind(&source, PLACE_C)?,
            Some(file) => {
                mount(Some(c"tmpfs"), PLACE_C, Some(c"tmpfs"), MsFlags::empty(), Some(c"mode=0755,size=4k"))?;
                let made = open(file.as_c_str(), OFlag::O_CREAT | OFlag::O_CLOEXEC, Mode::S_IRUSR | Mode::S_IWUSR)?;
                drop(made);
                // Before the file is mounted in it, which may be written to.
                protect(PLACE_C)?;
                bind(&source, file)?;
            }
        }
        match (self.read_only, &self.file) {
            (false, _) => Ok(()),
            (true, None) => protect(PLACE_C),
            (true, Some(file)) => protect(file),
        }
    }
}

/// Mounts what a descriptor is of, by the name that it has in /proc, written without an allocation.
fn bind(source: &OwnedFd, at: &CStr) -> io::Result<()> {
    let mut name = [0u8; 32];
    // The last byte stays its end.
    let mut text = &mut name[..31];
    write!(text, "/proc/self/fd/{}", source.as_raw_fd())?;
    let name = CStr::from_bytes_until_nul(&name).map_err(|_| io::ErrorKind::InvalidInput)?;
    mount(Some(name), at, None::<&CStr>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&CStr>)?;
    Ok(())
}

/// Makes a mount and all below it read-only. It keeps what it has besides, which a user namespace may not change.
fn protect(at: &CStr) -> io::Result<()> {
    let attr = MountAttr { set: RDONLY, clear: 0, propagation: 0, namespace: 0 };
    let (here, size) = (libc::AT_FDCWD, size_of::<MountAttr>());
    // SAFETY: the kernel reads a text with its end and a structure of this size, which live during the call.
    let done =
        unsafe { libc::syscall(libc::SYS_mount_setattr, here, at.as_ptr(), libc::AT_RECURSIVE, &raw const attr, size) };
    Errno::result(done)?;
    Ok(())
}

fn write(path: &CStr, text: &str) -> io::Result<()> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(text.as_bytes())
}
