//! The floor `bootdisk build` is measured against: inflates gzip and zstd files to nowhere, with the decoders bootdisk
//! inflates layers with, one file at a time or as many as there are processors. `scripts/bench` runs it; it hashes,
//! parses and writes nothing.
//!
//! ```text
//! decompress [--all-cores] FILE...
//! ```

#![allow(clippy::print_stdout, reason = "its output is its result")]

use bootdisk::image::inflate::{HISTORY, Inflater, MARGIN, Stop, Target};
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

/// Bytes read and inflated at a time.
const BUFFER: usize = 256 * 1024;

fn main() -> io::Result<()> {
    let mut files: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let all_cores = files.first().is_some_and(|first| first == Path::new("--all-cores"));
    if all_cores {
        files.remove(0);
    }
    let threads = if all_cores { thread::available_parallelism()?.get() } else { 1 };
    let files = Mutex::new(files.into_iter());
    let next = || files.lock().expect("nobody panics with the lock").next();
    let work = || {
        let mut total = 0;
        while let Some(path) = next() {
            total += inflate(&path)?;
        }
        Ok(total)
    };
    let total: io::Result<u64> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker reports errors, it does not panic")).sum()
    });
    println!("{}", total?);
    Ok(())
}

/// Inflates a file whose first bytes say how it is compressed; returns the number of bytes in it.
fn inflate(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        members(file)
    } else if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        count(zstd::Decoder::with_buffer(file)?)
    } else {
        count(file)
    }
}

fn count(mut from: impl Read) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(total),
            read => total += read as u64,
        }
    }
}

/// All gzip members. Headers with extra fields are not expected here.
fn members(mut file: impl BufRead) -> io::Result<u64> {
    let mut inflater = Inflater::default();
    let mut buffer = vec![0; HISTORY + BUFFER + MARGIN];
    let mut total = 0;
    while !file.fill_buf()?.is_empty() {
        let mut header = [0; 10];
        file.read_exact(&mut header)?;
        if header[3] & 8 != 0 {
            file.read_until(0, &mut Vec::new())?;
        }
        inflater.reset();
        total += member(&mut file, &mut inflater, &mut buffer)?;
        let trailer = 8 - std::iter::from_fn(|| inflater.leftover()).count();
        file.read_exact(&mut [0; 8][..trailer])?;
    }
    Ok(total)
}

fn member(file: &mut impl BufRead, inflater: &mut Inflater, buffer: &mut [u8]) -> io::Result<u64> {
    let (mut at, mut total) = (HISTORY, 0u64);
    loop {
        let input = file.fill_buf()?;
        if input.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let history = (total + (at - HISTORY) as u64).min(at as u64) as usize;
        let mut target = Target { bytes: &mut *buffer, floor: at - history, at };
        let (read, stop) =
            inflater.run(input, &mut target).map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        at = target.at;
        file.consume(read);
        if stop != Stop::Input {
            total += (at - HISTORY) as u64;
            if stop == Stop::End {
                return Ok(total);
            }
            buffer.copy_within(at - HISTORY..at, 0);
            at = HISTORY;
        }
    }
}
