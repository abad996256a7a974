//! Fields at their limits, sizes against the limits, sparse maps, dialects: rows T46 to T60 (T52 is in
//! `tar_mutations`, the archives of other programs are in `tar_programs`).

use crate::support::layers;
use crate::support::layers::{Magic, Member, archive, base256, entries, members_only, merge, octal, pax_record};
use bootdisk::layer::{EntryKind, Limits, Reader, WarningKind, Warnings};
use bootdisk::rootfs::memory::{MemorySink, Part};
use bootdisk::rootfs::{Kind, Time};
use std::io::{BufReader, Read};

fn refused(bytes: &[u8], part: &str) {
    match merge(&[bytes.to_vec()]) {
        Err(error) => assert!(error.to_string().contains(part), "{error} instead of {part:?}"),
        Ok(merged) => panic!("{} instead of {part:?}", merged.short()),
    }
}

fn refused_for_size(bytes: &[u8], part: &str) {
    refused(bytes, part);
    assert!(merge(&[bytes.to_vec()]).is_err_and(|error| error.is_limit()), "{part}");
}

/// T46. An endless header body: what is held of it is nothing, because the size alone refuses it.
#[test]
fn t46_extension_headers_above_one_mebibyte() {
    for typeflag in [b'x', b'g', b'L', b'K', b'X'] {
        for size in [(1u64 << 20) + 1, 512 << 20, u64::MAX >> 1] {
            let header = Member { size: base256(size.into(), 12), ..Member::new(typeflag, "x") };
            let header = members_only(&[header]);
            let mut stream = BufReader::new(header.as_slice().chain(std::io::repeat(b'a')));
            let mut reader = Reader::new(&mut stream, Limits::default());
            let error = reader.next_entry(&mut Warnings::default()).unwrap_err();
            assert!(error.kind.is_limit(), "{error}");
            assert_eq!(
                error.to_string(),
                format!("at byte 0: an extension header larger than the limit of 1048576 bytes: {size}")
            );
            assert_eq!(reader.offset(), 512, "nothing of the body was read");
        }
        refused(
            &members_only(&[Member { size: base256(-1, 12), ..Member::new(typeflag, "x") }]),
            "size is out of range: -1",
        );
    }
    // One mebibyte is fine.
    let value = vec![b'v'; (1 << 20) - 100];
    let merged = merge(&[archive(&[Member::file("a", "").record("SCHILY.xattr.user.a", &value)])]).unwrap();
    assert_eq!(merged.attrs("a").xattrs.as_ref().unwrap()[0].1.len(), value.len());
}

#[test]
fn t47_stacked_extension_headers() {
    let global = Member { body: pax_record(b"comment", b"x"), ..Member::new(b'g', "g") };
    let stack = |n: usize| archive(&[vec![global.clone(); n], vec![Member::file("a", "1")]].concat());
    assert_eq!(merge(&[stack(16)]).unwrap().short(), "a=1");
    refused_for_size(&stack(17), "more extension headers before one member than the limit of 16");
    for typeflag in [b'x', b'L', b'K'] {
        let one = Member { body: b"12 comment=\n".to_vec(), ..Member::new(typeflag, "x") };
        refused(&archive(&vec![one; 17]), "two extension headers of the same kind");
    }
}

fn pax_map(entries: impl IntoIterator<Item = (u64, u64)>) -> String {
    entries.into_iter().map(|(offset, length)| format!("{offset},{length}")).collect::<Vec<_>>().join(",")
}

