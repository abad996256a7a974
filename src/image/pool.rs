//! Buffers that go round: a fixed number of them bounds what a stream may read ahead.
//!
//! A filled buffer is shared by whoever reads it (the hash thread, the layer's reader); the last of them to let go
//! gives it back by dropping it.
//!
//! ```text
//!  │ history │ CHUNK bytes: filled, then free │ margin │
//! ```
//!
//! Before and behind its bytes a buffer has the room that [`inflate`](crate::image::inflate) asks for.

use crate::image::inflate::{HISTORY, MARGIN, Target};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// Bytes of one buffer. A match that begins within them may end a little behind.
pub const CHUNK: usize = 256 << 10;
/// What a buffer takes, its margins included.
pub const CHUNK_WHOLE: usize = HISTORY + CHUNK + MARGIN;

/// A set of at most `limit` buffers.
pub struct Pool {
    state: Mutex<State>,
    returned: Condvar,
    limit: usize,
}

struct State {
    free: Vec<Box<[u8]>>,
    made: usize,
    waiting: usize,
    closed: bool,
}

impl Pool {
    /// A pool that makes buffers as they are needed, at most `limit`.
    pub fn new(limit: usize) -> Arc<Pool> {
        let state = State { free: Vec::new(), made: 0, waiting: 0, closed: false };
        Arc::new(Pool { state: Mutex::new(state), returned: Condvar::new(), limit })
    }

    /// An empty buffer, waiting for one if all are in use; `None` once the pool is closed.
    pub fn take(self: &Arc<Pool>) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(bytes) = state.free.pop() {
                return Some(Chunk { bytes, filled: 0, pool: Arc::clone(self) });
            }
            if state.made < self.limit {
                state.made += 1;
                drop(state);
                return Some(Chunk { bytes: vec![0; CHUNK_WHOLE].into(), filled: 0, pool: Arc::clone(self) });
            }
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            state.waiting -= 1;
        }
    }

    /// Ends all waiting: whoever wants another buffer gets none.
    pub fn close(&self) {
        self.lock().closed = true;
        self.returned.notify_all();
    }

    /// The state is consistent between any two statements, so a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A buffer of a pool, to which it returns when it is dropped.
pub struct Chunk {
    bytes: Box<[u8]>,
    filled: usize,
    pool: Arc<Pool>,
}

impl Chunk {
    /// The bytes in it.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[HISTORY..HISTORY + self.filled]
    }

    /// The rest of it, to be written.
    pub fn free(&mut self) -> &mut [u8] {
        &mut self.bytes[HISTORY + self.filled.min(CHUNK)..HISTORY + CHUNK]
    }

    /// Notes that `count` more bytes have been written.
    pub fn advance(&mut self, count: usize) {
        self.filled = (self.filled + count).min(CHUNK + MARGIN);
    }

    /// Where inflate goes on, its history being the last `history` bytes, of which the chunk before has the first.
    pub fn target(&mut self, history: u64) -> Target<'_> {
        let at = HISTORY + self.filled;
        let floor = at - history.min(at as u64) as usize;
        Target { bytes: &mut self.bytes, floor, at }
    }

    /// Puts the end of the chunk before in front of this one.
    pub fn follow(&mut self, before: &Chunk) {
        let filled = before.filled();
        let end = &filled[filled.len().saturating_sub(HISTORY)..];
        self.bytes[HISTORY - end.len()..HISTORY].copy_from_slice(end);
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.filled >= CHUNK
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self.pool.lock();
        state.free.push(bytes);
        // Waking nobody is a system call too.
        if state.waiting > 0 {
            self.pool.returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_makes_no_more_than_its_limit_and_reuses_them() {
        let pool = Pool::new(2);
        let (first, second) = (pool.take().unwrap(), pool.take().unwrap());
        let waiting = {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || pool.take().map(|chunk| chunk.bytes.as_ptr() as usize))
        };
        let address = first.bytes.as_ptr() as usize;
        drop(first);
        assert_eq!(waiting.join().unwrap(), Some(address));
        drop(second);
    }

    #[test]
    fn closing_ends_waiting() {
        let pool = Pool::new(1);
        let _taken = pool.take().unwrap();
        let waiting = {
            let pool = Arc::clone(&pool);
            std::thread::spawn(move || pool.take().is_none())
        };
        pool.close();
        assert!(waiting.join().unwrap());
    }
}
