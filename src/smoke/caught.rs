//! A fault of this program in one test is that test's verdict: the others go on, and the report is written.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does the work; a panic in it becomes a sentence.
///
/// # Errors
/// The sentence.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    // What a panic leaves half done is dropped or, on the board, read for a report and nothing else.
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| sentence(&*panic))
}

fn sentence(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("bootdisk failed: {}", crate::escape::escape(text.unwrap_or("no reason was given").as_bytes()))
}
