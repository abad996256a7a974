//! What a shell completes beside options: kernels of the store, machines, images by their kinds. A store that cannot be
//! read completes nothing, as a line that is being typed is no place for messages.

use crate::kernel::Store;
use crate::machines::Registry;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use std::ffi::OsStr;

/// The kinds of images that no path begins with.
const KINDS: [&str; 11] = [
    "docker://",
    "docker-archive:",
    "docker-daemon:",
    "containers-storage:",
    "containerd:",
    "oci:",
    "oci-archive:",
    "dir:",
    "rootfs:",
    "dockerfile:",
    "-",
];

/// A kernel of the store, or a path to one.
pub fn kernels(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = stored_kernels(current);
    found.extend(starting(current, ["default", "host", "image"].map(str::to_owned)));
    found.extend(PathCompleter::any().complete(current));
    found
}

/// A kernel of the store, by its release.
pub fn stored_kernels(current: &OsStr) -> Vec<CompletionCandidate> {
    let entries = Store::of_user().and_then(|store| store.list()).unwrap_or_default();
    starting(current, entries.into_iter().flatten().map(|entry| entry.release))
}

/// A machine, running or ended.
pub fn machines(current: &OsStr) -> Vec<CompletionCandidate> {
    let entries = Registry::of_user().and_then(|registry| registry.list()).unwrap_or_default();
    starting(current, entries.into_iter().map(|entry| entry.record.name))
}

/// An image or a disk: a path, or what kind of image it is.
pub fn images(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = starting(current, KINDS.map(str::to_owned));
    found.extend(PathCompleter::any().complete(current));
    found
}

fn starting(current: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let start = current.as_encoded_bytes();
    let fitting = names.into_iter().filter(|name| name.as_bytes().starts_with(start));
    // A name that would need quoting is typed as it is or not at all.
    fitting.filter(|name| !name.contains(char::is_control)).map(CompletionCandidate::new).collect()
}
