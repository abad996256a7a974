//! As much of SQLite's file format as it takes to count the rows of one table, and to read a column of them.
//!
//! ```text
//!  page 1   100 bytes of header, then the root of the schema's tree
//!  table tree   5 interior: child pages and the last one    13 leaf: cells, one a row
//!  cell         bytes of the record, row number, record; what does not fit in the page is in a chain of overflow pages
//! ```
//!
//! Not read: indices, and what is only in a write-ahead log beside the file.
//! Specification: sqlite.org, "Database File Format".

use super::{be16_at, be32_at};
use std::borrow::Cow;

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER: usize = 100;
const INTERIOR: u8 = 5;
const LEAF: u8 = 13;
/// Deepest tree; a real one of the largest file has 15 levels.
const MAX_DEPTH: usize = 32;

/// A database file, whole.
pub struct Database<'a> {
    file: &'a [u8],
    page_size: usize,
}

impl<'a> Database<'a> {
    /// Looks at the header; `None` when it is no SQLite database.
    pub fn open(file: &'a [u8]) -> Option<Self> {
        if !file.starts_with(MAGIC) {
            return None;
        }
        let page_size = match usize::from(be16_at(file, 16)?) {
            1 => 65536,
            size => size,
        };
        (page_size >= 512 && page_size.is_power_of_two()).then_some(Database { file, page_size })
    }

    /// Number of rows of a table; `None` when there is no such table, or the file is damaged or cut off.
    pub fn rows(&self, table: &[u8]) -> Option<u64> {
        let mut rows = 0;
        self.leaves(self.root(table)?, &mut |page, at| {
            rows += u64::from(be16_at(page, at + 3)?);
            Some(())
        })?;
        Some(rows)
    }

    /// Hands out the value of one column, from 0, of every row of a table. All rows together may have as many bytes as the
    /// file; `None` when they have more, when there is no such table, or the file is damaged or cut off.
    pub fn blobs(&self, table: &[u8], column: usize, visit: &mut dyn FnMut(&[u8])) -> Option<()> {
        let mut left = self.file.len();
        self.leaves(self.root(table)?, &mut |page, at| {
            for i in 0..usize::from(be16_at(page, at + 3)?) {
                let cell = usize::from(be16_at(page, at + 8 + 2 * i)?);
                let record = self.record(page, cell, &mut left)?;
                visit(Columns::of(&record)?.nth(column)??);
            }
            Some(())
        })
    }

