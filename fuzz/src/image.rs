//! Readers of container images.

use crate::{choice, file};
use bootdisk::flatten::{Limits, apply};
use bootdisk::image::inflate::{HISTORY, Inflater, MARGIN, Stop, Target};
use bootdisk::image::{
    Algorithm, Blob, Config, Digest, Hasher, Image, LayerBlob, Platform, parse_config, parse_document,
};
use bootdisk::layer::Warnings;
use bootdisk::registry::readers;
use bootdisk::rootfs::memory::MemorySink;
use bootdisk::rootfs::{Attrs, Tree};
use bootdisk::source::{self, Reference, Select};
use sha2::Digest as _;
use std::io::Read;

/// Bytes of decompressed data that are looked at.
const MUCH: usize = 1 << 20;

/// An archive of an image, whatever form it has, or a root file system: its members, its documents, its first layer.
pub fn archive(data: &[u8]) {
    let (_file, path) = file(data);
    for transport in ["", "docker-archive:", "oci-archive:", "rootfs:"] {
        let text = format!("{transport}{}", path.display());
        let reference = Reference::parse(text.as_ref()).expect("a path");
        match source::open(&reference, &Select::default()) {
            Ok(image) => look_at(&image),
            Err(error) => _ = (error.to_string(), error.hint()),
        }
    }
}

fn look_at(image: &Image) {
    _ = image.chain_id();
    if let Some(Ok(mut stream)) = (!image.layers.is_empty()).then(|| image.open_layer(0)) {
        _ = std::io::copy(&mut stream.by_ref().take(MUCH as u64), &mut std::io::sink());
    }
}

/// Manifests and indexes.
pub fn manifest(data: &[u8]) {
    let types = [
        None,
        Some("application/vnd.oci.image.index.v1+json"),
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.docker.distribution.manifest.v2+json"),
    ];
    for expected in types {
        if let Err(error) = parse_document(data, expected) {
            _ = (error.to_string(), error.hint());
        }
    }
}

/// What registries and the files about them say. The first byte is the reader.
pub fn registry(data: &[u8]) {
    let (which, data) = choice(data);
    let (_, read) = readers::ALL[usize::from(which) % readers::ALL.len()];
    let said = read(data);
    // What is understood is no more than what was said, escaped.
    assert!(said.len() <= 64 * data.len() + 4096, "{} bytes of {}", said.len(), data.len());
}

/// Configurations of images, of one layer and of none.
pub fn config(data: &[u8]) {
    for layers in 0..2 {
        match parse_config(data, layers) {
            Ok(config) => _ = format!("{config:?}"),
            Err(error) => _ = error.to_string(),
        }
    }
}

/// A layer put onto a tree. Where the first byte is odd, headers get the checksums that they should have.
pub fn layer(data: &[u8]) {
    let (mend, data) = choice(data);
    let mut bytes = data.to_vec();
    if mend % 2 == 1 {
        sign_headers(&mut bytes);
    }
    read_layer(&bytes);
}

