//! Micro benchmarks: what a build does, stage by stage, so that a change can be seen where it was made.
//!
//! ```text
//! cargo bench                     all of them
//! cargo bench -- inflate          those with the word in their names
//! ```
//!
//! Whole builds beside other programs are `scripts/bench`'s.

#[path = "../tests/support/layers.rs"]
#[allow(dead_code, reason = "it is for tests, and a part of it for this")]
mod layers;

use bootdisk::arch::Architecture;
use bootdisk::boot::{self, Boot, Firmware};
use bootdisk::disk::gpt::Layout;
use bootdisk::ext4::{self, Descriptors, Params};
use bootdisk::flatten::{Limits, apply};
use bootdisk::image::inflate::{HISTORY, Inflater, MARGIN, Stop, Target};
use bootdisk::image::{Algorithm, Hasher};
use bootdisk::layer::{Limits as LayerLimits, Reader, Warnings};
use bootdisk::output::Memory;
use bootdisk::rootfs::{Attrs, BodySink, Time, Tree};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use layers::{Member, archive};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::LazyLock;

fn main() {
    divan::main();
}

const FILES: usize = 10_000;
/// Bytes that are inflated at a time.
const CHUNK: usize = 256 << 10;

/// 10,000 files of 0 to 4 KiB in 100 folders, as a layer.
static SMALL_FILES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folders = (0..100).map(|folder| Member::dir(format!("d{folder}/")));
    let body = |number: usize| text(number * 37 % 4096, number as u32);
    let files = (0..FILES).map(|number| Member::file(format!("d{}/f{number}", number % 100), body(number)));
    archive(&folders.chain(files).collect::<Vec<_>>())
});

/// One file of 64 MiB, as a layer.
static LARGE_FILE: LazyLock<Vec<u8>> = LazyLock::new(|| archive(&[Member::file("large", text(64 << 20, 1))]));

/// 16 MiB of something like text, deflated.
static DEFLATED: LazyLock<(usize, Vec<u8>)> = LazyLock::new(|| {
    let plain = text(16 << 20, 1);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).expect("memory");
    (plain.len(), encoder.finish().expect("memory"))
});

/// Words in an order that does not repeat soon: about three times as long as deflated.
fn text(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{:x} word ", state >> 20).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Takes bodies and keeps nothing.
struct Nowhere;

impl BodySink for Nowhere {
    type Body = ();
    fn begin(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        black_box(bytes);
        Ok(())
    }
    fn hole(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn abandon(&mut self) {}
    fn discard(&mut self, (): ()) {}
}

fn flattened<S: BodySink>(layer: &[u8], sink: &mut S) -> Tree<S::Body> {
    let mut tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
    let mut warnings = Warnings::default();
    apply(&mut tree, 0, &mut &layer[..], sink, &Limits::default(), &mut warnings).expect("a layer without faults");
    tree
}

#[divan::bench]
fn tar_walk(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(FILES)).bench(|| {
        let mut layer = &SMALL_FILES[..];
        let mut reader = Reader::new(&mut layer, LayerLimits::default());
        let mut warnings = Warnings::default();
        let mut count = 0;
        while reader.next_entry(&mut warnings).expect("no faults").is_some() {
            count += 1;
        }
        count
    });
}

#[divan::bench]
fn flatten(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(FILES)).bench(|| flattened(&SMALL_FILES, &mut Nowhere));
}

#[divan::bench]
fn ext4_of_small_files(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(FILES)).bench(|| ext4(&SMALL_FILES));
}

#[divan::bench]
fn ext4_of_a_large_file(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(LARGE_FILE.len())).bench(|| ext4(&LARGE_FILE));
}

/// Into a file without a name, as a build's is sparse.
fn ext4(layer: &[u8]) -> File {
    let output = tempfile::tempfile().expect("a folder for temporary files");
    let mut writer = ext4::Writer::new(
        &output,
        Params {
            uuid: [1; 16],
            hash_seed: [2; 16],
            label: b"root".to_vec(),
            size: None,
            free: ext4::Free::Usual,
            limit: 1 << 32,
            made_at: Time { secs: 0, nanos: 0 },
            descriptors: Descriptors::default(),
        },
    );
    let tree = flattened(layer, &mut writer);
    writer.seal(&tree).expect("everything fits");
    output
}

#[divan::bench]
fn esp_of_a_kernel(bencher: Bencher<'_, '_>) {
    let kernel = text(14 << 20, 1);
    let initramfs = text(4 << 20, 2);
    let layout = Layout::around_root(Architecture::X86_64, 128 << 20, 1 << 20).expect("a disk");
    let parts = Boot {
        // A BIOS boot stage needs a real kernel.
        firmware: Firmware { bios: false, uefi: true },
        kernel: &kernel,
        release: "6.1.0",
        initramfs: &initramfs,
        efi_loader: Some(b"MZ"),
        unified: None,
        command_line: "console=ttyS0 quiet",
        title: "Linux",
        volume_id: 1,
        time: 0,
        signed: None,
    };
    bencher.counter(BytesCount::new(kernel.len() + initramfs.len())).bench(|| {
        let output = Memory::default();
        boot::write(&parts, &layout, &output).expect("it fits");
        output
    });
}

#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(LARGE_FILE.len())).bench(|| Hasher::digest(Algorithm::Sha256, &LARGE_FILE));
}

/// Two digests at once, half of the bytes each.
#[divan::bench]
fn digest_of_two(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(LARGE_FILE.len())).bench(|| {
        let (mut a, mut b) = (Hasher::new(Algorithm::Sha256), Hasher::new(Algorithm::Sha256));
        let (of_a, of_b) = LARGE_FILE.split_at(LARGE_FILE.len() / 2);
        for (of_a, of_b) in of_a.chunks(CHUNK).zip(of_b.chunks(CHUNK)) {
            Hasher::update_both(&mut a, of_a, &mut b, of_b);
        }
        (a.finish(), b.finish())
    });
}

#[divan::bench]
fn inflate(bencher: Bencher<'_, '_>) {
    let (length, deflated) = &*DEFLATED;
    bencher.counter(BytesCount::new(*length)).bench(|| {
        let mut inflater = Inflater::default();
        let mut buffer = vec![0; HISTORY + CHUNK + MARGIN];
        let (mut input, mut at, mut total) = (&deflated[..], HISTORY, 0u64);
        loop {
            let history = (total + (at - HISTORY) as u64).min(at as u64) as usize;
            let mut target = Target { bytes: &mut buffer, floor: at - history, at };
            let (read, stop) = inflater.run(input, &mut target).expect("no faults");
            at = target.at;
            input = &input[read..];
            if stop == Stop::End {
                return total + (at - HISTORY) as u64;
            }
            total += (at - HISTORY) as u64;
            buffer.copy_within(at - HISTORY..at, 0);
            at = HISTORY;
        }
    });
}

#[divan::bench]
fn inflate_by_zlib_rs(bencher: Bencher<'_, '_>) {
    let (length, deflated) = &*DEFLATED;
    bencher.counter(BytesCount::new(*length)).bench(|| {
        let mut decoder = flate2::bufread::DeflateDecoder::new(&deflated[..]);
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        while let n @ 1.. = decoder.read(&mut buffer).expect("no faults") {
            total += n;
        }
        total
    });
}
