//! Random trees with deletions, links, holes and attributes: e2fsck finds nothing and our reader finds everything.

use crate::support::ext4::{Build, Disk, MIB, noise, params};
use crate::support::{ext4, ext4_compare};
use bootdisk::ext4::read::FileSystem;
use bootdisk::rootfs::tree::Xattrs;
use bootdisk::rootfs::{Attrs, BodySink, InodeId, Kind, Time};
use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Clone, Debug)]
struct Step {
    dir: Index,
    name: Vec<u8>,
    attrs: Attrs,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Dir,
    File(Vec<(bool, u32)>),
    Symlink(usize),
    Device(bool, u32, u32),
    Fifo,
    Link(Index),
    Remove(Index),
    Abandon(u32),
    Many(u16, u8),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte == b'/' || byte == 0 { b'\n' } else { byte });
    let any_name = prop::collection::vec(byte, 1..=255);
    prop_oneof![4 => "[a-z]{1,12}".prop_map(String::into_bytes), 1 => any_name]
        .prop_map(|name| if name == b"." || name == b".." { b"...".to_vec() } else { name })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let value = prop_oneof![
        12 => prop::collection::vec(any::<u8>(), 0..120),
        1 => (any::<u8>(), 0usize..12_000).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let prefix = prop::sample::select(vec!["user.", "trusted.", "security."]);
    let one = (prefix, "[a-z]{1,20}", value);
    prop_oneof![
        3 => Just(None),
        1 => prop::collection::vec(one, 1..20).prop_map(|list| {
            let map: std::collections::BTreeMap<Vec<u8>, Vec<u8>> =
                list.into_iter().map(|(p, n, v)| (format!("{p}{n}").into_bytes(), v)).collect();
            Some(map.into_iter().map(|(n, v)| (n.into(), v.into())).collect())
        }),
    ]
}

fn attrs() -> impl Strategy<Value = Attrs> {
    let secs = prop_oneof![4 => 0i64..2_000_000_000, 1 => -(1i64 << 31)..(3 << 32) - (1 << 31)];
    (0u16..0o10000, any::<u32>(), any::<u32>(), secs, 0u32..1_000_000_000, xattrs())
        .prop_map(|(mode, uid, gid, secs, nanos, xattrs)| Attrs { mode, uid, gid, mtime: Time { secs, nanos }, xattrs })
}

fn what() -> impl Strategy<Value = What> {
    let length = prop_oneof![0u32..20_000, Just(4096), Just(8192), 0u32..300_000];
    prop_oneof![
        3 => Just(What::Dir),
        8 => prop::collection::vec((any::<bool>(), length), 0..8).prop_map(What::File),
        2 => (1usize..=4095).prop_map(What::Symlink),
        1 => (any::<bool>(), 0u32..4096, 0u32..1 << 20).prop_map(|(c, a, b)| What::Device(c, a, b)),
        1 => Just(What::Fifo),
        2 => any::<Index>().prop_map(What::Link),
        4 => any::<Index>().prop_map(What::Remove),
        1 => (0u32..100_000).prop_map(What::Abandon),
        1 => (1u16..600, 8u8..200).prop_map(|(count, length)| What::Many(count, length)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (any::<Index>(), name(), attrs(), what()).prop_map(|(dir, name, attrs, what)| Step { dir, name, attrs, what })
}

/// Where names can go, and which there are.
struct State {
    dirs: Vec<InodeId>,
    files: Vec<InodeId>,
    names: Vec<(InodeId, Vec<u8>)>,
}

fn apply(build: &mut Build, state: &mut State, step: Step, turn: u64) {
    let dir = state.dirs[step.dir.index(state.dirs.len())];
    match step.what {
        What::Remove(which) if !state.names.is_empty() => {
            let (dir, name) = state.names.swap_remove(which.index(state.names.len()));
            let entry = build.tree.entry(dir, &name).unwrap();
            let id = build.tree.target(entry);
            if let Some(inode) = build.tree.unlink(entry) {
                state.files.retain(|&file| file != id);
                build.contents.remove(&id);
                if let Kind::File { body, .. } = inode.kind {
                    build.writer.discard(body);
                }
            }
            return;
        }
        What::Abandon(length) => {
            build.writer_abandons(&noise(length as usize, turn));
            return;
        }
        _ if build.tree.entry(dir, &step.name).is_some() => return,
        _ => {}
    }
    let kind = match step.what {
        What::Dir | What::Many(..) => Kind::directory(),
        What::Symlink(length) => Kind::Symlink(vec![b't'; length].into()),
        What::Device(true, major, minor) => Kind::CharDevice { major, minor },
        What::Device(false, major, minor) => Kind::BlockDevice { major, minor },
        What::Fifo => Kind::Fifo,
        What::Link(to) if !state.files.is_empty() => {
            let to = state.files[to.index(state.files.len())];
            build.tree.link(dir, &step.name, to, 0).unwrap();
            state.names.push((dir, step.name));
            return;
        }
        What::File(ref pieces) => {
            let size = pieces.iter().map(|&(_, length)| u64::from(length)).sum();
            let mut content = Vec::new();
            build.writer.begin(size).unwrap();
            for (i, &(data, length)) in pieces.iter().enumerate() {
                if data {
                    let bytes = noise(length as usize, turn * 100 + i as u64);
                    build.writer.write(&bytes).unwrap();
                    content.extend(bytes);
                } else {
                    build.writer.hole(length.into()).unwrap();
                    content.resize(content.len() + length as usize, 0);
                }
            }
            let body = build.writer.finish().unwrap();
            let id = build.tree.insert(dir, &step.name, step.attrs, Kind::File { size, body }, 0).unwrap();
            build.contents.insert(id, content);
            state.files.push(id);
            state.names.push((dir, step.name));
            return;
        }
        _ => return,
    };
    let is_directory = matches!(kind, Kind::Directory(_));
    let id = build.tree.insert(dir, &step.name, step.attrs, kind, 0).unwrap();
    if let What::Many(count, length) = step.what {
        for i in 0..count {
            let name = format!("{i:0width$}", width = usize::from(length));
            build.tree.insert(id, name.as_bytes(), Attrs::default(), Kind::Fifo, 0).unwrap();
        }
    }
    if is_directory {
        state.dirs.push(id);
    } else {
        state.files.push(id);
        state.names.push((dir, step.name));
    }
}

#[test]
fn random_trees() {
    let full = std::env::var_os("BOOTDISK_TEST_FULL").is_some();
    let config = ProptestConfig {
        cases: if full { 10_000 } else { 100 },
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 0..80), free in 0u64..4)| {
        let disk = Disk::new();
        let params = bootdisk::ext4::Params { free: bootdisk::ext4::Free::Bytes(free * MIB), ..params() };
        let written = disk.write(params, |build| {
            let mut state = State { dirs: vec![ext4::ROOT], files: Vec::new(), names: Vec::new() };
            for (turn, step) in steps.into_iter().enumerate() {
                apply(build, &mut state, step, turn as u64);
            }
        });
        let fs = FileSystem::open(&disk.file, 0).unwrap();
        fs.verify_groups().unwrap();
        ext4_compare::compare(&fs, &written);
    });
}
