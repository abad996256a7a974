//! The first line of a script as the kernel reads it, and what is wrong with one that it does not start.
//!
//! ```text
//!  #! /bin/sh -e\n     interpreter "/bin/sh", one argument "-e"
//!  #!/bin/sh\r\n       interpreter "/bin/sh\r": Windows ends its lines so, and nobody sees it
//! ```
//!
//! Source: Linux, fs/binfmt_script.c, `load_script`, and `BINPRM_BUF_SIZE`.

/// The most bytes of a line that the kernel looks at.
pub const LINE: usize = 255;
/// Some editors begin a file with it; the kernel looks for `#!` in the first two bytes.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// What is executed; empty when the line names nothing.
    pub interpreter: &'a [u8],
    /// The rest of the line: one word for the interpreter.
    pub argument: Option<&'a [u8]>,
    /// The interpreter's name goes on where the kernel stops to look.
    cut: bool,
}

/// The first line of a file that begins with these bytes; `None` for what is no script.
pub fn read(head: &[u8]) -> Option<Script<'_>> {
    let text = head.get(..head.len().min(LINE)).and_then(|head| head.strip_prefix(b"#!"))?;
    let end = text.iter().position(|byte| *byte == b'\n');
    let line = &text[..end.unwrap_or(text.len())];
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !is_space(byte)).unwrap_or(line.len());
    let last = line.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let line = &line[start..last];
    let name = line.iter().position(|byte| is_space(byte) || *byte == 0).unwrap_or(line.len());
    let rest = line[name..].iter().position(|byte| !is_space(byte)).map(|at| &line[name + at..]);
    let whole = end.is_some() || name < line.len() || head.len() < LINE;
    Some(Script { interpreter: &line[..name], argument: rest.filter(|rest| rest.first() != Some(&0)), cut: !whole })
}

/// What keeps a file that begins with these bytes from being started as a script, or its interpreter from doing so; one
/// part of a sentence, which quotes the line as it is: who shows it escapes it.
pub fn fault(head: &[u8]) -> Option<String> {
    if head.strip_prefix(BYTE_ORDER_MARK).is_some_and(|rest| rest.starts_with(b"#!")) {
        return Some("a byte order mark before its #!, which the kernel does not accept".into());
    }
    let script = read(head)?;
    let ends_so = |word: &[u8]| word.last() == Some(&b'\r');
    let shown = |word: &[u8]| String::from_utf8_lossy(word.strip_suffix(b"\r").unwrap_or(word)).into_owned();
    match script {
        Script { interpreter: b"" | b"\r", .. } => Some("no interpreter behind its #!".into()),
        Script { cut: true, .. } => Some(format!("a first line of more than {LINE} bytes, which the kernel cuts")),
        Script { interpreter, .. } if ends_so(interpreter) => Some(format!(
            "a carriage return at the end of its first line, behind the interpreter {}",
            shown(interpreter)
        )),
        Script { argument: Some(argument), .. } if ends_so(argument) => {
            Some(format!("a carriage return at the end of its first line, behind the argument {}", shown(argument)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_what_the_kernel_makes_of_it() {
        for (head, interpreter, argument) in [
            ("#!/bin/sh\n", "/bin/sh", None),
            ("#!/bin/sh", "/bin/sh", None),
            ("#! /bin/sh\n", "/bin/sh", None),
            ("#!\t /bin/sh \t\n", "/bin/sh", None),
            ("#!/usr/bin/env  bash -x \nrest", "/usr/bin/env", Some("bash -x")),
            ("#!/bin/sh\r\n", "/bin/sh\r", None),
            ("#!/usr/bin/env bash\r\n", "/usr/bin/env", Some("bash\r")),
            ("#!\n", "", None),
            ("#!", "", None),
            ("#!/bin/sh\0x\n", "/bin/sh", None),
        ] {
            let script = read(head.as_bytes()).unwrap();
            let words = (script.interpreter, script.argument);
            assert_eq!(words, (interpreter.as_bytes(), argument.map(str::as_bytes)), "{head:?}");
        }
        for head in ["", "#", "!#", "\u{feff}#!/bin/sh\n", "\x7fELF"] {
            assert_eq!(read(head.as_bytes()), None, "{head:?}");
        }
    }

    #[test]
    fn what_nobody_sees_in_a_first_line_is_named() {
        let long = format!("#!/{}\n", "x".repeat(300));
        let long_argument = format!("#!/bin/sh {}\n", "x".repeat(300));
        let just_fits = format!("#!/{}\n", "x".repeat(LINE - 4));
        for (head, fault) in [
            ("#!/bin/sh\n", None),
            ("#! /bin/sh -e\n", None),
            (&just_fits, None),
            (&long_argument, None),
            ("#!/bin/sh\r\n", Some("a carriage return at the end of its first line, behind the interpreter /bin/sh")),
            ("#!/bin/sh\r", Some("a carriage return at the end of its first line, behind the interpreter /bin/sh")),
            ("#!/bin/sh -e\r\n", Some("a carriage return at the end of its first line, behind the argument -e")),
            (
                "#!/usr/bin/env bash\r\n",
                Some("a carriage return at the end of its first line, behind the argument bash"),
            ),
            ("#!/bin/sh\rx\n", None),
            ("\u{feff}#!/bin/sh\n", Some("a byte order mark before its #!, which the kernel does not accept")),
            ("#!\n/bin/sh", Some("no interpreter behind its #!")),
            ("#!", Some("no interpreter behind its #!")),
            ("#! \r\n", Some("no interpreter behind its #!")),
            (&long, Some("a first line of more than 255 bytes, which the kernel cuts")),
            ("", None),
            ("\x7fELF", None),
            ("\u{feff}x", None),
        ] {
            assert_eq!(super::fault(head.as_bytes()).as_deref(), fault, "{head:?}");
        }
    }
}
