//! Tables of every legal shape are read, and of every other shape it is said what is wrong.

use super::samples::{SECTORS, disk, disk_with, partition, sign};
use super::*;

fn parts() -> Vec<Partition> {
    vec![partition(1, 64, 99), partition(2, 100, 120)]
}

fn read(disk: &[u8]) -> Result<Table, Fault> {
    super::read(disk, disk.len() as u64)
}

#[test]
fn entries_of_every_legal_size_are_read_and_of_others_the_size_is_named() {
    for (sector, size) in
        [512, 4096].into_iter().flat_map(|sector| [128, 256, 512, 1024, 4096].map(|size| (sector, size)))
    {
        let table = read(&disk_with(&parts(), sector, 4, size)).unwrap();
        assert_eq!(table.partitions().collect::<Vec<_>>(), parts(), "{size} bytes in sectors of {sector}");
        assert_eq!((table.sector, table.primary, table.backup), (sector, None, None));
        assert_eq!(table.linux_reads_it(), size == 128);
    }
    for size in [0, 1, 64, 127, 129, 192, 384, u32::MAX] {
        assert_eq!(read(&disk_with(&parts(), 512, 4, size)), Err(Fault::EntrySize(size)));
    }
    assert_eq!(read(&disk_with(&parts(), 512, 4, 1 << 31)), Err(Fault::TooMany { count: 4, size: 1 << 31 }));
}

#[test]
fn any_number_of_entries_is_read_up_to_what_the_kernel_reads() {
    for (count, found) in [(0, 0), (1, 1), (2, 2), (3, 2), (500, 2)] {
        let table = read(&disk_with(&parts(), 512, count, 128)).unwrap();
        assert_eq!(table.partitions().count(), found, "{count} entries");
    }
    // The most there may be lie beyond this disk; one more is not even looked for.
    assert_eq!(read(&disk_with(&parts(), 512, 32_768, 128)), Err(Fault::EntriesMissing));
    for count in [32_769, u32::MAX] {
        assert_eq!(read(&disk_with(&parts(), 512, count, 128)), Err(Fault::TooMany { count, size: 128 }));
    }
}

/// What is damaged, how, and what is said of the copy at the start.
#[test]
fn a_damaged_table_is_read_from_its_copy_and_the_damage_is_named() {
    let header = 512;
    let cases: [(&str, usize, &[u8], Fault); 9] = [
        ("signature", 0, b"x", Fault::Absent),
        ("length 91", 12, &91u32.to_le_bytes(), Fault::HeaderSize(91)),
        ("length 0", 12, &[0; 4], Fault::HeaderSize(0)),
        ("length beyond the sector", 12, &513u32.to_le_bytes(), Fault::HeaderSize(513)),
        ("own place", 24, &9u64.to_le_bytes(), Fault::Elsewhere { says: 9, is: 1 }),
        ("place of the entries", 72, &SECTORS.to_le_bytes(), Fault::EntriesMissing),
        ("place of the entries, far", 72, &u64::MAX.to_le_bytes(), Fault::EntriesMissing),
        ("number of the entries", 80, &7u32.to_le_bytes(), Fault::EntriesChecksum),
        ("checksum of the entries", 88, &[1; 4], Fault::EntriesChecksum),
    ];
    for (what, at, bytes, fault) in cases {
        let mut damaged = disk(&parts());
        damaged[header + at..header + at + bytes.len()].copy_from_slice(bytes);
        if at != 12 {
            sign(&mut damaged, header);
        }
        let table = read(&damaged).unwrap_or_else(|fault| panic!("{what}: the copy {fault}"));
        assert_eq!(table.primary, Some(fault), "{what}");
        assert_eq!(table.partitions().collect::<Vec<_>>(), parts(), "{what}");
    }
    let mut unsigned = disk(&parts());
    unsigned[header + 60] ^= 1;
    assert_eq!(read(&unsigned).unwrap().primary, Some(Fault::HeaderChecksum));
}

#[test]
fn a_copy_at_the_end_that_is_damaged_or_another_is_told() {
    let last = (SECTORS as usize - 1) * 512;
    let mut damaged = disk(&parts());
    damaged[last + 60] ^= 1;
    assert_eq!(read(&damaged).unwrap().backup, Some(Fault::HeaderChecksum));
    let mut both = disk(&parts());
    both[last + 60] ^= 1;
    both[512 + 16] ^= 1;
    assert_eq!(read(&both), Err(Fault::HeaderChecksum));
    let mut other = disk(&parts());
    let end = disk(&parts()[..1]);
    other[last - 32 * 512..].copy_from_slice(&end[last - 32 * 512..]);
    assert_eq!(read(&other).unwrap().backup, Some(Fault::Differs));
    // A disk that has grown: the copy is where the table says.
    let mut grown = disk(&parts());
    grown.resize(grown.len() + 4096, 0);
    assert_eq!(read(&grown).unwrap().backup, None);
}

#[test]
fn what_holds_no_table_has_none() {
    for bytes in [vec![], vec![0; 511], vec![0; 512], vec![0; 8192], vec![0xff; 8192]] {
        assert_eq!(read(&bytes), Err(Fault::Absent), "{} bytes", bytes.len());
    }
}

#[test]
fn places_that_cannot_be_are_named() {
    let said = |parts: &[Partition]| {
        let disk = disk(parts);
        let table = read(&disk).unwrap();
        problems(&table, disk.len() as u64)
    };
    assert_eq!(said(&parts()), []);
    assert_eq!(said(&[partition(1, 64, 99), partition(2, 99, 120)]), [Problem::Overlap(1, 2)]);
    assert_eq!(said(&[partition(1, 60, 90), partition(2, 61, 62), partition(3, 90, 91)]).len(), 2);
    assert_eq!(said(&[partition(1, 64, 62)]), [Problem::Nowhere(1)]);
    assert_eq!(said(&[partition(1, 64, 63)]), [Problem::Nowhere(1)]);
    assert_eq!(said(&[partition(1, 0, 10)]), [Problem::Unusable(1)]);
    assert_eq!(said(&[partition(1, 64, SECTORS)]), [Problem::Unusable(1), Problem::Beyond(1)]);
    for last in [u64::MAX, u64::MAX - 1, 1 << 55] {
        assert_eq!(said(&[partition(1, 64, last)])[0], Problem::Nowhere(1), "{last}");
    }
}

#[test]
fn no_byte_of_a_table_makes_the_reader_panic() {
    for size in [128, 256] {
        let whole = disk_with(&parts(), 512, 4, size);
        for at in (512..512 + 92).chain(1024..1024 + 128) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                sign(&mut damaged, 512);
                if let Ok(table) = read(&damaged) {
                    _ = problems(&table, damaged.len() as u64);
                }
            }
        }
    }
}
