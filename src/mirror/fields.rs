//! Fields of Debian's control files: `Name: value`, and lines that go on with a space.

/// The value of the field `name` in a stanza; the lines that go on are part of it.
pub fn value<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    let mut at = 0;
    for line in stanza.split_inclusive('\n') {
        let field = line.split_once(':').filter(|(field, _)| field.eq_ignore_ascii_case(name));
        if let Some((field, _)) = field.filter(|_| !line.starts_with([' ', '\t', '#'])) {
            let start = at + field.len() + 1;
            let rest = &stanza[at + line.len()..];
            let goes_on = rest.split_inclusive('\n').take_while(|line| line.starts_with([' ', '\t']));
            let end = at + line.len() + goes_on.map(str::len).sum::<usize>();
            return Some(stanza[start..end].trim());
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::value;

    #[test]
    fn a_field_has_the_lines_that_go_on() {
        let stanza = "Package: a\nSHA256:\n 1 2 x\n 3 4 y\nDepends: b (= 1),\n c\nX:y: z\n# Package: no\nEmpty:\n";
        for (name, expected) in [
            ("Package", Some("a")),
            ("package", Some("a")),
            ("SHA256", Some("1 2 x\n 3 4 y")),
            ("Depends", Some("b (= 1),\n c")),
            ("X", Some("y: z")),
            ("Empty", Some("")),
            ("Absent", None),
            (" 1 2 x", None),
        ] {
            assert_eq!(value(stanza, name), expected, "{name}");
        }
    }
}
