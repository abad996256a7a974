//! Reports for people and for machines.

pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod table;
pub mod tap;
#[cfg(test)]
mod tests;
pub mod timeline;