#[test]
fn t48_sparse_maps_that_are_too_long_or_contradict_themselves() {
    let with_map = |map: &str, size: u64, body: &[u8]| {
        let count = map.split(',').count() / 2;
        let member = Member::file("a", body).record("GNU.sparse.size", size.to_string());
        archive(&[member.record("GNU.sparse.numblocks", count.to_string()).record("GNU.sparse.map", map)])
    };
    let many = |n: u64| with_map(&pax_map((0..n).map(|i| (i * 2, 1))), n * 2, &vec![b'x'; n as usize]);
    assert!(merge(&[many(10_000)]).is_ok());
    refused_for_size(&many(10_001), "more entries than the limit of 10000");
    for (map, size, body) in [
        ("0,2,1,2", 8, "abcd"),
        ("4,2,0,2", 8, "abcd"),
        ("0,9", 8, "abcdefghi"),
        ("18446744073709551615,2", 8, "ab"),
        ("0,2,4,18446744073709551615", 8, "ab"),
        ("0,2", 8, "a"),
        ("0,2", 8, "abc"),
        ("0,-2", 8, "ab"),
        ("0,2,", 8, "ab"),
    ] {
        refused(&with_map(map, size, body.as_bytes()), "a sparse file whose map");
    }
    // Format 1.0 has its map in the body.
    let in_body = |map: &str, body: &[u8]| {
        let mut all = map.as_bytes().to_vec();
        all.resize(all.len().next_multiple_of(512), 0);
        all.extend_from_slice(body);
        let member = Member::file("GNUSparseFile.0/a", all).record("GNU.sparse.major", "1");
        archive(&[member
            .record("GNU.sparse.minor", "0")
            .record("GNU.sparse.name", "a")
            .record("GNU.sparse.realsize", "8")])
    };
    assert_eq!(merge(&[in_body("2\n0\n1\n8\n0\n", b"x")]).unwrap().short(), "a=x\0\0\0\0\0\0\0");
    refused_for_size(&in_body("10001\n", b""), "more entries than the limit of 10000");
    refused_for_size(&in_body("18446744073709551615\n", b""), "more entries than the limit of 10000");
    for map in
        ["2\n0\n1\n", "x\n", "1\n0\n18446744073709551616\n", "\n", "1\n0\n111111111111111111111111111\n", "1\n-1\n1\n"]
    {
        refused(&in_body(map, b"x"), "a sparse file whose map");
    }
    // The map may not reach into the next member.
    let short = Member { size: octal(0, 12), ..Member::file("a", "") }.record("GNU.sparse.major", "1");
    let short = short.record("GNU.sparse.minor", "0").record("GNU.sparse.realsize", "8");
    refused(&archive(&[short, Member::file("b", "1\n0\n1\n")]), "a sparse file whose map goes past the body");
    // Only files are sparse.
    refused(
        &archive(&[Member::dir("d")
            .record("GNU.sparse.size", "8")
            .record("GNU.sparse.numblocks", "1")
            .record("GNU.sparse.map", "0,0")]),
        "not a regular file",
    );
}

/// An old GNU sparse member: four slots in the header, 21 in each block behind it.
fn old_gnu(name: &str, ranges: &[(u64, u64)], real_size: u64, body: &[u8]) -> Vec<u8> {
    let mut block = members_only(&[Member { magic: Magic::Gnu, ..Member::new(b'S', name) }]);
    block[124..136].copy_from_slice(&octal(body.len() as u64, 12));
    block[483..495].copy_from_slice(&octal(real_size, 12));
    let put = |block: &mut [u8], ranges: &[(u64, u64)]| {
        for (slot, (offset, length)) in block.chunks_exact_mut(24).zip(ranges) {
            slot[..12].copy_from_slice(&octal(*offset, 12));
            slot[12..].copy_from_slice(&octal(*length, 12));
        }
    };
    let (first, mut rest) = ranges.split_at(ranges.len().min(4));
    put(&mut block[386..482], first);
    block[482] = u8::from(!rest.is_empty());
    layers::set_checksum(&mut block);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(21));
        let mut more = [0; 512];
        put(&mut more[..504], now);
        more[504] = u8::from(!later.is_empty());
        block.extend_from_slice(&more);
        rest = later;
    }
    block.extend_from_slice(body);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

