//! A file system that goes on from what was kept behind some of its layers is the one that is made from all of them: random
//! stacks of layers, each kept behind every layer and gone on with from there, byte for byte.

use crate::support::ext4::{MIB, noise, params};
use crate::support::layers::{Member, archive, full, merge};
use bootdisk::ext4::{Blocks, Body, Params, Refused, Resumed, Writer};
use bootdisk::flatten::{Limits, apply};
use bootdisk::layer::Warnings;
use bootdisk::output::Output;
use bootdisk::rootfs::{Attrs, Pack, Tree, Unpack};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A writer behind some layers.
struct Build<'a> {
    writer: Writer<'a>,
    tree: Tree<Body>,
    warnings: Warnings,
    layers: usize,
}

/// An output that shares blocks with no file.
struct Apart(File);

impl Output for Apart {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        Output::write_at(&self.0, offset, data)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        Output::read_at(&self.0, offset, buffer)
    }
    fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.discard(offset, length)
    }
}

/// What was kept.
struct Kept {
    state: Vec<u8>,
    blocks: File,
}

fn file() -> File {
    tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn resume<'a>(output: &'a File, params: Params, state: &mut Unpack<'_>, file: &File) -> Result<Resumed<'a>, Refused> {
    bootdisk::ext4::resume(output, params, state, Blocks { file, are_known: false })
}

fn small() -> Params {
    Params { free: bootdisk::ext4::Free::Least, ..params() }
}

impl<'a> Build<'a> {
    fn new(output: &'a File) -> Build<'a> {
        let tree = Tree::new(Attrs { mode: 0o755, ..Attrs::default() });
        Build { writer: Writer::new(output, small()), tree, warnings: Warnings::default(), layers: 0 }
    }

    /// Where another one was.
    fn from(kept: &Kept, output: &'a File, layers: usize) -> Result<Build<'a>, Refused> {
        let mut state = Unpack(&kept.state);
        let warnings = Warnings::unpack(&mut state).unwrap();
        let Resumed { writer, tree, .. } = resume(output, small(), &mut state, &kept.blocks)?;
        assert!(state.0.is_empty());
        Ok(Build { writer, tree, warnings, layers })
    }

    /// Applies the next layer, if there is one.
    fn apply(&mut self, layers: &[Vec<u8>]) -> bool {
        let Some(mut layer) = layers.get(self.layers).map(Vec::as_slice) else { return false };
        let number = self.layers as u32;
        self.layers += 1;
        let Build { writer, tree, warnings, .. } = self;
        apply(tree, number, &mut layer, writer, &Limits::default(), warnings).unwrap();
        true
    }

    fn keep(&mut self) -> Kept {
        let (mut state, blocks) = (Pack::default(), file());
        self.warnings.pack(&mut state);
        self.writer.keep(&self.tree, &blocks, true, &mut state).unwrap().unwrap();
        Kept { state: state.0, blocks }
    }

    /// What there is in the end, but for the blocks, and seals it.
    fn end(mut self, output: &File) -> Vec<u8> {
        let state = self.keep().state;
        let sealed = self.writer.seal(&self.tree).unwrap();
        output.set_len(sealed.size).unwrap();
        state
    }
}

fn same(a: &File, b: &File) -> bool {
    let (size, other) = (a.metadata().unwrap().len(), b.metadata().unwrap().len());
    let (mut left, mut right) = (vec![0; MIB as usize], vec![0; MIB as usize]);
    size == other
        && (0..size).step_by(MIB as usize).all(|at| {
            Output::read_at(a, at, &mut left).unwrap();
            Output::read_at(b, at, &mut right).unwrap();
            left == right
        })
}

/// A member of a random layer. Paths are made of few names, so that they meet.
fn member() -> impl Strategy<Value = Member> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let path = move || prop::collection::vec(name(), 1..4).prop_map(|names| names.join("/"));
    let marker = |path: String, name: &str| match path.rsplit_once('/') {
        Some((parent, last)) => format!("{parent}/.wh.{}", if name.is_empty() { last } else { name }),
        None => format!(".wh.{}", if name.is_empty() { &path } else { name }),
    };
    // Whole blocks, parts of blocks, zeros between them.
    let body = (0usize..40_000, any::<u64>(), 0usize..3).prop_map(|(length, seed, zeros)| {
        let mut body = noise(length, seed);
        body.chunks_mut(4096).skip(1).step_by(2).take(zeros).for_each(|block| block.fill(0));
        body
    });
    let sparse = |(path, data, hole): (String, Vec<u8>, usize)| {
        let (end, hole) = (data.len() + hole, hole.to_string());
        Member::file(&path, &data)
            .record("GNU.sparse.size", (end + 10_000).to_string())
            .record("GNU.sparse.numblocks", "1")
            .record("GNU.sparse.map", format!("{hole},{}", data.len()))
            .record("GNU.sparse.name", path)
    };
    let member = prop_oneof![
        4 => path().prop_map(Member::dir),
        8 => (path(), body).prop_map(|(path, body)| Member::file(path, body)),
        2 => (path(), prop::collection::vec(1u8.., 1..9_000), 0usize..20_000).prop_map(sparse),
        2 => (path(), path()).prop_map(|(path, target)| Member::symlink(path, format!("/{target}"))),
        3 => (path(), path()).prop_map(|(path, target)| Member::hard_link(path, target)),
        1 => path().prop_map(|path| Member::new(b'6', path)),
        1 => (path(), 0u64..300).prop_map(|(path, minor)| Member::device(b'3', path, 1, minor)),
        3 => path().prop_map(move |path| Member::file(marker(path, ""), "")),
        1 => path().prop_map(move |path| Member::file(marker(path, ".wh..opq"), "")),
    ];
    let xattr = prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..5_000));
    (member, xattr, 0u64..3_000_000, 0u64..70_000).prop_map(|(member, xattr, owner, time)| {
        let member = member.owner(owner % 1000, owner % 77).mtime(time);
        match xattr {
            Some(value) => member.record("SCHILY.xattr.user.x", value),
            None => member,
        }
    })
}

