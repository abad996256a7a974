//! Decode tables of Huffman codes: the next bits of the stream are the index, the entry says what they are.
//!
//! ```text
//!  31 30 │ 24 … 16 │ 15 14 13 │ 11 … 8   │ 7 … 0
//!  LIT   │ value   │ flags    │ codeword │ codeword and extra bits, together
//! ```
//!
//! A value is a literal byte, a length's or a distance's base, or where a second table begins that the next `codeword`
//! bits are the index of: codewords longer than the first table's index are found there. Distances have 15 bits of
//! value, from bit 16 on.
//!
//! RFC 1951, 3.2.2 and 3.2.5.

/// The entry is a literal byte. Bits 16 to 23 are the byte.
pub const LITERAL: u32 = 1 << 31;
/// The entry is neither literal, length nor distance.
pub const SPECIAL: u32 = 1 << 15;
/// With [`SPECIAL`]: the entry leads to a second table.
pub const SECOND: u32 = 1 << 14;
/// With [`SPECIAL`]: the block ends. Without this and [`SECOND`], no codeword is like this.
pub const END: u32 = 1 << 13;

/// Bits that index the first table of literals and lengths.
pub const LITERAL_BITS: u32 = 11;
/// Bits that index the first table of distances.
pub const DISTANCE_BITS: u32 = 8;
/// Bits of the longest codeword of a code of code lengths.
pub const PRECODE_BITS: u32 = 7;

/// Entries of both levels at most, 2342 for 288 symbols and 11 bits, rounded up so that an index can be masked.
pub const LITERAL_ENTRIES: usize = 4096;
/// The same of distances: 402 for 32 symbols and 8 bits.
pub const DISTANCE_ENTRIES: usize = 512;
/// The same of code lengths, which need no second table.
pub const PRECODE_ENTRIES: usize = 1 << PRECODE_BITS;

/// Bits of the longest codeword.
const LONGEST: usize = 15;
const SYMBOLS: usize = 288;

const LENGTH_BASE: [u16; 29] =
    [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA: [u8; 29] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];

/// The entry of a literal or length symbol, without its codeword's length.
pub fn literal_or_length(symbol: usize) -> u32 {
    match symbol {
        0..=255 => LITERAL | (symbol as u32) << 16,
        256 => SPECIAL | END,
        257..=285 => u32::from(LENGTH_BASE[symbol - 257]) << 16 | u32::from(LENGTH_EXTRA[symbol - 257]),
        _ => SPECIAL,
    }
}

/// The entry of a distance symbol, without its codeword's length.
pub fn distance(symbol: usize) -> u32 {
    match symbol as u32 {
        symbol @ 0..=3 => (symbol + 1) << 16,
        symbol @ 4..=29 => {
            let extra = symbol / 2 - 1;
            (((2 + symbol % 2) << extra) + 1) << 16 | extra
        }
        _ => SPECIAL,
    }
}

/// The entry of a code length symbol, without its codeword's length.
pub fn code_length(symbol: usize) -> u32 {
    (symbol as u32) << 16
}