#[test]
fn t49_one_sparse_file_in_four_encodings() {
    // 60 ranges: three continuation blocks in the old form.
    let ranges: Vec<(u64, u64)> = (0..60).map(|i| (i * 8192 + 1, 700)).chain([(1 << 20, 0)]).collect();
    let data: Vec<u8> = (0..60 * 700u32).map(|i| (i % 251) as u8 + 1).collect();
    let size = (1u64 << 20).to_string();
    let pairs = ranges.iter().fold(
        Member::file("a", &data).record("GNU.sparse.size", &size).record("GNU.sparse.numblocks", "61"),
        |member, (o, n)| member.record("GNU.sparse.offset", o.to_string()).record("GNU.sparse.numbytes", n.to_string()),
    );
    let map = Member::file("GNUSparseFile/a", &data)
        .record("GNU.sparse.map", pax_map(ranges.clone()))
        .record("GNU.sparse.size", &size)
        .record("GNU.sparse.numblocks", "61")
        .record("GNU.sparse.name", "a");
    let mut body = format!("61\n{}\n", pax_map(ranges.clone()).replace(',', "\n")).into_bytes();
    body.resize(body.len().next_multiple_of(512), 0);
    body.extend_from_slice(&data);
    let in_body = Member::file("GNUSparseFile/a", body)
        .record("GNU.sparse.major", "1")
        .record("GNU.sparse.minor", "0")
        .record("GNU.sparse.name", "a")
        .record("GNU.sparse.realsize", &size);
    let archives = [old_gnu("a", &ranges, 1 << 20, &data), archive(&[pairs]), archive(&[map]), archive(&[in_body])];
    let mut expected = vec![0; 1 << 20];
    for (i, (offset, length)) in ranges.iter().enumerate() {
        let at = *offset as usize;
        expected[at..at + *length as usize].copy_from_slice(&data[i * 700..][..*length as usize]);
    }
    for (i, bytes) in archives.iter().enumerate() {
        let merged = merge(std::slice::from_ref(bytes)).unwrap_or_else(|error| panic!("encoding {i}: {error}"));
        let Kind::File { size: 1_048_576, body } = &merged.tree.inode(merged.lookup("a")).kind else { panic!("{i}") };
        assert!(merged.sink.read(body) == expected, "encoding {i}");
        let holes = merged.sink.parts(body).iter().filter(|part| matches!(part, Part::Hole(_))).count();
        assert_eq!(holes, 61, "encoding {i}");
    }
    // An old map that never ends.
    let mut endless = old_gnu("a", &ranges[..5], 1 << 20, &[]);
    let again: Vec<u8> = [&[0u8; 504][..], &[1], &[0; 7]].concat();
    endless.truncate(512);
    for _ in 0..100 {
        endless.extend_from_slice(&again);
    }
    refused(&endless, "a sparse file whose map goes on after an empty block");
    refused_for_size(
        &old_gnu("a", &(0..10_001).map(|i| (i, 1)).collect::<Vec<_>>(), 1 << 20, &[b'x'; 10_001]),
        "limit of 10000",
    );
    // Only the GNU dialect has this type.
    refused(&archive(&[Member::new(b'S', "a")]), "unsupported member type: 'S'");
}

#[test]
fn t50_file_capabilities_keep_every_byte() {
    let v2 = b"\x01\0\0\x02\x0a\x3d\0\0\x0a\0\0\0\x3d\0\0\0\0\0\0\x0a".to_vec();
    let v3 = [&b"\x01\0\0\x03\x0a\x3d\0\0\x0a\0\0\0\x3d\0\0\0\0\0\0\x0a"[..], b"\xe8\x03\0\x0a"].concat();
    for value in [v2, v3] {
        let member = Member::file("a", "1").record("SCHILY.xattr.security.capability", &value).record("mtime", "7");
        let merged = merge(&[archive(&[member])]).unwrap();
        let xattrs = merged.attrs("a").xattrs.clone().unwrap();
        assert_eq!((&*xattrs[0].0, &*xattrs[0].1), (&b"security.capability"[..], &value[..]));
        assert_eq!(merged.attrs("a").mtime.secs, 7);
    }
}

