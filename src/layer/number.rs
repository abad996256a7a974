//! Numbers of tar headers: octal text, GNU base-256, and the decimal text of PAX records.
//!
//! ```text
//!  "0000644\0"  "   644 \0"      octal, blanks around it; a blank field is 0
//!  80 00 00 00 ff ff ff fe       base-256: top bit of the first byte set, the rest big-endian two's complement
//!  "-1.5"                        PAX time: seconds with an optional fraction
//! ```
//!
//! Nothing but digits is a digit: signs in octal fields, `+`, exponents and trailing letters are errors, because
//! readers disagree on them.

use super::error::ErrorKind;
use crate::rootfs::Time;

/// A numeric header field of up to 12 bytes. `None`: neither octal nor base-256.
pub fn field(bytes: &[u8]) -> Option<i128> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => Some(base256(bytes)),
        _ => octal(bytes),
    }
}

fn octal(bytes: &[u8]) -> Option<i128> {
    let blank = |b: &u8| matches!(b, b' ' | 0);
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end].iter().try_fold(0i128, |n, b| match b {
        b'0'..=b'7' => Some(n * 8 + i128::from(b - b'0')),
        _ => None,
    })
}

/// Bit 7 of the first byte is the marker, bit 6 the sign. Twelve bytes hold 95 bits: no overflow.
fn base256(bytes: &[u8]) -> i128 {
    let sign = if bytes[0] & 0x40 != 0 { -1i128 } else { 0 };
    let first = (sign << 7) | i128::from(bytes[0] & 0x7f);
    bytes[1..].iter().fold(first, |n, &b| (n << 8) | i128::from(b))
}

/// Decimal digits and nothing else, at most `u64::MAX`.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// A PAX time; digits beyond the ninth of the fraction are cut. Seconds too large for 64 bits become the largest
/// there are and `true`: the caller warns.
pub fn pax_time(text: &[u8]) -> Option<(Time, bool)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|&b| b == b'.').unwrap_or(text.len());
    let (whole, fraction) = (&text[..point], text.get(point + 1..).unwrap_or(b""));
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0u32;
    for place in 0..9 {
        nanos = nanos * 10 + fraction.get(place).map_or(0, |b| u32::from(b - b'0'));
    }
    let secs = whole.iter().try_fold(0i64, |n, b| n.checked_mul(10)?.checked_add(i64::from(b - b'0')));
    Some(match (secs, negative) {
        (Some(secs), false) => (Time { secs, nanos }, false),
        (Some(secs), true) if nanos == 0 => (Time { secs: -secs, nanos }, false),
        // -1.5 is half a second after second -2.
        (Some(secs), true) => (Time { secs: -secs - 1, nanos: 1_000_000_000 - nanos }, false),
        (None, false) => (Time { secs: i64::MAX, nanos: 0 }, true),
        (None, true) => (Time { secs: i64::MIN, nanos: 0 }, true),
    })
}

/// A decimal record; an empty one takes back.
pub fn of_record(field: &'static str, value: &[u8]) -> Result<Option<u64>, ErrorKind> {
    if value.is_empty() {
        return Ok(None);
    }
    decimal(value).map(Some).ok_or_else(|| ErrorKind::NotANumber { field, value: value.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        for (text, value) in [
            (&b"0000644\0"[..], 0o644),
            (b"   644 \0", 0o644),
            (b"\0\0\0\0\0\0\0\0", 0),
            (b"        ", 0),
            (b"777777777777", (1 << 36) - 1),
            (b"\0 17\0\0\0", 0o17),
        ] {
            assert_eq!(field(text), Some(value), "{text:?}");
        }
        for bad in [&b"0000000001x\0"[..], b"-1", b"+1", b"0x1", b"12 34", b"1\x009", b"8"] {
            assert_eq!(field(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn base256_fields() {
        assert_eq!(field(b"\x80\0\0\0\xff\xff\xff\xfe"), Some(0xffff_fffe));
        assert_eq!(field(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xae\x80"), Some(-86_400));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"), Some(i128::from(i64::MAX)));
        assert_eq!(field(b"\x80\0\0\x01\0\0\0\x01"), Some((1 << 32) + 1));
        assert_eq!(field(b"\xc0\0\0\0\0\0\0\0"), Some(-(1 << 62)));
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in [&b"18446744073709551616"[..], b"", b"+1", b"-1", b"1 ", b"1e3", b"0x1"] {
            assert_eq!(decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn pax_times() {
        for (text, secs, nanos) in [
            (&b"1.5"[..], 1, 500_000_000),
            (b"-1.5", -2, 500_000_000),
            (b"-1", -1, 0),
            (b"0", 0, 0),
            (b"1.123456789", 1, 123_456_789),
            (b"1.9999999999", 1, 999_999_999),
            (b"-0.000000001", -1, 999_999_999),
            (b"1.", 1, 0),
        ] {
            assert_eq!(pax_time(text), Some((Time { secs, nanos }, false)), "{text:?}");
        }
        assert_eq!(pax_time(b"9223372036854775808"), Some((Time { secs: i64::MAX, nanos: 0 }, true)));
        assert_eq!(pax_time(b"-9223372036854775809.5"), Some((Time { secs: i64::MIN, nanos: 0 }, true)));
        for bad in [&b""[..], b".5", b"-", b"+1", b"1e5", b"nan", b"1.2.3", b"1,5", b" 1"] {
            assert_eq!(pax_time(bad), None, "{bad:?}");
        }
    }
}
