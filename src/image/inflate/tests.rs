//! Inflate against what zlib makes and what zlib refuses, in pieces of every size.

use super::*;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use proptest::prelude::*;

/// Decodes `data` given in pieces of `input` bytes into buffers with room for `output` bytes; what was decoded, and the
/// bytes behind the data.
fn inflate(data: &[u8], input: usize, output: usize) -> Result<(Vec<u8>, Vec<u8>), String> {
    let mut inflater = Inflater::default();
    let mut buffer = vec![0; HISTORY + output + MARGIN];
    let (mut at, mut history, mut decoded) = (0, 0, Vec::new());
    loop {
        let mut target = Target { bytes: &mut buffer, floor: HISTORY - history, at: HISTORY };
        let stop = loop {
            let piece = &data[at..data.len().min(at + input)];
            let (read, stop) = inflater.run(piece, &mut target)?;
            at += read;
            match stop {
                Stop::Input if at == data.len() => return Err("cut short".into()),
                Stop::Input => {}
                _ => break stop,
            }
        };
        let end = target.at;
        decoded.extend_from_slice(&buffer[HISTORY..end]);
        history = HISTORY.min(decoded.len());
        buffer.copy_within(end - history..end, HISTORY - history);
        if stop == Stop::End {
            let mut rest: Vec<u8> = std::iter::from_fn(|| inflater.leftover()).collect();
            rest.extend_from_slice(&data[at..]);
            return Ok((decoded, rest));
        }
    }
}

fn deflate(data: &[u8], level: u32) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(data.len() + data.len() / 8 + 1000);
    let mut deflater = Compress::new(Compression::new(level), false);
    let status = deflater.compress_vec(data, &mut compressed, FlushCompress::Finish).unwrap();
    assert_eq!(status, Status::StreamEnd);
    compressed
}

/// What zlib says: the bytes, or that there are none.
fn by_zlib(data: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(most);
    let status = Decompress::new(false).decompress_vec(data, &mut decoded, FlushDecompress::Finish);
    (status.ok()? == Status::StreamEnd).then_some(decoded)
}

/// Data with literals, matches near and far, runs, and what does not compress.
fn some_data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..3000),
        prop::collection::vec(prop::sample::select(b"etaoin shrdlu".as_slice()), 0..9000),
        (any::<u8>(), 0..70_000usize).prop_map(|(byte, count)| vec![byte; count]),
        (prop::collection::vec(any::<u8>(), 1..20), 0..2000usize).prop_map(|(unit, count)| unit.repeat(count)),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_deflated_is_inflated(data in some_data(), level in 0u32..10, input in 1usize..5000, output in 1usize..100_000) {
        let mut compressed = deflate(&data, level);
        compressed.extend_from_slice(b"what follows");
        let (decoded, rest) = inflate(&compressed, input, output).unwrap();
        prop_assert!(decoded == data, "{} bytes instead of {}", decoded.len(), data.len());
        prop_assert_eq!(rest, b"what follows");
    }

    #[test]
    fn damage_is_an_error_where_it_is_one_for_zlib(
        data in some_data(),
        level in 0u32..10,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        input in 1usize..5000,
    ) {
        let mut compressed = deflate(&data, level);
        for (place, byte) in damage {
            let place = place.index(compressed.len());
            compressed[place] ^= byte;
        }
        // The decoder must not be made to produce without end by a test, and zlib is given as much room.
        let room = 16 << 20;
        match (inflate(&compressed, input, 50_000), by_zlib(&compressed, room)) {
            (Ok((ours, _)), Some(zlibs)) => prop_assert!(ours == zlibs),
            (Err(_), None) => {}
            (ours, zlibs) => {
                prop_assert!(false, "ours {:?}, zlib's {:?}", ours.map(|(d, _)| d.len()), zlibs.map(|d| d.len()));
            }
        }
    }

    #[test]
    fn anything_at_all_is_as_zlib_has_it(data in prop::collection::vec(any::<u8>(), 0..400), input in 1usize..500) {
        let ours = inflate(&data, input, 50_000).ok().map(|(decoded, _)| decoded);
        prop_assert_eq!(ours, by_zlib(&data, 16 << 20));
    }
}

#[test]
fn the_farthest_distance_is_reached_and_none_beyond_the_beginning() {
    // Bytes without matches but for the last ones, 32 KiB back.
    let mut state = 1u32;
    let mut data: Vec<u8> = (0..HISTORY)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    data.extend_from_within(..200);
    let compressed = deflate(&data, 9);
    for (input, output) in [(1, 1), (7, 1000), (1 << 20, 1 << 20)] {
        assert!(inflate(&compressed, input, output).unwrap().0 == data);
    }
    // A fixed block: length 3, distance 1, and nothing to repeat. 011 0000001 00000 0000000.
    assert_eq!(inflate(&[0x03, 0x02, 0x00, 0, 0], 5, 100), Err("invalid distance too far back".into()));
}

#[test]
fn every_cut_is_noticed() {
    let data = b"words and words and other words".repeat(40);
    let compressed = deflate(&data, 6);
    for end in 0..compressed.len() {
        assert_eq!(inflate(&compressed[..end], 3, 1000), Err("cut short".into()), "{end}");
    }
}