#[test]
fn t51_text_acls_and_raw_ones_are_the_same_xattr() {
    let text = "user::rw-,user:lisa:rwx:502,group::r--,group:600:r-x,mask::rwx,other::r--";
    let from_text = archive(&[Member::dir("d").record("SCHILY.acl.access", text).record("SCHILY.acl.default", text)]);
    let merged = merge(&[from_text]).unwrap();
    let xattrs = merged.attrs("d").xattrs.clone().unwrap();
    let names: Vec<_> = xattrs.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!(names, ["system.posix_acl_access", "system.posix_acl_default"]);
    assert_eq!(xattrs[0].1.len(), 52);
    let raw = Member::dir("d").record("SCHILY.xattr.system.posix_acl_access", &xattrs[0].1);
    assert_eq!(merge(&[archive(&[raw])]).unwrap().attrs("d").xattrs.clone().unwrap()[0], xattrs[0]);
    // Names alone mean nothing here.
    let names = "user::rw-,user:lisa:rwx,group::r--,mask::rwx,other::r--";
    let merged = merge(&[archive(&[Member::dir("d").record("SCHILY.acl.access", names)])]).unwrap();
    assert_eq!((merged.warnings.count(WarningKind::AclWithoutIds), merged.attrs("d").xattrs.clone()), (1, None));
    refused(
        &archive(&[Member::dir("d").record("SCHILY.acl.access", "what")]),
        "an access control list that cannot be read",
    );
}

#[test]
fn t53_lengths_of_names_and_targets() {
    let name = |n: usize| "n".repeat(n);
    assert_eq!(merge(&[archive(&[Member::file(name(255), "")])]).unwrap().short(), name(255));
    refused(&archive(&[Member::file(name(256), "")]), "file name of 256 bytes, more than 255");
    refused(&archive(&[Member::file(name(256) + "/f", "")]), "file name of 256 bytes, more than 255");
    for length in [59, 60, 4095] {
        let merged = merge(&[archive(&[Member::symlink("s", name(length))])]).unwrap();
        assert_eq!(merged.short(), format!("s->{}", name(length)));
    }
    refused(
        &archive(&[Member::symlink("s", name(4096))]),
        "the target of a symbolic link has 4096 bytes, more than 4095",
    );
    refused(&archive(&[Member::symlink("s", "")]), "a symbolic link or hard link without a target");
    refused(&archive(&[Member::hard_link("s", "")]), "a symbolic link or hard link without a target");
    let deep = "d/".repeat(2499) + "f";
    assert_eq!(deep.len(), 4999);
    merge(&[archive(&[Member::file(&deep, "")])]).unwrap().lookup(&deep);
}

#[test]
fn t54_nul_in_names() {
    let record = |key: &str| archive(&[Member::symlink("a", "t").record(key, "x\0y")]);
    refused(&record("path"), "a NUL byte in the path");
    refused(&record("linkpath"), "a NUL byte in the linkpath");
    refused(&record("GNU.sparse.name"), "a NUL byte in the GNU.sparse.name");
    refused(&record("SCHILY.xattr.user.\0"), "a PAX record has a wrong length");
    refused(&archive(&[Member::file("a", "").record("LIBARCHIVE.xattr.user%00", "YQ")]), "without a valid name");
}

