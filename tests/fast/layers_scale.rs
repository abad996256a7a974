//! Many layers, many entries, deep paths: time must grow with the input and nothing faster, memory must stay small,
//! and nothing may be recursive.
//!
//! Times are bounds two hundred times above what is measured, so that a busy machine passes and a quadratic loop does
//! not. Memory is what the allocator hands out, counted in a process apart.

use crate::counting::counted;
use crate::support::apart::apart;
use crate::support::layers;
use crate::support::layers::{Member, Merged, archive, full, members_only, pax_record};
use bootdisk::flatten::{Limits, apply};
use bootdisk::rootfs::memory::MemorySink;
use bootdisk::rootfs::{Attrs, BodySink, Tree};
use std::io::{self, BufReader, Read};
use std::time::Duration;

/// Bounds the processor's time, not the clock's: what is quadratic is found on a busy machine too, and nothing else.
fn within(limit: Duration, what: &str, work: impl FnOnce()) {
    let start = processor_time();
    work();
    let took = processor_time() - start;
    assert!(took < limit, "{what} took {took:?}");
}

fn processor_time() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has one").into()
}

/// Drops bodies and counts them.
#[derive(Default)]
struct Nowhere {
    live: i64,
}

impl BodySink for Nowhere {
    type Body = [u64; 2];
    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn hole(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> io::Result<[u64; 2]> {
        self.live += 1;
        Ok([0; 2])
    }
    fn abandon(&mut self) {}
    fn discard(&mut self, _: [u64; 2]) {
        self.live -= 1;
    }
}

/// A layer written while it is read: a million members need no gigabyte of test.
struct Generated<F> {
    next: F,
    block: Vec<u8>,
    at: usize,
}

impl<F: FnMut() -> Option<Member>> Read for Generated<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.at = 0;
            self.block.clear();
            for _ in 0..64 {
                let Some(member) = (self.next)() else { break };
                member.write(&mut self.block);
            }
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn generated(members: impl Iterator<Item = Member>) -> BufReader<impl Read> {
    let mut members = members;
    BufReader::with_capacity(1 << 16, Generated { next: move || members.next(), block: Vec::new(), at: 0 })
}

fn root() -> Tree<[u64; 2]> {
    Tree::new(Attrs { mode: 0o755, ..Attrs::default() })
}

fn add(tree: &mut Tree<[u64; 2]>, sink: &mut Nowhere, layer: u32, members: impl Iterator<Item = Member>) {
    let stats = apply(tree, layer, &mut generated(members), sink, &Limits::default(), &mut Default::default());
    stats.unwrap_or_else(|error| panic!("layer {layer}: {error}"));
}

#[test]
fn hundreds_of_layers_take_no_longer_than_their_entries() {
    for layers in [128, 500] {
        within(Duration::from_secs(10), "500 layers", || {
            let (mut tree, mut sink) = (root(), Nowhere::default());
            // A large lower layer, which the others must not walk through again.
            add(&mut tree, &mut sink, 0, (0..100_000).map(|i| Member::file(format!("base/{}/{i}", i % 100), "")));
            for layer in 1..=layers {
                let members = [
                    Member::file("same", layer.to_string()),
                    Member::dir(format!("dir{layer}")),
                    Member::file(format!("dir{layer}/.wh..wh..opq"), ""),
                    Member::file(format!("base/.wh.{}", layer % 100), ""),
                ];
                add(&mut tree, &mut sink, layer, members.into_iter());
            }
            let same = tree.lookup(Tree::<[u64; 2]>::ROOT, b"same").expect("it is there");
            assert_eq!(tree.inode(same).names(), 1);
            assert_eq!(tree.child_count(Tree::<[u64; 2]>::ROOT), layers + 2);
            assert_eq!(sink.live, 1, "all of base is gone");
        });
    }
    let mut merged = Merged::new();
    for layer in 0..500 {
        merged.add(&archive(&[Member::file("same", layer.to_string())]), &Limits::default()).unwrap();
    }
    assert_eq!(merged.short(), "same=499");
}

/// Measured with 200,000 files, names of 17 bytes and a body of 16 bytes: 141 bytes a file, at the end and
/// at the peak.
#[test]
fn a_file_takes_less_than_two_hundred_bytes_of_memory() {
    apart("layers_scale::a_file_takes_less_than_two_hundred_bytes_of_memory", || {
        let files: u64 = if full() { 1_000_000 } else { 200_000 };
        let names = (0..files).map(|i| Member::file(format!("usr/share/{}/file-{i:012}", i / 100), ""));
        let (mut tree, mut sink) = (root(), Nowhere::default());
        let ((), left, peak) = counted(|| add(&mut tree, &mut sink, 0, names));
        assert!(u64::from(tree.inode_count()) > files);
        println!("{files} files: {} bytes each, {} at the peak", left as u64 / files, peak as u64 / files);
        assert!(left as u64 / files <= 160, "{} bytes a file", left as u64 / files);
        assert!(peak as u64 / files <= 200, "{} bytes a file at the peak", peak as u64 / files);
    });
}

/// Layers that replace the same names over and over must not fill the memory with names that are gone.
#[test]
fn names_that_are_gone_give_their_memory_back() {
    apart("layers_scale::names_that_are_gone_give_their_memory_back", || {
        let (mut tree, mut sink) = (root(), Nowhere::default());
        let ((), left, _) = counted(|| {
            for layer in 0..40 {
                add(&mut tree, &mut sink, layer, (0..1000).map(|i| Member::file(format!("{i:0250}"), "")));
            }
        });
        assert!(left < 2_000_000, "{left} bytes for a thousand names");
    });
}

#[test]
fn a_million_whiteouts_and_opaque_markers_take_linear_time() {
    let count = if full() { 1_000_000u64 } else { 40_000 };
    let limit = Duration::from_secs(60);
    let lower = |n: u64| (0..n).map(|i| Member::file(format!("d/{i}"), ""));
    within(limit, "whiteouts", || {
        let (mut tree, mut sink) = (root(), Nowhere::default());
        add(&mut tree, &mut sink, 0, lower(count));
        add(&mut tree, &mut sink, 1, (0..count).map(|i| Member::file(format!("d/.wh.{i}"), "")));
        assert_eq!((tree.entry_count(), sink.live), (1, 0));
    });
    within(limit, "opaque markers in one directory", || {
        let (mut tree, mut sink) = (root(), Nowhere::default());
        add(&mut tree, &mut sink, 0, lower(1000));
        let members =
            (0..count).flat_map(|i| [Member::file(format!("d/n{i}"), ""), Member::file("d/.wh..wh..opq", "")]);
        add(&mut tree, &mut sink, 1, members);
        assert_eq!(u64::from(tree.entry_count()), count + 1);
    });
    within(limit, "whiteouts of one directory with all of the layer in it", || {
        let (mut tree, mut sink) = (root(), Nowhere::default());
        add(&mut tree, &mut sink, 0, lower(1000));
        let files = (0..count).map(|i| Member::file(format!("d/n{i}"), ""));
        add(&mut tree, &mut sink, 1, files.chain((0..count).map(|_| Member::file(".wh.d", ""))));
        assert_eq!(u64::from(tree.entry_count()), count + 1);
    });
    // Markers on every level of a chain, above a directory with all the files, from the root down and from below up.
    for downwards in [true, false] {
        within(limit, "opaque markers on every level", || {
            let (mut tree, mut sink) = (root(), Nowhere::default());
            let levels = 400;
            let chain = |n: usize| "d/".repeat(n);
            add(&mut tree, &mut sink, 0, (1..=levels).map(|n| Member::dir(chain(n))));
            let files = (0..count / 4).map(|i| Member::file(format!("{}f{i}", chain(levels)), ""));
            let order: Vec<usize> = if downwards { (0..=levels).collect() } else { (0..=levels).rev().collect() };
            let markers = order.into_iter().map(|n| Member::file(format!("{}.wh..wh..opq", chain(n)), ""));
            add(&mut tree, &mut sink, 1, files.chain(markers));
            assert_eq!(u64::from(tree.entry_count()), count / 4 + levels as u64);
        });
    }
}

#[test]
fn paths_of_hundreds_of_thousands_of_levels_are_no_recursion() {
    let levels = 500_000;
    within(Duration::from_secs(20), "one deep path", || {
        // A stack of the usual size, in a thread that would overflow if anything recursed.
        let thread = std::thread::Builder::new().stack_size(256 << 10);
        let work = move || {
            let (mut tree, mut sink) = (root(), Nowhere::default());
            add(&mut tree, &mut sink, 0, [Member::file("d/".repeat(levels) + "f", "")].into_iter());
            assert_eq!(tree.entry_count() as usize, levels + 1);
            add(&mut tree, &mut sink, 1, [Member::file(".wh..wh..opq", "")].into_iter());
            assert_eq!((tree.entry_count(), sink.live), (0, 0));
            add(&mut tree, &mut sink, 2, [Member::file("d/".repeat(levels) + "f", "")].into_iter());
            add(&mut tree, &mut sink, 3, [Member::file("d", "x")].into_iter());
            assert_eq!(tree.entry_count(), 1);
        };
        thread.spawn(work).expect("a thread").join().expect("no overflow");
    });
    // 10,000 levels as a chain of entries, each a level deeper: the input itself is quadratic there.
    let levels = if full() { 10_000 } else { 1_500 };
    within(Duration::from_secs(60), "a deep chain", || {
        let (mut tree, mut sink) = (root(), Nowhere::default());
        add(&mut tree, &mut sink, 0, (1..=levels).map(|n| Member::dir("d/".repeat(n))));
        assert_eq!(tree.entry_count() as usize, levels);
    });
}

/// Links that lead through thousands of names for each entry: a limit, not an afternoon.
#[test]
fn symbolic_links_cannot_multiply_the_work() {
    let long = "d/../".repeat(800) + "d";
    let mut members = vec![Member::dir("d"), Member::symlink("s0", &long)];
    members.extend((1..200).map(|i| Member::symlink(format!("s{i}"), format!("{}s{}", "d/../".repeat(800), i - 1))));
    // Two in turn, so that the last parent is never the one needed.
    members.extend((0..100_000).map(|i| Member::file(format!("s{}/f{i}", 198 + i % 2), "")));
    let mut bytes: &[u8] = &archive(&members);
    within(Duration::from_secs(30), "links", || {
        let mut sink = MemorySink::default();
        let mut tree = Tree::new(Attrs::default());
        let error = apply(&mut tree, 0, &mut bytes, &mut sink, &Limits::default(), &mut Default::default());
        let error = error.unwrap_err();
        assert!(error.is_limit(), "{error}");
    });
}

/// A gigabyte of attributes: what a hostile layer can make the reader hold.
#[test]
fn hostile_headers_hold_little_memory() {
    apart("layers_scale::hostile_headers_hold_little_memory", || {
        let limits = Limits { text_bytes: 8 << 20, ..Limits::default() };
        let read = |members: Vec<Member>| {
            let bytes = members_only(&members);
            let (result, _, peak) = counted(|| {
                let mut sink = MemorySink::default();
                let mut tree = Tree::new(Attrs::default());
                apply(&mut tree, 0, &mut bytes.as_slice(), &mut sink, &limits, &mut Default::default())
            });
            (result.is_err_and(|error| error.is_limit()), peak)
        };
        let declared = Member { size: layers::base256(512 << 20, 12), ..Member::new(b'x', "x") };
        let (refused, peak) = read(vec![declared]);
        assert!(refused && peak < 1 << 20, "{peak}");
        // Really there: a megabyte at most is held.
        for typeflag in [b'x', b'L', b'K', b'g'] {
            let (refused, peak) = read(vec![Member { body: vec![b'x'; 64 << 20], ..Member::new(typeflag, "x") }]);
            assert!(refused && peak < 1 << 20, "{peak}");
        }
        // A mebibyte of the smallest records there are, a hundred times.
        let records = pax_record(b"a", b"").repeat((1 << 20) / 5);
        let many = (0..100).flat_map(|i| {
            [Member { body: records.clone(), ..Member::new(b'x', "x") }, Member::file(i.to_string(), "")]
        });
        let (refused, peak) = read(many.collect());
        assert!(!refused && peak < 8 << 20, "{peak}");
        let records: Vec<u8> =
            (0..60_000u32).flat_map(|i| pax_record(format!("SCHILY.xattr.u{i}").as_bytes(), b"")).collect();
        let records = records[..records.len().min(1 << 20)].to_vec();
        let end = records.iter().rposition(|&b| b == b'\n').expect("records end with newlines") + 1;
        let attributes = (0..100).flat_map(|i| {
            [Member { body: records[..end].to_vec(), ..Member::new(b'x', "x") }, Member::file(i.to_string(), "")]
        });
        let (refused, peak) = read(attributes.collect());
        assert!(refused && peak < 96 << 20, "{peak}");
    });
}