/// Layers without the members that are refused where they are: links to what is not there, mostly.
fn stack() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let stack = prop::collection::vec(prop::collection::vec(member(), 1..14), 2..6);
    stack.prop_map(|stack| {
        let mut layers: Vec<Vec<u8>> = Vec::new();
        for members in stack {
            let mut good: Vec<Member> = Vec::new();
            for member in members {
                good.push(member);
                layers.push(archive(&good));
                if merge(&layers).is_err() {
                    good.pop();
                }
                layers.pop();
            }
            layers.push(archive(&good));
        }
        layers
    })
}

#[test]
fn what_goes_on_from_any_layer_is_what_all_of_them_are() {
    let cases = if full() { 500 } else { 30 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(Default::default()));
    let compared = std::cell::Cell::new(0);
    let run = runner.run(&stack(), |layers| {
        let whole = file();
        let mut build = Build::new(&whole);
        while build.apply(&layers) {}
        let state = build.end(&whole);

        let (watched, mut all) = (file(), Vec::new());
        let mut build = Build::new(&watched);
        while build.apply(&layers) {
            all.push(build.keep());
        }
        prop_assert_eq!(&build.end(&watched), &state);
        prop_assert!(same(&watched, &whole), "keeping changes nothing");
        for (number, kept) in (1..).zip(&all) {
            let disk = file();
            let mut build = Build::from(kept, &disk, number).unwrap();
            while build.apply(&layers) {}
            prop_assert_eq!(&build.end(&disk), &state, "behind layer {}", number);
            prop_assert!(same(&disk, &whole), "behind layer {}", number);
            compared.set(compared.get() + 1);
        }
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
    println!("{} layers of {cases} stacks", compared.get());
    assert!(compared.get() > 2 * cases, "only {} were compared", compared.get());
}

/// Two layers, the second of which replaces something, and what was kept behind the first.
fn kept() -> Kept {
    let members = [
        Member::file("a", noise(3 << 20, 1)),
        Member::file("b", noise(5_000, 2)),
        Member::hard_link("c", "a"),
        Member::file("zeros", [0; 9_000]),
    ];
    let disk = file();
    let mut build = Build::new(&disk);
    assert!(build.apply(&[archive(&members)]));
    build.keep()
}

#[test]
fn damaged_blocks_are_refused_and_the_output_is_as_it_was() {
    let kept = kept();
    // The first block of a body.
    let first = 129 * 4096;
    let data = nix::unistd::lseek(&kept.blocks, 0, nix::unistd::Whence::SeekData).unwrap();
    assert_eq!(data, first as i64, "what is free is a hole");
    assert!(kept.blocks.metadata().unwrap().len() > 3 * MIB);
    let refused = || {
        let disk = file();
        assert!(matches!(Build::from(&kept, &disk, 1), Err(Refused::Damaged)));
        // What is copied is compared, whatever is known of it.
        let (mut state, elsewhere) = (Unpack(&kept.state), Apart(file()));
        Warnings::unpack(&mut state).unwrap();
        let known = Blocks { file: &kept.blocks, are_known: true };
        assert!(bootdisk::ext4::resume(&elsewhere, small(), &mut state, known).is_err());
        let mut bytes = vec![1; 5 << 20];
        Output::read_at(&disk, 0, &mut bytes).unwrap();
        bytes.iter().all(|&byte| byte == 0)
    };
    let disk = file();
    assert!(Build::from(&kept, &disk, 1).is_ok(), "and what is whole is not");
    // The first block of a body, the middle, the last byte of one, and of the padding behind it.
    for at in [first, first + 1, first + (3 << 20) / 2, first + (3 << 20) + 4_999, first + (3 << 20) + 8_191] {
        let mut byte = [0];
        kept.blocks.read_exact_at(&mut byte, at).unwrap();
        kept.blocks.write_all_at(&[byte[0] ^ 1], at).unwrap();
        assert!(refused(), "{at}");
        kept.blocks.write_all_at(&byte, at).unwrap();
    }
    assert!(Build::from(&kept, &file(), 1).is_ok());
    // Free blocks are not looked at, and are nowhere on the disk.
    kept.blocks.write_all_at(&[1; 4096], first - 4096).unwrap();
    let disk = file();
    assert!(Build::from(&kept, &disk, 1).is_ok());
    let mut block = [1; 4096];
    Output::read_at(&disk, first - 4096, &mut block).unwrap();
    assert_eq!(block, [0; 4096]);
    kept.blocks.set_len(kept.blocks.metadata().unwrap().len() / 2).unwrap();
    assert!(refused(), "cut short");
}

#[test]
fn a_damaged_state_is_no_disk_of_another_kind() {
    let kept = kept();
    let mut refused = 0;
    for at in 0..kept.state.len() {
        let mut state = kept.state.clone();
        state[at] ^= 0x81;
        let mut input = Unpack(&state);
        // Its digest is looked at before: this is about what has a right digest and makes no sense. No panic.
        let Some(_) = Warnings::unpack(&mut input) else { continue };
        refused += usize::from(resume(&file(), small(), &mut input, &kept.blocks).is_err());
        let cut = Unpack(&kept.state[1..at.max(1)]);
        assert!(resume(&file(), small(), &mut cut.clone(), &kept.blocks).is_err(), "{at}");
    }
    assert!(refused > kept.state.len() / 3, "{refused} of {}", kept.state.len());
}

#[test]
fn a_disk_that_would_have_ended_the_first_build_does_not_begin_there() {
    let kept = kept();
    let begin = |params: Params| {
        let mut state = Unpack(&kept.state);
        Warnings::unpack(&mut state).unwrap();
        resume(&file(), params, &mut state, &kept.blocks).map(drop)
    };
    assert!(begin(Params { size: Some(64 * MIB), ..small() }).is_ok());
    assert!(matches!(begin(Params { size: Some(2 * MIB), ..small() }), Err(Refused::Unfit)));
    assert!(matches!(begin(Params { limit: 3 * MIB, ..small() }), Err(Refused::Unfit)));
    assert!(
        matches!(begin(Params { size: Some(8 << 40), ..small() }), Err(Refused::Unfit)),
        "more room for descriptors"
    );
}
