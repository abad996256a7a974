//! File systems in memory that stand in for a disk: as many bytes as the kernel's default, half of the memory, and four
//! times its number of files, which are the first to run out.
//!
//! Attributes in the `user` name space and O_DIRECT are there on kernels from 6.6 on, without being asked for.
//!
//! Source: the kernel's Documentation/filesystems/tmpfs.rst.

use std::fs;

/// One file for so much of the memory: with its name it takes a good half of that.
const BYTES_PER_FILE: u64 = 2048;

/// What mount(2) takes for one whose folder has this mode.
pub fn options(mode: u32) -> String {
    of_memory(mode, &fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn of_memory(mode: u32, meminfo: &str) -> String {
    match memory(meminfo) {
        Some(bytes) => format!("mode={mode:04o},nr_inodes={}", bytes / BYTES_PER_FILE),
        None => format!("mode={mode:04o}"),
    }
}

/// Bytes of all memory (proc(5)).
fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().filter(|kib| *kib > 0)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_as_many_as_the_memory_has_room_for() {
        for (meminfo, options) in [
            ("MemTotal:         222280 kB\nMemFree: 1 kB\n", "mode=0755,nr_inodes=111140"),
            ("MemFree: 1 kB\nMemTotal: 1048576 kB", "mode=0755,nr_inodes=524288"),
            // 0 would be no limit at all.
            ("MemTotal: 0 kB", "mode=0755"),
            ("MemTotal: 99999999999999999999 kB", "mode=0755"),
            ("", "mode=0755"),
        ] {
            assert_eq!(of_memory(0o755, meminfo), options, "{meminfo:?}");
        }
    }
}
