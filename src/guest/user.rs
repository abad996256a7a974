//! `User` of an image, resolved as container runtimes do: by the image's /etc/passwd and /etc/group.
//!
//! Text made of digits is always a number and never a name, so that no line of /etc/passwd can make `4294967296`
//! root. Lines whose numbers do not parse are skipped, not taken for 0.
//!
//! Not supported: NSS, LDAP, anything but the two files.

/// Largest user or group number a runtime takes, 2^31 - 1.
const MAX_ID: i64 = 2_147_483_647;

/// Who the workload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups as the files give them, without the primary one.
    pub groups: Vec<u32>,
    /// Home folder.
    pub home: String,
}

impl Identity {
    /// What setgroups(2) gets: the supplementary groups and the primary one (CVE-2022-36109: a process that is not
    /// in its own primary group can be kept out of files by "group: no access" and still read them).
    pub fn all_groups(&self) -> Vec<u32> {
        let mut all = vec![self.gid];
        all.extend(self.groups.iter().filter(|gid| **gid != self.gid));
        all.dedup();
        all
    }
}

/// Resolves `user`, `uid`, `user:group` and every mixture. Missing files are empty ones. The error is one sentence.
pub fn resolve(text: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, String> {
    resolve_from(text, passwd, group, Identity { uid: 0, gid: 0, groups: vec![], home: "/".to_owned() })
}

fn resolve_from(text: &str, passwd: &[u8], group: &[u8], default: Identity) -> Result<Identity, String> {
    let (user_part, group_part) = text.split_once(':').unwrap_or((text, ""));
    let mut identity = default;
    let wanted = if user_part.is_empty() { Some(Id::Number(i64::from(identity.uid))) } else { Some(Id::of(user_part)) };
    let found = wanted.as_ref().and_then(|wanted| users(passwd).find(|user| wanted.is(user.id, user.name)));
    let name = found.as_ref().map(|user| user.name.to_owned());
    match (found, wanted) {
        (Some(user), _) => {
            identity.uid = in_range(user.id).ok_or_else(|| format!("user id out of range: {text}"))?;
            identity.gid = in_range(user.gid).ok_or_else(|| format!("group id out of range: {text}"))?;
            identity.home = user.home.to_owned();
        }
        (None, Some(Id::Number(uid))) if !user_part.is_empty() => {
            identity.uid = in_range(uid).ok_or_else(|| format!("user id out of range: {text}"))?;
        }
        (None, Some(Id::Name(_))) => return Err(format!("no such user in the image's /etc/passwd: {text}")),
        _ => {}
    }
    if !group_part.is_empty() {
        identity.gid = resolve_group(group_part, group).map_err(|reason| format!("{reason}: {text}"))?;
    } else if let Some(name) = name {
        let member = groups(group).filter(|group| group.members.split(|b| *b == b',').any(|m| m == name.as_bytes()));
        identity.groups = member.filter_map(|group| in_range(group.id)).collect();
    }
    Ok(identity)
}

fn resolve_group(part: &str, group: &[u8]) -> Result<u32, &'static str> {
    let wanted = Id::of(part);
    let id = match (groups(group).find(|group| wanted.is(group.id, group.name)), &wanted) {
        (Some(group), _) => group.id,
        (None, Id::Number(gid)) => *gid,
        (None, Id::Name(_)) => return Err("no such group in the image's /etc/group"),
    };
    in_range(id).ok_or("group id out of range")
}

fn in_range(id: i64) -> Option<u32> {
    (0..=MAX_ID).contains(&id).then_some(id as u32)
}

/// A user or group as somebody wrote it.
enum Id<'a> {
    Number(i64),
    Name(&'a str),
}

impl<'a> Id<'a> {
    fn of(text: &'a str) -> Self {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Id::Name(text);
        }
        // Too long for a number is out of range all the same, whatever sign it has.
        Id::Number(text.parse().unwrap_or(i64::MAX))
    }

    fn is(&self, id: i64, name: &str) -> bool {
        match self {
            Id::Number(number) => *number == id,
            Id::Name(wanted) => *wanted == name,
        }
    }
}

struct User<'a> {
    name: &'a str,
    id: i64,
    gid: i64,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    id: i64,
    members: &'a [u8],
}

/// passwd(5): `name:password:uid:gid:gecos:home:shell`.
fn users(passwd: &[u8]) -> impl Iterator<Item = User<'_>> {
    lines(passwd).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = text(fields.next()?)?;
        let (id, gid) = (number(fields.nth(1)?)?, number(fields.next()?)?);
        let home = fields.nth(1).and_then(text).unwrap_or("");
        Some(User { name, id, gid, home })
    })
}

