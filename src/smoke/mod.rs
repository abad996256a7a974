//! Smoke tests: a machine is booted, watched, and judged; the verdict needs no interpretation.
//!
//! ```text
//!  command line, smoke.toml ─▶ Test (machine, expectations) × matrix ─▶ schedule ─▶ drive ─▶ Report ─▶ table, JSON, JUnit
//!                                                                                     │
//!                                              board ◀── console and output (watch, trouble), checks (probe)
//! ```
//!
//! A tested disk is never written to: its machine writes to an overlay that vanishes with it.
//!
//! A test of several machines has a board and a drive for each, and one company ([`group`]).
//!
//! Tests that start from one snapshot have that in common ([`alike`], [`snapshots`]), which the first of them makes.
//!
//! Not supported: expectations that hold in an order.

mod alike;
mod board;
mod caught;
mod company;
mod drive;
pub mod expect;
mod gather;
mod group;
mod log;
pub mod matrix;
mod pattern;
mod phases;
mod probe;
pub mod report;
pub mod schedule;
pub mod shard;
mod snapshots;
mod stop;
mod suite;
mod test;
mod together;
mod tries;
mod trouble;
pub mod verdict;
mod watch;

pub use alike::share_snapshots;
pub use caught::caught;
pub use expect::Expectation;
pub use group::drive;
pub use log::name_logs;
pub use matrix::{Axis, Combination, Matrix};
pub use pattern::Pattern;
pub use phases::Phases;
pub use shard::{Shard, Share};
pub use snapshots::Start;
pub use stop::Stop;
pub use suite::Suite;
pub use test::{After, Member, Test};
pub use verdict::{Origin, Place, Report, Verdict};
