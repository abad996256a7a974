//! Layers as streams: every compression as tools write it, every kind of damage, limits, and early ends.

use crate::support::apart::apart;
use crate::support::images::{Pack, TarBuilder, gzip};
use crate::support::threads::{wait_until_gone, wait_until_idle};
use bootdisk::image::{
    Algorithm, Blob, BlobError, BlobFault, Config, Digest, Hasher, Image, LayerBlob, LayerStream, LayersAhead, Platform,
};
use std::io::{BufRead, Read, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// An image of one layer that is `blob`, whatever that is, with right digests of `blob` and of `tar`.
fn image(blob: &[u8], tar: &[u8]) -> Image {
    let digest = Some(Digest::sha256(blob));
    image_with(Blob::memory("layer.tar", blob.to_vec()), digest, Digest::sha256(tar))
}

fn image_with(blob: Blob, digest: Option<Digest>, diff_id: Digest) -> Image {
    let layer = LayerBlob { size: blob.size(), blob, digest, media_type: None, diff_id };
    Image {
        name: None,
        platform: Platform::host(),
        config: Config::default(),
        config_digest: Digest::sha256(b""),
        manifest_digest: None,
        created: None,
        history: Vec::new(),
        layers: vec![layer],
        warnings: Vec::new(),
    }
}

/// Reads a layer to its end and has it checked.
fn read(image: &Image) -> Result<Vec<u8>, BlobError> {
    let mut stream = image.open_layer(0)?;
    let mut bytes = Vec::new();
    let result = stream.read_to_end(&mut bytes);
    stream.finish()?;
    result.expect("a stream that fails does not pass its check");
    Ok(bytes)
}

fn fault(image: &Image) -> BlobFault {
    match read(image) {
        Ok(bytes) => panic!("accepted, {} bytes", bytes.len()),
        Err(error) => error.fault,
    }
}

/// About a megabyte that compresses to about half: several chunks, every byte different from its neighbours.
fn tar() -> Vec<u8> {
    let body: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as u8 & 0x3f).collect();
    TarBuilder::new().file("body", 0o644, &body).build()
}

#[test]
fn every_packing_gives_the_same_bytes() {
    let tar = tar();
    let packs = [Pack::Plain, Pack::Gzip, Pack::Zstd, Pack::ZstdFrames(1), Pack::ZstdFrames(50)];
    for pack in packs.into_iter().chain([1, 2, 1000].map(Pack::GzipMembers)) {
        assert!(read(&image(&pack.pack(&tar), &tar)).unwrap() == tar, "{pack:?}");
    }
}

#[test]
fn skippable_frames_and_empty_frames_anywhere() {
    let tar = tar();
    let skippable: &[u8] = &[0x5f, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    let (half, rest) = tar.split_at(tar.len() / 2);
    let (first, second) = (Pack::Zstd.pack(half), Pack::Zstd.pack(rest));
    let empty = Pack::Zstd.pack(b"");
    for parts in [
        vec![skippable, &first, &second],
        vec![&first[..], skippable, skippable, &second],
        vec![&first[..], &second, skippable],
        vec![&empty[..], &first, &empty, &second, &empty],
    ] {
        assert!(read(&image(&parts.concat(), &tar)).unwrap() == tar);
    }
    let cut = [&first[..], &second, &skippable[..9]].concat();
    assert!(matches!(fault(&image(&cut, &tar)), BlobFault::CutShort(_)));
}

#[test]
fn nothing_is_an_empty_layer_in_every_packing() {
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd, Pack::GzipMembers(3)] {
        assert_eq!(read(&image(&pack.pack(b""), b"")).unwrap(), b"", "{pack:?}");
    }
}

#[test]
fn gzip_cut_short_at_each_of_the_last_bytes() {
    let tar = tar();
    let blob = gzip(&tar);
    for cut in 1..=64 {
        let short = &blob[..blob.len() - cut];
        assert!(matches!(fault(&image(short, &tar)), BlobFault::CutShort(_)), "{cut} bytes less");
    }
}

#[test]
fn gzip_with_a_wrong_trailer_or_header() {
    let tar = tar();
    let blob = gzip(&tar);
    let end = blob.len();
    for at in (end - 8..end).chain([0, 1, 2]) {
        let mut wrong = blob.clone();
        wrong[at] ^= 1;
        // A wrong magic number makes it something else: then the diff_id is what does not fit.
        assert!(matches!(fault(&image(&wrong, &tar)), BlobFault::Damaged(..) | BlobFault::DiffId { .. }), "byte {at}");
    }
    let mut reserved = blob.clone();
    reserved[3] |= 0x80;
    assert!(matches!(fault(&image(&reserved, &tar)), BlobFault::Damaged(..)));
}