#[test]
fn t55_owners() {
    let with = |field: Vec<u8>| archive(&[Member { uid: field.clone(), gid: field, ..Member::file("a", "") }]);
    let record = |id: &str| archive(&[Member::file("a", "").record("uid", id).record("gid", id)]);
    let owners = |bytes| {
        let merged = merge(&[bytes]).unwrap();
        (merged.attrs("a").uid, merged.attrs("a").gid)
    };
    for id in [(1u64 << 21) - 1, 1 << 21, (1 << 32) - 2] {
        let both = (id as u32, id as u32);
        assert_eq!(owners(record(&id.to_string())), both);
        assert_eq!(owners(with(base256(id.into(), 8))), both);
        if id < 1 << 21 {
            assert_eq!(owners(with(octal(id, 8))), both);
        }
    }
    refused(&record("4294967295"), "uid is out of range: 4294967295");
    refused(&record("-1"), "uid is not a number: -1");
    refused(&with(base256((1 << 32) - 1, 8)), "uid is out of range: 4294967295");
    refused(&with(base256(-1, 8)), "uid is out of range: -1");
    refused(&with(b"-1\0".to_vec()), "uid is not a number: -1");
}

#[test]
fn t56_times() {
    let ext4_last = (1i64 << 34) - (1 << 31) - 1;
    for (text, secs, nanos, clamped) in [
        ("0", 0, 0, false),
        ("-1", -1, 0, false),
        ("-2147483648", -(1 << 31), 0, false),
        ("-2147483649", -(1 << 31), 0, true),
        ("8589934592", 1 << 33, 0, false),
        ("15032385535", ext4_last, 0, false),
        ("15032385536", ext4_last, 0, true),
        ("9223372036854775808", ext4_last, 0, true),
        ("-9223372036854775809", -(1 << 31), 0, true),
        ("1.123456789", 1, 123_456_789, false),
        ("1.9999999999", 1, 999_999_999, false),
    ] {
        let merged = merge(&[archive(&[Member::file("a", "").record("mtime", text)])]).unwrap();
        assert_eq!(merged.attrs("a").mtime, Time { secs, nanos }, "{text}");
        assert_eq!(merged.warnings.count(WarningKind::TimeClamped) > 0, clamped, "{text}");
    }
    for (field, secs, clamped) in [
        (base256(-1, 12), -1, false),
        (base256(1 << 80, 12), ext4_last, true),
        (base256(-(1 << 80), 12), -(1 << 31), true),
    ] {
        let merged = merge(&[archive(&[Member { mtime: field, ..Member::file("a", "") }])]).unwrap();
        assert_eq!((merged.attrs("a").mtime.secs, merged.warnings.is_empty()), (secs, !clamped));
    }
}

#[test]
fn t57_modes() {
    for (field, mode) in [
        (&b"0107777\0"[..], 0o7777),
        (b"0104755\0", 0o4755),
        (b"0002755\0", 0o2755),
        (b"0001777\0", 0o1777),
        (b"0040755\0", 0o755),
        (b"755\0", 0o755),
        (b"0", 0),
    ] {
        let merged = merge(&[archive(&[Member { mode: field.to_vec(), ..Member::file("a", "x") }])]).unwrap();
        assert_eq!((merged.attrs("a").mode, merged.short()), (mode, "a=x".to_owned()), "{field:?}");
    }
    refused(&archive(&[Member { mode: base256(-1, 8), ..Member::file("a", "") }]), "mode is out of range: -1");
    // Linux has one mode for symbolic links.
    assert_eq!(merge(&[archive(&[Member::symlink("s", "t").mode(0o600)])]).unwrap().attrs("s").mode, 0o777);
}

#[test]
fn t58_devices() {
    let device = Member::device;
    let members =
        [device(b'3', "zero", 0, 0), device(b'3', "null", 1, 3), device(b'4', "sda1", 8, 1), Member::new(b'6', "pipe")];
    assert_eq!(merge(&[archive(&members)]).unwrap().short(), "nullc1:3 pipe| sda1b8:1 zeroc0:0");
    let largest = device(b'3', "c", 4095, (1 << 20) - 1);
    assert_eq!(merge(&[archive(&[largest])]).unwrap().short(), "cc4095:1048575");
    for (major, minor, part) in [
        (base256(1 << 31, 8), octal(1, 8), "devmajor is out of range: 2147483648"),
        (base256(-1, 8), octal(1, 8), "devmajor is out of range: -1"),
        (octal(4096, 8), octal(1, 8), "devmajor is out of range: 4096"),
        (octal(1, 8), octal(1 << 20, 8), "devminor is out of range: 1048576"),
        (b"x".to_vec(), octal(1, 8), "devmajor is not a number: x"),
    ] {
        for typeflag in [b'3', b'4'] {
            let member = Member { devmajor: major.clone(), devminor: minor.clone(), ..Member::new(typeflag, "d") };
            refused(&archive(&[member]), part);
        }
    }
    refused(&archive(&[Member::new(b'0', "s").record("SCHILY.filetype", "socket")]), "unsupported file type: socket");
}

