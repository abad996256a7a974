//! Errors as people read them: one sentence with its causes, then a hint on its own line.

use super::stdio;
use crate::escape::{chain, printable};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Exit status when a command failed.
pub const FAILED: u8 = 1;
/// Exit status of `run` when bootdisk or the machine failed, as opposed to the workload.
pub const MACHINE_FAILED: u8 = 125;

/// An error that knows what to do about it. Any error of a chain may be one.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WithHint {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// The exit status of a command; an error is printed.
pub fn exit(result: anyhow::Result<ExitCode>, failed: u8) -> ExitCode {
    match result {
        Ok(code) => code,
        // Whoever read our output has read enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(128 + libc::SIGPIPE as u8),
        Err(error) => {
            tell(&error);
            ExitCode::from(failed)
        }
    }
}

/// Prints an error.
pub fn tell(error: &anyhow::Error) {
    stdio::say(&render(error, may_colour(&std::io::stderr())));
}

/// Help and version, which are data, or what is wrong with the arguments: `status` is for the latter. The exit status.
pub fn told_by_clap(error: &clap::Error, status: u8) -> ExitCode {
    // Its own colours, where there is a terminal for them.
    match error.print() {
        Err(cause) if !error.use_stderr() => exit(Err(stdio::output_lost(cause).into()), FAILED),
        _ => ExitCode::from(status),
    }
}

/// Whether a command ended because nobody reads its standard output any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.and_then(stdio::stream_error).is_some_and(stdio::StreamError::reader_has_gone)
}

/// Whether a stream may get colours: it is a terminal that has some, and NO_COLOR (no-color.org) does not say no.
pub fn may_colour(stream: &impl IsTerminal) -> bool {
    let wanted = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    stream.is_terminal() && wanted("NO_COLOR").is_none() && wanted("TERM").is_none_or(|term| term != "dumb")
}

/// An error as one line, its hint included.
pub fn sentence(error: &anyhow::Error) -> String {
    let text = one_line(&chain(error.as_ref())).replace('\n', "; ");
    match hint(error) {
        Some(hint) => format!("{text} ({})", hint.trim_end()),
        None => text,
    }
}

/// `error: what: because: because`, and `hint: remedy`. Both lines are printable text whatever they quote.
fn render(error: &anyhow::Error, colour: bool) -> String {
    let (red, cyan, plain) = if colour { ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error{plain}: {}\n", one_line(&chain(error.as_ref())));
    if let Some(hint) = hint(error) {
        _ = writeln!(text, "{cyan}hint{plain}: {}", hint.trim_end());
    }
    text
}

/// The last defence: what a deeper part did not escape is escaped here, keeping the backslashes of what it did.
/// A list of choices keeps its lines.
fn one_line(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(hint_of)
}

/// The remedy an error names itself. An error type with hints is listed here and nowhere else.
fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    macro_rules! from {
        ($type:ty, $hint:expr) => {
            if let Some(error) = cause.downcast_ref::<$type>() {
                let hint: fn(&$type) -> Option<String> = $hint;
                if let Some(hint) = hint(error) {
                    return Some(hint);
                }
            }
        };
    }
    from!(WithHint, |e| Some(e.hint.clone()));
    from!(std::io::Error, |e| crate::once::Taken::of(e).map(|taken| taken.hint().to_owned()));
    from!(crate::added::AddError, |e| e.hint());
    from!(crate::convert::SizeError, |e| Some(e.hint()));
    from!(crate::convert::VerityError, |e| Some(e.hint()));
    from!(crate::convert::LoginError, |e| Some(e.hint().to_owned()));
    from!(crate::inspect::InspectError, |e| e.hint());
    from!(super::smoke::SpecError, |e| e.hint().map(str::to_owned));
    from!(crate::source::SourceError, |e| e.hint());
    from!(crate::registry::RegistryError, |e| e.hint());
    from!(crate::registry::Failed, |e| e.hint());
    from!(crate::source::ReferenceError, |e| e.hint().map(str::to_owned));
    from!(crate::image::BlobError, |e| e.hint().map(str::to_owned));
    from!(crate::kernel::KernelError, |e| e.hint());
    from!(crate::mirror::MirrorError, |e| e.hint());
    from!(crate::disk::gpt::LayoutError, layout);
    from!(crate::publish::FileError, |e| e.hint());
    from!(crate::boot::BootError, |e| e.hint());
    from!(crate::swap::SignedError, |e| Some(e.hint().to_owned()));
    from!(crate::signing::SigningError, |e| e.hint());
    from!(crate::swap::GuestModulesError, |e| Some(e.hint().to_owned()));
    from!(crate::boot::existing::ExistingError, |e| e.hint());
    from!(crate::recognise::Refusal, |e| e.hint());
    from!(crate::boot::exchange::ExchangeError, |e| e.hint().map(str::to_owned));
    from!(crate::boot::loader::LoaderError, |e| Some(e.hint().to_owned()));
    from!(crate::pid1::Missing, |e| Some(e.hint()));
    from!(crate::qemu::RunError, |e| e.hint());
    from!(crate::volumes::VolumeError, |e| e.hint());
    from!(crate::fit::Unfit, |e| e.hint());
    from!(crate::machines::MachineError, |e| e.hint());
    from!(crate::own_folder::FolderError, |e| e.hint());
    from!(crate::session::control::ControlError, |e| e.hint().map(str::to_owned));
    None
}

/// Which options make a layout that exists.
fn layout(error: &crate::disk::gpt::LayoutError) -> Option<String> {
    use crate::disk::gpt::LayoutError::{DiskSize, EmptyRoot, EspSize, TooLarge, TooSmall};
    Some(match error {
        EspSize(_) => "give --esp-size in whole MiB, at least 33M".into(),
        DiskSize(size) => format!("give --size in whole sectors: {}", size.next_multiple_of(512)),
        TooSmall { needed, .. } => format!("give --size {}M or more, or omit it", needed.div_ceil(1 << 20)),
        TooLarge(_) => "give a smaller --size".into(),
        EmptyRoot => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_chain_reads_as_one_sentence() {
        let error = Err::<(), _>(WithHint { message: "no kernel".into(), hint: "add one".into() })
            .context("cannot build from app.tar")
            .unwrap_err();
        assert_eq!(render(&error, false), "error: cannot build from app.tar: no kernel\nhint: add one\n");
    }

    #[test]
    fn what_the_system_says_is_a_part_of_the_sentence() {
        let error = Err::<(), _>(std::io::Error::from_raw_os_error(2)).context("cannot open x").unwrap_err();
        assert_eq!(render(&error, false), "error: cannot open x: no such file or directory\n");
        let error = anyhow::Error::from(std::io::Error::other("Own Words")).context("cannot read x");
        assert_eq!(render(&error, false), "error: cannot read x: Own Words\n");
    }

    #[test]
    fn nothing_quoted_reaches_the_terminal_raw() {
        let error = anyhow::anyhow!("bad name: a\\x1bb\x1b[2J\u{202e}");
        assert_eq!(render(&error, false), "error: bad name: a\\x1bb\\x1b[2J\\u{202e}\n");
    }
}
