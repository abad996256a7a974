//! Credentials in the machine's SMBIOS: strings of type 11, "OEM Strings", as systemd has them.
//!
//! ```text
//!  offset  0     1        2           length                          strings, each with a zero behind it; one more zero
//!          type  length   handle (2)  (of what comes before strings)  ends the structure, two where there is none
//! ```
//!
//! `io.systemd.credential:NAME=TEXT` and `io.systemd.credential.binary:NAME=BASE64`. Source: DMTF DSP0134 3.7, sections 6.1
//! and 7.12; systemd.system-credentials(7). The kernel has the table's bytes since 4.2.

use super::credentials::Credentials;
use crate::guest::settings::{Content, base64, credential_name};
use std::fs::File;
use std::io::Read;

/// The structures, one behind the other.
const TABLE: &str = "/sys/firmware/dmi/tables/DMI";
/// Most bytes of the table that are looked at: all credentials in base64, and what else firmware has to say.
const MAX_TABLE: u64 = 4 << 20;
/// Bytes in front of a structure's own fields.
const HEADER: usize = 4;
const OEM_STRINGS: u8 = 11;
const END_OF_TABLE: u8 = 127;

/// Adds those of this machine.
pub fn read(credentials: &mut Credentials) {
    let Ok(file) = File::open(TABLE) else { return };
    let mut table = Vec::new();
    if file.take(MAX_TABLE).read_to_end(&mut table).is_ok() {
        strings(&table).for_each(|string| add(string, credentials));
    }
}

/// The strings of type 11. A table that ends early has those that are whole.
pub fn strings(table: &[u8]) -> impl Iterator<Item = &[u8]> {
    Structures(table).filter(|(kind, _)| *kind == OEM_STRINGS).flat_map(|(_, strings)| strings.split(|byte| *byte == 0))
}

/// Types of structures, and their strings with a zero between two.
struct Structures<'a>(&'a [u8]);

impl<'a> Iterator for Structures<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (kind, length) = (*self.0.first()?, usize::from(*self.0.get(1)?));
        // Shorter than its own header is no structure, and behind it nothing has a place.
        let behind = self.0.get(length..).filter(|_| length >= HEADER && kind != END_OF_TABLE)?;
        let end = behind.windows(2).position(|pair| pair == [0, 0])?;
        self.0 = &behind[end + 2..];
        Some((kind, &behind[..end]))
    }
}

/// Adds the credential that a string is, if it is one.
pub fn add(string: &[u8], credentials: &mut Credentials) {
    let Some(rest) = string.strip_prefix(b"io.systemd.credential") else { return };
    let (is_text, rest) = match (rest.strip_prefix(b":"), rest.strip_prefix(b".binary:")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return,
    };
    let Some(equals) = rest.iter().position(|byte| *byte == b'=') else {
        return credentials.refuse("a credential from SMBIOS", "there is no = behind its name");
    };
    let (name, value) = (&rest[..equals], &rest[equals + 1..]);
    let Some(name) = std::str::from_utf8(name).ok().filter(|name| credential_name(name)) else {
        return credentials.refuse("a credential from SMBIOS", "its name is none that systemd takes");
    };
    let content = if is_text { Some(value.to_vec()) } else { std::str::from_utf8(value).ok().and_then(base64::decode) };
    match content {
        Some(content) => credentials.add(name, Content(content), "SMBIOS"),
        None => credentials.refuse(&format!("the credential {name} from SMBIOS"), "it is no base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(kind: u8, fields: &[u8], strings: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![kind, (HEADER + fields.len()) as u8, 1, 0];
        bytes.extend_from_slice(fields);
        strings.iter().for_each(|string| bytes.extend([*string, &[0]].concat()));
        bytes.extend_from_slice(if strings.is_empty() { &[0, 0] } else { &[0] });
        bytes
    }

    fn table() -> Vec<u8> {
        [
            structure(0, &[1, 2, 0, 0], &[b"firmware", b"1.0"]),
            structure(17, &[0; 30], &[]),
            structure(11, &[2], &[b"io.systemd.credential:one=1=1", b"else"]),
            structure(11, &[1], &[b"io.systemd.credential.binary:two=AAEC"]),
            structure(127, &[], &[]),
            structure(11, &[1], &[b"io.systemd.credential:behind=the end"]),
        ]
        .concat()
    }

    fn found(table: &[u8]) -> Credentials {
        let mut credentials = Credentials::default();
        strings(table).for_each(|string| add(string, &mut credentials));
        credentials
    }

    #[test]
    fn credentials_are_found_in_strings_of_type_11_in_front_of_the_end() {
        let credentials = found(&table());
        let names: Vec<&str> = credentials.all().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(credentials.get("one").unwrap().0, b"1=1");
        assert_eq!(credentials.get("two").unwrap().0, [0, 1, 2]);
        assert!(credentials.refused.is_empty());
    }

    #[test]
    fn a_table_that_is_cut_anywhere_or_has_any_byte_changed_ends() {
        let whole = table();
        for length in 0..whole.len() {
            assert!(found(&whole[..length]).all().len() <= 2);
        }
        for (at, byte) in (0..whole.len()).flat_map(|at| [0, 1, 3, 4, 11, 127, 255].map(|byte| (at, byte))) {
            let mut changed = whole.clone();
            changed[at] = byte;
            found(&changed);
        }
        assert!(strings(&[0; 4096]).next().is_none());
    }

    #[test]
    fn what_is_no_credential_is_refused_by_a_few_words_without_its_value() {
        for (string, reason) in [
            (&b"io.systemd.credential:name"[..], "a credential from SMBIOS: there is no = behind its name"),
            (b"io.systemd.credential:a/b=s3cret", "a credential from SMBIOS: its name is none that systemd takes"),
            (b"io.systemd.credential:\xff=s3cret", "a credential from SMBIOS: its name is none that systemd takes"),
            (b"io.systemd.credential.binary:a=s3cret!", "the credential a from SMBIOS: it is no base64"),
        ] {
            let mut credentials = Credentials::default();
            add(string, &mut credentials);
            assert_eq!((credentials.refused.as_slice(), credentials.all().len()), (&[reason.to_owned()][..], 0));
        }
        for string in [&b""[..], b"vendor", b"io.systemd.credentials:a=1", b"io.systemd.credential"] {
            let mut credentials = Credentials::default();
            add(string, &mut credentials);
            assert!(credentials.refused.is_empty() && credentials.all().is_empty());
        }
    }
}
