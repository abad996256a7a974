//! The options, as text. Nothing is opened here.

use std::path::PathBuf;
use std::str::FromStr;

/// Longest path, in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;
/// Longest name, in bytes (NAME_MAX).
const MAX_NAME: usize = 255;

/// `SRC:DST[:MODE[,OWNER]]`: a file or a folder of this host for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyIn {
    /// On this host, as it was written: how it ends says what of a folder is meant.
    pub source: PathBuf,
    /// On the disk: absolute, and without `..`.
    pub target: String,
    /// Permissions of files; folders can be entered by who can read them.
    pub mode: Option<u16>,
    /// `user[:group]`, by names or numbers.
    pub owner: Option<String>,
}

impl FromStr for CopyIn {
    type Err = String;

    fn from_str(text: &str) -> Result<CopyIn, String> {
        let Some((source, rest)) = text.find(":/").map(|at| (&text[..at], &text[at + 1..])) else {
            return Err("SRC:DST is needed, and DST begins with a slash, as in app.conf:/etc/app.conf".into());
        };
        let (target, how) = rest.split_once(':').map_or((rest, None), |(target, how)| (target, Some(how)));
        let (mode, owner) = match how.map(|how| how.split_once(',').map_or((how, None), |(m, o)| (m, Some(o)))) {
            None => (None, None),
            Some(("", Some(owner))) => (None, Some(owner)),
            Some((mode, owner)) => (Some(parse_mode(mode)?), owner),
        };
        if source.is_empty() {
            return Err("SRC is empty".into());
        }
        if owner.is_some_and(|owner| owner.is_empty() || owner.starts_with(':')) {
            return Err("OWNER is empty; leave out the comma, or name a user".into());
        }
        check_target(target)?;
        Ok(CopyIn { source: source.into(), target: target.into(), mode, owner: owner.map(str::to_owned) })
    }
}

fn check_target(target: &str) -> Result<(), String> {
    let name = |name: &str| match name {
        ".." => Err("DST has a .. in it; give the path that is meant".to_owned()),
        name if name.starts_with(".wh.") => Err("a name in DST begins with .wh., which deletes in a layer".to_owned()),
        name if name.len() > MAX_NAME => Err(format!("a name in DST is longer than {MAX_NAME} bytes")),
        _ => Ok(()),
    };
    match target.len() < MAX_PATH {
        true => target.split('/').try_for_each(name),
        false => Err(format!("DST is longer than {} bytes", MAX_PATH - 1)),
    }
}

/// Three or four octal digits: fewer are a slip more often than they are meant.
fn parse_mode(text: &str) -> Result<u16, String> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = digits.then(|| u16::from_str_radix(text, 8).ok()).flatten();
    mode.ok_or_else(|| "MODE is three or four octal digits, as in 640 or 0755".into())
}

/// `[USER:]FILE`: public keys that let their owner log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    /// As whom.
    pub user: String,
    /// The keys, as in `authorized_keys`.
    pub file: PathBuf,
}

impl FromStr for SshKey {
    type Err = String;

    /// What is before a colon and has a slash is no user: `./a:b` is a file.
    fn from_str(text: &str) -> Result<SshKey, String> {
        let named = text.split_once(':').filter(|(user, _)| !user.contains('/'));
        match named.unwrap_or(("root", text)) {
            ("", _) => Err("USER is empty".into()),
            (_, "") => Err("FILE is empty".into()),
            (user, file) => Ok(SshKey { user: user.into(), file: file.into() }),
        }
    }
}

/// `USER:HASHFILE`: a password to log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Whose.
    pub user: String,
    /// A file with the hash; nothing where the text had none, which is said later: the parser would repeat the text, and
    /// that may be the password.
    pub file: Option<PathBuf>,
}

impl FromStr for Password {
    type Err = String;

    fn from_str(text: &str) -> Result<Password, String> {
        let parts = text.split_once(':').filter(|(user, file)| !user.is_empty() && !file.is_empty());
        let (user, file) = parts.map_or(("", None), |(user, file)| (user, Some(file.into())));
        Ok(Password { user: user.into(), file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_has_a_source_a_place_and_perhaps_a_mode_and_an_owner() {
        for (text, parts) in [
            ("a:/b", Some(("a", "/b", None, None))),
            ("./a:b:/c", Some(("./a:b", "/c", None, None))),
            ("/a/.:/b/", Some(("/a/.", "/b/", None, None))),
            ("a:/b:640", Some(("a", "/b", Some(0o640), None))),
            ("a:/b:4755,33", Some(("a", "/b", Some(0o4755), Some("33")))),
            ("a:/b:0600,u:g", Some(("a", "/b", Some(0o600), Some("u:g")))),
            ("a:/b:,u", Some(("a", "/b", None, Some("u")))),
            ("a:/", Some(("a", "/", None, None))),
            ("a:/.../x", Some(("a", "/.../x", None, None))),
            ("a", None),
            ("a:b", None),
            ("a:./b", None),
            (":/b", None),
            ("a:/../b", None),
            ("a:/b/..", None),
            ("a:/b/.wh.c", None),
            ("a:/b:", None),
            ("a:/b:64", None),
            ("a:/b:00644", None),
            ("a:/b:888", None),
            ("a:/b:-644", None),
            ("a:/b:u+x", None),
            ("a:/b:644,", None),
            ("a:/b:644,:g", None),
            ("", None),
        ] {
            let found = text.parse::<CopyIn>().ok();
            let expected = parts.map(|(source, target, mode, owner)| CopyIn {
                source: source.into(),
                target: target.into(),
                mode,
                owner: owner.map(str::to_owned),
            });
            assert_eq!(found, expected, "{text}");
        }
        assert!(format!("a:/{}", "n".repeat(255)).parse::<CopyIn>().is_ok());
        assert!(format!("a:/{}", "n".repeat(256)).parse::<CopyIn>().is_err());
        assert!(format!("a:/{}", "n/".repeat(3000)).parse::<CopyIn>().is_err());
    }

    #[test]
    fn a_key_is_roots_unless_a_user_is_named() {
        for (text, parts) in [
            ("id.pub", Some(("root", "id.pub"))),
            ("alice:id.pub", Some(("alice", "id.pub"))),
            ("alice:/a:b", Some(("alice", "/a:b"))),
            ("./a:b", Some(("root", "./a:b"))),
            ("/a:b", Some(("root", "/a:b"))),
            ("-", Some(("root", "-"))),
            ("", None),
            (":id.pub", None),
            ("alice:", None),
        ] {
            let found = text.parse::<SshKey>().ok();
            let expected = parts.map(|(user, file)| SshKey { user: user.into(), file: file.into() });
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_password_that_is_given_as_a_word_is_not_repeated() {
        for (text, user, file) in [("root:hash", "root", Some("hash")), ("secret", "", None), ("root:", "", None)] {
            let expected = Password { user: user.into(), file: file.map(PathBuf::from) };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }
}