#[test]
fn gzip_header_fields_are_passed_over_and_bounded() {
    let tar = tar();
    let deflated = &gzip(&tar)[10..];
    let with = |flags: u8, fields: &[u8]| [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255], fields, deflated].concat();
    let extra = [&[0xff, 0xff][..], &vec![7; 65_535]].concat();
    let all = [&extra[..], b"name\0comment\0\x12\x34"].concat();
    for (flags, fields) in [(4, &extra[..]), (8, b"layer.tar\0"), (16, b"\0"), (2, b"ab"), (1, b""), (0x1f, &all)] {
        assert!(read(&image(&with(flags, fields), &tar)).unwrap() == tar, "flags {flags:#x}");
    }
    let endless = [vec![b'x'; 10 << 20], vec![0]].concat();
    assert!(matches!(fault(&image(&with(8, &endless), &tar)), BlobFault::Damaged(..)));
}

#[test]
fn what_follows_the_last_gzip_member() {
    let tar = tar();
    let blob = gzip(&tar);
    let followed = |tail: &[u8]| image(&[&blob[..], tail].concat(), &tar);
    for zeros in [1, 512, 700_000] {
        assert!(read(&followed(&vec![0; zeros])).unwrap() == tar);
    }
    let tails = [&b"x"[..], b"\0\0x", b"\x1f", b"\x1f\x8c", b"\x1f\x8b", &[0x28, 0xb5, 0x2f, 0xfd]];
    for tail in tails {
        assert!(matches!(fault(&followed(tail)), BlobFault::Damaged(..) | BlobFault::CutShort(_)), "{tail:?}");
    }
}

#[test]
fn zstd_windows_have_a_limit() {
    let tar = tar();
    let with_window = |log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(log)).unwrap();
        encoder.write_all(&tar).unwrap();
        encoder.finish().unwrap()
    };
    assert!(read(&image(&with_window(27), &tar)).unwrap() == tar);
    // A frame header by hand: no single segment, window descriptor of exponent 21 and mantissa 0, which is 2^31 bytes.
    let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    assert!(matches!(fault(&image(&huge, b"")), BlobFault::Window));
    let just_above = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3 | 1, 0x01, 0x00, 0x00];
    assert!(matches!(fault(&image(&just_above, b"")), BlobFault::Window));
}

#[test]
fn damaged_zstd() {
    let tar = tar();
    let blob = Pack::Zstd.pack(&tar);
    for cut in [1, 2, 3, 10, blob.len() / 2, blob.len() - 5] {
        let error = fault(&image(&blob[..blob.len() - cut], &tar));
        assert!(matches!(error, BlobFault::CutShort(_)), "{cut}: {error}");
    }
    let followed = [&blob[..], b"something"].concat();
    assert!(matches!(fault(&image(&followed, &tar)), BlobFault::Damaged(..)));
}