fn sign_headers(tar: &mut [u8]) {
    for block in tar.as_chunks_mut::<512>().0.iter_mut().filter(|block| block[257..262] == *b"ustar") {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

fn read_layer(mut bytes: &[u8]) {
    let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
    let (mut sink, mut warnings) = (MemorySink::default(), Warnings::default());
    let limits = Limits { text_bytes: 8 << 20, ..Limits::default() };
    match apply(&mut tree, 0, &mut bytes, &mut sink, &limits, &mut warnings) {
        Ok(_) => assert!(bytes.is_empty(), "a digest is over all of the stream"),
        Err(error) => _ = error.to_string(),
    }
    warnings.iter().for_each(|(kind, _, examples)| _ = (kind.text(), examples));
}

/// A header and its body, as a tar has them.
fn member(tar: &mut Vec<u8>, kind: u8, name: &[u8], body: &[u8]) {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", body.len()).as_bytes());
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    tar.extend(header);
    tar.extend(body);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

/// Records of a PAX header, of one member or of all.
pub fn pax(data: &[u8]) {
    let (global, data) = choice(data);
    let mut tar = Vec::new();
    member(&mut tar, if global % 2 == 0 { b'x' } else { b'g' }, b"records", data);
    member(&mut tar, b'0', b"file", b"a body of some bytes");
    sign_headers(&mut tar);
    read_layer(&tar);
}

/// Maps of sparse files, in each of their four encodings.
pub fn sparse(data: &[u8]) {
    let (form, data) = choice(data);
    let mut tar = Vec::new();
    match form % 4 {
        0 => {
            let (slots, extended) = data.split_at(data.len().min(126));
            member(&mut tar, b'S', b"file", &[]);
            tar[257..265].copy_from_slice(b"ustar  \0");
            tar[386..386 + slots.len()].copy_from_slice(slots);
            tar.extend(extended);
            tar.resize(tar.len().next_multiple_of(512), b'x');
        }
        1 => {
            let records = [
                record("GNU.sparse.major", b"1"),
                record("GNU.sparse.minor", b"0"),
                record("GNU.sparse.realsize", b"100000"),
            ];
            member(&mut tar, b'x', b"records", &records.concat());
            member(&mut tar, b'0', b"file", data);
        }
        2 => {
            let records = [
                record("GNU.sparse.size", b"100000"),
                record("GNU.sparse.numblocks", b"2"),
                record("GNU.sparse.map", data),
            ];
            member(&mut tar, b'x', b"records", &records.concat());
            member(&mut tar, b'0', b"file", &[b'x'; 100]);
        }
        _ => {
            member(&mut tar, b'x', b"records", &[&record("GNU.sparse.size", b"100000")[..], data].concat());
            member(&mut tar, b'0', b"file", &[b'x'; 100]);
        }
    }
    sign_headers(&mut tar);
    read_layer(&tar);
}

/// One PAX record.
pub fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
    [length.unwrap_or(rest).to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

/// Where decoding came to.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The end of the data, and so many bytes follow.
    Whole(usize),
    /// Damage, or too few bytes.
    Damaged,
    /// There would be more than is looked at.
    Full,
}

/// Deflate, in pieces, held against zlib-rs.
pub fn inflate(data: &[u8]) {
    let Some(([input, output], data)) = data.split_first_chunk::<2>() else { return };
    let (ours, our_end) = by_us(data, 1 + usize::from(*input), 1 + 64 * usize::from(*output));
    let (theirs, their_end) = by_zlib(data);
    let common = ours.len().min(theirs.len());
    assert!(ours[..common] == theirs[..common], "other bytes than zlib's");
    if our_end != End::Full && their_end != End::Full {
        assert_eq!(our_end, their_end);
        assert!(our_end == End::Damaged || ours.len() == theirs.len(), "{} bytes, {}", ours.len(), theirs.len());
    }
}

fn by_us(data: &[u8], piece: usize, room: usize) -> (Vec<u8>, End) {
    let mut inflater = Inflater::default();
    let mut buffer = vec![0; HISTORY + room + MARGIN];
    let (mut at, mut decoded) = (0, Vec::new());
    loop {
        let history = HISTORY.min(decoded.len());
        let mut target = Target { bytes: &mut buffer, floor: HISTORY - history, at: HISTORY };
        let stop = loop {
            let Ok((read, stop)) = inflater.run(&data[at..data.len().min(at + piece)], &mut target) else {
                return (decoded, End::Damaged);
            };
            at += read;
            if stop != Stop::Input || at == data.len() {
                break stop;
            }
        };
        let end = target.at;
        decoded.extend_from_slice(&buffer[HISTORY..end]);
        let history = HISTORY.min(decoded.len());
        buffer.copy_within(end - history..end, HISTORY - history);
        match stop {
            Stop::End => {
                let left = std::iter::from_fn(|| inflater.leftover()).count();
                return (decoded, End::Whole(left + data.len() - at));
            }
            Stop::Input => return (decoded, End::Damaged),
            Stop::Output if decoded.len() >= MUCH => return (decoded, End::Full),
            Stop::Output => {}
        }
    }
}

fn by_zlib(data: &[u8]) -> (Vec<u8>, End) {
    use flate2::{Decompress, FlushDecompress, Status};
    let (mut zlib, mut decoded) = (Decompress::new(false), Vec::with_capacity(MUCH));
    let status = zlib.decompress_vec(data, &mut decoded, FlushDecompress::Finish);
    let end = match status {
        Ok(Status::StreamEnd) => End::Whole(data.len() - zlib.total_in() as usize),
        Ok(_) if decoded.len() == decoded.capacity() => End::Full,
        _ => End::Damaged,
    };
    (decoded, end)
}

/// Two digests at once, held against the crate `sha2`.
pub fn sha256(data: &[u8]) {
    let Some(([split, step], data)) = data.split_first_chunk::<2>() else { return };
    let (a, b) = data.split_at(data.len() * usize::from(*split) / 256);
    let (mut of_a, mut of_b) = (Hasher::new(Algorithm::Sha256), Hasher::new(Algorithm::Sha256));
    let step = 1 + 7 * usize::from(*step);
    let count = a.len().max(b.len()).div_ceil(step);
    let piece = |bytes: &'_ [u8], n: usize| (n * step).min(bytes.len())..((n + 1) * step).min(bytes.len());
    for n in 0..count {
        Hasher::update_both(&mut of_a, &a[piece(a, n)], &mut of_b, &b[piece(b, n)]);
    }
    for (ours, bytes) in [(of_a, a), (of_b, b)] {
        assert_eq!(ours.finish().hex(), format!("{:x}", sha2::Sha256::digest(bytes)));
    }
}

/// The bytes of a layer that is stored so, up to what is looked at; `None` where it is damaged before.
fn stream(data: &[u8]) -> Option<Vec<u8>> {
    let digest = || Digest::sha256(b"");
    let blob = Blob::memory("input", data.to_vec());
    let layer = LayerBlob { size: blob.size(), blob, digest: None, media_type: None, diff_id: digest() };
    let image = Image {
        name: None,
        platform: Platform::host(),
        config: Config::default(),
        config_digest: digest(),
        manifest_digest: None,
        created: None,
        history: Vec::new(),
        layers: vec![layer],
        warnings: Vec::new(),
    };
    let mut bytes = Vec::new();
    let mut stream = image.open_layer(0).ok()?;
    stream.by_ref().take(MUCH as u64).read_to_end(&mut bytes).ok()?;
    if bytes.len() < MUCH {
        // It is damaged where it ended, or the digest is wrong: the bytes are what they are.
        _ = stream.finish();
    }
    Some(bytes)
}

fn hold_against(ours: Option<Vec<u8>>, theirs: impl Read) {
    let mut expected = Vec::new();
    let whole = theirs.take(MUCH as u64).read_to_end(&mut expected).is_ok();
    if let (Some(ours), true) = (ours, whole) {
        assert!(ours == expected, "{} bytes instead of {}", ours.len(), expected.len());
    }
}

/// zstd frames, held against the reference implementation.
pub fn zstd(data: &[u8]) {
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd], data].concat();
    if let Ok(theirs) = ::zstd::Decoder::new(&frame[..]) {
        hold_against(stream(&frame), theirs);
    }
}

/// gzip members, held against flate2.
pub fn gzip(data: &[u8]) {
    let member = [&[0x1f, 0x8b], data].concat();
    hold_against(stream(&member), flate2::read::MultiGzDecoder::new(&member[..]));
}
