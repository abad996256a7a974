//! Kernel modules without depmod: where they are, what they need, and which of them an initramfs gets.
//!
//! - [`place`]: where they are, in a package or below a root;
//! - [`tree`]: a modules directory, whatever it is kept in;
//! - [`wanted`]: the list of modules a disk of ours may need;
//! - [`select`]: that list and everything it depends on, in loading order.

pub(in crate::kernel) mod place;
pub mod select;
pub mod tree;
pub mod wanted;

pub use place::module_name;
pub use select::{Selected, Selection, select, select_for};
pub use tree::ModuleTree;
pub use wanted::Drivers;
