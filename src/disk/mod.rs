//! The disk around the file systems: its partition table.

pub mod gpt;
pub mod table;
