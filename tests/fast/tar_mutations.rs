//! T52: damaged archives. Every one is refused, or read just as Go's reader reads it (Docker's, containerd's and
//! umoci's); and random bytes never make the reader panic.
//!
//! Mutations come from fixed seeds. Where a header is hit, its checksum is mended most of the time, since otherwise
//! nothing else would be tested.

use crate::support::layers::{Magic, Member, archive, fnv, full, merge, octal};
use crate::support::{layers, tools};
use bootdisk::layer::{Entry, EntryKind, Error, Limits, Reader, Warnings};
use bootdisk::rootfs::memory::MemorySink;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A generator of numbers that is the same everywhere (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Archives to start from: the cases of tests/data/tar-cases and one of each dialect with many members.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tar-cases");
    let mut all: Vec<_> = fs::read_dir(folder)
        .expect("the folder is in the repository")
        .map(|file| file.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(path).expect("a file")))
        .filter(|(_, bytes)| merge(std::slice::from_ref(bytes)).is_ok())
        .collect();
    all.sort();
    for magic in [Magic::V7, Magic::Ustar, Magic::Gnu] {
        let members = [
            Member::dir("d/").mtime(1000),
            Member::file("d/file", vec![b'x'; 700]).owner(1000, 100).mtime(0o17),
            Member::symlink("d/s", "file"),
            Member::hard_link("h", "d/file"),
            Member::device(b'3', "null", 1, 3),
            Member::new(b'6', "pipe"),
            Member { body: [&[b'l'; 200][..], b"\0"].concat(), ..Member::new(b'L', "././@LongLink") },
            Member::file("short", "body"),
        ];
        all.push((format!("{magic:?}"), archive(&members.map(|m| Member { magic, ..m }))));
    }
    let member = Member::file("pax", "body").record("mtime", "1.5").record("SCHILY.xattr.user.a", "b\nc");
    let sparse = Member::file("sparse", "abc").record("GNU.sparse.size", "4096");
    let sparse = sparse.record("GNU.sparse.numblocks", "2").record("GNU.sparse.map", "0,1,100,2");
    let pairs = Member::file("pairs", "ab").record("GNU.sparse.size", "20").record("GNU.sparse.numblocks", "2");
    let pairs = pairs.record("GNU.sparse.offset", "1").record("GNU.sparse.numbytes", "1");
    let pairs = pairs.record("GNU.sparse.offset", "9").record("GNU.sparse.numbytes", "1");
    all.push(("pax".to_owned(), archive(&[member, sparse, pairs, Member::file("x".repeat(300), "long")])));
    all
}

fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        let block = at / 512 * 512;
        let was_header = bytes.get(block..block + 512).is_some_and(is_header);
        match random.below(12) {
            0 => bytes.truncate(if random.below(2) == 0 { block } else { at }),
            1 => drop(bytes.drain(block..(block + 512).min(bytes.len()))),
            2 => {
                let copy = bytes[block..(block + 512).min(bytes.len())].to_vec();
                bytes.splice(block..block, copy);
            }
            3 => bytes[at] = 0,
            4 => bytes[at] = b'0' + random.below(10) as u8,
            5 => bytes[at] = 0xff,
            // The type and the magic decide most.
            6 => bytes.get_mut(block + 156).into_iter().for_each(|b| *b = b"01234567xgLKSVDQ\0"[random.below(17)]),
            7 => {
                let magic = [&b"ustar\x0000"[..], b"ustar  \0", b"\0\0\0\0\0\0\0\0"][random.below(3)];
                bytes.get_mut(block + 257..block + 265).into_iter().for_each(|field| field.copy_from_slice(magic));
            }
            8 => {
                let size = octal(random.below(3000) as u64, 12);
                bytes.get_mut(block + 124..block + 136).into_iter().for_each(|field| field.copy_from_slice(&size));
            }
            _ => bytes[at] ^= 1 << random.below(8),
        }
        if was_header && random.below(8) > 0 && bytes.len() >= block + 512 {
            layers::set_checksum(&mut bytes[block..block + 512]);
        }
    }
    bytes
}

fn is_header(block: &[u8]) -> bool {
    let mut copy = block.to_vec();
    layers::set_checksum(&mut copy);
    copy == block
}

