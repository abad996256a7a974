//! PEM: the first armour of a kind in a file. Specification: RFC 7468.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One armour.
pub(super) struct Armour {
    /// Between BEGIN and the hyphens.
    pub(super) label: String,
    /// It has headers, as encrypted keys of OpenSSL's older form have (RFC 1421, 4.6).
    pub(super) has_headers: bool,
    /// The bytes; `None` when they are damaged.
    pub(super) bytes: Option<Vec<u8>>,
}

/// All armours of a text that end.
pub(super) fn armours(text: &str) -> Vec<Armour> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = begun.split_once("-----") else { break };
        let Some((body, after)) = body.split_once(&format!("-----END {label}-----")) else { break };
        let has_headers = body.contains(':');
        let digits: String = body.split_whitespace().collect();
        let bytes = STANDARD.decode(digits).ok().filter(|_| !has_headers);
        found.push(Armour { label: label.to_owned(), has_headers, bytes });
        rest = after;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn armours_are_taken_apart() {
        let text = "x\n-----BEGIN A-----\nAAEC\nAw==\n-----END A-----\n-----BEGIN B-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n\
                    -----END B-----\n-----BEGIN C-----\n?\n-----END C-----\n-----BEGIN D-----\nAA==\n";
        let found = armours(text);
        assert_eq!(found.iter().map(|one| one.label.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!(found[0].bytes.as_deref(), Some(&[0, 1, 2, 3][..]));
        assert!(found[1].has_headers && found[1].bytes.is_none() && found[2].bytes.is_none());
    }
}
