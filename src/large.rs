//! Buffers of many MiB, in large pages where the kernel has them.
//!
//! The first touch of each page of 4 KiB costs a fault, and a kernel image has thousands: without this they are the
//! largest part of what a small build costs. In pages of 2 MiB there are seven. What the kernel makes of the advice is
//! its own affair: the buffer is the same without.
//!
//! See madvise(2), `MADV_HUGEPAGE`, and the kernel's Documentation/admin-guide/mm/transhuge.rst.

/// Below this no large page fits.
const LEAST: usize = 2 << 20;
/// madvise(2) wants an address at the start of a page; more than any page of the kernel's own is right as well.
const PAGE: usize = 4096;

/// An empty buffer with room for `bytes`.
pub fn buffer(bytes: usize) -> Vec<u8> {
    let buffer = Vec::with_capacity(bytes);
    if bytes >= LEAST {
        advise(&buffer);
    }
    buffer
}

fn advise(buffer: &Vec<u8>) {
    let start = buffer.as_ptr().addr();
    let before = start % PAGE;
    // SAFETY: the range begins with the page that the buffer begins in and ends with the buffer, all of it mapped. The
    // advice changes no byte of it, and a kernel that cannot follow it says so and does nothing.
    unsafe {
        libc::madvise(
            buffer.as_ptr().cast_mut().wrapping_sub(before).cast(),
            before + buffer.capacity(),
            libc::MADV_HUGEPAGE,
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_any_size_takes_what_it_was_made_for_without_moving() {
        for bytes in [0, 1, LEAST - 1, LEAST, LEAST + 1, 5 * LEAST + 17] {
            let mut buffer = buffer(bytes);
            let at = buffer.as_ptr();
            buffer.resize(bytes, 7);
            assert!(buffer.iter().all(|&byte| byte == 7), "{bytes}");
            assert_eq!(buffer.as_ptr(), at, "{bytes}");
        }
    }
}
