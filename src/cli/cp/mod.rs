//! `bootdisk cp`: files into and out of a machine that runs, and out of a disk that does not.

mod archive;
mod disk;
mod side;

use self::side::Side;
use super::exec::{HELLO, connect};
use super::options::Global;
use super::report::WithHint;
use super::size;
use super::stdio::say;
use crate::copy::put::{Options, Put};
use crate::copy::record::{self, Writer};
use crate::copy::take::take;
use crate::copy::{COMMAND, Copy, Preface, Record, Sink};
use crate::escape::escape;
use crate::guest::channel::Outcome;
use crate::machines::{Entry, Registry};
use crate::session::Streams;
use crate::session::control::Exec;
use crate::session::control::attach::{Attached, attach};
use anyhow::{Context, Result, bail};
use clap_complete::engine::ArgValueCompleter;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

/// The end of the help.
const EXAMPLES: &str = "\
Examples:
  bootdisk cp web:/var/log/nginx .
  bootdisk cp nginx.conf web:/etc/nginx/
  bootdisk cp site/. web:/usr/share/nginx/html        What is in the folder, and not the folder itself
  bootdisk cp web:/etc - | tar -t                     A tar on standard output; a tar on standard input likewise
  bootdisk cp disk.qcow2:/etc/os-release .            Out of a disk that does not run

A path in a machine begins at its root. A path here with a colon in it begins with ./ or /. Files that are copied into a
machine keep the numbers of their owners, as docker cp leaves them. Files that are copied out are yours, without set-user-ID;
-a keeps owners and all of their modes.";

/// Bytes of a process's standard error that are kept.
const SAID: u64 = 64 << 10;

/// Arguments of `bootdisk cp`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// MACHINE:PATH, DISK:PATH, a path here, or `-` for a tar on standard input
    #[arg(add = ArgValueCompleter::new(super::candidates::machines))]
    source: OsString,
    /// MACHINE:PATH, a path here, or `-` for a tar on standard output
    #[arg(add = ArgValueCompleter::new(super::candidates::machines))]
    destination: OsString,
    /// Keep owners and all bits of the modes on this side, too
    #[arg(long, short)]
    archive: bool,
    /// Follow a link that is the source
    #[arg(long, short = 'L')]
    follow_link: bool,
}

/// Copies, and says on standard error how much.
pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let (from, to) = (Side::of(&args.source), Side::of(&args.destination));
    let copy = || match (&from, &to) {
        (_, Side::Disk(..)) => Err(WithHint {
            message: "a disk that does not run is only read".into(),
            hint: "bootdisk run -d --write DISK, then copy into the machine".into(),
        }
        .into()),
        (Side::Machine(..) | Side::Disk(..), Side::Machine(..)) => Err(WithHint {
            message: "one side is here: nothing is copied from machine to machine".into(),
            hint: "bootdisk cp ONE:PATH - | bootdisk cp - OTHER:FOLDER".into(),
        }
        .into()),
        (Side::Here(_) | Side::Stream, Side::Here(_) | Side::Stream) => Err(WithHint {
            message: "neither side is in a machine or on a disk".into(),
            hint: "bootdisk ps lists the machines; MACHINE:PATH, or DISK:PATH".into(),
        }
        .into()),
        (Side::Machine(name, path), here) => out_of_machine(args, name, path, here),
        (Side::Disk(disk, path), here) => {
            into(here, args, &mut |sink| disk::take(disk, path.as_bytes(), args.follow_link, sink, &mut note))
        }
        (here, Side::Machine(name, path)) => into_machine(args, here, name, path),
    };
    let bytes = copy()?;
    if !global.quiet {
        say(&format!("{} copied to {}\n", size::render(bytes), crate::escape::path(Path::new(&args.destination))));
    }
    Ok(ExitCode::SUCCESS)
}

fn note(text: &str) {
    say(&format!("note: {text}\n"));
}

/// Gives `fill` the sink for a place here. Bytes of the files that were copied.
fn into(here: &Side, args: &Args, fill: &mut dyn FnMut(&mut dyn Sink) -> Result<()>) -> Result<u64> {
    if let Side::Here(path) = here {
        let options = Options { owners: args.archive, trusted: false };
        let mut note = note;
        let mut counted = Counted::of(Put::new(path.as_bytes(), options, &mut note));
        fill(&mut counted)?;
        return Ok(counted.bytes);
    }
    if io::stdout().is_terminal() {
        return Err(WithHint {
            message: "a tar is not written to a terminal".into(),
            hint: "give a folder, or a pipe: bootdisk cp … - | tar -t".into(),
        }
        .into());
    }
    let mut counted = Counted::of(archive::Tar::new(BufWriter::new(io::stdout().lock())));
    fill(&mut counted)?;
    Ok(counted.bytes)
}

/// A sink that counts the bytes of files.
struct Counted<S> {
    sink: S,
    bytes: u64,
}

impl<S: Sink> Counted<S> {
    fn of(sink: S) -> Counted<S> {
        Counted { sink, bytes: 0 }
    }
}

impl<S: Sink> Sink for Counted<S> {
    fn begin(&mut self, preface: &Preface) -> io::Result<()> {
        self.sink.begin(preface)
    }
    fn put(&mut self, record: &Record, body: &mut dyn Read) -> io::Result<()> {
        if let crate::copy::Kind::File(length) = record.kind {
            self.bytes += length;
        }
        self.sink.put(record, body)
    }
    fn end(&mut self) -> io::Result<()> {
        self.sink.end()
    }
}

