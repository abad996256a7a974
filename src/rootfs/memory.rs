//! File bodies in memory: the sink of tests, also of those outside this crate.
//!
//! It keeps holes apart from data, checks the order of calls and the announced lengths, and counts bodies, so that a
//! test can say that each one was given back or is in the tree.

use super::BodySink;
use std::io;

/// A part of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes.
    Data(Vec<u8>),
    /// So many zeros without space.
    Hole(u64),
}

/// A number of a body of a [`MemorySink`]. The default one is the body of an empty file that was never stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBody(Option<u32>);

/// Keeps bodies in memory.
#[derive(Debug, Default)]
pub struct MemorySink {
    bodies: Vec<Option<Vec<Part>>>,
    current: Option<(u64, Vec<Part>)>,
    /// Bodies given up half way.
    pub abandoned: usize,
    /// Fails all writes after so many bytes: a full disk.
    pub capacity: Option<u64>,
    written: u64,
}

impl MemorySink {
    /// The parts of a body, adjacent ones of a kind joined.
    ///
    /// # Panics
    /// If the body was discarded.
    pub fn parts(&self, body: &MemoryBody) -> &[Part] {
        match body.0 {
            None => &[],
            Some(i) => self.bodies[i as usize].as_deref().expect("a body that was not discarded"),
        }
    }

    /// A body with its holes filled.
    ///
    /// # Panics
    /// If the body was discarded.
    pub fn read(&self, body: &MemoryBody) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.parts(body) {
            match part {
                Part::Data(data) => bytes.extend_from_slice(data),
                Part::Hole(length) => bytes.resize(bytes.len() + *length as usize, 0),
            }
        }
        bytes
    }

    /// Bodies that were stored and not given back.
    pub fn live(&self) -> usize {
        self.bodies.iter().flatten().count()
    }
}

fn length(parts: &[Part]) -> u64 {
    let length = |part: &Part| match part {
        Part::Data(data) => data.len() as u64,
        Part::Hole(length) => *length,
    };
    parts.iter().map(length).sum()
}

impl BodySink for MemorySink {
    type Body = MemoryBody;

    fn begin(&mut self, size: u64) -> io::Result<()> {
        assert!(self.current.is_none(), "one body at a time");
        self.current = Some((size, Vec::new()));
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.written += data.len() as u64;
        if self.capacity.is_some_and(|capacity| self.written > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let (_, parts) = self.current.as_mut().expect("a body has begun");
        match parts.last_mut() {
            Some(Part::Data(bytes)) => bytes.extend_from_slice(data),
            _ => parts.push(Part::Data(data.to_vec())),
        }
        Ok(())
    }

    fn hole(&mut self, length: u64) -> io::Result<()> {
        let (_, parts) = self.current.as_mut().expect("a body has begun");
        match parts.last_mut() {
            Some(Part::Hole(before)) => *before += length,
            _ => parts.push(Part::Hole(length)),
        }
        Ok(())
    }

    fn finish(&mut self) -> io::Result<MemoryBody> {
        let (size, parts) = self.current.take().expect("a body has begun");
        assert_eq!(length(&parts), size, "a body is as long as announced");
        self.bodies.push(Some(parts));
        Ok(MemoryBody(Some(self.bodies.len() as u32 - 1)))
    }

    fn abandon(&mut self) {
        self.current = None;
        self.abandoned += 1;
    }

    fn discard(&mut self, body: MemoryBody) {
        if let MemoryBody(Some(i)) = body {
            let body = self.bodies[i as usize].take();
            assert!(body.is_some(), "a body is given back once");
        }
    }
}
