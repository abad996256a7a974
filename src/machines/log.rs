//! The output of a detached machine: two streams in one bounded log.
//!
//! ```text
//! log.0, log.1, …   segments of at most SEGMENT bytes and a record; the last two are kept
//!
//! record: stream    zero (3)   length     bytes
//!         u8: 1, 2             u32 LE
//! ```
//!
//! So a log has the last 4 to 8 MiB of output. It lies in the runtime directory, which usually is memory. Records are
//! appended whole, so a reader that meets half of one only has to wait for the rest.
//!
//! Not supported: times of the lines.

use crate::escape::os_error;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

/// A segment of at least this size is followed by another one.
const SEGMENT: u64 = 4 << 20;
/// Bytes before a record's own.
const HEADER: usize = 8;
/// Longest record.
const LONGEST: usize = 65_536;

/// Which stream a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error, and what bootdisk says of the machine.
    Stderr = 2,
}

/// Writes a machine's log from two pipes, on a thread of its own.
pub struct Logger {
    thread: JoinHandle<Option<String>>,
    /// What is written here is the log's standard output.
    pub stdout: OwnedFd,
    /// What is written here is the log's standard error.
    pub stderr: OwnedFd,
}

impl Logger {
    /// Begins a log in a machine's folder.
    pub(super) fn start(dir: &Path) -> io::Result<Logger> {
        let mut writer = Writer::create(dir, SEGMENT)?;
        let ((stdout, stdout_end), (stderr, stderr_end)) = (io::pipe()?, io::pipe()?);
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            writer.copy([(Stream::Stdout, stdout), (Stream::Stderr, stderr)]);
            writer.lost.map(|lost| lost.sentence())
        })?;
        Ok(Logger { thread, stdout: stdout_end.into(), stderr: stderr_end.into() })
    }

    /// Waits until everything is written. Every copy of the two descriptors must be closed. Returns what is missing at
    /// its end, and why.
    pub fn finish(self) -> Option<String> {
        drop((self.stdout, self.stderr));
        // Its panic would have been seen.
        self.thread.join().ok().flatten()
    }
}

/// Output that could not be written.
struct Lost {
    bytes: usize,
    cause: io::Error,
}

impl Lost {
    fn sentence(&self) -> String {
        format!("{} bytes of the output are not in the log: {}", self.bytes, os_error(&self.cause))
    }
}

/// Appends records, and drops the oldest.
struct Writer {
    dir: PathBuf,
    limit: u64,
    number: u64,
    file: File,
    size: u64,
    /// Since the last record.
    lost: Option<Lost>,
}

impl Writer {
    fn create(dir: &Path, limit: u64) -> io::Result<Writer> {
        Ok(Writer { dir: dir.to_owned(), limit, number: 0, file: create(&segment(dir, 0))?, size: 0, lost: None })
    }

    /// Copies both pipes to their end.
    fn copy(&mut self, pipes: [(Stream, PipeReader); 2]) {
        let mut open: Vec<(Stream, PipeReader)> = pipes.into();
        let mut buffer = vec![0; LONGEST];
        while !open.is_empty() {
            let mut fds: Vec<PollFd> =
                open.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
            _ = poll(&mut fds, PollTimeout::NONE);
            let ready: Vec<bool> = fds.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect();
            let mut ready = ready.into_iter();
            open.retain_mut(|(stream, pipe)| {
                if !ready.next().unwrap_or(false) {
                    return true;
                }
                match pipe.read(&mut buffer) {
                    Ok(0) => false,
                    Ok(n) => {
                        self.keep(*stream, &buffer[..n]);
                        true
                    }
                    Err(error) => error.kind() == io::ErrorKind::Interrupted,
                }
            });
        }
    }

    /// A full disk loses the log and must not stop the machine; as soon as there is room, the log says what it lacks.
    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        let said = match &self.lost {
            Some(lost) => self.append(Stream::Stderr, format!("bootdisk: {}\n", lost.sentence()).as_bytes()),
            None => Ok(()),
        };
        if said.is_ok() {
            self.lost = None;
        }
        if let Err(cause) = said.and_then(|()| self.append(stream, bytes)) {
            let before = self.lost.as_ref().map_or(0, |lost| lost.bytes);
            self.lost = Some(Lost { bytes: before + bytes.len(), cause });
        }
    }

    fn append(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.size >= self.limit {
            let next = create(&segment(&self.dir, self.number + 1))?;
            (self.file, self.number, self.size) = (next, self.number + 1, 0);
            if let Some(old) = self.number.checked_sub(2) {
                _ = fs::remove_file(segment(&self.dir, old));
            }
        }
        let mut record = vec![stream as u8, 0, 0, 0];
        record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        record.extend_from_slice(bytes);
        if let Err(error) = self.file.write_all(&record) {
            // Half a record would make the rest unreadable.
            _ = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += record.len() as u64;
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("log.{number}"))
}

/// When the log in a folder was last written to, in seconds since the epoch.
pub(super) fn last_written(dir: &Path) -> Option<u64> {
    let segments = std::fs::read_dir(dir).ok()?.flatten();
    let segments = segments.filter(|found| found.file_name().as_encoded_bytes().starts_with(b"log."));
    let times = segments.filter_map(|found| found.metadata().ok()?.modified().ok());
    times.max()?.duration_since(std::time::UNIX_EPOCH).ok().map(|time| time.as_secs())
}

