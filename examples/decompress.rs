//! The floor `bootdisk build` is measured against: inflates gzip and zstd files to nowhere, one after the other, with
//! the libraries bootdisk inflates layers with. `scripts/bench` runs it; it hashes, parses and writes nothing.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes read and inflated at a time.
const BUFFER: usize = 256 * 1024;

fn main() -> io::Result<()> {
    let mut total = 0;
    for path in env::args_os().skip(1) {
        total += inflate(Path::new(&path))?;
    }
    println!("{total}");
    Ok(())
}

/// Inflates a file whose first bytes say how it is compressed; returns the number of bytes in it.
fn inflate(path: &Path) -> io::Result<u64> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let start = file.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        count(flate2::bufread::MultiGzDecoder::new(file))
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