    /// The record of a cell, taken together from the page and the pages behind it ("B-tree Cell Format").
    fn record(&self, page: &'a [u8], cell: usize, left: &mut usize) -> Option<Cow<'a, [u8]>> {
        let (length, rest) = varint(page.get(cell..)?)?;
        let (_, rest) = varint(rest)?;
        let length = usize::try_from(length).ok()?;
        *left = left.checked_sub(length.max(1))?;
        // Reserved bytes at the end of each page belong to nobody here.
        let usable = self.page_size - usize::from(*self.file.get(20)?);
        let most = usable.checked_sub(35).filter(|_| usable >= 480)?;
        if length <= most {
            return rest.get(..length).map(Cow::Borrowed);
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let here = least + (length - least) % (usable - 4);
        let here = if here <= most { here } else { least };
        let mut record = rest.get(..here)?.to_vec();
        let mut next = be32_at(rest, here)?;
        while record.len() < length {
            let page = self.page(next)?;
            let part = (usable - 4).min(length - record.len());
            record.extend_from_slice(page.get(4..4 + part)?);
            next = be32_at(page, 0)?;
        }
        Some(Cow::Owned(record))
    }

    /// The root page of a table.
    fn root(&self, table: &[u8]) -> Option<u32> {
        let mut root = None;
        self.leaves(1, &mut |page, at| {
            let cells = usize::from(be16_at(page, at + 3)?);
            for i in 0..cells {
                let cell = usize::from(be16_at(page, at + 8 + 2 * i)?);
                if let Some(found) = self.schema_row(page.get(cell..)?, table) {
                    root = Some(found);
                }
            }
            Some(())
        })?;
        root
    }

    fn page(&self, number: u32) -> Option<&'a [u8]> {
        let start = (number as usize).checked_sub(1)?.checked_mul(self.page_size)?;
        self.file.get(start..start.checked_add(self.page_size)?)
    }

    /// Visits the leaves of a table's tree with the place of their headers. No page is visited twice.
    fn leaves(&self, root: u32, visit: &mut dyn FnMut(&'a [u8], usize) -> Option<()>) -> Option<()> {
        let mut todo = vec![(root, 0)];
        let mut pages = self.file.len() / self.page_size;
        while let Some((number, depth)) = todo.pop() {
            pages = pages.checked_sub(1)?;
            let page = self.page(number)?;
            let at = if number == 1 { HEADER } else { 0 };
            match page[at] {
                LEAF => visit(page, at)?,
                INTERIOR if depth < MAX_DEPTH => {
                    todo.push((be32_at(page, at + 8)?, depth + 1));
                    for i in (0..usize::from(be16_at(page, at + 3)?)).rev() {
                        let cell = usize::from(be16_at(page, at + 12 + 2 * i)?);
                        todo.push((be32_at(page, cell)?, depth + 1));
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// The root page of `table` when this row of the schema is about it: (type, name, tbl_name, rootpage, sql).
    fn schema_row(&self, cell: &[u8], table: &[u8]) -> Option<u32> {
        let (_, payload) = varint(cell)?;
        let (_, record) = varint(payload)?;
        let mut columns = Columns::of(record)?;
        let mut column = || columns.next()?;
        let (kind, name, _, root) = (column()?, column()?, column()?, column()?);
        let fits = kind == b"table" && name == table && (1..=4).contains(&root.len());
        fits.then(|| root.iter().fold(0u32, |number, &byte| number << 8 | u32::from(byte)))
    }
}

/// The values of a record in order ("Record Format"); `None` for one that is not all there, with which it ends.
struct Columns<'a> {
    types: &'a [u8],
    values: &'a [u8],
}

impl<'a> Columns<'a> {
    fn of(record: &'a [u8]) -> Option<Columns<'a>> {
        let (size, types) = varint(record)?;
        let size = usize::try_from(size).ok()?;
        let types = types.get(..size.checked_sub(record.len() - types.len())?)?;
        Some(Columns { types, values: record.get(size..)? })
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let (kind, rest) = varint(self.types)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind as usize,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((kind - 12) / 2).ok()?,
            _ => return None,
        };
        let value = self.values.get(..size)?;
        (self.types, self.values) = (rest, &self.values[size..]);
        Some(value)
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Option<&'a [u8]>> {
        if self.types.is_empty() {
            return None;
        }
        let value = self.value();
        if value.is_none() {
            self.types = &[];
        }
        Some(value)
    }
}

/// A number of 1 to 9 bytes and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(9) {
        if i == 8 {
            return Some((value << 8 | u64::from(byte), &bytes[9..]));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// A database with so many rows, as Python's sqlite3 makes it. Long schema, so that it needs several pages.
    fn database(rows: u32) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let script = "import sqlite3,sys\nc=sqlite3.connect(sys.argv[1])\n\
            c.execute('create table Packages(hnum integer primary key autoincrement, blob blob not null)')\n\
            [c.execute('create table t%d(%s text)'%(i,'x'*90)) for i in range(99)]\n\
            c.executemany('insert into Packages(blob) values (?)',((b'p'*(i%9000),) for i in range(int(sys.argv[2]))))\n\
            c.execute('delete from Packages where hnum=7')\nc.commit()\nc.close()";
        let made = Command::new("python3").args(["-c", script]).arg(&path).arg(rows.to_string()).status();
        assert!(made.expect("python3 makes the database").success());
        std::fs::read(path).unwrap()
    }

    #[test]
    fn rows_are_counted_through_trees_and_overflowing_rows() {
        let small = database(3);
        assert_eq!(Database::open(&small).unwrap().rows(b"Packages"), Some(3));
        let large = database(3000);
        assert_eq!(Database::open(&large).unwrap().rows(b"Packages"), Some(2999));
        assert_eq!(Database::open(&large).unwrap().rows(b"packages"), None);
        assert_eq!(Database::open(&large[..large.len() / 2]).unwrap().rows(b"Packages"), None);
        for at in (0..20_000).step_by(7) {
            let mut damaged = small.clone();
            let place = at % damaged.len();
            damaged[place] ^= 0x55;
            let database = Database::open(&damaged);
            _ = database.as_ref().and_then(|db| db.rows(b"Packages"));
            _ = database.and_then(|db| db.blobs(b"Packages", 1, &mut |_| {}));
        }
    }

    #[test]
    fn columns_are_read_from_a_page_and_from_those_behind_it() {
        let file = database(9500);
        let mut lengths = Vec::new();
        let all = Database::open(&file).unwrap().blobs(b"Packages", 1, &mut |row| {
            assert!(row.iter().all(|&byte| byte == b'p'));
            lengths.push(row.len());
        });
        assert_eq!(all, Some(()));
        // Row 7, of six bytes, is gone.
        let expected: Vec<usize> =
            (0..9500).map(|i| i % 9000).enumerate().filter(|(i, _)| *i != 6).map(|(_, n)| n).collect();
        assert_eq!(lengths, expected);
        assert_eq!(Database::open(&file).unwrap().blobs(b"Packages", 2, &mut |_| {}), None, "there is no third column");
        let cut = &file[..file.len() - 8192];
        assert_eq!(Database::open(cut).unwrap().blobs(b"Packages", 1, &mut |_| {}), None);
    }
}
