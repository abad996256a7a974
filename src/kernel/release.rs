//! What kernels' files are called, and their releases in order.

use std::cmp::Ordering;

/// What the names of kernels' files begin with.
const STEMS: [&str; 3] = ["vmlinuz", "bzImage", "Image"];

/// Whether a file in `/boot`, in a modules directory or at the top of an archive is named as kernels are.
pub fn is_kernel(file: &str) -> bool {
    let mut behind = STEMS.iter().filter_map(|stem| file.strip_prefix(stem));
    !file.contains('/') && behind.any(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
}

/// Older before newer: numbers by their value, what is between them by its letters.
pub fn order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (text_a, text_b) = (head(&mut a, |c| !c.is_ascii_digit()), head(&mut b, |c| !c.is_ascii_digit()));
        let (number_a, number_b) = (head(&mut a, |c| c.is_ascii_digit()), head(&mut b, |c| c.is_ascii_digit()));
        let (number_a, number_b) = (number_a.trim_start_matches('0'), number_b.trim_start_matches('0'));
        let by_number = number_a.len().cmp(&number_b.len()).then(number_a.cmp(number_b));
        let found = text_a.cmp(text_b).then(by_number);
        if found != Ordering::Equal || (a.is_empty() && b.is_empty()) {
            return found;
        }
    }
}

/// Cuts off what all fits at the start.
fn head<'a>(text: &mut &'a str, fits: impl Fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !fits(c)).unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    *text = rest;
    head
}

/// The release in the name of a kernel's file: `vmlinuz-6.1.0-56-amd64`.
pub fn in_name(file: &str) -> Option<&str> {
    let behind = STEMS.iter().find_map(|stem| file.strip_prefix(stem)?.strip_prefix('-'));
    behind.filter(|release| !release.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_by_their_numbers() {
        let ordered = [
            "5.10.0-30-amd64",
            "6.1.0-9-amd64",
            "6.1.0-56-amd64",
            "6.1.0-56-cloud-amd64",
            "6.1.7-1.el9.x86_64",
            "6.1.12-1.el9.x86_64",
            "6.12.1",
            "10.0.0",
            "99999999999999999999999.1",
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(order(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(order("6.01", "6.1"), Ordering::Equal);
    }

    #[test]
    fn a_release_is_what_follows_the_usual_names() {
        assert_eq!(in_name("vmlinuz-6.1.0-56-amd64"), Some("6.1.0-56-amd64"));
        assert_eq!(in_name("Image-6.12"), Some("6.12"));
        assert_eq!((in_name("vmlinuz"), in_name("vmlinuz-"), in_name("config-6.1")), (None, None, None));
        // A kernel's debugging twin is no kernel that a disk could boot.
        assert_eq!((in_name("vmlinux-6.4.gz"), is_kernel("vmlinux-6.4.gz")), (None, false));
        assert!(
            is_kernel("vmlinuz") && is_kernel("Image.gz") && is_kernel("vmlinuz-virt.efi") && !is_kernel("a/vmlinuz")
        );
    }
}
