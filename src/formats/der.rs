//! DER as certificates, keys and signatures are written in: elements of a tag, a length and contents.
//!
//! Not supported: tags above 30, lengths of more than four bytes, and the indefinite ones of BER.
//! Specification: X.690, 8.1 and 10.1.

/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `NULL`.
pub const NULL: u8 = 0x05;
/// `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// `UTCTime`.
pub const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE` and `SEQUENCE OF`.
pub const SEQUENCE: u8 = 0x30;
/// `SET` and `SET OF`.
pub const SET: u8 = 0x31;

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Class, form and number.
    pub tag: u8,
    /// What is in it.
    pub content: &'a [u8],
    /// All of it.
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// The elements in it.
    pub fn inside(self) -> Elements<'a> {
        Elements(self.content)
    }
}

/// Elements one after the other.
#[derive(Clone, Copy, Debug)]
pub struct Elements<'a>(pub &'a [u8]);

impl<'a> Elements<'a> {
    /// Whether there are no more.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next one, if it has this tag; otherwise nothing is taken.
    pub fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        let (element, rest) = first(self.0).filter(|(element, _)| element.tag == tag)?;
        self.0 = rest;
        Some(element)
    }

    /// The next one. `None` at the end, and before what is no element.
    pub fn any(&mut self) -> Option<Element<'a>> {
        let (element, rest) = first(self.0)?;
        self.0 = rest;
        Some(element)
    }
}

/// The one element that all of these bytes are.
pub fn only(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    first(bytes).filter(|(element, rest)| rest.is_empty() && element.tag == tag).map(|(element, _)| element)
}

/// The first element, and what follows it.
pub fn first(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&length, rest) = rest.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |number, &digit| number << 8 | usize::from(digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Element { tag, content, whole: &bytes[..bytes.len() - rest.len()] }, rest))
}

/// An element of these parts.
pub fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    let digits = length.to_be_bytes();
    let digits = &digits[digits.iter().take_while(|&&digit| digit == 0).count()..];
    if length < 0x80 {
        bytes.push(length as u8);
    } else {
        bytes.push(0x80 | digits.len() as u8);
        bytes.extend_from_slice(digits);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// A `SEQUENCE` of these parts.
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, parts)
}

/// A `SET OF` these elements, in the order that DER has them in (X.690, 11.6).
pub fn set_of(mut elements: Vec<Vec<u8>>) -> Vec<u8> {
    elements.sort();
    element(SET, &elements.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_cut_is_not() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let bytes = element(OCTET_STRING, &[&vec![7; length]]);
            let (element, rest) = first(&bytes).unwrap();
            assert_eq!((element.content.len(), element.whole.len(), rest.len()), (length, bytes.len(), 0));
            assert_eq!(first(&bytes[..bytes.len() - 1]), None, "{length}");
            assert!(only(&bytes, SEQUENCE).is_none());
        }
        assert_eq!(element(OCTET_STRING, &[&[0; 300]])[..4], [4, 0x82, 1, 44]);
        for odd in [&[0x30][..], &[0x30, 0x80, 0, 0], &[0x3f, 1, 0], &[4, 0x85, 0, 0, 0, 0, 0]] {
            assert_eq!(first(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn a_set_is_in_order() {
        assert_eq!(set_of(vec![vec![2, 1, 9], vec![2, 1, 3]]), [0x31, 6, 2, 1, 3, 2, 1, 9]);
    }
}
