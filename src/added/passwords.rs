//! Passwords to log in with: a hash that crypt(3) knows, in the user's line of shadow(5), or of passwd(5) where an image
//! has no other.
//!
//! Specification: shadow(5), passwd(5), crypt(5).

use super::base::Base;
use super::members::{Content, Member, Members};
use super::record::{Item, What};
use super::users::{PASSWD, Users, add_line, find};
use super::{AddError, Password};
use crate::escape::{escape, os_error};
use crate::once;
use std::collections::BTreeSet;
use std::io::Read;

/// Where passwords are.
const SHADOW: &str = "/etc/shadow";
/// Longest file with a hash, in bytes: a hash has 384 at most.
const MAX_FILE: u64 = 4096;
/// How one is made, for hints.
const MAKE: &str = "make one: openssl passwd -6 > HASHFILE";

/// The hashes that are taken: how each begins, and the characters of its last part. Those of DES have no mark, so that a
/// word could be taken for one.
const KINDS: [(&str, usize); 10] = [
    ("$y$", 43),
    ("$gy$", 43),
    ("$7$", 43),
    ("$2a$", 53),
    ("$2b$", 53),
    ("$2x$", 53),
    ("$2y$", 53),
    ("$6$", 86),
    ("$5$", 43),
    ("$1$", 22),
];

/// Adds the passwords.
pub fn add(passwords: &[Password], base: &Base, members: &mut Members) -> Result<Vec<Item>, AddError> {
    let mut users = BTreeSet::new();
    for one in passwords {
        if !users.insert(&one.user) {
            let message = format!("{} is given two passwords", escape(one.user.as_bytes()));
            return Err(AddError::refused(message, "give --password once for each user"));
        }
    }
    passwords.iter().map(|one| add_one(one, base, members)).collect()
}

fn add_one(password: &Password, base: &Base, members: &mut Members) -> Result<Item, AddError> {
    let hash = read(password)?;
    let user = &password.user;
    Users::with(base, members)?.named(user)?;
    let (shadow, passwd) = (base.place(SHADOW.as_bytes())?, base.place(PASSWD.as_bytes())?);
    let mut put = |place: &super::base::Place, edit: &dyn Fn(&[u8]) -> Vec<u8>| -> Result<bool, AddError> {
        let Some((attrs, text)) = members.text(base, place)? else { return Ok(false) };
        let edited = edit(&text);
        if edited != text {
            members.replace(place.path.clone(), Member { attrs, content: Content::Text(edited) });
        }
        Ok(true)
    };
    let in_shadow = put(&shadow, &|text| in_shadow(text, user, &hash))?;
    // The word x says that the password is in shadow(5).
    put(&passwd, &|text| with_field(text, user, if in_shadow { "x" } else { &hash }))?;
    let place = if in_shadow { shadow } else { passwd };
    let path = format!("/{}", String::from_utf8_lossy(&place.path));
    Ok(Item { what: What::Password, path, user: Some(user.clone()) })
}

/// The hash in a file. No error repeats what was given for its name: it may be the password after all.
fn read(password: &Password) -> Result<String, AddError> {
    let Some(file) = &password.file else {
        let message = "--password takes USER:HASHFILE, the name of a file with a hash in it and never a password";
        return Err(AddError::refused(message, MAKE));
    };
    let of = format!("the password file of {}", escape(password.user.as_bytes()));
    let mut text = Vec::new();
    let read = once::open(file, "a password's hash").and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut text));
    if let Err(error) = read {
        return Err(AddError::refused(format!("cannot read {of}: {}", os_error(&error)), MAKE));
    }
    let hash = String::from_utf8(text).ok().map(|text| text.trim_end().to_owned()).filter(|text| is_hash(text));
    hash.ok_or_else(|| {
        AddError::refused(format!("{of} has no hash of crypt(3) in it, one line that begins with $"), MAKE)
    })
}

/// Whether crypt(3) has made it: its mark, and a last part as long as that kind's.
fn is_hash(text: &str) -> bool {
    let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte));
    let legal = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./$=,".contains(&byte));
    let last = |rest: &str, length: usize| {
        let (before, last) = rest.rsplit_once('$')?;
        (!before.is_empty() && last.len() == length && letters(last)).then_some(())
    };
    let is_one =
        |(mark, length): &(&str, usize)| text.strip_prefix(mark).and_then(|rest| last(rest, *length)).is_some();
    legal && text.len() <= 384 && KINDS.iter().any(is_one)
}

/// shadow(5) with the hash in the user's line, which is made where there is none: without an age, as nobody knows it.
fn in_shadow(text: &[u8], user: &str, hash: &str) -> Vec<u8> {
    if find(text, user).is_some() {
        return with_field(text, user, hash);
    }
    let mut text = text.to_vec();
    add_line(&mut text, format!("{user}:{hash}::0:99999:7:::").as_bytes());
    text
}

/// The text with another second field in a user's line.
fn with_field(text: &[u8], user: &str, field: &str) -> Vec<u8> {
    let Some((start, end)) = find(text, user) else { return text.to_vec() };
    let field_start = start + user.len() + 1;
    let length = text[field_start..end].iter().position(|byte| *byte == b':').unwrap_or(end - field_start);
    [&text[..field_start], field.as_bytes(), &text[field_start + length..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crypt_makes_is_a_hash_and_words_are_none() {
        let of = |start: &str, length: usize| format!("{start}{}", "a.B/".repeat(22).get(..length).unwrap());
        for (text, is_one) in [
            (of("$6$salt$", 86), true),
            (of("$6$rounds=5000$salt$", 86), true),
            (of("$5$salt$", 43), true),
            (of("$1$salt$", 22), true),
            (of("$y$j9T$salt$", 43), true),
            (of("$gy$j9T$salt$", 43), true),
            (of("$2b$05$", 53), true),
            (of("$6$salt$", 85), false),
            (of("$6$", 86), false),
            (of("$6$sa:lt$", 86), false),
            (of("$6$salt\n$", 86), false),
            (of("$3$salt$", 32), false),
            ("secret".into(), false),
            ("abJnggxhB/yWI".into(), false),
            ("*".into(), false),
            ("!".into(), false),
            ("x".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_hash(&text), is_one, "{text}");
        }
    }

    #[test]
    fn one_field_of_one_line_changes_and_every_other_byte_stays() {
        for (text, expected) in [
            ("root:*:19000:0:99999:7:::\nu:!:1::::::\n", "root:H:19000:0:99999:7:::\nu:!:1::::::\n"),
            ("rooty:*:1\nroot:!:2", "rooty:*:1\nroot:H:2"),
            ("root:\n", "root:H\n"),
            ("root::\n# x\n", "root:H:\n# x\n"),
            ("root:a:1\nroot:b:2\n", "root:H:1\nroot:b:2\n"),
            ("u:!:1::::::", "u:!:1::::::\nroot:H::0:99999:7:::\n"),
            ("", "root:H::0:99999:7:::\n"),
        ] {
            let found = in_shadow(text.as_bytes(), "root", "H");
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }
}
