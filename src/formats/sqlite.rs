//! As much of SQLite's file format as it takes to count the rows of one table.
//!
//! ```text
//!  page 1   100 bytes of header, then the root of the schema's tree
//!  table tree   5 interior: child pages and the last one    13 leaf: cells, one a row
//! ```
//!
//! Not read: indices, row contents beyond the schema's, and what is only in a write-ahead log beside the file.
//! Specification: sqlite.org, "Database File Format".

use super::{be16_at, be32_at};

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
        let mut rows = 0;
        self.leaves(root?, &mut |page, at| {
            rows += u64::from(be16_at(page, at + 3)?);
            Some(())
        })?;
        Some(rows)
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
        let (header_size, mut types) = varint(record)?;
        let mut values = record.get(usize::try_from(header_size).ok()?..)?;
        let mut column = || {
            let (kind, rest) = varint(types)?;
            types = rest;
            let size = match kind {
                0 | 8 | 9 => 0,
                1..=4 => kind as usize,
                5 => 6,
                6 | 7 => 8,
                12.. => usize::try_from((kind - 12) / 2).ok()?,
                _ => return None,
            };
            let value = values.get(..size)?;
            values = &values[size..];
            Some(value)
        };
        let (kind, name, _, root) = (column()?, column()?, column()?, column()?);
        let fits = kind == b"table" && name == table && (1..=4).contains(&root.len());
        fits.then(|| root.iter().fold(0u32, |number, &byte| number << 8 | u32::from(byte)))
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
            _ = Database::open(&damaged).and_then(|db| db.rows(b"Packages"));
        }
    }
}
