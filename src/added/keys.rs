//! Keys to log in with by SSH: lines of `authorized_keys` in a user's home, with the modes that sshd asks for.
//!
//! Specification: sshd(8), "AUTHORIZED_KEYS FILE FORMAT"; RFC 4253, section 6.6: a key begins with the name of its kind.

use super::base::{Base, MAX_TEXT};
use super::members::{Content, Member, Members};
use super::record::{Item, What};
use super::users::{Users, add_line};
use super::{AddError, SshKey};
use crate::escape::{self, escape};
use crate::once;
use crate::rootfs::Attrs;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Where servers are that read the file.
const SERVERS: [&str; 6] = [
    "/usr/sbin/sshd",
    "/sbin/sshd",
    "/usr/local/sbin/sshd",
    "/usr/bin/sshd",
    "/usr/sbin/dropbear",
    "/usr/bin/dropbear",
];

/// Adds the keys of all users.
pub fn add(
    keys: &[SshKey],
    base: &Base,
    members: &mut Members,
    warnings: &mut Vec<String>,
) -> Result<Vec<Item>, AddError> {
    let mut by_user: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for key in keys {
        by_user.entry(&key.user).or_default().extend(read(&key.file)?);
    }
    if !by_user.is_empty() && !base.has_any(&SERVERS) && !members.paths().any(is_server) {
        let users: Vec<_> = by_user.keys().map(|user| escape(user.as_bytes())).collect();
        warnings.push(format!("the image has no SSH server that would take the key of {}", users.join(" and ")));
    }
    by_user.into_iter().map(|(user, lines)| one_user(user, &lines, base, members)).collect()
}

fn is_server(path: &[u8]) -> bool {
    SERVERS.iter().any(|server| server.as_bytes()[1..] == *path)
}

fn one_user(user: &str, lines: &[Vec<u8>], base: &Base, members: &mut Members) -> Result<Item, AddError> {
    let who = Users::with(base, members)?.named(user)?;
    if !who.home.starts_with('/') || who.home.split('/').any(|name| name == "..") {
        let message = format!("the home of {} is no absolute path in the image's /etc/passwd", escape(user.as_bytes()));
        return Err(AddError::refused(message, "put the key where it belongs: --copy-in FILE:PATH:600,USER"));
    }
    let attrs = |mode| Attrs { mode, uid: who.uid, gid: who.gid, ..Attrs::default() };
    let home = base.place(who.home.as_bytes())?;
    if home.there.is_none() && !members.has(&home.path) {
        members.put_folder(home.path, attrs(0o700))?;
    }
    let folder = base.place(format!("{}/.ssh", who.home).as_bytes())?;
    members.put_folder(folder.path, attrs(0o700))?;
    let file = base.place(format!("{}/.ssh/authorized_keys", who.home).as_bytes())?;
    let mut text = members.text(base, &file)?.map(|(_, text)| text).unwrap_or_default();
    for line in lines {
        if !text.split(|byte| *byte == b'\n').any(|there| there.trim_ascii() == line) {
            add_line(&mut text, line);
        }
    }
    let item = Item {
        what: What::SshKeys { keys: lines.len() as u64 },
        path: format!("/{}", String::from_utf8_lossy(&file.path)),
        user: Some(user.to_owned()),
    };
    members.replace(file.path, Member { attrs: attrs(0o600), content: Content::Text(text) });
    Ok(item)
}

/// The keys of a file, a line each.
fn read(path: &Path) -> Result<Vec<Vec<u8>>, AddError> {
    let mut text = Vec::new();
    let file = once::open(path, "an SSH key").map_err(AddError::at("read the SSH key", path))?;
    file.take(MAX_TEXT + 1).read_to_end(&mut text).map_err(AddError::at("read the SSH key", path))?;
    let shown = escape::path(path);
    let public = "give a public key: FILE.pub, or what ssh-keygen -y -f FILE prints";
    if text.len() as u64 > MAX_TEXT {
        return Err(AddError::refused(format!("{shown} is no SSH key: it is longer than 1 MiB"), public));
    }
    if text.windows(12).any(|window| window == b" PRIVATE KEY") {
        return Err(AddError::refused(format!("{shown} is a private key, which stays where it is"), public));
    }
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')).map(|(number, line)| (number, line.trim_ascii()))
    {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if !is_key(line) {
            return Err(AddError::refused(format!("line {number} of {shown} is no public SSH key"), public));
        }
        keys.push(line.to_vec());
    }
    match keys.is_empty() {
        true => Err(AddError::refused(format!("{shown} has no public SSH key in it"), public)),
        false => Ok(keys),
    }
}

/// Whether a line has a key: the name of its kind, and behind it the key, which begins with that name. Before it there may be
/// options, behind it a comment.
fn is_key(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let printable = std::str::from_utf8(line).is_ok_and(|text| !text.contains(|c: char| c.is_control() && c != '\t'));
    printable && words.windows(2).any(|pair| STANDARD.decode(pair[1]).is_ok_and(|key| begins_with(&key, pair[0])))
}

/// RFC 4251, section 5: a string is its length in four bytes, and itself. Something follows it.
fn begins_with(key: &[u8], kind: &[u8]) -> bool {
    let Some((length, rest)) = key.split_first_chunk() else { return false };
    u32::from_be_bytes(*length) as usize == kind.len() && rest.len() > kind.len() && rest.starts_with(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of a kind, as a file has it.
    pub fn key(kind: &str) -> String {
        let body = [&(kind.len() as u32).to_be_bytes()[..], kind.as_bytes(), b"\0\0\0\x01k"].concat();
        format!("{kind} {}", STANDARD.encode(body))
    }

    #[test]
    fn a_line_with_a_public_key_is_known_whatever_is_around_it() {
        let (ed, ec) = (key("ssh-ed25519"), key("sk-ecdsa-sha2-nistp256@openssh.com"));
        for (line, known) in [
            (ed.clone(), true),
            (format!("{ec} alice@example"), true),
            (format!("from=\"10.0.0.0/8\",command=\"echo a b\" {ed} x y"), true),
            (ed.replace("ssh-ed25519", "ssh-rsa"), false),
            (ed[..ed.len() - 4].to_owned() + "!!!!", false),
            ("ssh-ed25519".to_owned(), false),
            ("ssh-ed25519 AAAA".to_owned(), false),
            ("secret".to_owned(), false),
            (format!("{ed} \x1b[2J"), false),
        ] {
            assert_eq!(is_key(line.as_bytes()), known, "{line}");
        }
    }
}
