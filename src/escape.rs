//! Text from an image, a package or a guest, made safe to show.
//!
//! File names, labels and messages are bytes somebody else chose. Shown raw they can move the cursor, change a
//! terminal's title or reverse the direction of a line; shown through this file they are printable text.

use std::fmt::Write;

/// The bytes as one line of printable text: control characters, invalid UTF-8 and invisible or direction-changing
/// characters become `\n`, `\xNN` or `\u{N}`, and a backslash becomes `\\`.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if (c as u32) < 0x20 || c == '\x7f' => _ = write!(out, "\\x{:02x}", c as u32),
                c if is_unprintable(c) => _ = write!(out, "\\u{{{:x}}}", c as u32),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A sentence whose parts were escaped where they were quoted: backslashes stay, so that nothing is escaped twice, and
/// what somebody forgot is escaped all the same.
pub fn printable(sentence: &str) -> String {
    escape(sentence.as_bytes()).replace("\\\\", "\\")
}

/// A path of the host or of an image, escaped.
pub fn path(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    escape(path.as_os_str().as_bytes())
}

/// What the operating system says, as a part of a sentence: `no such file or directory`, without the error's number.
/// An error that is not the system's keeps its words.
pub fn os_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    let Some(number) = error.raw_os_error() else { return text };
    let words = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

/// An error and its causes as one sentence. What the text before a cause ends with, or all of it that a cause begins with,
/// is not said twice; the system's reasons are without their numbers. What the errors quote is left as they have it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        let said = cause.to_string();
        let words = cause.downcast_ref().map_or_else(|| said.clone(), os_error);
        if words.starts_with(&text) {
            text = words;
        } else if text.ends_with(&said) {
            text.truncate(text.len() - said.len());
            text.push_str(&words);
        } else if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    text
}

/// A document as indented JSON with a line end. Every character that a terminal would obey or nobody would see is `\uNNNN`
/// (RFC 8259, section 7): what reads it as JSON sees the same text as without.
pub fn json(document: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(document)?;
    let mut out = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        if c == '\x7f' || is_unprintable(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| _ = write!(out, "\\u{unit:04x}"));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    Ok(out)
}

/// C1 controls and the characters of general category Cf and Zl/Zp that change what a reader sees.
fn is_unprintable(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::{chain, escape, json, printable};

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(escape("usr/share/Grüße 日本".as_bytes()), "usr/share/Grüße 日本");
    }

    #[test]
    fn a_reason_of_the_system_is_said_once_and_without_its_number() {
        #[derive(Debug, thiserror::Error)]
        enum Error {
            #[error("cannot open x")]
            Bare(#[source] std::io::Error),
            #[error("cannot open x: {0}")]
            Whole(#[source] std::io::Error),
        }
        let missing = || std::io::Error::from_raw_os_error(libc::ENOENT);
        for error in [Error::Bare(missing()), Error::Whole(missing())] {
            assert_eq!(chain(&error), "cannot open x: no such file or directory");
        }
        let own = || std::io::Error::other("the Tape is torn");
        for error in [Error::Bare(own()), Error::Whole(own())] {
            assert_eq!(chain(&error), "cannot open x: the Tape is torn");
        }
        let twice = anyhow::Error::new(Error::Whole(missing())).context("cannot open x");
        assert_eq!(chain(twice.as_ref()), "cannot open x: no such file or directory");
    }

    #[test]
    fn what_is_escaped_already_stays_as_it_is() {
        for text in ["", "plain", "a\\b", "\x1b]0;t\n", "\u{202e}\\", "é\u{9b}"] {
            let once = escape(text.as_bytes());
            assert_eq!(printable(&once), once, "{text:?}");
            assert_eq!(printable(&format!("cannot open {once}: {once}")), format!("cannot open {once}: {once}"));
        }
        assert_eq!(printable("forgotten: \x1b[2J"), "forgotten: \\x1b[2J");
    }

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(escape(b"a\x1b]0;t\x07\r\n\\"), "a\\x1b]0;t\\x07\\r\\n\\\\");
        assert_eq!(escape("x\u{202e}y\u{9b}z".as_bytes()), "x\\u{202e}y\\u{9b}z");
        assert_eq!(escape(b"\xff\xc3"), "\\xff\\xc3");
    }

    #[test]
    fn json_says_what_it_said_and_orders_no_terminal() {
        let text = "a\u{1b}]0;x\u{7}\u{7f}\u{9b}2J\u{202e}\u{e0041}\\ \"é\n";
        let document = json(&[text]).unwrap();
        assert!(document.chars().all(|c| c == '\n' || !c.is_control() && !super::is_unprintable(c)), "{document}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&document).unwrap(), [text]);
        assert!(document.contains(r"\u007f\u009b2J\u202e\udb40\udc41\\ "), "{document}");
    }
}
