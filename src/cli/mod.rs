//! The command line: arguments, progress, rendering of results and errors.

pub mod kernel;