fn out_of_machine(args: &Args, name: &str, path: &str, here: &Side) -> Result<u64> {
    let entry = Registry::of_user()?.find_running(Some(name))?;
    let (records, out) = io::pipe()?;
    let copy = Copy::Out { path: path.to_owned(), follow: args.follow_link };
    let mut ends = Some((records, out));
    into(here, args, &mut |sink| {
        let (from, out) = ends.take().context("it is read once")?;
        let (read, ended) = thread::scope(|scope| {
            let (entry, copy) = (&entry, copy.clone());
            let process = scope.spawn(move || process(entry, copy, nothing()?, out));
            // The pipe goes with this reader, and the process with the pipe.
            let read = record::read(&mut BufReader::new(from), sink);
            (read, process.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        settle(read, ended)
    })
}

fn into_machine(args: &Args, here: &Side, name: &str, path: &str) -> Result<u64> {
    let entry = Registry::of_user()?.find_running(Some(name))?;
    let (input, records) = io::pipe()?;
    let copy = Copy::In { path: path.to_owned() };
    let out = File::options().write(true).open("/dev/null")?;
    thread::scope(|scope| {
        let entry = &entry;
        let process = scope.spawn(move || process(entry, copy, input, out));
        let gone = records.try_clone()?;
        let mut counted = Counted::of(Writer::new(BufWriter::new(records)));
        let given = match here {
            Side::Here(path) => take(path.as_bytes(), args.follow_link, &mut counted, &mut note),
            _ => {
                // Not the library's own, in whose buffer something may wait unseen.
                let from = File::from(io::stdin().as_fd().try_clone_to_owned()?);
                archive::take(&mut WhileHeard { from, by: &gone }, &mut counted, &mut note)
            }
        };
        drop(gone);
        let bytes = counted.bytes;
        // What is not whole does not end as if it were.
        drop(counted);
        let ended = process.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        settle(given, ended).map(|()| bytes)
    })
}

/// Of the two ends' faults the one that is the cause.
fn settle(here: io::Result<()>, there: Result<()>) -> Result<()> {
    match (here, there) {
        (Ok(()), there) => there,
        (Err(error), Err(there))
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe) =>
        {
            Err(there)
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// A stream that is read for as long as somebody reads the pipe that it goes on into.
struct WhileHeard<'a, R> {
    from: R,
    by: &'a PipeWriter,
}

impl<R: Read + AsFd> Read for WhileHeard<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut fds =
            [PollFd::new(self.from.as_fd(), PollFlags::POLLIN), PollFd::new(self.by.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any() == Some(true) => return Err(io::ErrorKind::BrokenPipe.into()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.from.read(buffer)
    }
}

fn nothing() -> io::Result<File> {
    File::open("/dev/null")
}

/// Runs the copy in a machine to its end, with these as its standard input and output.
fn process(
    entry: &Entry,
    copy: Copy,
    stdin: impl Into<std::os::fd::OwnedFd>,
    stdout: impl Into<std::os::fd::OwnedFd>,
) -> Result<()> {
    let takes = matches!(copy, Copy::In { .. });
    let (said, stderr) = io::pipe()?;
    let streams = Streams { stdin: stdin.into(), stdout: stdout.into(), stderr: stderr.into() };
    let exec = Exec { command: vec![COMMAND.into()], stdin: takes, copy: Some(copy), ..Exec::default() };
    let connection = connect(entry, HELLO)?;
    let (attached, said) = thread::scope(|scope| {
        let said = scope.spawn(move || heard(said));
        let attached = attach(connection, exec, streams);
        (attached, said.join().unwrap_or_default())
    });
    let name = &entry.record.name;
    let (notes, error): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| line.starts_with("note: "));
    notes.iter().for_each(|line| say(&format!("{}\n", escape(line.as_bytes()))));
    match attached.with_context(|| format!("in {name}"))? {
        Attached::Ended(Outcome::Exited(0)) => Ok(()),
        Attached::Ended(Outcome::NotStarted { reason, .. }) if reason.contains(COMMAND) => Err(WithHint {
            message: format!("the disk of {name} was made by an earlier bootdisk, whose machines copy nothing"),
            hint: format!("build the disk again; or bootdisk exec {name} tar"),
        }
        .into()),
        Attached::Ended(Outcome::NotStarted { reason, .. }) => bail!("in {name}: {}", escape(reason.as_bytes())),
        Attached::Ended(outcome) => match error.last() {
            Some(line) => bail!("in {name}: {}", escape(line.as_bytes())),
            None => bail!("in {name}: the copy ended with status {}", outcome.status()),
        },
        Attached::Lost(reason) => bail!("the copy is incomplete: {reason}"),
        Attached::Left(_) => bail!("the copy was interrupted"),
    }
}

/// What a process says on its standard error; beyond a bound it is read and forgotten.
fn heard(mut from: PipeReader) -> String {
    let mut said = Vec::new();
    _ = (&mut from).take(SAID).read_to_end(&mut said);
    _ = io::copy(&mut from, &mut io::sink());
    String::from_utf8_lossy(&said).into_owned()
}
