//! The root file system as a value: a tree of names and inodes.
//!
//! [`tree`] is the pure model. It knows no tar and no on-disk format: file bodies are a type parameter, chosen by
//! whoever stores them ([`BodySink`]). [`dump`] writes it as text, [`keep`] as bytes that it can be made of again; [`memory`] keeps bodies for tests.
//! [`crate::flatten`] puts layers onto it.

mod chunked;
pub mod dump;
mod keep;
pub mod memory;
pub mod tree;

pub use keep::{Pack, Unpack};
pub use tree::{Attrs, InodeId, Kind, Time, Tree};

use std::io;

/// Stores file bodies while layers are read. The ext4 writer is one; a test may keep bodies in memory.
///
/// A body is written front to back: any number of [`write`](BodySink::write) and [`hole`](BodySink::hole) calls,
/// then one [`finish`](BodySink::finish) or [`abandon`](BodySink::abandon). One body at a time.
pub trait BodySink {
    /// A stored body: small, owned by the tree, given back with [`discard`](BodySink::discard).
    type Body: Default;

    /// Whose body comes next: the entry's path as the layer has it, and its attributes. A sink that treats all bodies
    /// alike need not know.
    fn announce(&mut self, _path: &[u8], _attrs: &Attrs) {}
    /// Begins a body of `size` bytes, holes included.
    fn begin(&mut self, size: u64) -> io::Result<()>;
    /// The next bytes.
    fn write(&mut self, data: &[u8]) -> io::Result<()>;
    /// The next `length` bytes are zeros and need no space.
    fn hole(&mut self, length: u64) -> io::Result<()>;
    /// Ends the body. Its length must be the `size` it began with.
    fn finish(&mut self) -> io::Result<Self::Body>;
    /// Gives up the body that was begun.
    fn abandon(&mut self);
    /// Takes a body back: a later layer deleted or replaced the file.
    fn discard(&mut self, body: Self::Body);
}
