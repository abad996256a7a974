//! gzip, RFC 1952: any number of members one after the other, then nothing or zeros.
//!
//! ```text
//!  1f 8b 08 FLG MTIME XFL OS │ FEXTRA? FNAME? FCOMMENT? FHCRC? │ deflate data │ CRC-32 │ length mod 2^32
//! ```
//!
//! Header fields are passed over, not kept. CRC and length of every member are checked. Anything after the last member
//! but zeros is refused: gzip(1) ignores it with a warning, and what two readers may read differently is no layer.

use crate::image::Format;
use crate::image::blob::BlobFault;
use crate::image::inflate::{Inflater, Stop};
use crate::image::stream::{Halt, Input, Output};
use flate2::Crc;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Longest FNAME or FCOMMENT, in bytes. Both are for people.
const MAX_TEXT: usize = 64 << 10;

/// Decodes all members.
pub fn decode(input: &mut Input, output: &mut Output) -> Result<(), Halt> {
    let mut inflater = Inflater::default();
    loop {
        header(input)?;
        inflater.reset();
        body(input, output, &mut inflater)?;
        match input.fill()? {
            [] => return Ok(()),
            [0, ..] => return only_zeros(input),
            _ => {}
        }
    }
}

fn damaged(what: &str) -> Halt {
    BlobFault::Damaged(Format::Gzip, what.into()).into()
}

fn byte(input: &mut Input) -> Result<u8, Halt> {
    let Some(&byte) = input.fill()?.first() else { return Err(BlobFault::CutShort(Format::Gzip).into()) };
    input.consume(1);
    Ok(byte)
}

fn bytes<const N: usize>(input: &mut Input) -> Result<[u8; N], Halt> {
    let mut array = [0; N];
    for slot in &mut array {
        *slot = byte(input)?;
    }
    Ok(array)
}

fn header(input: &mut Input) -> Result<(), Halt> {
    let [id1, id2] = bytes(input)?;
    if [id1, id2] != [0x1f, 0x8b] {
        return Err(damaged("something other than gzip follows it"));
    }
    let [method, flags, ..] = bytes::<8>(input)?;
    if method != 8 || flags & RESERVED != 0 {
        return Err(damaged("unknown compression method or flags"));
    }
    if flags & FEXTRA != 0 {
        let length = u16::from_le_bytes(bytes(input)?);
        for _ in 0..length {
            byte(input)?;
        }
    }
    for _ in 0..u32::from(flags & FNAME != 0) + u32::from(flags & FCOMMENT != 0) {
        let mut length = 0;
        while byte(input)? != 0 {
            length += 1;
            if length > MAX_TEXT {
                return Err(damaged("a name or comment of more than 64 KiB"));
            }
        }
    }
    if flags & FHCRC != 0 {
        bytes::<2>(input)?;
    }
    Ok(())
}

fn body(input: &mut Input, output: &mut Output, inflater: &mut Inflater) -> Result<(), Halt> {
    let mut crc = Crc::new();
    let mut decoded = 0;
    loop {
        let from = input.fill()?;
        let at_end = from.is_empty();
        let mut target = output.target(decoded)?;
        let start = target.at;
        let (read, stop) = inflater.run(from, &mut target).map_err(damaged)?;
        let new = &target.bytes[start..target.at];
        crc.update(new);
        let written = new.len();
        decoded += written as u64;
        input.consume(read);
        output.advance(written)?;
        match stop {
            Stop::End => break,
            Stop::Input if at_end => return Err(BlobFault::CutShort(Format::Gzip).into()),
            Stop::Input | Stop::Output => {}
        }
    }
    let mut trailer = [0; 8];
    for slot in &mut trailer {
        *slot = match inflater.leftover() {
            Some(byte) => byte,
            None => byte(input)?,
        };
    }
    let [sum @ .., l0, l1, l2, l3] = trailer;
    if u32::from_le_bytes(sum) != crc.sum() {
        return Err(damaged("its CRC does not match"));
    }
    if u32::from_le_bytes([l0, l1, l2, l3]) != crc.amount() {
        return Err(damaged("its length does not match"));
    }
    Ok(())
}

/// Tapes and block devices pad with zeros.
fn only_zeros(input: &mut Input) -> Result<(), Halt> {
    loop {
        let rest = input.fill()?;
        if rest.is_empty() {
            return Ok(());
        }
        if rest.iter().any(|&byte| byte != 0) {
            return Err(damaged("something other than gzip follows it"));
        }
        let length = rest.len();
        input.consume(length);
    }
}