/// group(5): `name:password:gid:member,member`.
fn groups(group: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(group).filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let name = text(fields.next()?)?;
        let id = number(fields.nth(1)?)?;
        Some(Group { name, id, members: fields.next().unwrap_or(b"") })
    })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty() && line[0] != b'#')
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn number(bytes: &[u8]) -> Option<i64> {
    text(bytes)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"\
root:x:0:0:root user:/root:/bin/bash
adm:x:42:43:adm:/var/adm:/bin/false
111:x:222:333::/var/garbage
odd:x:111:112::/home/odd:::::
2147483647:x:0:0::/root:/bin/sh
2147483648:x:0:0::/root:/bin/sh
9223372036854775807:x:0:0::/root:/bin/sh
9223372036854775808:x:0:0::/root:/bin/sh
user7456:x:7456:100:Vasya:/home/user7456
this is just some garbage data
";

    fn group_file() -> Vec<u8> {
        let members: Vec<String> = (0..7500).map(|n| format!("user{n}")).collect();
        let text = "root:x:0:root\nadm:x:43:\ngrp:x:1234:root,adm,user7456\n444:x:555:\nodd:x:444:\n";
        format!("{text}this is just some garbage data\nlarge:x:1000:{}\n", members.join(",")).into_bytes()
    }

    fn default() -> Identity {
        Identity { uid: 8888, gid: 8888, groups: vec![8888], home: "/8888".into() }
    }

    fn who(text: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        let identity = resolve_from(text, PASSWD, &group_file(), default())?;
        Ok((identity.uid, identity.gid, identity.groups, identity.home))
    }

    #[test]
    fn every_row_of_the_table_that_names_somebody() {
        let rows: [(&str, u32, u32, &[u32], &str); 18] = [
            ("root", 0, 0, &[0, 1234], "/root"),
            ("adm", 42, 43, &[1234], "/var/adm"),
            ("root:adm", 0, 43, &[8888], "/root"),
            ("adm:1234", 42, 1234, &[8888], "/var/adm"),
            ("42:1234", 42, 1234, &[8888], "/var/adm"),
            ("1337:1234", 1337, 1234, &[8888], "/8888"),
            ("1337", 1337, 8888, &[8888], "/8888"),
            ("", 8888, 8888, &[8888], "/8888"),
            ("111", 111, 112, &[8888], "/home/odd"),
            ("111:444", 111, 444, &[8888], "/home/odd"),
            ("7456", 7456, 100, &[1234, 1000], "/home/user7456"),
            ("user7456", 7456, 100, &[1234, 1000], "/home/user7456"),
            ("7456:2147483647", 7456, 2_147_483_647, &[8888], "/home/user7456"),
            ("2147483647", 2_147_483_647, 8888, &[8888], "/8888"),
            ("2147483647:43", 2_147_483_647, 43, &[8888], "/8888"),
            ("adm:grp", 42, 1234, &[8888], "/var/adm"),
            ("root:444", 0, 444, &[8888], "/root"),
            (":adm", 8888, 43, &[8888], "/8888"),
        ];
        for (text, uid, gid, groups, home) in rows {
            // A user without groups of his own keeps the default's, which for a runtime are none.
            let (u, g, s, h) = who(text).unwrap();
            let s = if s.is_empty() { vec![8888] } else { s };
            assert_eq!((u, g, s.as_slice(), h.as_str()), (uid, gid, groups, home), "{text}");
        }
    }

    #[test]
    fn every_row_of_the_table_that_is_an_error_and_never_root() {
        for text in [
            "notuser",
            "notuser:notgroup",
            "root:notgroup",
            "notuser:adm",
            "8888:notgroup",
            "notuser:8888",
            "-1:0",
            "0:-3",
            "-5:-2",
            "-42",
            "-43",
            "2147483648",
            "2147483648:43",
            "42:2147483648",
            "9223372036854775807",
            "9223372036854775807:43",
            "9223372036854775808",
            "0:9223372036854775808",
            "7456:9223372036854775807",
        ] {
            let error = who(text).expect_err(text);
            assert!(error.ends_with(text), "{error}");
        }
    }

    #[test]
    fn without_files_numbers_work_and_names_do_not() {
        let expected = Identity { uid: 1000, gid: 0, groups: vec![], home: "/".into() };
        assert_eq!(resolve("1000", b"", b""), Ok(expected));
        assert_eq!(resolve("", b"", b"").unwrap().uid, 0);
        assert!(resolve("www", b"", b"").is_err());
        assert!(resolve("0:www", b"", b"").is_err());
    }

    #[test]
    fn a_line_with_a_broken_number_is_nobody() {
        assert!(resolve("eve", b"eve:x:abc:0::/:/bin/sh\n", b"").is_err());
        assert!(resolve("eve", b"eve:x::0::/:/bin/sh\n", b"").is_err());
        assert!(resolve("0:g", b"", b"g:x::\n").is_err());
    }

    #[test]
    fn the_primary_group_is_always_among_the_groups() {
        assert_eq!(resolve("12345:54321", b"", b"").unwrap().all_groups(), [54321]);
        assert_eq!(resolve("", PASSWD, &group_file()).unwrap().all_groups(), [0, 1234]);
    }
}
