//! Layers on their way: several at once, the lowest first (see `lanes`), and read while they arrive.
//!
//! ```text
//!  registry ─▶ worker ─▶ file, as far as it has come ─▶ readers
//!                 └─▶ digest ─▶ only then the file gets its name, and readers their end
//! ```
//!
//! Nothing is asked for before somebody reads the first layer. One that breaks off is gone on with where it was. What an
//! earlier process left is shown to readers only once all of it has been compared: it may be damaged, and is then fetched
//! anew.

use super::access::{Access, Policy, Told};
use super::error::RegistryError;
use super::keep::{Keep, Place, Taken};
use super::lanes::Lanes;
use super::repository::Repository;
use super::retry;
use super::trouble::Trouble;
use crate::cache::blobs::{BUDGET, Part};
use crate::image::{Arriving, Blob, BlobFault, Descriptor, Digest, Hasher};
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::thread::Builder;
use std::time::Duration;

/// Layers that are fetched at once.
const AT_ONCE: usize = 4;
/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;
/// Between two looks whether a reader is still there.
const LOOK: Duration = Duration::from_millis(100);
/// Most tries of one layer, whatever each of them has brought.
const MOST_TRIES: usize = 40;

/// All layers of one image.
pub struct Fetch {
    repository: Arc<Repository>,
    keep: Arc<Keep>,
    access: Access,
    layers: Mutex<Vec<Weak<Coming>>>,
    next: AtomicUsize,
    begun: Once,
    lanes: Lanes,
}

/// One layer.
pub struct Coming {
    fetch: Arc<Fetch>,
    index: usize,
    digest: Digest,
    size: u64,
    urls: Vec<String>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    place: Option<Place>,
    /// Bytes that readers may have.
    there: u64,
    whole: bool,
    failed: Option<Failed>,
    /// It came from the cache, and nobody has compared it in this process.
    is_old: bool,
}

/// An error that several readers get.
#[derive(Clone, Debug)]
pub struct Failed(Arc<RegistryError>);

impl Failed {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fetch {
    /// None yet.
    pub fn new(repository: Arc<Repository>, keep: Arc<Keep>, access: Access) -> Arc<Fetch> {
        let (layers, next) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Fetch { repository, keep, access, layers, next, begun: Once::new(), lanes: Lanes::new() })
    }

    /// One layer more.
    pub fn layer(self: &Arc<Fetch>, descriptor: &Descriptor) -> Blob {
        let mut layers = lock(&self.layers);
        let coming = Arc::new(Coming {
            fetch: Arc::clone(self),
            index: layers.len(),
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            urls: descriptor.urls.clone(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        coming.look();
        layers.push(Arc::downgrade(&coming));
        Blob::arriving(&descriptor.digest.to_string(), coming, descriptor.size)
    }

    /// Begins, if nobody has.
    fn begin(self: &Arc<Fetch>) {
        self.begun.call_once(|| {
            let all: Vec<_> = lock(&self.layers).iter().filter_map(Weak::upgrade).collect();
            let wanted = all.iter().filter(|layer| !lock(&layer.state).whole);
            wanted.for_each(|layer| self.access.tell(Told::Layer(layer.index, &layer.digest, layer.size)));
            let started = (0..AT_ONCE.min(all.len())).filter(|_| {
                let fetch = Arc::clone(self);
                Builder::new().name("fetch".into()).spawn(move || fetch.work()).is_ok()
            });
            if started.count() == 0 {
                // Without a thread it takes its turn.
                self.work();
            }
        });
    }

    /// Fetches one layer after the other until none is left.
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let layer = match lock(&self.layers).get(index) {
                Some(layer) => layer.upgrade(),
                None => break,
            };
            // One that nobody holds any more is nobody's.
            if let Some(layer) = layer {
                layer.settle();
            }
        }
        if let Some(cache) = self.keep.cache() {
            cache.prune(BUDGET);
        }
    }
}

impl Coming {
    /// Takes it from the cache, if it is there.
    fn look(&self) {
        let found = self.fetch.keep.cache().and_then(|cache| cache.get(&self.digest, self.size));
        if let Some(file) = found {
            self.there(Place { file: Arc::new(file), offset: 0 });
        }
    }

