//! The report for people: as text, as JSON, as one page of HTML.

pub mod diff;
pub mod disk;
pub mod html;
pub mod page;
pub mod text;
pub mod units;

use super::model::Report;
use serde::Serialize;

/// Any document of this part as JSON, with a line break at its end.
pub fn json(document: &impl Serialize) -> serde_json::Result<String> {
    crate::escape::json(document)
}

/// Whether an image would need a kernel to boot, in a few words.
pub fn kernels_line(report: &Report) -> Option<String> {
    let boot = report.boot.as_ref()?;
    let would: Vec<String> = boot
        .kernels
        .iter()
        .filter(|kernel| kernel.boots != "no")
        .map(|kernel| format!("{}{}", kernel.release, if kernel.default { " (default)" } else { "" }))
        .collect();
    Some(match (boot.kernels.is_empty(), would.is_empty()) {
        (true, _) => "none in the store: bootdisk kernel add FILE".to_owned(),
        (false, true) => "none of the store's".to_owned(),
        (false, false) => would.join(", "),
    })
}
