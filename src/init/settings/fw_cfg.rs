//! Credentials in QEMU's fw_cfg: files `opt/io.systemd.credentials/NAME`, as systemd has them.
//!
//! ```text
//!  /sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/NAME/size    bytes, in decimal
//!  /sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials/NAME/raw     the content
//! ```
//!
//! The time that reading one takes grows with the square of its size, so that they have a limit of their own here.

use super::credentials::Credentials;
use crate::guest::settings::{Content, MAX_FW_CFG, credential_name};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Where they are.
pub const FOLDER: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/io.systemd.credentials";

/// Adds those of a folder that are wanted, by name.
pub fn read(folder: &Path, credentials: &mut Credentials) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    for name in names {
        if !credential_name(&name) {
            credentials.refuse("a credential from fw_cfg", "its name is none that systemd takes");
            continue;
        }
        match content(&folder.join(&name)) {
            Ok(content) => credentials.add(&name, Content(content), "fw_cfg"),
            Err(why) => credentials.refuse(&format!("the credential {name} from fw_cfg"), &why),
        }
    }
}

/// The content of one, whose size is looked at first.
fn content(folder: &Path) -> Result<Vec<u8>, String> {
    let size = fs::read_to_string(folder.join("size")).map_err(|error| error.to_string())?;
    let size: u64 = size.trim().parse().map_err(|_| "its size is not known")?;
    if size > MAX_FW_CFG {
        return Err(format!("it has {size} bytes, and fw_cfg is read so slowly that {MAX_FW_CFG} are the limit"));
    }
    let mut bytes = Vec::new();
    let file = File::open(folder.join("raw")).map_err(|error| error.to_string())?;
    file.take(size).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_by_their_names_and_large_ones_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        for (name, size, raw) in [
            ("db", Some("6\n"), Some("hunter")),
            ("bootdisk.settings", Some("2\n"), Some("{}")),
            ("large", Some("1073741824\n"), None),
            ("odd", Some("x"), Some("")),
            ("none", None, None),
            ("a:b", Some("1"), Some("x")),
        ] {
            let one = folder.path().join(name);
            fs::create_dir(&one).unwrap();
            size.iter().for_each(|text| fs::write(one.join("size"), text).unwrap());
            raw.iter().for_each(|text| fs::write(one.join("raw"), text).unwrap());
        }
        let mut credentials = Credentials::default();
        read(folder.path(), &mut credentials);
        assert_eq!(credentials.all().len(), 2);
        assert_eq!(credentials.get("db").unwrap().0, b"hunter");
        assert_eq!(credentials.refused.len(), 4, "{:?}", credentials.refused);
        let large =
            "the credential large from fw_cfg: it has 1073741824 bytes, and fw_cfg is read so slowly that 131072";
        assert!(credentials.refused.iter().any(|line| line.starts_with(large)), "{:?}", credentials.refused);
        read(Path::new("/nowhere"), &mut credentials);
    }
}