    fn there(&self, place: Place) {
        let state = State { place: Some(place), there: self.size, whole: true, is_old: true, failed: None };
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    /// Fetches it, or notes why not.
    fn settle(self: &Arc<Coming>) {
        if lock(&self.state).whole {
            return;
        }
        // A reader must not wait for a thread that has died.
        let died = |_| Err(RegistryError::Unwanted);
        if let Err(error) = catch_unwind(AssertUnwindSafe(|| self.fetch_it())).unwrap_or_else(died) {
            lock(&self.state).failed = Some(Failed(Arc::new(error)));
        }
        self.fetch.lanes.leave(self.index);
        self.changed.notify_all();
        self.fetch.access.tell(Told::Whole(self.index));
    }

    fn fetch_it(self: &Arc<Coming>) -> Result<(), RegistryError> {
        if self.fetch.access.policy == Policy::Never {
            return Err(RegistryError::NotKept(Box::new(self.fetch.repository.name().clone())));
        }
        match self.fetch.keep.take(&self.digest, self.size)? {
            Taken::There(place) => {
                self.there(place);
                Ok(())
            }
            Taken::New(place, before, part) => self.fetch_to(place, before, part),
        }
    }

    fn fetch_to(self: &Arc<Coming>, place: Place, before: u64, part: Option<Part>) -> Result<(), RegistryError> {
        lock(&self.state).place = Some(place.clone());
        self.fetch.lanes.enter(self.index);
        let mut arrival = Arrival::after(self, place, before)?;
        let mut result = arrival.complete();
        if before > 0 && matches!(result, Err(RegistryError::Digest { .. })) {
            // Perhaps it was what an earlier process left.
            arrival = Arrival::after(self, arrival.place, 0)?;
            result = arrival.complete();
        }
        match (result, part) {
            (Ok(()), Some(part)) => _ = part.keep().map_err(|error| self.fetch.keep.failed(error))?,
            (Ok(()), None) => {}
            (Err(error @ RegistryError::Digest { .. }), part) => {
                part.into_iter().for_each(Part::forget);
                return Err(error);
            }
            (Err(error), _) => return Err(error),
        }
        let mut state = lock(&self.state);
        (state.there, state.whole) = (self.size, true);
        Ok(())
    }

    /// Waits until `ready` says something of its state.
    fn wait<T>(&self, unwanted: &dyn Fn() -> bool, ready: impl Fn(&State) -> Option<T>) -> Result<T, BlobFault> {
        let mut state = lock(&self.state);
        loop {
            if let Some(found) = ready(&state) {
                return Ok(found);
            }
            if let Some(failed) = &state.failed {
                return Err(BlobFault::Arriving(Box::new(failed.clone())));
            }
            if unwanted() {
                return Err(BlobFault::Arriving(Box::new(RegistryError::Unwanted)));
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").field("digest", &self.digest).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Arriving for Coming {
    fn read_at(&self, buffer: &mut [u8], at: u64, unwanted: &dyn Fn() -> bool) -> Result<usize, BlobFault> {
        self.begin_fetching();
        let (place, there) = self.wait(unwanted, |state| {
            state.place.clone().filter(|_| state.there > at).map(|place| (place, state.there))
        })?;
        let want = buffer.len().min(usize::try_from(there - at).unwrap_or(usize::MAX));
        place.file.read_at(&mut buffer[..want], place.offset + at).map_err(BlobFault::Io)
    }

    fn whole(&self, unwanted: &dyn Fn() -> bool) -> Result<(), BlobFault> {
        self.begin_fetching();
        self.wait(unwanted, |state| state.whole.then_some(()))
    }

    fn is_compared(&self) -> bool {
        !lock(&self.state).is_old
    }

    fn distrust(&self) -> bool {
        lock(&self.state).is_old && self.fetch.keep.cache().is_some_and(|cache| cache.remove(&self.digest))
    }
}

impl Coming {
    fn begin_fetching(&self) {
        if !lock(&self.state).whole {
            self.fetch.begin();
        }
    }
}

/// One layer as a worker gets it.
struct Arrival<'a> {
    coming: &'a Arc<Coming>,
    place: Place,
    hasher: Hasher,
    at: u64,
    /// Readers see it as it comes.
    shown: bool,
    /// The server sends parts.
    ranges: bool,
}

impl<'a> Arrival<'a> {
    /// One of which `before` bytes are there.
    fn after(coming: &'a Arc<Coming>, place: Place, before: u64) -> Result<Arrival<'a>, RegistryError> {
        let mut hasher = Hasher::new(coming.digest.algorithm());
        let (mut at, mut buffer) = (0, vec![0; PIECE]);
        while at < before {
            let want = buffer.len().min((before - at) as usize);
            let read = place.file.read_at(&mut buffer[..want], place.offset + at);
            match read.map_err(|error| coming.fetch.keep.failed(error))? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    at += count as u64;
                }
            }
        }
        Ok(Arrival { coming, place, hasher, at, shown: before == 0, ranges: true })
    }

    /// Gets the rest, and compares all of it.
    fn complete(&mut self) -> Result<(), RegistryError> {
        let mut fruitless = 0;
        let mut registry = String::new();
        for tries in 0..MOST_TRIES {
            if self.at == self.coming.size {
                return self.compare(registry);
            }
            let before = self.at;
            match self.one_try(tries, &mut registry) {
                Ok(()) => {}
                Err(error) => {
                    fruitless = if self.at > before { 0 } else { fruitless + 1 };
                    retry::pause(error, fruitless)?;
                }
            }
        }
        let (digest, expected) = (self.coming.digest.clone(), self.coming.size);
        match self.at == expected {
            true => self.compare(registry),
            false => Err(RegistryError::Size { registry, digest, expected, actual: self.at }),
        }
    }

    fn compare(&mut self, registry: String) -> Result<(), RegistryError> {
        let expected = &self.coming.digest;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(expected.algorithm()));
        let actual = hasher.finish();
        match actual == *expected {
            true => Ok(()),
            false => Err(RegistryError::Digest { registry, expected: expected.clone(), actual }),
        }
    }

    /// Gets as much as one answer brings.
    fn one_try(&mut self, tries: usize, registry: &mut String) -> Result<(), RegistryError> {
        let from = if self.ranges { self.at } else { 0 };
        let Coming { digest, urls, .. } = &**self.coming;
        let asked = self.coming.fetch.repository.blob(digest, urls, from, tries);
        let (answer, shown) = match asked {
            // It takes no parts, or thinks that there are none left.
            Err(RegistryError::Status { status: 416, .. }) if from > 0 => {
                self.ranges = false;
                return Ok(());
            }
            asked => asked?,
        };
        registry.clone_from(&shown);
        let begins = match answer.status {
            206 => answer.header("content-range").and_then(begin_of).unwrap_or(u64::MAX),
            _ => 0,
        };
        if begins > self.at {
            self.ranges = false;
            return Ok(());
        }
        let promised = answer.length().map(|length| length.saturating_add(begins));
        let size = self.coming.size;
        if let Some(actual) = promised.filter(|&promised| promised > size) {
            let digest = self.coming.digest.clone();
            return Err(RegistryError::Size { registry: shown, digest, expected: size, actual });
        }
        let host = answer.url.authority.clone();
        let broken = |trouble| Err(RegistryError::Unreachable { host: host.clone(), trouble });
        match self.take(answer.body(), begins) {
            Err(Stop::Read(error)) => broken(Trouble::from(&error)),
            Err(Stop::Keep(error)) => Err(error),
            Ok(()) if self.at < size => broken(Trouble::Broken(format!("it ends after {} of {size} bytes", self.at))),
            Ok(()) => Ok(()),
        }
    }

    /// Takes in a body whose first byte is the `begins`-th; what is there already is passed over.
    fn take(&mut self, mut body: impl Read, mut begins: u64) -> Result<(), Stop> {
        let mut buffer = vec![0; PIECE];
        while self.at < self.coming.size {
            // The worker's own is the last that is left.
            if Arc::strong_count(self.coming) == 1 {
                return Err(Stop::Keep(RegistryError::Unwanted));
            }
            let lanes = &self.coming.fetch.lanes;
            lanes.wait(self.coming.index, self.at);
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Read(error)),
            };
            lanes.took(self.coming.index, count);
            let end = (begins + count).min(self.coming.size);
            if end > self.at {
                let new = &buffer[(self.at - begins) as usize..(end - begins) as usize];
                self.put(new)?;
            }
            begins += count;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let written = self.place.file.write_all_at(bytes, self.place.offset + self.at);
        written.map_err(|error| Stop::Keep(self.coming.fetch.keep.failed(error)))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        if self.shown {
            lock(&self.coming.state).there = self.at;
            self.coming.changed.notify_all();
        }
        self.coming.fetch.access.tell(Told::Arrived(self.coming.index, self.at));
        Ok(())
    }
}

/// Why a body is not taken further.
enum Stop {
    Read(io::Error),
    Keep(RegistryError),
}

/// The first byte of `bytes 100-199/200`.
pub fn begin_of(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.trim().parse().ok()
}