/// An archive as the Go program shows it.
fn ours(mut bytes: &[u8]) -> Result<Vec<String>, Error> {
    let mut sink = MemorySink::default();
    let mut warnings = Warnings::default();
    let mut reader = Reader::new(&mut bytes, Limits::default());
    let mut lines = Vec::new();
    while let Some(entry) = reader.next_entry(&mut warnings)? {
        let small = matches!(entry.kind, EntryKind::File { size } if size <= 1 << 20);
        let body = match small {
            true => {
                let body = reader.body(&mut sink)?;
                sink.read(&body)
            }
            false => Vec::new(),
        };
        lines.push(line(&entry, &body));
    }
    Ok(lines)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn line(entry: &Entry, body: &[u8]) -> String {
    let (mut size, mut target, mut device) = (0, &b""[..], (0, 0));
    let kind = match &entry.kind {
        EntryKind::File { size: length } => {
            size = *length;
            '0'
        }
        EntryKind::Directory => '5',
        EntryKind::Symlink(t) => {
            target = t;
            '2'
        }
        EntryKind::HardLink(t) => {
            target = t;
            '1'
        }
        EntryKind::CharDevice { major, minor } => {
            device = (*major, *minor);
            '3'
        }
        EntryKind::BlockDevice { major, minor } => {
            device = (*major, *minor);
            '4'
        }
        EntryKind::Fifo => '6',
    };
    let a = &entry.attrs;
    let xattrs: Vec<_> = a.xattrs.iter().flatten().filter(|(_, value)| !value.is_empty()).collect();
    let xattrs: Vec<_> = xattrs.iter().map(|(name, value)| format!("{}={}", hex(name), hex(value))).collect();
    format!(
        "{kind} {} {} {size} {:o} {} {} {}.{:09} {}:{} {} {}",
        hex(&entry.path),
        hex(target),
        a.mode,
        a.uid,
        a.gid,
        a.mtime.secs,
        a.mtime.nanos,
        device.0,
        device.1,
        fnv(body),
        xattrs.join(",")
    )
}

/// Go's lines in our terms: what it leaves to its caller.
fn translate(go: &str) -> Option<String> {
    let mut fields: Vec<String> = go.split(' ').map(str::to_owned).collect();
    let is_slashed = fields[1].ends_with("2f");
    match fields[0].as_str() {
        "g" | "V" => return None,
        "1" | "2" | "3" | "4" | "5" | "6" => {}
        // A file with a slash behind its name is a directory for GNU tar and bsdtar.
        "0" if is_slashed => fields[0] = "5".to_owned(),
        _ => fields[0] = "0".to_owned(),
    }
    // The target field of something that is no link, and the numbers of something that is no device.
    if !matches!(fields[0].as_str(), "1" | "2") {
        fields[2].clear();
    }
    if !matches!(fields[0].as_str(), "3" | "4") {
        fields[8] = "0:0".to_owned();
    }
    Some(fields.join(" "))
}

/// What Go says about each archive.
fn go(archives: &[Vec<u8>]) -> Vec<Result<Vec<String>, String>> {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = tmp.join("tarlist");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tarlist.go");
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off").env("CGO_ENABLED", "0").env("GOCACHE", tmp.join("go-cache"));
    tools::stdout(build.arg("build").arg("-o").arg(&program).arg(source));
    let mut input = tempfile::tempfile().expect("a temporary file");
    for bytes in archives {
        input
            .write_all(&(bytes.len() as u32).to_be_bytes())
            .and_then(|()| input.write_all(bytes))
            .expect("room for it");
    }
    std::io::Seek::rewind(&mut input).expect("a file can be rewound");
    let text = tools::stdout(Command::new(program).stdin(Stdio::from(input)));
    let mut results = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.split_once(' ') {
            None if line == "end" => results.push(Ok(std::mem::take(&mut lines))),
            Some(("error", why)) => {
                results.push(Err(why.to_owned()));
                lines.clear();
            }
            _ => lines.extend(translate(line)),
        }
    }
    assert_eq!(results.len(), archives.len(), "a result for each archive");
    results
}

/// Records that Go hands on without reading them.
fn has_records_of_others(bytes: &[u8]) -> bool {
    [&b"LIBARCHIVE."[..], b"SCHILY.acl", b"SCHILY.dev", b"SCHILY.realsize", b"RHT."]
        .iter()
        .any(|key| bytes.windows(key.len()).any(|window| window == *key))
}

#[test]
fn t52_mutations_are_refused_or_read_as_go_reads_them() {
    let per_seed = if full() { 1000 } else { 120 };
    let mut cases = Vec::new();
    for (i, (name, seed)) in seeds().into_iter().enumerate() {
        cases.push((format!("{name} as it is"), seed.clone()));
        for n in 0..per_seed {
            let mut random = Random((i as u64) << 32 | n);
            cases.push((format!("{name} mutation {n}"), mutate(&seed, &mut random)));
        }
    }
    let archives: Vec<_> = cases.iter().map(|(_, bytes)| bytes.clone()).collect();
    let (mut equal, mut refused, mut wrong) = (0, 0, Vec::new());
    for ((name, bytes), go) in cases.iter().zip(go(&archives)) {
        match (ours(bytes), go) {
            (Err(_), _) => refused += 1,
            (Ok(_), _) if has_records_of_others(bytes) => {}
            // Times beyond 64 bits are clamped here (T56).
            (Ok(ours), Err(_)) if ours.iter().any(|line| line.contains(" 9223372036854775807.0")) => {}
            (Ok(ours), Ok(go)) if ours == go => equal += 1,
            (Ok(ours), go) => wrong.push(format!("{name}:\n ours {ours:#?}\n Go   {go:#?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong[..wrong.len().min(12)].join("\n"));
    println!("{equal} read alike, {refused} refused");
    assert!(
        equal > cases.len() / 10 && refused > cases.len() / 10,
        "{equal} equal, {refused} refused of {}",
        cases.len()
    );
}

#[test]
fn random_bytes_never_panic() {
    let rounds = if full() { 200_000 } else { 5_000 };
    let mut random = Random(1);
    let seeds = seeds();
    for round in 0..rounds {
        let mut bytes: Vec<u8> = match round % 3 {
            0 => (0..random.below(4000)).map(|_| random.next() as u8).collect(),
            // Headers of noise with a right checksum.
            1 => (0..1 + random.below(6))
                .flat_map(|_| {
                    let mut block: Vec<u8> = (0..512).map(|_| random.next() as u8 & 0x37).collect();
                    layers::set_checksum(&mut block);
                    block
                })
                .collect(),
            _ => seeds[random.below(seeds.len())].1.clone(),
        };
        for _ in 0..random.below(20) {
            bytes = mutate(&bytes, &mut random);
        }
        let mut merged = layers::Merged::new();
        let limits = bootdisk::flatten::Limits::default();
        if merged.add(&archive(&[Member::dir("d"), Member::file("f", "1")]), &limits).is_ok() {
            let mut slice = bytes.as_slice();
            let result = bootdisk::flatten::apply(
                &mut merged.tree,
                1,
                &mut slice,
                &mut merged.sink,
                &limits,
                &mut merged.warnings,
            );
            assert!(result.is_err() || slice.is_empty());
        }
    }
}
