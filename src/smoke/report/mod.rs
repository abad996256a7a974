//! Reports for people and for machines.

pub mod json;
pub mod junit;
pub mod table;
pub mod timeline;
