//! A volume in memory of which only the metadata exists: pages that were never written, or only with zeros, are absent.
//!
//! Between [`Sparse::begin_body`] and [`Sparse::end_body`] writes to the data region are only noted, not stored: file
//! bodies stay where they are, in the caller's memory, and are written to the disk from there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::rc::Rc;

/// Bytes of a page.
pub const PAGE: usize = 4096;

type Pages = BTreeMap<u64, Box<[u8; PAGE]>>;

/// A body being written: where bodies begin on the volume, and the ranges written so far.
struct Body {
    from: u64,
    ranges: Vec<Range<u64>>,
}

/// The volume. Clones share their pages, each with a position of its own.
#[derive(Clone)]
pub struct Sparse {
    pages: Rc<RefCell<Pages>>,
    body: Rc<RefCell<Option<Body>>>,
    size: u64,
    position: u64,
}

impl Sparse {
    /// `size` bytes of zeros.
    pub fn new(size: u64) -> Self {
        Sparse { pages: Rc::default(), body: Rc::default(), size, position: 0 }
    }

    /// From now on, writes at `from` and above are noted and not stored.
    pub fn begin_body(&self, from: u64) {
        *self.body.borrow_mut() = Some(Body { from, ranges: Vec::new() });
    }

    /// Ends what [`Sparse::begin_body`] began. Where the body was written, in order, neighbours joined.
    pub fn end_body(&self) -> Vec<Range<u64>> {
        self.body.take().map(|body| body.ranges).unwrap_or_default()
    }

    /// The pages in order of their number. Other clones lose theirs.
    pub fn into_pages(self) -> Pages {
        self.pages.take()
    }

    /// Copies bytes out; absent pages are zeros.
    pub fn get(&self, offset: u64, buffer: &mut [u8]) {
        let pages = self.pages.borrow();
        // Almost all are entries of the table, four bytes each.
        if let (page, within) = place(offset)
            && let Some(bytes) = pages.get(&page).and_then(|bytes| bytes.get(within..within + buffer.len()))
        {
            return buffer.copy_from_slice(bytes);
        }
        for (page, within, range) in spans(offset, buffer.len()) {
            let length = range.len();
            match pages.get(&page) {
                Some(bytes) => buffer[range].copy_from_slice(&bytes[within..within + length]),
                None => buffer[range].fill(0),
            }
        }
    }

    /// Copies bytes in.
    pub fn put(&self, offset: u64, data: &[u8]) {
        if let Some(body) = self.body.borrow_mut().as_mut().filter(|body| offset >= body.from) {
            let end = offset + data.len() as u64;
            match body.ranges.last_mut().filter(|last| last.end == offset) {
                Some(last) => last.end = end,
                None => body.ranges.push(offset..end),
            }
            return;
        }
        let mut pages = self.pages.borrow_mut();
        if let (page, within) = place(offset)
            && let Some(bytes) = pages.get_mut(&page).and_then(|bytes| bytes.get_mut(within..within + data.len()))
        {
            return bytes.copy_from_slice(data);
        }
        for (page, within, range) in spans(offset, data.len()) {
            let part = &data[range];
            let bytes = match pages.entry(page) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(_) if part.iter().all(|&byte| byte == 0) => continue,
                Entry::Vacant(entry) => entry.insert(Box::new([0; PAGE])),
            };
            bytes[within..within + part.len()].copy_from_slice(part);
        }
    }
}

/// `length` bytes at `offset` as (page, offset in it, range of the caller's buffer).
fn spans(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < length).then(|| {
            let (page, within) = place(offset + done as u64);
            let n = (PAGE - within).min(length - done);
            done += n;
            (page, within, done - n..done)
        })
    })
}

/// A page's number and an offset in it.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize)
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = buffer.len().min(self.size.saturating_sub(self.position) as usize);
        self.get(self.position, &mut buffer[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Write for Sparse {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = data.len().min(self.size.saturating_sub(self.position) as usize);
        self.put(self.position, &data[..n]);
        self.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = crate::output::seek(self.position, self.size, to)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written_across_pages() {
        let volume = Sparse::new(1 << 20);
        let data: Vec<u8> = (0..10_000).map(|i| i as u8 | 1).collect();
        volume.put(4000, &data);
        let mut back = vec![0xff; 12_000];
        volume.get(3000, &mut back);
        assert!(back[..1000].iter().all(|&byte| byte == 0));
        assert_eq!(back[1000..11_000], data);
        assert!(back[11_000..].iter().all(|&byte| byte == 0));
        assert_eq!(volume.into_pages().into_keys().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn zeros_and_bodies_take_no_memory() {
        let mut volume = Sparse::new(1 << 30);
        volume.write_all(&[0; 100_000]).unwrap();
        volume.begin_body(1 << 20);
        volume.put(1 << 20, &[2; 1000]);
        volume.put(8192, &[1]);
        volume.put((1 << 20) + 1000, &[2; 1000]);
        volume.put(2 << 20, &[2; 10]);
        assert_eq!(volume.end_body(), [1 << 20..(1 << 20) + 2000, 2 << 20..(2 << 20) + 10]);
        volume.put(8193, &[3]);
        let pages = volume.into_pages();
        assert_eq!(pages.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(pages[&2][..3], [1, 3, 0]);
    }

    #[test]
    fn ends_where_the_volume_ends() {
        let mut volume = Sparse::new(1000);
        volume.seek(SeekFrom::End(-10)).unwrap();
        assert_eq!(volume.write(&[1; 20]).unwrap(), 10);
        assert_eq!(volume.write(&[1; 20]).unwrap(), 0);
        assert!(volume.seek(SeekFrom::Current(-2000)).is_err());
    }
}
