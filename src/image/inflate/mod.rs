//! Inflate, RFC 1951: deflate data in pieces, decoded into buffers that keep the last 32 KiB before them.
//!
//! ```text
//!  output   │ history, up to 32 KiB │ decoded now ──▶        │ margin │
//! ```
//!
//! Why not the crate that reads gzip elsewhere here: decoding is a good part of what a build costs, and a build of one
//! Debian layer takes 8 % less time with this (5 % less processor time), whose decoding alone is then as fast as igzip. It
//! asks for more than a general interface may: the history lies in front of the place that is decoded to, so no window is
//! kept and nothing copied into one, and a margin behind it is there to be overwritten, so copies are whole words and one
//! check per symbol is enough.
//!
//! Everything the format forbids is an error: distances beyond what was decoded, incomplete and oversubscribed codes,
//! symbols without a meaning. That is as zlib has it.

mod table;
#[cfg(test)]
mod tests;

use table::{
    DISTANCE_BITS, DISTANCE_ENTRIES, END, LITERAL, LITERAL_BITS, LITERAL_ENTRIES, PRECODE_BITS, PRECODE_ENTRIES,
    SECOND, SPECIAL,
};

/// Bytes that a distance may lead back.
pub const HISTORY: usize = 32 << 10;

/// Bytes behind the last that is decoded to: the longest match, and what its last copy writes too much.
pub const MARGIN: usize = 320;

/// Bytes of input that one round of the fast loop may look at.
const INPUT_MARGIN: usize = 24;

/// Most bits one symbol and its distance take: 15 + 5 + 15 + 13.
const SYMBOL_BITS: u32 = 48;

/// The order in which the lengths of the code of code lengths are stored.
const PRECODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All input was taken.
    Input,
    /// No more than [`MARGIN`] bytes are left in the output.
    Output,
    /// The data has ended. [`Inflater::leftover`] comes first of what follows it.
    End,
}

/// What is wrong with the data, for a message.
pub type Fault = &'static str;

/// Where decoded bytes go.
pub struct Target<'a> {
    /// The history, then what was decoded, then room.
    pub bytes: &'a mut [u8],
    /// Where the history begins that distances may lead to.
    pub floor: usize,
    /// Where the next byte goes.
    pub at: usize,
}

/// What comes next in the data.
#[derive(Clone, Copy, Debug)]
enum State {
    Block,
    StoredLength,
    Stored { left: usize },
    Counts,
    CodeLengths { literals: usize, distances: usize, stored: usize, next: usize },
    Lengths { literals: usize, distances: usize, next: usize },
    Symbols,
    Ended,
}

/// Decodes one deflate stream.
pub struct Inflater {
    /// Bits that were taken from the input and not used, lowest first, and how many.
    bits: u64,
    count: u32,
    state: State,
    last: bool,
    fixed: bool,
    lengths: [u8; 320],
    precode: [u32; PRECODE_ENTRIES],
    literals: Box<[u32; LITERAL_ENTRIES]>,
    distances: Box<[u32; DISTANCE_ENTRIES]>,
    #[cfg(target_arch = "x86_64")]
    wide: bool,
}

/// Input that is left, and the bit buffer while it is worked with.
struct Source<'a> {
    input: &'a [u8],
    at: usize,
    bits: u64,
    count: u32,
}

