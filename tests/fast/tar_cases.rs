//! The archives of tests/data/tar-cases: inputs on which tar readers disagree, and what is read here.
//!
//! Row ids T01 to T45 are the numbers of the files.

use crate::support::layers;
use crate::support::layers::{entries, merge};
use bootdisk::layer::{Entry, EntryKind, WarningKind};
use std::fs;
use std::path::Path;

/// A member as text: `name=body`, or name, type and body.
fn show(entry: &Entry, body: &[u8]) -> String {
    let name = bootdisk::escape::escape(&entry.path);
    let body = match body.len() {
        0..=20 => bootdisk::escape::escape(body),
        n => format!("{n} bytes"),
    };
    match &entry.kind {
        EntryKind::File { .. } => format!("{name}={body}"),
        EntryKind::Directory => format!("{name} directory"),
        kind => format!("{name} {kind:?}"),
    }
}

/// File number, and its members or a part of the message it is refused with.
const ROWS: &[(&str, Result<&[&str], &str>)] = &[
    ("01", Ok(&["inner.tar=1024 bytes", "after=ok"])),
    ("02", Ok(&["regular.txt=2048 bytes", "after=ok"])),
    ("03", Ok(&["longname.txt=2048 bytes", "file_b=b"])),
    ("04", Ok(&["f=1024 bytes", "after=ok"])),
    ("05", Ok(&["second=x"])),
    ("06", Err("a PAX record and a GNU extension header both give the name")),
    ("07", Err("a PAX record and a GNU extension header both give the name")),
    ("08", Ok(&["ping=x"])),
    ("09", Ok(&["f=x"])),
    ("10", Ok(&["f=x"])),
    ("11", Ok(&["f=x"])),
    ("12", Err("size is out of range: -1")),
    ("13", Err("a file larger than the limit of 17592186040320 bytes: 9223372036854775807")),
    ("14", Ok(&["f=x"])),
    ("15", Err("a global header sets a record that belongs to one file: path")),
    ("16", Err("a global header sets a record that belongs to one file: size")),
    ("17", Err("a PAX record has a wrong length: 99 path=zzz\\n12 size=512\\n")),
    ("18", Err("a PAX record has a wrong length: 12 path=abcd")),
    ("19", Ok(&["a=x", "b=y"])),
    ("20", Err("entry \"b\" at byte 1636: the layer ends in the middle of a body")),
    ("21", Err("at byte 1536: the archive goes on after a single block of zeros")),
    ("22", Ok(&["a=x"])),
    ("23", Ok(&["name=x"])),
    ("24", Err("entry \"s\" at byte 0: only regular files have a body, but the size of this symbolic link is 512")),
    ("25", Err("the size of this directory is 512")),
    ("26", Err("the size of this hard link is 512")),
    ("27", Ok(&["olddir/ directory", "olddir/f=x"])),
    ("28", Ok(&["f=x"])),
    ("29", Ok(&["a\\n\\x1b]0;pwn\\x07b=x"])),
    ("30", Ok(&["caf\\xe9=x"])),
    ("31", Ok(&["caf\\xe9=x"])),
    ("32", Ok(&["real=4096 bytes", "after=ok"])),
    ("33", Err("the archive ends after an extension header that has no member")),
    ("34", Ok(&["weird=512 bytes", "after=ok"])),
    ("35", Ok(&["f=x"])),
    ("36", Err("at byte 0: size is not a number: 0000000001x")),
    ("37", Ok(&["caf\\xe9=x"])),
    ("38", Err("size is not a number: +512")),
    ("39", Ok(&["raw=x"])),
    // 40: below; 8 GiB are not to be held in memory.
    ("41", Err("two extension headers of the same kind before one member: 'x'")),
    ("42", Ok(&["f\\xff\\xfe=x"])),
    ("43", Ok(&["pre/fix/name=x"])),
    ("44", Err("devmajor is out of range: 4294967297")),
    ("45", Ok(&["f=x"])),
];

