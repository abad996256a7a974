//! PAX extended header records: `LEN KEY=VALUE\n`, where LEN counts itself and the newline.
//!
//! Records are taken by their length and never searched for newlines: a file capability holds any byte. The last
//! record of a key counts; an empty value takes back an earlier one. (For an extended attribute, which has nothing
//! to fall back to, an empty value is just that: GNU tar and containerd read it so.)
//!
//! Source: POSIX.1-2017 pax, "pax Extended Header"; GNU tar manual, "Storing Sparse Files"; star(5).

use super::Limits;
use super::error::ErrorKind;
use super::number::{decimal, of_record, pax_time};
use super::sparse::Records as SparseRecords;
use super::warnings::{WarningKind, Warnings};
use super::xattr::{Collected, Recorded};
use crate::rootfs::Time;

/// What an extended header says about the next member.
#[derive(Default)]
pub struct Extended {
    /// The name.
    pub path: Option<Box<[u8]>>,
    /// The target of a link.
    pub linkpath: Option<Box<[u8]>>,
    /// Bytes of body in the archive.
    pub size: Option<u64>,
    /// Owner, not yet checked for its range.
    pub uid: Option<u64>,
    /// Group, not yet checked for its range.
    pub gid: Option<u64>,
    /// Time of last modification.
    pub mtime: Option<Time>,
    /// Device numbers as star writes them.
    pub devmajor: Option<u64>,
    /// Minor number.
    pub devminor: Option<u64>,
    /// Length of an old GNU sparse file that does not fit its header, as star writes it.
    pub realsize: Option<u64>,
    /// Extended attributes.
    pub xattrs: Collected,
    /// `GNU.sparse.*`.
    pub sparse: SparseRecords,
}

/// Keys that change nothing here, so no warning is due.
const IGNORED: [&[u8]; 13] = [
    b"atime",
    b"ctime",
    b"uname",
    b"gname",
    b"comment",
    b"charset",
    b"hdrcharset",
    b"LIBARCHIVE.creationtime",
    b"SCHILY.dev",
    b"SCHILY.ino",
    b"SCHILY.nlink",
    b"SCHILY.fflags",
    b"GNU.volume.label",
];

impl Extended {
    /// Reads the body of an `x` header.
    pub fn parse(mut body: &[u8], limits: &Limits, warnings: &mut Warnings) -> Result<Extended, ErrorKind> {
        let mut extended = Extended::default();
        while !body.is_empty() {
            let (key, value, rest) = record(body)?;
            extended.set(key, value, limits, warnings)?;
            body = rest;
        }
        Ok(extended)
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits, warnings: &mut Warnings) -> Result<(), ErrorKind> {
        match key {
            b"path" => self.path = name("path", value)?,
            b"linkpath" => self.linkpath = name("linkpath", value)?,
            b"size" => self.size = of_record("size", value)?,
            b"uid" => self.uid = of_record("uid", value)?,
            b"gid" => self.gid = of_record("gid", value)?,
            b"mtime" => self.mtime = time(value, warnings)?,
            b"SCHILY.devmajor" => self.devmajor = of_record("SCHILY.devmajor", value)?,
            b"SCHILY.devminor" => self.devminor = of_record("SCHILY.devminor", value)?,
            b"SCHILY.realsize" => self.realsize = of_record("SCHILY.realsize", value)?,
            // star's name of the types tar has no letter for.
            b"SCHILY.filetype" if matches!(value, b"socket" | b"door" | b"event-port") => {
                return Err(ErrorKind::FileType(value.into()));
            }
            b"SCHILY.filetype" => {}
            _ if key.starts_with(b"GNU.sparse.") => self.sparse.set(&key[b"GNU.sparse.".len()..], value, limits)?,
            b"GNU.volume.filename" | b"GNU.volume.size" | b"GNU.volume.offset" => {
                return Err(ErrorKind::MultiVolume(key.into()));
            }
            _ if IGNORED.contains(&key) => {}
            _ => match self.xattrs.record(key, value)? {
                Recorded::Yes => {}
                Recorded::AclDropped => warnings.add(WarningKind::AclWithoutIds, value),
                Recorded::No => warnings.add(WarningKind::UnknownRecord, key),
            },
        }
        Ok(())
    }
}

/// Checks the body of a `g` header: remarks (`comment`, as git archive writes), times, owners and other attributes for
/// every member that follows, which Go's reader does not apply and so no container runtime does.
///
/// GNU tar and Python apply them. Where that would give members other names, links or bodies the archive has no one
/// meaning, and is refused.
pub fn check_global(mut body: &[u8], warnings: &mut Warnings) -> Result<(), ErrorKind> {
    while !body.is_empty() {
        let (key, _, rest) = record(body)?;
        match key {
            b"path" | b"linkpath" | b"size" | b"SCHILY.realsize" | b"SCHILY.filetype" => {
                return Err(ErrorKind::GlobalRecord(key.into()));
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err(ErrorKind::GlobalRecord(key.into())),
            _ if IGNORED.contains(&key) => {}
            _ => warnings.add(WarningKind::GlobalRecord, key),
        }
        body = rest;
    }
    Ok(())
}

/// Key, value, and what follows the record.
type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Splits the first record off.
fn record(body: &[u8]) -> Result<Split<'_>, ErrorKind> {
    split_record(body).ok_or_else(|| ErrorKind::RecordLength(body[..body.len().min(80)].into()))
}

