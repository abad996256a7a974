//! What this process is called in lists of processes.
//!
//! ```text
//!  arg_start        arg_end = env_start          env_end
//!  /init\0          HOME=/\0TERM=linux\0               as the kernel starts PID 1
//!  @bootd           isk\0                               afterwards
//! ```
//!
//! The kernel reads on behind the arguments where their last byte is not zero: they are a title then (fs/proc/base.c).
//! Nobody looks at the environment that was there: what is started gets one of its own.

use std::fs;

/// Where the title can be, and how much of it is that of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    start: usize,
    arguments: usize,
    all: usize,
}

/// Calls this process so, in the short name and in place of its arguments.
pub fn set(name: &str) {
    if let Ok(short) = std::ffi::CString::new(name) {
        // SAFETY: the kernel copies at most 16 bytes of a string that ends.
        _ = unsafe { libc::prctl(libc::PR_SET_NAME, short.as_ptr()) };
    }
    let Some(room) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| room(&stat)) else { return };
    let title = fill(name.as_bytes(), room);
    let start = std::ptr::with_exposed_provenance_mut::<u8>(room.start);
    // SAFETY: the kernel put arguments and environment of this process there, writable and at least so long, and nothing
    // here holds on to them.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), start, title.len()) };
}

/// Fields 48 to 51 of proc_pid_stat(5), counted from behind the name.
fn room(stat: &str) -> Option<Room> {
    let fields = stat.rsplit_once(')')?.1;
    let mut places = fields.split_ascii_whitespace().skip(45).map(str::parse);
    let mut next = || places.next()?.ok();
    let (start, end, env_start, env_end): (usize, usize, usize, usize) = (next()?, next()?, next()?, next()?);
    let arguments = end.checked_sub(start).filter(|_| start != 0)?;
    let environment = if env_start == end { env_end.saturating_sub(env_start) } else { 0 };
    Some(Room { start, arguments, all: arguments + environment })
}

/// The title's bytes: what is left of the arguments is zero.
fn fill(name: &[u8], room: Room) -> Vec<u8> {
    let mut title = name[..name.len().min(room.all.saturating_sub(1))].to_vec();
    title.resize((title.len() + 1).max(room.arguments).min(room.all), 0);
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(places: &str) -> String {
        let before = ["0"; 44].join(" ");
        format!("57 (a) b) S {before} {places} 0\n")
    }

    #[test]
    fn the_title_goes_where_the_arguments_are_and_no_further_than_the_environment() {
        let at = |arguments, all| Some(Room { start: 4096, arguments, all });
        for (places, expected) in [
            ("4096 4102 4102 4121", at(6, 25)),
            ("4096 4102 5000 5100", at(6, 6)),
            ("4096 4102 4102 4102", at(6, 6)),
            ("0 0 0 0", None),
            ("4102 4096 4096 4100", None),
            ("4096 4102", None),
            ("4096 x 1 2", None),
        ] {
            assert_eq!(room(&stat(places)), expected, "{places}");
        }
        assert_eq!(room("57 (cut"), None);
        assert!(room(&fs::read_to_string("/proc/self/stat").unwrap()).is_some_and(|room| room.arguments > 0));
    }

    #[test]
    fn a_title_ends_and_leaves_nothing_of_the_arguments() {
        for (arguments, all, title) in [
            (6, 25, &b"@disk\0"[..]),
            (3, 25, b"@disk\0"),
            (9, 25, b"@disk\0\0\0\0"),
            (4, 4, b"@di\0"),
            (1, 1, b"\0"),
            (0, 0, b""),
        ] {
            assert_eq!(fill(b"@disk", Room { start: 1, arguments, all }), title, "{arguments} {all}");
        }
    }
}