/// T59. One tree, written in every dialect there is.
#[test]
fn t59_dialects_make_equal_trees() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(140));
    let target = "t".repeat(150);
    let plain = |magic| {
        let members = [Member::dir("d"), Member::file("d/f", "x").mtime(5).owner(1, 2), Member::symlink("s", "d/f")];
        members.map(|member| Member { magic, ..member }).to_vec()
    };
    let gnu = |typeflag, text: &str| Member {
        magic: Magic::Gnu,
        body: [text.as_bytes(), b"\0"].concat(),
        ..Member::new(typeflag, "././@LongLink")
    };
    let pax_by = |typeflag| {
        let records = [pax_record(b"path", long.as_bytes()), pax_record(b"linkpath", target.as_bytes())].concat();
        Member { body: records, ..Member::new(typeflag, "PaxHeaders/x") }
    };
    let remark = Member { body: pax_record(b"comment", &[b'c'; 40]), ..Member::new(b'g', "pax_global_header") };
    let last = |member: Vec<Member>, name: &str, target: &str| [member, vec![Member::symlink(name, target)]].concat();
    let short_trees = [
        archive(&plain(Magic::V7)),
        archive(&plain(Magic::Ustar)),
        archive(&plain(Magic::Gnu)),
        archive(&[vec![remark], plain(Magic::Ustar)].concat()),
        // Version 7 wrote a directory as a file with a slash behind its name, and had no type for files.
        archive(&{
            let mut members = plain(Magic::V7);
            members[0] = Member { typeflag: 0, name: b"d/".to_vec(), ..members[0].clone() };
            members[1].typeflag = 0;
            members
        }),
        // Contiguous files are files.
        archive(&{
            let mut members = plain(Magic::Ustar);
            members[1].typeflag = b'7';
            members
        }),
    ];
    let long_trees = [
        archive(&last(vec![pax_by(b'x')], "cut", "cut")),
        archive(&last(vec![pax_by(b'X')], "cut", "cut")),
        archive(&last(vec![gnu(b'L', &long), gnu(b'K', &target)], "cut", "cut")),
        archive(&last(vec![gnu(b'K', &target), gnu(b'L', &long)], "cut", "cut")),
        archive(&[Member { prefix: "d".repeat(120).into(), ..Member::symlink("f".repeat(99), "t") }
            .record("path", &long)
            .record("linkpath", &target)]),
    ];
    for trees in [&short_trees[..], &long_trees[..]] {
        let dumps: Vec<_> = trees.iter().map(|bytes| merge(std::slice::from_ref(bytes)).unwrap().dump()).collect();
        for (i, dump) in dumps.iter().enumerate() {
            assert_eq!(dump, &dumps[0], "dialect {i}");
        }
    }
}

