//! What a tree holds: a userland as names and facts of its bodies, from an image or from a disk.
//!
//! ```text
//!  image ─ layers ─▶ flatten ─┐                      ┌─ paths     ways through it
//!                             ├─▶ Root = Tree<Body> ─┤
//!  disk ─ ext4 ─▶ read ───────┘   (body, rules)      └─ compare   is it what the other is?
//! ```
//!
//! Of a body only facts are kept. A report is made of them by `inspect`, and `convert --verify` compares two of them.

pub mod body;
pub mod compare;
pub mod installed;
pub mod of_disk;
pub mod of_image;
pub mod packages;
pub mod paths;
mod rules;

pub use rules::CERTIFICATES;

/// A userland's tree.
pub type Root = crate::rootfs::Tree<body::Body>;
