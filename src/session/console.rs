//! Text of the serial console: kept within bounds, searched line by line, made safe to show.
//!
//! Firmware, kernel and anything in the guest write here, so nothing of it is believed once PID 1 has said hello.

use crate::escape::escape;
use std::collections::VecDeque;

/// Bytes of the console that are kept, the last ones.
pub const KEPT: usize = 64 << 10;
/// A line is searched up to this length, and cut there.
const LINE: usize = 4096;

/// How the kernel's last words begin; `panic` in kernel/panic.c.
const PANIC: &[u8] = b"Kernel panic - not syncing";
/// And end, when it does not reset the machine.
const PANIC_END: &[u8] = b"end Kernel panic";

/// What dm-verity says of a block, `verity_handle_err` in drivers/md/dm-verity-target.c: `device-mapper: verity: 254:3:
/// data block 17 is corrupted`.
const VERITY: &[u8] = b"device-mapper: verity: ";
const CORRUPTED: &[u8] = b" is corrupted";

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The kernel panics: what it says after its time stamp, escaped.
    Panic(String),
    /// Nothing follows.
    PanicEnd,
    /// A block of a verified root is not as it was built: what the kernel says of it, escaped. Only the first is found.
    Corrupted(String),
}

/// The console of one machine.
#[derive(Clone, Default)]
pub(super) struct Console {
    kept: VecDeque<u8>,
    line: Vec<u8>,
    last_panic: Option<String>,
    corrupted: bool,
}

impl Console {
    /// Adds bytes and returns what their lines say.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Vec<Finding> {
        self.keep(bytes);
        let mut findings = Vec::new();
        for &byte in bytes {
            if byte == b'\n' {
                findings.extend(self.end_line());
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
        findings
    }

    fn keep(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT)..];
        let excess = (self.kept.len() + bytes.len()).saturating_sub(KEPT);
        self.kept.drain(..excess);
        self.kept.extend(bytes);
    }

    fn end_line(&mut self) -> Option<Finding> {
        let line = std::mem::take(&mut self.line);
        // The end repeats the beginning's words, so it is looked for first.
        if find(&line, PANIC_END).is_some() {
            return Some(Finding::PanicEnd);
        }
        if !self.corrupted
            && let Some(at) = find(&line, VERITY)
            && line.trim_ascii_end().ends_with(CORRUPTED)
        {
            self.corrupted = true;
            return Some(Finding::Corrupted(escape(line[at..].trim_ascii_end())));
        }
        let at = find(&line, PANIC)?;
        let text = escape(line[at..].trim_ascii_end());
        self.last_panic = Some(text.clone());
        Some(Finding::Panic(text))
    }

    /// The last line about a panic, escaped.
    pub(super) fn last_panic(&self) -> Option<&str> {
        self.last_panic.as_deref()
    }

    /// The last bytes, at most [`KEPT`].
    pub(super) fn into_kept(self) -> Vec<u8> {
        self.kept.into()
    }
}

/// Where `needle`, which is not empty, begins.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The last `count` lines of console bytes that have text, escaped, colours and cursor movements left away.
pub fn lines(bytes: &[u8], count: usize) -> Vec<String> {
    let mut text = Text::default();
    let shown = text.add(bytes) + &text.finish();
    let lines: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|&line| line.to_owned()).collect()
}

/// Console bytes as safe text, chunk by chunk: line ends stay, everything a terminal would obey is escaped, and the
/// usual terminal sequences (CSI) are left away.
#[derive(Clone, Default)]
pub struct Text {
    /// The beginning of a character or of an escape sequence.
    pending: Vec<u8>,
}

impl Text {
    /// The text of a chunk, as far as it is certain.
    pub fn add(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut out = String::new();
        let mut at = 0;
        while at < self.pending.len() {
            match piece(&self.pending[at..]) {
                Some((length, text)) => {
                    out.push_str(&text);
                    at += length;
                }
                None => break,
            }
        }
        self.pending.drain(..at);
        out
    }

    /// What is left when no more will come.
    pub fn finish(&mut self) -> String {
        escape(&std::mem::take(&mut self.pending))
    }
}

/// Longest escape sequence that is waited for.
const SEQUENCE: usize = 32;

