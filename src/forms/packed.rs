//! Bodies packed on all processors: in whatever order they are done, they come out in theirs.

use super::units::Unit;
use std::io;
use std::thread;

/// Packs one unit.
type Pack<P, T> = dyn Fn(&mut P, &[u8]) -> io::Result<T> + Sync;

/// Packs every unit with `pack`, which is made once a thread.
pub(super) fn all<P, T: Send>(
    units: &[Unit<'_>],
    threads: usize,
    make: &(dyn Fn() -> io::Result<P> + Sync),
    pack: &Pack<P, T>,
) -> io::Result<Vec<T>> {
    let share = units.len().div_ceil(threads.max(1)).max(1);
    let one = |units: &[Unit<'_>]| -> io::Result<Vec<T>> {
        let mut packer = make()?;
        units.iter().map(|(_, bytes)| pack(&mut packer, bytes)).collect()
    };
    if units.len() <= share {
        return one(units);
    }
    thread::scope(|scope| {
        let (first, others) = units.split_at(share);
        // A thread that cannot be made is done without.
        let started: Vec<_> = others
            .chunks(share)
            .map(|share| thread::Builder::new().spawn_scoped(scope, move || one(share)).map_err(|_| share))
            .collect();
        let mut all = one(first)?;
        for share in started {
            all.extend(match share {
                Ok(thread) => thread.join().map_err(|_| io::Error::other("a thread that packs has panicked"))??,
                Err(share) => one(share)?,
            });
        }
        Ok(all)
    })
}