#[test]
fn other_compressions_are_named() {
    for (magic, name) in [(&b"\xfd7zXZ\0"[..], "xz"), (b"BZh91AY&SY", "bzip2"), (b"\x04\x22\x4d\x18", "lz4")] {
        let error = fault(&image(magic, b""));
        assert_eq!(error.to_string(), format!("{name} compression is not supported"));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_a_wrong_digest() {
    let tar = TarBuilder::new().file("body", 0o644, &[b'x'; 3000]).build();
    let every = if std::env::var_os("BOOTDISK_TEST_FULL").is_some() { 1 } else { 7 };
    for pack in [Pack::Plain, Pack::Gzip, Pack::GzipMembers(3), Pack::Zstd, Pack::ZstdFrames(2)] {
        let blob = pack.pack(&tar);
        let digest = Digest::sha256(&blob);
        for bit in (0..blob.len() * 8).step_by(every * if pack == Pack::Plain { 31 } else { 1 }) {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let image = image_with(Blob::memory("x", flipped.clone()), Some(digest.clone()), Digest::sha256(&tar));
            assert!(matches!(fault(&image), BlobFault::Digest { .. }), "{pack:?}, bit {bit}");
            // Without a digest of the blob the diff_id decides. Bits that gzip and zstd do not care about (names,
            // times, content of skippable frames) change nothing in the layer.
            let image = image_with(Blob::memory("x", flipped), None, Digest::sha256(&tar));
            match read(&image) {
                Ok(bytes) => assert!(bytes == tar, "{pack:?}, bit {bit}"),
                Err(error) => assert!(!matches!(error.fault, BlobFault::Io(_)), "{pack:?}, bit {bit}"),
            }
        }
    }
}

#[test]
fn the_right_blob_with_another_diff_id() {
    let tar = tar();
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
        assert!(matches!(fault(&image(&pack.pack(&tar), b"other")), BlobFault::DiffId { .. }), "{pack:?}");
    }
}

#[test]
fn sha512_digests_of_blob_and_tar() {
    let tar = tar();
    for pack in [Pack::Plain, Pack::Gzip] {
        let blob = pack.pack(&tar);
        let digests = |bytes: &[u8]| [Algorithm::Sha256, Algorithm::Sha512].map(|a| Hasher::digest(a, bytes));
        for of_blob in digests(&blob) {
            for of_tar in digests(&tar) {
                let right = image_with(Blob::memory("x", blob.clone()), Some(of_blob.clone()), of_tar.clone());
                assert!(read(&right).unwrap() == tar, "{pack:?}");
                let wrong = image_with(Blob::memory("x", [&blob[..], b"\0"].concat()), Some(of_blob.clone()), of_tar);
                assert!(matches!(fault(&wrong), BlobFault::Digest { .. }), "{pack:?}");
            }
        }
    }
}

#[test]
fn a_wrong_size_is_found_before_anything_is_read() {
    let tar = tar();
    for change in [-1i64, 1] {
        let mut image = image(&gzip(&tar), &tar);
        image.layers[0].size = image.layers[0].size.wrapping_add_signed(change);
        assert!(matches!(image.open_layer(0).map(drop).unwrap_err().fault, BlobFault::Size { .. }));
    }
}

#[test]
fn bytes_after_the_tar_are_hashed_although_the_reader_stops_before_them() {
    let tar = [&tar()[..], &[b'z'; 300_000]].concat();
    let open = |blob: Vec<u8>| {
        let image = image_with(Blob::memory("x", blob), None, Digest::sha256(&tar));
        let mut stream = image.open_layer(0).unwrap();
        stream.read_exact(&mut [0; 1000]).unwrap();
        stream
    };
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
        open(pack.pack(&tar)).finish().unwrap();
        let changed = [&tar[..tar.len() - 1], b"y"].concat();
        let error = open(pack.pack(&changed)).finish().unwrap_err();
        assert!(matches!(error.fault, BlobFault::DiffId { .. }), "{pack:?}");
    }
}

#[test]
fn the_digest_explains_what_the_reader_met() {
    let tar = tar();
    let mut other = tar.clone();
    other[5] ^= 1;
    for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
        let blob = pack.pack(&other);
        let begin = |digest: Option<Digest>, diff_id: &[u8]| {
            let image = image_with(Blob::memory("x", blob.clone()), digest, Digest::sha256(diff_id));
            let mut stream = image.open_layer(0).unwrap();
            stream.read_exact(&mut [0; 512]).unwrap();
            stream
        };
        // As stored and as named: the reader's own complaint stands.
        begin(Some(Digest::sha256(&blob)), &tar).finish_after_error().unwrap();
        begin(None, &other).finish_after_error().unwrap();
        let wrong = begin(Some(Digest::sha256(&pack.pack(&tar))), &tar).finish_after_error().unwrap_err();
        assert!(matches!(wrong.fault, BlobFault::Digest { .. }), "{pack:?}");
        let wrong = begin(None, &tar).finish_after_error().unwrap_err();
        assert!(matches!(wrong.fault, BlobFault::DiffId { .. }), "{pack:?}");
    }
}

/// A zstd layer of `gibibytes` GiB of zeros: tens of kilobytes a gibibyte.
fn zeros(gibibytes: usize) -> Vec<u8> {
    let frame = zstd::encode_all(std::io::repeat(0).take(1 << 30), 1).unwrap();
    frame.repeat(gibibytes)
}

