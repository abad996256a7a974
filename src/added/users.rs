//! Users and groups of the image, by its /etc/passwd and /etc/group.

use super::AddError;
use super::base::{Base, Place};
use super::members::Members;
use crate::escape::escape;
use crate::guest::user::{Identity, resolve};

/// Where users are.
pub const PASSWD: &str = "/etc/passwd";
/// Where groups are.
const GROUP: &str = "/etc/group";

/// The two files.
pub struct Users {
    passwd: Option<Vec<u8>>,
    group: Vec<u8>,
}

impl Users {
    /// As the image has them.
    pub fn of_image(base: &Base) -> Result<Users, AddError> {
        Users::read(|place| Ok(base.text(place)?.map(|(_, text)| text)), base)
    }

    /// As the disk will have them.
    pub fn with(base: &Base, members: &Members) -> Result<Users, AddError> {
        Users::read(|place| Ok(members.text(base, place)?.map(|(_, text)| text)), base)
    }

    fn read(text: impl Fn(&Place) -> Result<Option<Vec<u8>>, AddError>, base: &Base) -> Result<Users, AddError> {
        let (passwd, group) = (base.place(PASSWD.as_bytes())?, base.place(GROUP.as_bytes())?);
        Ok(Users { passwd: text(&passwd)?, group: text(&group)?.unwrap_or_default() })
    }

    /// The user of a name.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(&self, name: &str) -> Result<Identity, AddError> {
        let shown = escape(name.as_bytes());
        let hint = "bootdisk inspect IMAGE names the users with a shell; --copy-in passwd:/etc/passwd brings others";
        let Some(passwd) = &self.passwd else {
            return Err(AddError::refused(format!("the image has no {PASSWD}, and so no user {shown}"), hint));
        };
        match find(passwd, name) {
            Some(_) => {
                resolve(name, passwd, &self.group).map_err(|why| AddError::refused(escape(why.as_bytes()), hint))
            }
            None => Err(AddError::refused(format!("no user {shown} in the image's {PASSWD}"), hint)),
        }
    }

    /// User and group of `user[:group]`. The group of a number without a user is the same number, as for `COPY --chown`.
    ///
    /// # Errors
    /// When a name is not there, or a number is none.
    pub fn owner(&self, text: &str) -> Result<(u32, u32), AddError> {
        let passwd = self.passwd.as_deref().unwrap_or_default();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let both = if is_number { format!("{text}:{text}") } else { text.to_owned() };
        let found = resolve(&both, passwd, &self.group);
        found.map(|found| (found.uid, found.gid)).map_err(|why| {
            AddError::refused(
                escape(why.as_bytes()),
                "give OWNER by names that the image has, or by numbers: 1000:1000",
            )
        })
    }
}

/// Where the line of a user is in passwd(5) or shadow(5): from its first byte to its end.
pub fn find(text: &[u8], name: &str) -> Option<(usize, usize)> {
    let mut start = 0;
    text.split_inclusive(|byte| *byte == b'\n').find_map(|line| {
        let at = start;
        start += line.len();
        let rest = line.strip_prefix(name.as_bytes())?;
        let end = at + line.strip_suffix(b"\n").unwrap_or(line).len();
        rest.starts_with(b":").then_some((at, end))
    })
}

/// Puts a line at the end of a text, whose last one may not be ended.
pub fn add_line(text: &mut Vec<u8>, line: &[u8]) {
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line);
    text.push(b'\n');
}