fn case(number: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tar-cases");
    let mut files =
        fs::read_dir(&folder).expect("the folder is in the repository").map(|f| f.expect("an entry").path());
    let file = files.find(|f| f.file_name().is_some_and(|name| name.to_string_lossy().starts_with(number)));
    fs::read(file.unwrap_or_else(|| panic!("no file for case {number}"))).expect("a readable file")
}

#[test]
fn every_case() {
    for (number, expected) in ROWS {
        let result = entries(&case(number));
        match (result, expected) {
            (Ok(entries), Ok(expected)) => {
                let shown: Vec<_> = entries.iter().map(|(entry, body)| show(entry, body)).collect();
                assert_eq!(shown, *expected, "T{number}");
                merge(&[case(number)]).unwrap_or_else(|error| panic!("T{number}: {error}"));
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "T{number}: {error}");
                assert!(merge(&[case(number)]).is_err(), "T{number}");
            }
            (Ok(entries), Err(part)) => panic!("T{number}: {entries:?} instead of {part}"),
            (Err(error), Ok(_)) => panic!("T{number}: {error}"),
        }
    }
    assert_eq!(ROWS.len(), 44, "a row for each file but the one below");
}

#[test]
fn fields_of_the_cases() {
    let attrs = |number| entries(&case(number)).unwrap().remove(0).0.attrs;
    let xattr = |number| {
        let xattrs = attrs(number).xattrs.unwrap_or_else(|| panic!("T{number} has an xattr"));
        assert_eq!(xattrs.len(), 1, "T{number}");
        (xattrs[0].0.to_vec(), xattrs[0].1.to_vec())
    };
    // T08: a file capability (version 2) with a newline byte, and what stands behind it.
    let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(xattr("08"), (b"security.capability".to_vec(), capability.to_vec()));
    assert_eq!((attrs("08").mtime.secs, attrs("08").mtime.nanos), (1, 500_000_000));
    assert_eq!(xattr("09"), (b"user.a".to_vec(), b"b=v\0=w".to_vec()));
    assert_eq!(attrs("10").uid, 0xffff_fffe);
    assert_eq!(attrs("11").mtime.secs, -86_400);
    assert_eq!((attrs("14").mtime.secs, attrs("14").mtime.nanos), (-2, 500_000_000));
    assert_eq!((attrs("28").uid, attrs("28").gid, attrs("28").mtime.secs), (0, 0, 0));
    assert_eq!(attrs("28").mode, 0o644);
    assert_eq!(xattr("45"), (b"user.foo".to_vec(), b"bar".to_vec()));
}

#[test]
fn t32_sparse_data_is_where_the_map_says() {
    let (_, body) = entries(&case("32")).unwrap().remove(0);
    assert_eq!(&body[..5], b"hello");
    assert!(body[5..].iter().all(|&b| b == 0));
}

#[test]
fn t34_unknown_types_warn() {
    let merged = merge(&[case("34")]).unwrap();
    assert_eq!(merged.warnings.count(WarningKind::UnknownType), 1);
}

#[test]
fn t40_eight_gigabytes_of_holes_in_a_kilobyte() {
    use bootdisk::rootfs::memory::Part;
    let merged = merge(&[case("40")]).unwrap();
    let bootdisk::rootfs::Kind::File { size, body } = &merged.tree.inode(merged.lookup("sp")).kind else {
        panic!("sp is a file")
    };
    assert_eq!(*size, 8_589_934_080);
    let parts = merged.sink.parts(body);
    assert!(matches!(parts, [Part::Hole(8_589_933_568), Part::Data(data), ..] if data.len() == 512), "{parts:?}");
    let mut limits = bootdisk::flatten::Limits::default();
    limits.layer.file_bytes = 8_589_934_079;
    let error = layers::Merged::new().add(&case("40"), &limits).unwrap_err();
    assert!(error.is_limit(), "{error}");
}