#[test]
fn a_bomb_ends_as_soon_as_its_reader_has_had_enough() {
    let blob = zeros(1024);
    let digest = Digest::sha256(&blob);
    let open = |digest: Option<Digest>| {
        let image = image_with(Blob::memory("bomb", blob.clone()), digest, Digest::sha256(b"unknown"));
        let mut stream = image.open_layer(0).unwrap();
        std::io::copy(&mut (&mut stream).take(64 << 20), &mut std::io::sink()).unwrap();
        stream
    };
    let started = Instant::now();
    open(Some(digest.clone())).finish_after_error().unwrap();
    let wrong = open(Some(Digest::sha256(b"x"))).finish_after_error().unwrap_err();
    assert!(matches!(wrong.fault, BlobFault::Digest { .. }));
    drop(open(Some(digest.clone())));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // Taken for trailing data of a layer, a terabyte is refused after the first gibibyte.
    assert!(matches!(open(Some(digest)).finish().unwrap_err().fault, BlobFault::Trailing));
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn dropping_a_stream_anywhere_ends_its_threads() {
    apart("image_streams::dropping_a_stream_anywhere_ends_its_threads", || {
        let tar = tar().repeat(12);
        for pack in [Pack::Plain, Pack::Gzip, Pack::Zstd] {
            let image = image(&pack.pack(&tar), &tar);
            for bytes in [0, 1, 300_000, 3_000_000, tar.len() - 1, tar.len()] {
                let mut stream = image.open_layer(0).unwrap();
                std::io::copy(&mut (&mut stream).take(bytes as u64), &mut std::io::sink()).unwrap();
                drop(stream);
            }
            let all: Vec<LayerStream> = (0..3).map(|_| image.open_layer(0).unwrap()).collect();
            drop(all);
        }
        wait_until_gone("layer ");
    });
}

#[test]
fn progress_counts_the_bytes_as_stored_and_reading_ahead_is_bounded() {
    apart("image_streams::progress_counts_the_bytes_as_stored_and_reading_ahead_is_bounded", || {
        let tar = tar().repeat(40);
        let blob = Pack::Plain.pack(&tar);
        let image = image(&blob, &tar);
        let mut stream = image.open_layer(0).unwrap();
        let progress = stream.progress();
        stream.fill_buf().unwrap();
        wait_until_idle("layer ");
        let ahead = progress.load(Ordering::Relaxed);
        assert!((1..=6 << 20).contains(&ahead), "{ahead} bytes read ahead of {}", blob.len());
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        assert_eq!(progress.load(Ordering::Relaxed), blob.len() as u64);
        stream.finish().unwrap();
    });
}

#[test]
fn a_type_that_names_another_compression_is_remarked() {
    let tar = tar();
    let types = [
        ("application/vnd.oci.image.layer.v1.tar+gzip", Pack::Plain, Some("tar although its media type says gzip")),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Pack::Zstd, Some("zstd although its media type says gzip")),
        ("application/vnd.oci.image.layer.v1.tar", Pack::Gzip, Some("gzip although its media type says tar")),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Pack::Gzip, None),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Pack::ZstdFrames(2), None),
    ];
    for (media_type, pack, remark) in types {
        let mut image = image(&pack.pack(&tar), &tar);
        image.layers[0].media_type = Some(media_type.into());
        let stream = image.open_layer(0).unwrap();
        match (stream.warning(), remark) {
            (None, None) => {}
            (Some(said), Some(remark)) => assert!(said.ends_with(remark), "{said}"),
            other => panic!("{media_type} {pack:?}: {other:?}"),
        }
        assert!(read(&image).unwrap() == tar);
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer");
    let tar = tar().repeat(20);
    std::fs::write(&path, &tar).unwrap();
    let image = image_with(Blob::file("layer", path.clone()).unwrap(), None, Digest::sha256(&tar));
    let mut stream = image.open_layer(0).unwrap();
    stream.fill_buf().unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    assert!(std::io::copy(&mut stream, &mut std::io::sink()).is_err());
    assert!(matches!(stream.finish().unwrap_err().fault, BlobFault::Io(_)));
    assert!(matches!(image.open_layer(0).map(drop).unwrap_err().fault, BlobFault::Size { .. }));
}

#[test]
fn layers_come_in_their_order_however_many_are_decoded_at_a_time() {
    let packs = [Pack::Gzip, Pack::Zstd, Pack::Plain, Pack::GzipMembers(3), Pack::Zstd, Pack::Gzip];
    let tars: Vec<Vec<u8>> =
        (0..6u8).map(|layer| TarBuilder::new().file("body", 0o644, &vec![layer; 700_000]).build()).collect();
    let mut all = image(b"", b"");
    all.layers = packs.iter().zip(&tars).map(|(pack, tar)| image(&pack.pack(tar), tar).layers.remove(0)).collect();
    // The last layer is missing bytes, and the one before it cannot even be opened.
    let cut = all.layers[5].blob.read().unwrap();
    all.layers[5].blob = Blob::memory("cut", cut[..cut.len() - 9].to_vec());
    all.layers[5].size = cut.len() as u64 - 9;
    all.layers[4].size += 1;
    for threads in [1, 2, 8] {
        let mut seen = 0;
        for (opened, tar) in LayersAhead::new(&all, threads).zip(&tars) {
            let Ok(mut stream) = opened else {
                assert_eq!(seen, 4, "{threads}");
                seen += 1;
                continue;
            };
            let mut bytes = Vec::new();
            let whole = stream.read_to_end(&mut bytes).is_ok() && bytes == *tar;
            assert_eq!((whole, stream.finish().is_ok()), (seen < 4, seen < 4), "{threads}, layer {seen}");
            seen += 1;
        }
        assert_eq!(seen, 6, "{threads}");
    }
}
