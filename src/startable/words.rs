//! What the words of a process say by themselves: no userland is needed for it.
//!
//! Source: execve(2), "Limits on size of arguments and environment"; Linux, include/uapi/linux/binfmts.h and fs/exec.c.

use super::Doubt;
use crate::escape::escape;
use crate::guest::signal;
use crate::guest::spec::{Init, Process};

/// The most bytes of one argument or variable, its NUL left out: `MAX_ARG_STRLEN` is 32 pages of 4 KiB.
const MOST: usize = 32 * 4096 - 1;
/// The most bytes of all of them: a quarter of the stack's limit of 8 MiB.
const MOST_OF_ALL: usize = 2 << 20;
/// Each has a NUL and a pointer.
const BESIDE: usize = 1 + 8;
/// Characters of one that is too long that are shown.
const SHOWN: usize = 40;

/// What is wrong with the words of a process.
pub fn in_words(process: &Process, init: Init) -> Vec<Doubt> {
    let arguments = || process.words();
    let mut all = Vec::new();
    if init != Init::Image && arguments().next().is_none() {
        all.push(Doubt::NoCommand);
    }
    let signal = process.stop_signal.as_deref().filter(|text| !text.is_empty());
    all.extend(signal.filter(|text| signal::parse(text).is_none()).map(|text| Doubt::StopSignal(text.to_owned())));
    let words = arguments().map(|word| ("argument", word));
    let words = words.chain(process.env.iter().map(|entry| ("environment variable", entry)));
    if let Some((what, word)) = words.clone().find(|(_, word)| word.len() > MOST) {
        let start = escape(word.chars().take(SHOWN).collect::<String>().as_bytes());
        all.push(Doubt::TooLong { what, length: word.len(), most: MOST, start });
    }
    let length = words.map(|(_, word)| word.len() + BESIDE).sum();
    if length > MOST_OF_ALL {
        all.push(Doubt::AllTooLong { length, most: MOST_OF_ALL });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(cmd: &[&str]) -> Process {
        Process { cmd: cmd.iter().map(|&word| word.to_owned()).collect(), ..Process::default() }
    }

    fn said(process: &Process) -> Vec<String> {
        in_words(process, Init::Container).iter().map(Doubt::to_string).collect()
    }

    #[test]
    fn signals_that_a_runtime_takes_are_taken() {
        for (text, good) in [
            ("SIGTERM", true),
            ("term", true),
            ("15", true),
            ("RTMIN+3", true),
            ("", true),
            ("SIGFOO", false),
            ("0", false),
            ("65", false),
            ("SIGTERM ", false),
        ] {
            let process = Process { stop_signal: Some(text.into()), ..process(&["sh"]) };
            assert_eq!(said(&process).is_empty(), good, "{text}");
        }
        let odd = Process { stop_signal: Some("\u{1b}[2J".into()), ..process(&["sh"]) };
        assert!(said(&odd)[0].ends_with("SIGTERM will be used: \\x1b[2J"), "{:?}", said(&odd));
    }

    #[test]
    fn what_no_kernel_executes_is_named_with_its_limit() {
        let long = "x".repeat(MOST);
        assert!(said(&process(&["sh", &long])).is_empty());
        let longer = long + "x";
        let expected = "argument of 131072 bytes, and no kernel starts a command with more than 131071: xxx";
        assert!(said(&process(&["sh", &longer]))[0].starts_with(expected));
        let variable = Process { env: vec![format!("A={longer}")], ..process(&["sh"]) };
        assert!(said(&variable)[0].starts_with("environment variable of 131074 bytes"), "{:?}", said(&variable));
        let many = vec!["x".repeat(1000); 2100];
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(said(&process(&many))[0].starts_with("arguments and environment of 2118900 bytes"));
    }

    #[test]
    fn an_image_without_a_command_starts_only_its_own_init() {
        assert_eq!(in_words(&process(&[]), Init::Container), [Doubt::NoCommand]);
        assert_eq!(in_words(&process(&[]), Init::Image), []);
    }
}