/// Reads a machine's log, which may still be growing.
pub struct Reader {
    dir: PathBuf,
    current: Option<(u64, File)>,
    bytes: Vec<u8>,
}

impl Reader {
    /// The log in a machine's folder, from the oldest record there is.
    pub fn open(dir: &Path) -> Reader {
        Reader { dir: dir.to_owned(), current: None, bytes: Vec::new() }
    }

    /// The next record, `None` when there is none now.
    ///
    /// # Errors
    /// When the log cannot be read, or is damaged.
    pub fn next_record(&mut self) -> io::Result<Option<(Stream, Vec<u8>)>> {
        loop {
            if let Some(record) = self.take_record()? {
                return Ok(Some(record));
            }
            if self.fill()? {
                continue;
            }
            // Whether there is a next segment must be known before this one was found to be at its end.
            let next = self.next_segment();
            if self.fill()? {
                continue;
            }
            let Some((number, file)) = next else { return Ok(None) };
            self.bytes.clear();
            self.current = Some((number, file));
        }
    }

    /// Reads once; whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        let Some((_, file)) = &mut self.current else { return Ok(false) };
        let before = self.bytes.len();
        file.take(LONGEST as u64).read_to_end(&mut self.bytes)?;
        Ok(self.bytes.len() > before)
    }

    /// The oldest segment after the current one.
    fn next_segment(&self) -> Option<(u64, File)> {
        let after = self.current.as_ref().map(|(number, _)| *number);
        let number = |name: &std::ffi::OsStr| name.to_str()?.strip_prefix("log.")?.parse::<u64>().ok();
        let found = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut numbers: Vec<u64> = found.filter_map(|entry| number(&entry.file_name())).collect();
        numbers.retain(|&number| after.is_none_or(|after| number > after));
        numbers.sort_unstable();
        // One may be dropped while we look.
        numbers.into_iter().find_map(|number| Some((number, File::open(segment(&self.dir, number)).ok()?)))
    }

    fn take_record(&mut self) -> io::Result<Option<(Stream, Vec<u8>)>> {
        let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let stream = match header[0] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged")),
        };
        if length > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the log is damaged"));
        }
        let Some(record) = self.bytes.get(HEADER..HEADER + length) else { return Ok(None) };
        let record = record.to_vec();
        self.bytes.drain(..HEADER + length);
        Ok(Some((stream, record)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let logger = Logger::start(dir.path()).unwrap();
        let (mut out, err) = (File::from(logger.stdout.try_clone().unwrap()), &logger.stderr);
        let mut reader = Reader::open(dir.path());
        for round in 0..3 {
            out.write_all(format!("out {round}\n").as_bytes()).unwrap();
            let next = |reader: &mut Reader| {
                let started = std::time::Instant::now();
                loop {
                    if let Some(record) = reader.next_record().unwrap() {
                        return record;
                    }
                    assert!(started.elapsed().as_secs() < 10);
                    thread::sleep(std::time::Duration::from_millis(1));
                }
            };
            assert_eq!(next(&mut reader), (Stream::Stdout, format!("out {round}\n").into_bytes()));
            nix::unistd::write(err, b"err\n").unwrap();
            assert_eq!(next(&mut reader), (Stream::Stderr, b"err\n".to_vec()));
        }
        drop(out);
        logger.finish();
        assert_eq!(reader.next_record().unwrap(), None);
    }

    #[test]
    fn the_log_is_bounded_and_a_slow_reader_loses_only_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), 1000).unwrap();
        let mut slow = Reader::open(dir.path());
        let mut numbers = Vec::new();
        for number in 0..2000u32 {
            writer.append(Stream::Stdout, &number.to_le_bytes()).unwrap();
            if number % 500 == 0 {
                numbers.push(slow.next_record().unwrap().unwrap().1);
            }
        }
        let size: u64 = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(size < 2100, "{size}");
        numbers.extend(std::iter::from_fn(|| slow.next_record().unwrap()).map(|(_, bytes)| bytes));
        let numbers: Vec<u32> =
            numbers.into_iter().map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&1999));
    }

    #[test]
    fn what_a_full_disk_keeps_out_of_the_log_is_said_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), SEGMENT).unwrap();
        let whole = std::mem::replace(&mut writer.file, File::options().write(true).open("/dev/full").unwrap());
        writer.keep(Stream::Stdout, b"lost");
        writer.keep(Stream::Stdout, b"too");
        writer.file = whole;
        writer.keep(Stream::Stdout, b"kept");
        let mut reader = Reader::open(dir.path());
        let said = "bootdisk: 7 bytes of the output are not in the log: no space left on device\n";
        assert_eq!(reader.next_record().unwrap(), Some((Stream::Stderr, said.into())));
        assert_eq!(reader.next_record().unwrap(), Some((Stream::Stdout, b"kept".to_vec())));
        assert_eq!(reader.next_record().unwrap(), None);
    }

    #[test]
    fn a_damaged_log_is_no_endless_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment(dir.path(), 0), [3; 64]).unwrap();
        assert!(Reader::open(dir.path()).next_record().is_err());
    }
}