impl Source<'_> {
    /// Whole bytes until the buffer is full or the input empty.
    fn refill(&mut self) {
        while self.count <= 56 && self.at < self.input.len() {
            self.bits |= u64::from(self.input[self.at]) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// Whether there are `count` bits, at most 57, now.
    fn has(&mut self, count: u32) -> bool {
        if self.count < count {
            self.refill();
        }
        self.count >= count
    }

    fn take(&mut self, count: u32) -> u32 {
        let value = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        self.count -= count;
        value as u32
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Inflater {
            bits: 0,
            count: 0,
            state: State::Block,
            last: false,
            fixed: false,
            lengths: [0; 320],
            precode: [0; PRECODE_ENTRIES],
            literals: Box::new([0; LITERAL_ENTRIES]),
            distances: Box::new([0; DISTANCE_ENTRIES]),
            #[cfg(target_arch = "x86_64")]
            wide: std::arch::is_x86_feature_detected!("bmi1") && std::arch::is_x86_feature_detected!("bmi2"),
        }
    }
}

impl Inflater {
    /// Begins another stream.
    pub fn reset(&mut self) {
        (self.bits, self.count, self.state, self.last) = (0, 0, State::Block, false);
    }

    /// A byte that was taken from the input before the data ended, and is not part of it.
    pub fn leftover(&mut self) -> Option<u8> {
        if self.count < 8 {
            return None;
        }
        let byte = self.bits as u8;
        self.bits >>= 8;
        self.count -= 8;
        Some(byte)
    }

    /// Decodes from `input` to `target`; returns how many bytes of the input were taken, and why it stopped.
    pub fn run(&mut self, input: &[u8], target: &mut Target<'_>) -> Result<(usize, Stop), Fault> {
        let mut source = Source { input, at: 0, bits: self.bits, count: self.count };
        let stop = self.steps(&mut source, target)?;
        if stop == Stop::End {
            // What follows the data begins with a whole byte.
            source.take(source.count % 8);
            while source.count >= 8 && source.at > 0 {
                source.at -= 1;
                source.count -= 8;
            }
            source.bits &= (1u64 << source.count) - 1;
        }
        (self.bits, self.count) = (source.bits, source.count);
        Ok((source.at, stop))
    }

    fn steps(&mut self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<Stop, Fault> {
        loop {
            let next = match self.state {
                State::Block if self.last => State::Ended,
                State::Block => match source.has(3) {
                    true => self.block(source)?,
                    false => return Ok(Stop::Input),
                },
                State::StoredLength => match source.has(source.count % 8 + 32) {
                    true => stored_length(source)?,
                    false => return Ok(Stop::Input),
                },
                State::Stored { left: 0 } => State::Block,
                State::Stored { left } => match stored(left, source, target) {
                    Ok(left) => State::Stored { left },
                    Err((left, stop)) => {
                        self.state = State::Stored { left };
                        return Ok(stop);
                    }
                },
                State::Counts => match source.has(14) {
                    true => self.counts(source)?,
                    false => return Ok(Stop::Input),
                },
                State::CodeLengths { literals, distances, stored, next } if next < stored => match source.has(3) {
                    true => {
                        self.lengths[PRECODE_ORDER[next]] = source.take(3) as u8;
                        State::CodeLengths { literals, distances, stored, next: next + 1 }
                    }
                    false => return Ok(Stop::Input),
                },
                State::CodeLengths { literals, distances, .. } => {
                    if !table::fill(&mut self.precode, PRECODE_BITS, &self.lengths[..19], table::code_length) {
                        return Err("invalid code lengths set");
                    }
                    State::Lengths { literals, distances, next: 0 }
                }
                State::Lengths { literals, distances, next } if next < literals + distances => {
                    // Not all that a codeword could have, but all that this one has: the data may end here.
                    source.has(PRECODE_BITS + 7);
                    match self.length(literals + distances, next, source)? {
                        Some(next) => State::Lengths { literals, distances, next },
                        None => return Ok(Stop::Input),
                    }
                }
                State::Lengths { literals, distances, .. } => {
                    self.dynamic(literals, distances)?;
                    State::Symbols
                }
                State::Symbols => match self.symbols(source, target)? {
                    Some(stop) => return Ok(stop),
                    None => State::Block,
                },
                State::Ended => return Ok(Stop::End),
            };
            self.state = next;
        }
    }

    fn block(&mut self, source: &mut Source<'_>) -> Result<State, Fault> {
        self.last = source.take(1) == 1;
        match source.take(2) {
            0 => Ok(State::StoredLength),
            1 => {
                self.use_fixed();
                Ok(State::Symbols)
            }
            2 => Ok(State::Counts),
            _ => Err("invalid block type"),
        }
    }

    fn counts(&mut self, source: &mut Source<'_>) -> Result<State, Fault> {
        let literals = source.take(5) as usize + 257;
        let distances = source.take(5) as usize + 1;
        let stored = source.take(4) as usize + 4;
        if literals > 286 || distances > 30 {
            return Err("too many length or distance symbols");
        }
        self.lengths[..19].fill(0);
        Ok(State::CodeLengths { literals, distances, stored, next: 0 })
    }

    /// The next codeword lengths; `None` when the bits for it are not there yet.
    fn length(&mut self, total: usize, at: usize, source: &mut Source<'_>) -> Result<Option<usize>, Fault> {
        let entry = self.precode[source.bits as usize % PRECODE_ENTRIES];
        let (length, symbol) = (entry & 0xff, (entry >> 16) as u8);
        if entry & SPECIAL != 0 {
            return if source.count >= PRECODE_BITS { Err("invalid code lengths set") } else { Ok(None) };
        }
        let (extra, least) = match symbol {
            0..=15 => (0, 1),
            16 => (2, 3),
            17 => (3, 3),
            _ => (7, 11),
        };
        if source.count < length + extra {
            return Ok(None);
        }
        source.take(length);
        let repeated = least + source.take(extra) as usize;
        let value = match symbol {
            0..=15 => symbol,
            16 if at == 0 => return Err("invalid bit length repeat"),
            16 => self.lengths[at - 1],
            _ => 0,
        };
        if at + repeated > total {
            return Err("invalid bit length repeat");
        }
        self.lengths[at..at + repeated].fill(value);
        Ok(Some(at + repeated))
    }

    fn dynamic(&mut self, literals: usize, distances: usize) -> Result<(), Fault> {
        self.fixed = false;
        let (of_literals, rest) = self.lengths.split_at(literals);
        if of_literals[256] == 0 {
            return Err("invalid code -- missing end-of-block");
        }
        if !table::fill(&mut self.literals[..], LITERAL_BITS, of_literals, table::literal_or_length) {
            return Err("invalid literal/lengths set");
        }
        if !table::fill(&mut self.distances[..], DISTANCE_BITS, &rest[..distances], table::distance) {
            return Err("invalid distances set");
        }
        Ok(())
    }

    /// RFC 1951, 3.2.6.
    fn use_fixed(&mut self) {
        if self.fixed {
            return;
        }
        self.fixed = true;
        let mut lengths = [8; 288];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        table::fill(&mut self.literals[..], LITERAL_BITS, &lengths, table::literal_or_length);
        table::fill(&mut self.distances[..], DISTANCE_BITS, &[5; 32], table::distance);
    }

    /// Literals and matches until the block ends (`None`) or there is nothing to work with.
    fn symbols(&self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<Option<Stop>, Fault> {
        loop {
            if target.at + MARGIN > target.bytes.len() {
                return Ok(Some(Stop::Output));
            }
            if source.at + INPUT_MARGIN <= source.input.len() {
                // SAFETY: `wide` says that the processor has what the function is compiled for.
                #[cfg(target_arch = "x86_64")]
                let ended =
                    if self.wide { unsafe { self.fast_wide(source, target) } } else { self.fast(source, target) }?;
                #[cfg(not(target_arch = "x86_64"))]
                let ended = self.fast(source, target)?;
                if ended {
                    return Ok(None);
                }
                continue;
            }
            source.refill();
            match self.symbol(source, target)? {
                Step::Went => {}
                Step::Ended => return Ok(None),
                Step::Short => return Ok(Some(Stop::Input)),
            }
        }
    }

    /// One symbol, near the end of the input: nothing is taken unless all its bits are there.
    fn symbol(&self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<Step, Fault> {
        let short = |fault| if source.count >= SYMBOL_BITS { Err(fault) } else { Ok(Step::Short) };
        let (mut bits, mut count) = (source.bits, source.count);
        let Some(entry) = look_up(&self.literals[..], LITERAL_BITS, &mut bits, &mut count) else {
            return Ok(Step::Short);
        };
        let before = bits;
        let used = entry & 0xff;
        if used > count {
            return Ok(Step::Short);
        }
        (bits, count) = (bits >> used, count - used);
        if entry & LITERAL != 0 {
            target.bytes[target.at] = (entry >> 16) as u8;
            target.at += 1;
            (source.bits, source.count) = (bits, count);
            return Ok(Step::Went);
        }
        if entry & SPECIAL != 0 {
            if entry & END == 0 {
                return short("invalid literal/length code");
            }
            (source.bits, source.count) = (bits, count);
            return Ok(Step::Ended);
        }
        let length = value(entry, before);
        let Some(entry) = look_up(&self.distances[..], DISTANCE_BITS, &mut bits, &mut count) else {
            return Ok(Step::Short);
        };
        if entry & SPECIAL != 0 {
            return short("invalid distance code");
        }
        let used = entry & 0xff;
        if used > count {
            return Ok(Step::Short);
        }
        let distance = value(entry, bits);
        if distance > target.at - target.floor {
            return Err("invalid distance too far back");
        }
        for at in target.at..target.at + length {
            target.bytes[at] = target.bytes[at - distance];
        }
        target.at += length;
        (source.bits, source.count) = (bits >> used, count - used);
        Ok(Step::Went)
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "bmi1,bmi2")]
    unsafe fn fast_wide(&self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<bool, Fault> {
        self.fast_inline(source, target)
    }

    fn fast(&self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<bool, Fault> {
        self.fast_inline(source, target)
    }

    /// Symbols as long as there is input and room for whole rounds. True when the block has ended.
    #[inline(always)]
    fn fast_inline(&self, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<bool, Fault> {
        let (literals, distances) = (&*self.literals, &*self.distances);
        let input = source.input;
        let floor = target.floor;
        let out = &mut *target.bytes;
        // Both are at least 0: the caller has looked.
        let (Some(input_end), Some(output_end)) =
            (input.len().checked_sub(INPUT_MARGIN), out.len().checked_sub(MARGIN))
        else {
            return Ok(false);
        };
        let (mut from, mut to) = (source.at, target.at);
        let (mut bits, mut count) = (source.bits, source.count);
        let mut result = Ok(false);
        // SAFETY, of every `load` and `put` below: a round begins with `from <= input_end` and `to <= output_end`. It
        // loads 8 bytes twice at most 7 bytes apart, which is less than INPUT_MARGIN. It puts three literals or two and one
        // match of at most 258 bytes, whose copies write at most 32 bytes too many, which is less than MARGIN.
        macro_rules! refill {
            () => {
                bits |= unsafe { load(input, from) } << count;
                from += (63 - count as usize) >> 3;
                count |= 56;
            };
        }
        macro_rules! used {
            ($entry:expr) => {
                bits >>= $entry & 63;
                count -= $entry & 63;
            };
        }
        macro_rules! look_up {
            () => {
                literals[bits as usize % (1 << LITERAL_BITS)]
            };
        }
        if from > input_end || to > output_end {
            return Ok(false);
        }
        refill!();
        // The next entry is looked up as soon as its bits are there, before anything is copied.
        let mut entry = look_up!();
        while from <= input_end && to <= output_end {
            if entry & LITERAL != 0 {
                used!(entry);
                unsafe { put(out, to, (entry >> 16) as u8) };
                to += 1;
                entry = look_up!();
                if entry & LITERAL != 0 {
                    used!(entry);
                    unsafe { put(out, to, (entry >> 16) as u8) };
                    to += 1;
                    entry = look_up!();
                    if entry & LITERAL != 0 {
                        used!(entry);
                        unsafe { put(out, to, (entry >> 16) as u8) };
                        to += 1;
                        entry = look_up!();
                        refill!();
                        continue;
                    }
                }
            }
            if entry & SPECIAL != 0 {
                if entry & SECOND != 0 {
                    used!(entry);
                    let index = (bits as u32 & ((1 << (entry >> 8 & 15)) - 1)) + (entry >> 16 & 0xfff);
                    entry = literals[index as usize % LITERAL_ENTRIES];
                    if entry & LITERAL != 0 {
                        used!(entry);
                        unsafe { put(out, to, (entry >> 16) as u8) };
                        to += 1;
                        refill!();
                        entry = look_up!();
                        continue;
                    }
                }
                if entry & SPECIAL != 0 {
                    if entry & END != 0 {
                        used!(entry);
                        result = Ok(true);
                    } else {
                        result = Err("invalid literal/length code");
                    }
                    break;
                }
            }
            let length = value(entry, bits);
            used!(entry);
            // At least 14 bits are left: 56, less two literals from the first table and the longest length.
            let mut entry_of_distance = distances[bits as usize % (1 << DISTANCE_BITS)];
            refill!();
            if entry_of_distance & SPECIAL != 0 {
                if entry_of_distance & SECOND != 0 {
                    used!(entry_of_distance);
                    let index =
                        (bits as u32 & ((1 << (entry_of_distance >> 8 & 15)) - 1)) + (entry_of_distance >> 16 & 0xfff);
                    entry_of_distance = distances[index as usize % DISTANCE_ENTRIES];
                }
                if entry_of_distance & SPECIAL != 0 {
                    result = Err("invalid distance code");
                    break;
                }
            }
            let distance = value(entry_of_distance, bits);
            used!(entry_of_distance);
            if distance > to - floor {
                result = Err("invalid distance too far back");
                break;
            }
            entry = look_up!();
            refill!();
            unsafe { copy(out, to, distance, length) };
            to += length;
        }
        (source.at, source.bits, source.count) = (from, bits & ((1 << count) - 1), count);
        target.at = to;
        result
    }
}

/// What came of one symbol.
enum Step {
    Went,
    Ended,
    Short,
}

/// The entry of the next codeword, its second table looked up; `None` if not even its bits are all there.
fn look_up(table: &[u32], first: u32, bits: &mut u64, count: &mut u32) -> Option<u32> {
    let entry = table[(*bits & ((1 << first) - 1)) as usize];
    if entry & (SPECIAL | SECOND) != SPECIAL | SECOND {
        return Some(entry);
    }
    if *count < first {
        return None;
    }
    *bits >>= first;
    *count -= first;
    let index = (*bits as u32 & ((1 << (entry >> 8 & 15)) - 1)) + (entry >> 16 & 0xfff);
    Some(table[index as usize])
}

/// The base of a length or distance and the extra bits behind its codeword, which `bits` begin with.
#[inline(always)]
fn value(entry: u32, bits: u64) -> usize {
    let all = bits & !(u64::MAX << (entry & 63));
    (entry >> 16) as usize + (all >> (entry >> 8 & 15)) as usize
}

/// 8 bytes.
///
/// # Safety
/// `at + 8 <= bytes.len()`.
#[inline(always)]
unsafe fn load(bytes: &[u8], at: usize) -> u64 {
    debug_assert!(at + 8 <= bytes.len());
    // SAFETY: the caller's word.
    u64::from_le(unsafe { bytes.as_ptr().add(at).cast::<u64>().read_unaligned() })
}

/// One byte.
///
/// # Safety
/// `at < bytes.len()`.
#[inline(always)]
unsafe fn put(bytes: &mut [u8], at: usize, byte: u8) {
    debug_assert!(at < bytes.len());
    // SAFETY: the caller's word.
    unsafe { *bytes.get_unchecked_mut(at) = byte };
}

/// Repeats `length` bytes (1 to 258) from `distance` bytes before `at`, and writes up to 32 bytes behind them.
///
/// # Safety
/// `0 < distance <= at` and `at + length + 32 <= bytes.len()`.
#[inline(always)]
unsafe fn copy(bytes: &mut [u8], at: usize, distance: usize, length: usize) {
    debug_assert!(distance > 0 && distance <= at && at + length + 32 <= bytes.len());
    // SAFETY: the caller's word; words that are copied at once are no longer than the distance, so they do not overlap.
    unsafe {
        let mut to = bytes.as_mut_ptr().add(at);
        let mut from = to.sub(distance);
        let end = to.add(length);
        if distance >= 16 {
            to.copy_from_nonoverlapping(from, 16);
            to.add(16).copy_from_nonoverlapping(from.add(16), 16);
            (to, from) = (to.add(32), from.add(32));
            while to < end {
                to.copy_from_nonoverlapping(from, 16);
                (to, from) = (to.add(16), from.add(16));
            }
        } else if distance == 1 {
            to.write_bytes(*from, length);
        } else if distance >= 8 {
            while to < end {
                to.copy_from_nonoverlapping(from, 8);
                (to, from) = (to.add(8), from.add(8));
            }
        } else {
            while to < end {
                *to = *from;
                (to, from) = (to.add(1), from.add(1));
            }
        }
    }
}

fn stored_length(source: &mut Source<'_>) -> Result<State, Fault> {
    source.take(source.count % 8);
    let (length, inverse) = (source.take(16), source.take(16));
    if length != !inverse & 0xffff {
        return Err("invalid stored block lengths");
    }
    Ok(State::Stored { left: length as usize })
}

/// Bytes of a stored block: how many are left, and why it stopped if it did.
fn stored(mut left: usize, source: &mut Source<'_>, target: &mut Target<'_>) -> Result<usize, (usize, Stop)> {
    while left > 0 {
        let room = target.bytes.len().saturating_sub(target.at + MARGIN);
        if room == 0 {
            return Err((left, Stop::Output));
        }
        if source.count > 0 {
            target.bytes[target.at] = source.take(8) as u8;
            target.at += 1;
            left -= 1;
            continue;
        }
        let count = left.min(room).min(source.input.len() - source.at);
        if count == 0 {
            return Err((left, Stop::Input));
        }
        target.bytes[target.at..][..count].copy_from_slice(&source.input[source.at..][..count]);
        (source.at, target.at, left) = (source.at + count, target.at + count, left - count);
    }
    Ok(0)
}
