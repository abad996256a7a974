//! The disk around the file systems: its partition table, and the file it is written to.

pub mod file;
pub mod gpt;
pub mod table;
