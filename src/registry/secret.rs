//! Text that nobody is shown.

use std::fmt;

/// What is shown in its place.
const SHOWN: &str = "***";
/// A text of fewer bytes hides too much of a sentence that happens to have it.
const LEAST: usize = 4;

/// A password or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for a request's header or body alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

/// A text of a server's without what we have told it: it may repeat it in a complaint.
pub fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let known = secrets.into_iter().map(Secret::reveal).filter(|secret| secret.len() >= LEAST);
    known.fold(text.to_owned(), |text, secret| text.replace(secret, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_in_no_text() {
        let (secret, short) = (Secret::new("canary"), Secret::new("a"));
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(without("a canary, a canary", [&secret, &short]), "a ***, a ***");
    }
}
