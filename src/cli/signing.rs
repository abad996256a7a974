//! Options of Secure Boot: who signs, and whose signatures a machine is to ask for.

use super::machine::BootChoice;
use super::options::FirmwareChoice;
use super::report::WithHint;
use crate::boot::existing::Existing;
use crate::convert::{Enroll, Firmware};
use crate::formats::x509::Certificate;
use crate::qemu::Keys;
use crate::signing::{self, Signing};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Who signs.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Secure Boot")]
pub struct Signer {
    /// Sign what UEFI starts, as with --uki, by this private key in PEM: RSA, ECDSA P-256 or P-384; such a disk is for UEFI
    /// alone
    #[arg(long, value_name = "FILE", requires = "sign_cert", groups = ["signer", "one_program"])]
    sign_key: Option<PathBuf>,
    /// Have this program sign: it gets a SHA-256 digest of 32 bytes on standard input, and prints the signature; words are
    /// split as a shell does
    #[arg(long, value_name = "PROGRAM", requires = "sign_cert", groups = ["signer", "one_program"], value_parser = words)]
    sign_command: Option<Words>,
    /// The certificate of the signing key, in PEM
    #[arg(long, value_name = "FILE", requires = "signer")]
    sign_cert: Option<PathBuf>,
}

/// A program and its arguments.
#[derive(Clone, Debug)]
struct Words(Vec<String>);

fn words(text: &str) -> Result<Words, String> {
    shlex::split(text).filter(|words| !words.is_empty()).map(Words).ok_or_else(|| "no command, or an open quote".into())
}

impl Signer {
    /// Opens key and certificate, if any are given. `warn` gets what the user should know.
    pub fn open(&self, warn: &mut dyn FnMut(&str)) -> Result<Option<Signing>> {
        let Some(certificate) = &self.sign_cert else { return Ok(None) };
        let signing = match (&self.sign_key, &self.sign_command) {
            (Some(key), _) => Signing::with_key(key, certificate)?,
            (_, Some(command)) => Signing::with_program(command.0.clone(), certificate)?,
            (None, None) => return Ok(None),
        };
        // The clock decides nothing on the disk: firmware has no trustworthy one, and does not ask for the time.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
        let (begin, end) = signing.certificate().validity;
        if now > end || now < begin {
            let when = if now > end { "has expired" } else { "is not valid yet" };
            warn(&format!("certificate {when}, which firmware does not look at: {}", signing.certificate().subject));
        }
        Ok(Some(signing))
    }
}

/// The firmware of a signed disk: UEFI alone, unless BIOS was asked for by name.
pub fn firmware(asked: &[FirmwareChoice], warn: &mut dyn FnMut(&str)) -> Result<Firmware> {
    if asked.is_empty() {
        return Ok(Firmware { bios: false, uefi: true });
    }
    let has = |choice| asked.contains(&choice);
    let asked = Firmware { bios: has(FirmwareChoice::Bios), uefi: has(FirmwareChoice::Uefi) };
    if !asked.uefi {
        return Err(WithHint {
            message: "a BIOS verifies no signature, and the disk is to be signed".into(),
            hint: "omit --firmware, or omit --sign-key".into(),
        }
        .into());
    }
    if asked.bios {
        warn("the disk boots under BIOS too, which verifies nothing: signatures are for UEFI alone");
    }
    Ok(asked)
}

/// When systemd-boot gives the certificate to a firmware without keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EnrollChoice {
    /// Never
    Off,
    /// When somebody chooses it in the boot menu
    Manual,
    /// By itself in a virtual machine; needs systemd-boot 253
    IfSafe,
    /// By itself on any machine: one that then lacks keys of its own parts may not start again
    Force,
}

impl From<EnrollChoice> for Enroll {
    fn from(choice: EnrollChoice) -> Enroll {
        match choice {
            EnrollChoice::Off => Enroll::Off,
            EnrollChoice::Manual => Enroll::Manual,
            EnrollChoice::IfSafe => Enroll::IfSafe,
            EnrollChoice::Force => Enroll::Force,
        }
    }
}

/// Whether a machine asks for signatures, and whose.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Secure Boot")]
pub struct Asked {
    /// Start only what is signed: UEFI with the disk's certificate as its only key
    #[arg(long)]
    secure_boot: bool,
    /// Certificate that the firmware trusts, in PEM [default: the disk's own]
    #[arg(long, value_name = "FILE", requires = "secure_boot")]
    sign_cert: Option<PathBuf>,
}

impl Asked {
    /// The firmware of such a machine, which `firmware` asks for by name or not.
    ///
    /// # Errors
    /// Another firmware than UEFI was asked for.
    pub fn firmware(&self, firmware: Option<BootChoice>) -> Result<Option<BootChoice>> {
        match firmware {
            Some(BootChoice::Bios | BootChoice::Direct) if self.secure_boot => Err(WithHint {
                message: "only UEFI asks for signatures, and another firmware was chosen".into(),
                hint: "omit --firmware, or omit --secure-boot".into(),
            }
            .into()),
            _ if self.secure_boot => Ok(Some(BootChoice::Uefi)),
            firmware => Ok(firmware),
        }
    }

    /// The keys of its firmware, if it asks for signatures.
    pub fn keys(&self, disk: &Existing) -> Result<Option<Keys>> {
        self.secure_boot.then(|| keys(self.sign_cert.as_deref(), disk)).transpose()
    }
}

/// Keys for a firmware that trusts the certificate in a file, or else the disk's own.
pub fn keys(given: Option<&Path>, disk: &Existing) -> Result<Keys> {
    let (lists, time) = signing::list(&trusted(given, disk)?);
    Ok(Keys { lists, time })
}

/// The certificate that a machine's firmware is to trust: the one in a file, or else the disk's own.
pub fn trusted(given: Option<&Path>, disk: &Existing) -> Result<Certificate> {
    if let Some(path) = given {
        return Ok(signing::read_certificate(path)?);
    }
    let own = disk.certificate().context("cannot read the disk's certificate")?;
    own.ok_or_else(|| {
        WithHint {
            message: "Secure Boot starts signed disks alone, and this one is not signed".into(),
            hint: "build it with --sign-key FILE --sign-cert FILE".into(),
        }
        .into()
    })
}
