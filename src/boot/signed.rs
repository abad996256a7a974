//! Boot files for Secure Boot: every EFI program of the ESP signed, and the keys that systemd-boot gives to the firmware.
//!
//! ```text
//! EFI/…, bootdisk/linux, …             each program with a signature
//! loader/keys/auto/{PK,KEK,db}.auth    the certificate, for a firmware that has no keys yet
//! loader/loader.conf                   secure-boot-enroll: when they are given to it
//! ```
//!
//! Specification: systemd, loader.conf(5), `secure-boot-enroll`.

use super::loader;
use crate::formats::pe;
use crate::formats::signature_list::Variable;
use crate::signing::{Signing, SigningError};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Folder of the keys on the ESP.
const KEYS: &str = "loader/keys/auto";

/// When systemd-boot gives the keys to a firmware that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enroll {
    /// Never.
    Off,
    /// When somebody chooses it in the boot menu.
    Manual,
    /// By itself in a virtual machine, else when somebody chooses it. systemd-boot knows it since 253.
    IfSafe,
    /// By itself.
    Force,
}

impl Enroll {
    /// As loader.conf has it.
    pub fn name(self) -> &'static str {
        match self {
            Enroll::Off => "off",
            Enroll::Manual => "manual",
            Enroll::IfSafe => "if-safe",
            Enroll::Force => "force",
        }
    }

    /// What a loader does best of itself: the safe way, as far as it knows it.
    fn of_loader(efi_loader: &[u8]) -> Enroll {
        let words: Vec<u8> = Enroll::IfSafe.name().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let knows = efi_loader.windows(words.len()).any(|window| window == words);
        if knows { Enroll::IfSafe } else { Enroll::Manual }
    }
}

/// How the boot files are signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// By whom.
    pub signing: &'a Signing,
    /// When the keys are enrolled; `None` for the loader's best.
    pub enroll: Option<Enroll>,
}

/// Where the ESP has the file of a variable.
pub(super) fn key_path(variable: Variable) -> String {
    format!("{KEYS}/{}.auth", variable.name())
}

/// Signs the programs among the files of an ESP, and adds the keys. The program at `unknown`, whose bytes will be others, gets
/// as many more as a signature may have: nobody is asked for one that is of no use.
pub(super) fn sign(
    signed: &Signed<'_>,
    files: &mut BTreeMap<String, Cow<'_, [u8]>>,
    unknown: Option<&str>,
) -> Result<(), SigningError> {
    let programs: Vec<String> =
        files.iter().filter(|(_, body)| pe::machine(body).is_some()).map(|(path, _)| path.clone()).collect();
    let mut best = Enroll::Manual;
    for path in programs {
        let body = &files[&path];
        if path.to_ascii_uppercase().starts_with("EFI/BOOT/") {
            best = Enroll::of_loader(body);
        }
        let program = match unknown == Some(&path) {
            true => [&body[..], &vec![0; signed.signing.longest()]].concat(),
            false => signed.signing.program(&path, body)?,
        };
        files.insert(path, program.into());
    }
    if let Some(config) = files.get_mut(loader::CONFIG_PATH) {
        let line = format!("secure-boot-enroll {}\n", signed.enroll.unwrap_or(best).name());
        config.to_mut().extend_from_slice(line.as_bytes());
    }
    for variable in Variable::ALL {
        files.insert(key_path(variable), signed.signing.variable(variable)?.into());
    }
    Ok(())
}
