//! What the values of a document may be. Each check says in a few words what is wrong, and nothing of the value.

/// Most bytes of an argument or of a variable with its name: MAX_ARG_STRLEN of the kernel, without the zero behind it.
pub const MAX_WORD: usize = 131_071;
/// Most bytes of a path (PATH_MAX, with the zero behind it).
const MAX_PATH: usize = 4095;
/// Most bytes of one name in a path (NAME_MAX).
const MAX_NAME: usize = 255;

/// Whether the kernel and every program take it as a host name.
pub fn host_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// Whether systemd takes it as the name of a credential (credential_name_valid in src/shared/creds-util.c): a file's name
/// and a descriptor's, which is printable ASCII without a colon.
pub fn credential_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'/' | b':'))
}

/// An argument of a command.
pub fn word(text: &str) -> Result<(), &'static str> {
    if text.contains('\0') {
        return Err("has a zero byte");
    }
    if text.len() > MAX_WORD {
        return Err("is longer than the kernel takes, 131071 bytes");
    }
    Ok(())
}

/// A variable's name.
pub fn variable(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        _ if name.contains(['=', '\0']) => Err("is no variable's name"),
        _ => word(name),
    }
}

/// An absolute path in its one form.
pub fn path(path: &str) -> Result<(), &'static str> {
    let Some(below) = path.strip_prefix('/') else { return Err("is no absolute path") };
    if path.contains('\0') {
        return Err("has a zero byte");
    }
    if path.len() > MAX_PATH || below.split('/').any(|name| name.len() > MAX_NAME) {
        return Err("is longer than the kernel takes");
    }
    if below.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err("has an empty name, . or .. in it");
    }
    Ok(())
}

/// The path of a file that is put there.
pub fn place(at: &str) -> Result<(), &'static str> {
    path(at)?;
    let top = at.split('/').nth(1);
    if matches!(top, Some("proc" | "sys" | "dev")) {
        return Err("is below /proc, /sys or /dev, which are the kernel's");
    }
    Ok(())
}

/// `USER[:GROUP]`, names or numbers, not looked up yet.
pub fn owner(text: &str) -> Result<(), &'static str> {
    let is_name = |name: &str| !name.is_empty() && name.len() <= MAX_NAME && !name.contains(['\0', ':', '\n', '/']);
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    if is_name(user) && is_name(group) { Ok(()) } else { Err("is not USER or USER:GROUP") }
}

/// A user whose keys are meant.
pub fn user(name: &str) -> Result<(), &'static str> {
    if name.contains(':') { Err("is no user") } else { owner(name).map_err(|_| "is no user") }
}

/// Three octal digits, or four of which the first is 0: files are mounted where setuid does nothing.
pub fn mode(text: &str) -> Result<u32, &'static str> {
    let digits = if text.len() == 4 { text.strip_prefix('0') } else { Some(text) };
    digits
        .filter(|digits| digits.len() == 3 && digits.bytes().all(|b| matches!(b, b'0'..=b'7')))
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .ok_or("is not a mode like 0640")
}

/// A line of authorized_keys.
pub fn key(line: &str) -> Result<(), &'static str> {
    if ssh_key(line) { Ok(()) } else { Err("is no line of authorized_keys") }
}

/// Whether it can be a line of authorized_keys: something that stays one line.
pub fn ssh_key(line: &str) -> bool {
    const MOST: usize = 16 << 10;
    !line.trim().is_empty() && line.len() <= MOST && !line.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_rows() {
        let long = "x".repeat(256);
        for name in ["db", "a b", "a.b-c_d", "~", &long[..255]] {
            assert!(credential_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a:b", "ä", "a\n", "a\0", &long] {
            assert!(!credential_name(name), "{name:?}");
        }
        for good in ["/a", "/etc/app.conf", "/a/...", "/a b/ä"] {
            assert_eq!(place(good), Ok(()), "{good}");
        }
        for bad in ["", "/", "a", "/a/", "//a", "/a//b", "/a/../b", "/.", "/a\0", "/proc/x", "/sys", "/dev/null"] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
        assert!(place(&format!("/{long}")).is_err() && place(&"/abc".repeat(1024)).is_err());
        for (text, bits) in [("644", 0o644), ("0400", 0o400), ("000", 0), ("777", 0o777)] {
            assert_eq!(mode(text), Ok(bits));
        }
        for bad in ["", "64", "4755", "0o644", "888", "+644", "00644", "-644", "6 4"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        for good in ["root", "0", "www-data:adm", "33:33"] {
            assert_eq!(owner(good), Ok(()), "{good}");
        }
        for bad in ["", ":", "a:", ":b", "a:b:c", "a\0", "a\nb"] {
            assert!(owner(bad).is_err(), "{bad:?}");
        }
        assert!(user("root").is_ok() && user("a:b").is_err() && user("").is_err());
        assert!(variable("A").is_ok() && variable("a.b").is_ok());
        assert!(variable("").is_err() && variable("A=").is_err() && variable("A\0").is_err());
        assert!(word(&"x".repeat(MAX_WORD)).is_ok() && word(&"x".repeat(MAX_WORD + 1)).is_err());
        assert!(key("ssh-ed25519 AAAA me").is_ok());
        assert!(key(" ").is_err() && key("a\nb").is_err() && key(&"k".repeat(20_000)).is_err());
    }
}