fn split_record(body: &[u8]) -> Option<Split<'_>> {
    // Twenty digits hold any 64-bit length; do not search a megabyte for the space.
    let space = body.iter().take(21).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&body[..space])?).ok()?;
    let record = body.get(space + 1..length)?;
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    let key = &record[..equals];
    (!key.is_empty() && !key.contains(&0)).then(|| (key, &record[equals + 1..], &body[length..]))
}

fn name(field: &'static str, value: &[u8]) -> Result<Option<Box<[u8]>>, ErrorKind> {
    if value.contains(&0) {
        return Err(ErrorKind::Nul(field));
    }
    Ok((!value.is_empty()).then(|| value.into()))
}

fn time(value: &[u8], warnings: &mut Warnings) -> Result<Option<Time>, ErrorKind> {
    if value.is_empty() {
        return Ok(None);
    }
    let (time, saturated) =
        pax_time(value).ok_or_else(|| ErrorKind::NotANumber { field: "mtime", value: value.into() })?;
    if saturated {
        warnings.add(WarningKind::TimeClamped, value);
    }
    Ok(Some(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records with their lengths in front.
    fn body(records: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for record in records {
            let digits = |length: usize| length.to_string().len();
            let mut length = record.len() + 3;
            while length != record.len() + 2 + digits(length) {
                length = record.len() + 2 + digits(length);
            }
            out.extend_from_slice(format!("{length} ").as_bytes());
            out.extend_from_slice(record);
            out.push(b'\n');
        }
        out
    }

    fn parse(body: &[u8]) -> Result<Extended, ErrorKind> {
        Extended::parse(body, &Limits::default(), &mut Warnings::default())
    }

    #[test]
    fn records_are_taken_by_their_length() {
        let extended = parse(&body(&[b"SCHILY.xattr.user.a=1\n9 path=x", b"mtime=1.5"])).unwrap();
        assert!(extended.path.is_none(), "the text of a value is no record");
        assert_eq!(extended.mtime, Some(Time { secs: 1, nanos: 500_000_000 }));
        assert_eq!(&*extended.xattrs.finish().unwrap()[0].1, b"1\n9 path=x");
    }

    #[test]
    fn the_last_record_counts_and_an_empty_one_takes_back() {
        assert_eq!(parse(b"12 size=512\n13 size=1024\n").unwrap().size, Some(1024));
        assert_eq!(parse(b"12 size=512\n8 size=\n").unwrap().size, None);
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for bad in [
            &b"99 path=zzz\n"[..],
            b"12 path=abcd",
            b"12 path=abcde",
            b"0 path=a\n",
            b"3 path=a\n",
            b" path=a\n",
            b"path=a\n",
            b"-9 path=a\n",
            b"+9 path=a\n",
            b"18446744073709551616 path=a\n",
            b"8 patha\n",
            b"4 =\n",
            b"5 =a\n",
            b"\0\0\0\0",
        ] {
            assert!(matches!(parse(bad), Err(ErrorKind::RecordLength(_))), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn values_are_checked() {
        assert!(matches!(parse(&body(&[b"path=a\0"])), Err(ErrorKind::Nul("path"))));
        assert!(matches!(parse(&body(&[b"linkpath=\0"])), Err(ErrorKind::Nul("linkpath"))));
        assert!(matches!(parse(&body(&[b"size=+512"])), Err(ErrorKind::NotANumber { field: "size", .. })));
        assert!(matches!(parse(&body(&[b"uid=-1"])), Err(ErrorKind::NotANumber { field: "uid", .. })));
        assert!(matches!(parse(&body(&[b"mtime=abc"])), Err(ErrorKind::NotANumber { field: "mtime", .. })));
        assert!(matches!(parse(&body(&[b"SCHILY.filetype=socket"])), Err(ErrorKind::FileType(_))));
    }

    #[test]
    fn global_headers_may_remark_and_name_attributes_that_nobody_gets_but_no_names() {
        let mut warnings = Warnings::default();
        assert!(check_global(&body(&[b"comment=abcd"]), &mut warnings).is_ok());
        assert!(warnings.is_empty());
        for (key, taken) in [
            ("path", false),
            ("size", false),
            ("linkpath", false),
            ("GNU.sparse.major", false),
            ("GNU.sparse.name", false),
            ("SCHILY.realsize", false),
            ("SCHILY.filetype", false),
            ("uid", true),
            ("gid", true),
            ("mtime", true),
            ("SCHILY.devmajor", true),
            ("SCHILY.xattr.user.a", true),
            ("RHT.security.selinux", true),
            ("own.word", true),
        ] {
            let before = warnings.count(WarningKind::GlobalRecord);
            let result = check_global(&body(&[format!("{key}=1").as_bytes()]), &mut warnings);
            assert_eq!(result.is_ok(), taken, "{key}");
            assert_eq!(warnings.count(WarningKind::GlobalRecord) - before, u64::from(taken), "{key}");
        }
    }
}