/// Fills `table`, whose first level has 2^`bits` entries, for the code with these codeword lengths (0: none). False if
/// there is no such code: too many codewords, or too few. Only a single codeword of one bit may be alone, or none be
/// there at all, as deflate has it for blocks without distances.
pub fn fill(table: &mut [u32], bits: u32, lengths: &[u8], entry: fn(usize) -> u32) -> bool {
    let bits = bits as usize;
    let mut counts = [0u32; LONGEST + 1];
    for &length in lengths {
        counts[usize::from(length)] += 1;
    }
    counts[0] = 0;
    let space: u32 = (1..=LONGEST).map(|length| counts[length] << (LONGEST - length)).sum();
    let alone = counts[1..].iter().sum::<u32>() <= 1 && space <= 1 << (LONGEST - 1) && (space == 0 || counts[1] == 1);
    if space != 1 << LONGEST && !alone {
        return false;
    }
    let sorted = by_length(lengths, &counts);
    let mut sorted = sorted.iter().map(|&symbol| usize::from(symbol));

    table[0] = SPECIAL;
    let mut code: u16 = 0;
    for length in 1..=bits {
        // What is known of the shorter codewords holds whatever the next bit is.
        let half = 1 << (length - 1);
        table.copy_within(0..half, half);
        code <<= 1;
        for symbol in sorted.by_ref().take(counts[length] as usize) {
            table[reversed(code, length)] = entry(symbol) + length as u32 * 0x101;
            code += 1;
        }
    }

    let first = 1 << bits;
    let (mut end, mut prefix, mut start) = (first, usize::MAX, 0);
    for length in bits + 1..=LONGEST {
        code <<= 1;
        for done in 0..counts[length] {
            let Some(symbol) = sorted.next() else { return false };
            let index = reversed(code, length);
            code += 1;
            if index % first != prefix {
                prefix = index % first;
                start = end;
                let second = second_bits(&counts, length, counts[length] - done, bits);
                end += 1 << second;
                table[prefix] = SPECIAL | SECOND | (start as u32) << 16 | (second as u32) << 8 | bits as u32;
            }
            let entry = entry(symbol) + (length - bits) as u32 * 0x101;
            for place in (start + (index >> bits)..end).step_by(1 << (length - bits)) {
                table[place] = entry;
            }
        }
    }
    true
}

/// Symbols that have a codeword, shortest first.
fn by_length(lengths: &[u8], counts: &[u32; LONGEST + 1]) -> [u16; SYMBOLS] {
    let mut places = [0usize; LONGEST + 2];
    for length in 1..=LONGEST {
        places[length + 1] = places[length] + counts[length] as usize;
    }
    let mut sorted = [0; SYMBOLS];
    for (symbol, &length) in lengths.iter().enumerate() {
        if length > 0 {
            let place = &mut places[usize::from(length)];
            sorted[*place] = symbol as u16;
            *place += 1;
        }
    }
    sorted
}

/// Codewords come highest bit first, in a stream that is read from its lowest bit on.
fn reversed(code: u16, length: usize) -> usize {
    usize::from(code.reverse_bits() >> (16 - length))
}

/// Index bits of a second table that begins with a codeword of `length` bits, of which `left` are left: as many as
/// the longest codeword in it has, and the table is full when the space of its prefix is.
fn second_bits(counts: &[u32; LONGEST + 1], length: usize, left: u32, bits: usize) -> usize {
    let mut second = length - bits;
    let mut used = left;
    while used < 1 << second && bits + second < LONGEST {
        second += 1;
        used = (used << 1) + counts[bits + second];
    }
    second
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(lengths: &[u8]) -> bool {
        fill(&mut [0; LITERAL_ENTRIES], LITERAL_BITS, lengths, literal_or_length)
    }

    #[test]
    fn only_whole_codes_are_codes() {
        assert!(filled(&[1, 1]));
        assert!(filled(&[2, 1, 3, 3]));
        assert!(!filled(&[2, 1, 3]), "space is left");
        assert!(!filled(&[1, 1, 1]), "more than there is space for");
        assert!(!filled(&[2]), "alone, and not of one bit");
        assert!(filled(&[0, 1]), "alone");
        assert!(filled(&[0, 0]), "none");
    }

    #[test]
    fn codewords_longer_than_the_index_are_in_a_second_table() {
        // 1, 2, … 14, 15, 15.
        let mut lengths: Vec<u8> = (1..=15).collect();
        lengths.push(15);
        let mut table = [0; LITERAL_ENTRIES];
        assert!(fill(&mut table, LITERAL_BITS, &lengths, literal_or_length));
        // Eleven ones lead on; four more ones are the last symbol.
        let entry = table[0x7ff];
        assert_eq!(entry & (SPECIAL | SECOND), SPECIAL | SECOND);
        assert_eq!((entry >> 8) & 15, 4);
        let last = table[(entry >> 16 & 0xfff) as usize + 15];
        assert_eq!((last >> 16 & 0xff, last & 0xff), (15, 4));
    }
}