/// The length and text of what `bytes` begins with; `None` when the rest of it is still to come.
fn piece(bytes: &[u8]) -> Option<(usize, String)> {
    match bytes {
        [b'\n', ..] => Some((1, "\n".into())),
        [b'\t', ..] => Some((1, "\t".into())),
        [b'\r'] => None,
        // Carriage returns end lines here more often than they overwrite them.
        [b'\r', ..] => Some((1, String::new())),
        [0x1b] => None,
        [0x1b, b'[', rest @ ..] => match rest.iter().position(|byte| (0x40..=0x7e).contains(byte)) {
            Some(end) => Some((end + 3, String::new())),
            None if rest.len() < SEQUENCE => None,
            None => Some((1, escape(&bytes[..1]))),
        },
        [byte, ..] if byte.is_ascii() => {
            let printable = bytes.iter().take_while(|byte| (0x20..0x7f).contains(*byte)).count().max(1);
            // A backslash in console text is a backslash: this is text for people, not for parsing.
            Some((printable, escape(&bytes[..printable]).replace("\\\\", "\\")))
        }
        _ => {
            let chunk = bytes.utf8_chunks().next()?;
            match chunk.valid().chars().next() {
                Some(c) => Some((c.len_utf8(), escape(&bytes[..c.len_utf8()]))),
                // The first bytes of a character, and nothing after them yet.
                None if chunk.invalid().len() == bytes.len() && bytes.len() < 4 && incomplete(bytes) => None,
                None => Some((chunk.invalid().len(), escape(chunk.invalid()))),
            }
        }
    }
}

fn incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_corrupted_block_is_found() {
        let mut console = Console::default();
        let say = |console: &mut Console, text: &str| console.add(text.as_bytes());
        assert_eq!(
            say(&mut console, "[ 7.03] device-mapper: verity: sha256 using implementation \"sha256-ni\"\r\n"),
            []
        );
        let line = "device-mapper: verity: 254:3: data block 17 is corrupted";
        assert_eq!(say(&mut console, &format!("[    9.1] {line}\r\n")), [Finding::Corrupted(line.into())]);
        assert_eq!(say(&mut console, &format!("[    9.2] {line}\r\n")), []);
    }

    #[test]
    fn a_panic_is_found_across_chunks_and_in_no_other_line() {
        let text = b"[    1.0] Run /init\n[    1.5] Kernel panic - not syncing: VFS: x\x1b[1m\r\n\
            [    1.6] ---[ end Kernel panic - not syncing: VFS: x ]---\r\nKernel panic - syncing\n";
        for chunk in [1, 3, 64, 4096] {
            let mut console = Console::default();
            let findings: Vec<Finding> = text.chunks(chunk).flat_map(|part| console.add(part)).collect();
            let message = "Kernel panic - not syncing: VFS: x\\x1b[1m";
            assert_eq!(findings, [Finding::Panic(message.into()), Finding::PanicEnd], "chunks of {chunk}");
            assert_eq!(console.last_panic(), Some(message));
        }
    }

    #[test]
    fn a_flood_stays_within_bounds() {
        let mut console = Console::default();
        for _ in 0..100 {
            assert_eq!(console.add(&[b'x'; 100_000]), []);
        }
        console.add(b"\nend");
        assert!(console.line.len() <= LINE && console.kept.len() == KEPT);
        assert!(console.into_kept().ends_with(b"x\nend"));
    }

    #[test]
    fn shown_text_moves_no_cursor() {
        let bytes = "a\\b\x1b[1;31mred\x1b[0m\r\nü\u{202e}\x07\x1b]0;title\x07\tz\n".as_bytes();
        let expected = "a\\bred\nü\\u{202e}\\x07\\x1b]0;title\\x07\tz\n";
        for chunk in 1..bytes.len() {
            let mut text = Text::default();
            let mut shown: String = bytes.chunks(chunk).map(|part| text.add(part)).collect();
            shown += &text.finish();
            assert_eq!(shown, expected, "chunks of {chunk}");
        }
        let mut text = Text::default();
        assert_eq!(text.add(b"\xffx\xc3") + &text.finish(), "\\xffx\\xc3");
        let endless = [b"\x1b[".as_slice(), &[b'1'; 100]].concat();
        assert!(Text::default().add(&endless).starts_with("\\x1b[1"));
    }

    #[test]
    fn the_last_lines_are_the_last_with_text() {
        assert_eq!(lines(b"a\n\nb\r\n   \nc", 2), ["b", "c"]);
        assert_eq!(lines(b"", 5), Vec::<String>::new());
    }
}
