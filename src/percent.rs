//! Text in addresses: what has a meaning there is written as `%` and two hexadecimal digits a byte.
//!
//! Specification: RFC 3986, sections 2.1 and 3.3.

/// Text as a value of a query or a form: only what never has a meaning stays as it is ("Unreserved Characters").
pub fn encoded(text: &str) -> String {
    encoded_but(text, b"")
}

/// Text as a component of a package URL (purl-spec, "Character encoding").
pub fn in_a_package_url(text: &str) -> String {
    encoded_but(text, b":")
}

/// Text as a path, whose parts stay parts.
pub fn in_a_path(text: &str) -> String {
    encoded_but(text, b"/:@")
}

fn encoded_but(text: &str, others: &[u8]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || others.contains(&byte);
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_is_encoded() {
        for (text, as_value, as_path) in [
            ("aZ09-._~", "aZ09-._~", "aZ09-._~"),
            ("a/b:1@c", "a%2Fb%3A1%40c", "a/b:1@c"),
            ("a b?c#d%e&f=g+h", "a%20b%3Fc%23d%25e%26f%3Dg%2Bh", "a%20b%3Fc%23d%25e%26f%3Dg%2Bh"),
            ("\u{e9}\r\n\0", "%C3%A9%0D%0A%00", "%C3%A9%0D%0A%00"),
            ("", "", ""),
        ] {
            assert_eq!((encoded(text), in_a_path(text)), (as_value.into(), as_path.into()), "{text:?}");
        }
    }
}
