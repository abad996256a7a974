//! What a registry wants to see before it answers: the header WWW-Authenticate.
//!
//! ```text
//!  Bearer realm="https://auth.example.org/token",service="registry",scope="repository:a/b:pull", Basic realm="x"
//! ```
//!
//! A quotation mark that nobody closes ends with the header. Parameters that come twice count once, the first time.
//!
//! Specification: RFC 9110, sections 11.3 and 11.6.1; distribution, "Token Authentication Specification".

/// Most bytes of a header that are read.
const MAX: usize = 16 << 10;

/// One challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// Its scheme, in small letters: `bearer`, `basic`.
    pub scheme: String,
    params: Vec<(String, String)>,
}

impl Challenge {
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of all headers.
pub fn parse<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Vec<Challenge> {
    let mut found = Vec::new();
    for header in headers {
        let text = String::from_utf8_lossy(&header[..header.len().min(MAX)]);
        Reader { rest: &text }.challenges(&mut found);
    }
    found
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn challenges(mut self, found: &mut Vec<Challenge>) {
        let first = found.len();
        loop {
            self.skip(|c| c == ',' || c.is_ascii_whitespace());
            let word = self.word();
            if word.is_empty() && self.drop_one().is_none() {
                return;
            }
            self.skip(|c| c.is_ascii_whitespace());
            match (self.value(), found[first..].last_mut()) {
                (Some(value), Some(challenge)) => challenge.params.push((word.to_ascii_lowercase(), value)),
                (Some(_), None) => {}
                (None, _) if word.is_empty() => {}
                (None, _) => found.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() }),
            }
        }
    }

    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(what);
    }

    /// A sign that belongs to nothing.
    fn drop_one(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let dropped = chars.next();
        self.rest = chars.as_str();
        dropped
    }

    fn word(&mut self) -> &'a str {
        let is_part = |c: char| c.is_ascii_graphic() && !",=\"".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// What follows an equals sign.
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.strip_prefix('=')?;
        self.skip(|c| c.is_ascii_whitespace());
        Some(match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                self.quoted()
            }
            None => self.word().to_owned(),
        })
    }

    fn quoted(&mut self) -> String {
        let mut value = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => value.extend(chars.next()),
                c => value.push(c),
            }
        }
        self.rest = chars.as_str();
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(header: &str) -> String {
        let one = |challenge: &Challenge| {
            let params: Vec<_> = challenge.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({})", challenge.scheme, params.join(";"))
        };
        parse([header.as_bytes()].into_iter()).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_are_read_however_they_are_written() {
        for (header, expected) in [
            ("Basic realm=\"x\"", "basic(realm=x)"),
            ("BASIC realm=x", "basic(realm=x)"),
            ("Bearer realm=\"https://a/t\",service=\"s\"", "bearer(realm=https://a/t;service=s)"),
            ("Bearer realm = \"a\" , service = b", "bearer(realm=a;service=b)"),
            ("Basic realm=\"x\", Bearer realm=\"y\"", "basic(realm=x) bearer(realm=y)"),
            ("Negotiate, Basic realm=\"x\"", "negotiate() basic(realm=x)"),
            ("Bearer realm=\"a\\\"b\\\\\"", "bearer(realm=a\"b\\)"),
            ("Bearer realm=\"a,b=c\",x=1", "bearer(realm=a,b=c;x=1)"),
            ("Bearer realm=\"never closed", "bearer(realm=never closed)"),
            ("Bearer realm=\"", "bearer(realm=)"),
            ("realm=\"nobody's\"", ""),
            ("", ""),
            (",,,", ""),
            ("=\"\"=,\"=", ""),
        ] {
            assert_eq!(shown(header), expected, "{header}");
        }
    }

    #[test]
    fn a_header_of_a_mebibyte_ends() {
        for unit in ["a", "a=", "\"", ",", "Basic a=\"", "=\\", "é"] {
            assert!(shown(&unit.repeat((1 << 20) / unit.len())).len() < 64 << 10);
        }
    }
}