#[test]
fn t60_empty_and_odd_archives() {
    for (bytes, ok) in [
        (vec![], true),
        (vec![0; 512], true),
        (vec![0; 1024], true),
        (vec![0; 10 << 20], true),
        (vec![0; 1023], false),
        (vec![0; 100], false),
        (vec![b'x'; 512], false),
        (vec![b'x'; 10], false),
        ([vec![0; 1024], vec![b'x'; 1000]].concat(), true),
        ([vec![0; 512], vec![b'x'; 512]].concat(), false),
    ] {
        let result = merge(std::slice::from_ref(&bytes));
        assert_eq!(result.is_ok(), ok, "{} bytes", bytes.len());
        if let Ok(merged) = result {
            assert_eq!(merged.stats[0].layer_bytes, bytes.len() as u64);
            assert_eq!(merged.short(), "");
        }
    }
    // `umoci insert` ends its archives with the last byte of the last body: nothing is missing.
    let whole = members_only(&[Member::file("a", "xy")]);
    for length in [1024, 1023, 515, 514] {
        assert_eq!(merge(&[whole[..length].to_vec()]).unwrap().short(), "a=xy", "{length} bytes");
    }
    refused(&whole[..513], "the layer ends in the middle of a body");
}

#[test]
fn what_cannot_be_one_whole_file_is_refused() {
    for typeflag in [b'M', b'D', b'N'] {
        refused(&archive(&[Member::new(typeflag, "a")]), "unsupported member type");
    }
    refused(&archive(&[Member::file("a", "").record("GNU.volume.offset", "5")]), "a multi-volume archive");
    for body in [&b""[..], b"\0hidden"] {
        let long = Member { body: body.to_vec(), ..Member::new(b'L', "././@LongLink") };
        refused(&archive(&[long, Member::file("a", "")]), "a GNU extension header without a name in it");
    }
    let x = Member { body: pax_record(b"path", b"p"), ..Member::new(b'x', "x") };
    refused(&archive(&[x, Member::new(b'V', "label")]), "where a member is needed");
    // With a slash at its end the name of type NUL is a directory's, and that of type 0 a file's: Go has it so.
    for (member, tree) in [
        (Member::new(0, "a/"), "a/"),
        (Member::new(0, "a"), "a"),
        (Member::file("a/", ""), "a"),
        (Member::file("a/", "x"), "a=x"),
    ] {
        assert_eq!(merge(&[archive(&[member])]).unwrap().short(), tree);
    }
    let body = Member { body: b"x".to_vec(), ..Member::new(0, "a/") };
    refused(&archive(&[body]), "only regular files have a body");
}

/// Go before 1.8, so Docker before 1.13, wrote the ustar prefix into GNU headers.
#[test]
fn old_docker_layers_have_a_prefix_in_gnu_headers() {
    let long = Member {
        prefix: b"usr/share/doc/some-long-package-name".to_vec(),
        magic: Magic::Gnu,
        ..Member::file("f", "x")
    };
    let all = entries(&archive(&[long])).unwrap();
    assert_eq!(all[0].0.path, b"usr/share/doc/some-long-package-name/f");
}

#[test]
fn a_stream_of_single_bytes_reads_the_same() {
    let members =
        [Member::dir("d"), Member::file("d/f", vec![b'x'; 3000]).record("mtime", "1.5"), Member::symlink("s", "d")];
    let bytes = archive(&members);
    let mut stream = BufReader::with_capacity(1, bytes.as_slice());
    let mut sink = MemorySink::default();
    let mut reader = Reader::new(&mut stream, Limits::default());
    let mut all = Vec::new();
    while let Some(entry) = reader.next_entry(&mut Warnings::default()).unwrap() {
        let body = reader.body(&mut sink).unwrap();
        all.push((entry, sink.read(&body)));
    }
    assert_eq!(all, entries(&bytes).unwrap());
    assert_eq!(all.len(), 3);
    // A body that nobody asks for is passed over.
    let mut slice = bytes.as_slice();
    let mut reader = Reader::new(&mut slice, Limits::default());
    let mut kinds = Vec::new();
    while let Some(entry) = reader.next_entry(&mut Warnings::default()).unwrap() {
        kinds.push(entry.kind);
    }
    assert!(matches!(kinds[..], [EntryKind::Directory, EntryKind::File { size: 3000 }, EntryKind::Symlink(_)]));
}
