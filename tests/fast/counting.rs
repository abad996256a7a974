//! Memory as the allocator hands it out, counted. It is the whole program's, so whoever counts runs apart.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// The system's allocator, and a count of its bytes once somebody asks for one.
struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
/// Below zero when more was given back than handed out since.
static NOW: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

fn add(bytes: usize) {
    if ON.load(Relaxed) {
        let bytes = bytes as isize;
        PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
    }
}

fn take(bytes: usize) {
    if ON.load(Relaxed) {
        NOW.fetch_sub(bytes as isize, Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there for a moment.
        add(size);
        take(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        take(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and returns its result, the bytes it left allocated and the most it had at once.
pub fn counted<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    ON.store(true, Relaxed);
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = work();
    let since = |count: &AtomicIsize| usize::try_from(count.load(Relaxed) - before).unwrap_or(0);
    (result, since(&NOW), since(&PEAK))
}
