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
//! Not supported: expectations that hold in an order; more than one machine in a test.

mod board;
mod drive;
pub mod expect;
mod log;
pub mod matrix;
mod phases;
mod probe;
pub mod report;
pub mod schedule;
pub mod spec;
mod trouble;
pub mod verdict;
mod watch;

pub use drive::{Test, drive};
pub use expect::Expectation;
pub use matrix::{Axis, Combination, Matrix};
pub use phases::Phases;
pub use verdict::{Report, Verdict};
