//! Which bases of earlier builds this command begins at.

use super::env;
use crate::convert::Bases;
use crate::own_folder::within;
use crate::registry::Access;

/// Those of this user; none with `--no-cache`, or without a place for them: that costs time and nothing else.
pub fn of_user() -> Option<Bases> {
    let dir = || within(&env::cache().ok()?, "bases").ok();
    (!Access::settled().forgets).then(dir)?.map(Bases::at)
}
