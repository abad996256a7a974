//! What a machine is told when it starts: `--settings`, `--credential` and `--cloud-init`.
//!
//! ```text
//!  document, credentials ─▶ fw_cfg: opt/io.systemd.credentials/NAME ─┬─▶ PID 1
//!  user-data, or a folder ─▶ NoCloud disk: FAT32 labelled CIDATA ────┴─▶ the image's own systemd and cloud-init
//! ```
//!
//! These are the ways by which any hypervisor tells it. Everything is read and looked at before there is a machine.
//!
//! Source: systemd, "System and Service Credentials"; cloud-init, "NoCloud".

use super::report::WithHint;
use crate::boot::esp::{self, Files, Volume};
use crate::escape::{escape, path as shown};
use crate::fit::{self, Facts, Unfit};
use crate::guest::overrides;
use crate::guest::settings::{self, CREDENTIAL, MAX_FW_CFG, Settings};
use crate::image::Digest;
use crate::once;
use crate::sharing::{Handed, holding, in_memory};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where systemd looks for credentials in the firmware configuration (systemd.exec(5), "System Credentials").
const FOLDER: &str = "opt/io.systemd.credentials/";
/// Bytes of an item's name (QEMU, docs/specs/fw_cfg.rst: 56, and the last is zero).
const NAME: usize = 55;
/// Most items: QEMU has places for 32, and about half of them are its own.
const MOST: usize = 10;
/// Most bytes of a file for cloud-init.
const LONGEST: u64 = 1 << 20;
/// The files of a NoCloud disk.
const CLOUD_FILES: [&str; 4] = ["user-data", "meta-data", "network-config", "vendor-data"];
/// The label that cloud-init looks for.
const LABEL: [u8; 11] = *b"CIDATA     ";

/// What is given.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub struct Given {
    /// Start with what this JSON document says: command, variables, files, network and more
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Give the machine a secret: the content of FILE, as NAME in the folder that $CREDENTIALS_DIRECTORY names
    #[arg(long, value_name = "NAME=FILE", value_parser = Credential::parse)]
    pub credential: Vec<Credential>,
    /// Attach a disk for the image's own cloud-init, with this user-data or with the files of a folder
    #[arg(long, value_name = "FILE|FOLDER")]
    pub cloud_init: Option<PathBuf>,
}

/// A credential as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    name: String,
    pub file: PathBuf,
}

impl Credential {
    fn parse(text: &str) -> Result<Credential, String> {
        let (name, file) = text.split_once('=').ok_or("not NAME=FILE")?;
        match () {
            () if !settings::credential_name(name) => {
                Err("no name of a credential: letters, digits and .-_ are safe".into())
            }
            () if name == CREDENTIAL => {
                Err(format!("{CREDENTIAL} is the settings document itself: give it by --settings"))
            }
            () if name.len() > NAME - FOLDER.len() => Err(format!(
                "a name has {} bytes at most; a longer one can stand among the credentials of a settings document",
                NAME - FOLDER.len()
            )),
            () if name.contains(',') => Err("QEMU takes no name with a comma".into()),
            () if file.is_empty() => Err("not NAME=FILE".into()),
            () => Ok(Credential { name: name.to_owned(), file: file.into() }),
        }
    }
}

/// What was read, ready for any number of machines.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The document, understood.
    pub settings: Option<Settings>,
    /// All of it, for the machine.
    pub handed: Handed,
}

impl Given {
    /// Reads and checks all of it.
    ///
    /// # Errors
    /// What cannot be read, and what a machine would refuse.
    pub fn read(&self) -> Result<Told> {
        let mut told = Told::default();
        if let Some(path) = &self.settings {
            let bytes = read(path, "a settings document", MAX_FW_CFG)?;
            let document = settings::read(&bytes).map_err(|fault| WithHint {
                message: format!("not a settings document: {}: {fault}", shown(path)),
                hint: "docs/settings.md has the keys, and docs/settings.schema.json their values".into(),
            })?;
            told.settings = Some(document);
            told.handed.fw_cfg.push((format!("{FOLDER}{CREDENTIAL}"), in_a_file(&bytes)?));
        }
        let mut names = BTreeSet::new();
        for one in &self.credential {
            if !names.insert(&one.name) {
                return Err(WithHint {
                    message: format!("credential is given twice: {}", one.name),
                    hint: "give each name once".into(),
                }
                .into());
            }
            let bytes = read(&one.file, "a credential", MAX_FW_CFG)?;
            told.handed.fw_cfg.push((format!("{FOLDER}{}", one.name), in_a_file(&bytes)?));
        }
        if told.handed.fw_cfg.len() > MOST {
            return Err(WithHint {
                message: format!("a machine takes {MOST} credentials, and these are {}", told.handed.fw_cfg.len()),
                hint: "put them into a settings document, which counts as one".into(),
            }
            .into());
        }
        told.handed.cloud = self.cloud_init.as_deref().map(cloud_disk).transpose()?;
        Ok(told)
    }

    /// Whether this disk hears of what it would be told.
    ///
    /// # Errors
    /// The option that it would not hear of.
    pub fn check(&self, facts: &Facts) -> Result<(), Unfit> {
        let asked = [
            ("--settings", self.settings.is_some()),
            ("--credential", !self.credential.is_empty()),
            ("--cloud-init", self.cloud_init.is_some()),
        ];
        let Some((option, _)) = asked.into_iter().find(|(_, given)| *given) else { return Ok(()) };
        fit::told(facts, option, option != "--cloud-init")
    }
}

impl Told {
    /// Has the disk say what it will say once it has been told.
    pub fn tell(&self, facts: &mut Facts) {
        if let (Some(settings), Some(spec)) = (&self.settings, &mut facts.spec) {
            overrides::apply(spec, settings.overrides());
        }
    }
}

/// Reads a file of at most so many bytes; `-` is standard input.
fn read(path: &Path, what: &'static str, most: u64) -> Result<Vec<u8>> {
    let file = once::open(path, what).with_context(|| format!("cannot read {what}: {}", shown(path)))?;
    read_open(&file, path, what, most)
}

fn read_open(file: &File, path: &Path, what: &str, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {what}: {}", shown(path)))?;
    match bytes.len() as u64 > most {
        true => Err(anyhow::anyhow!("{what} has more than {most} bytes: {}", shown(path))),
        false => Ok(bytes),
    }
}

fn in_a_file(bytes: &[u8]) -> Result<Arc<File>> {
    holding(bytes).context("cannot make a file in memory")
}

/// A NoCloud disk in memory.
fn cloud_disk(path: &Path) -> Result<Arc<File>> {
    const WHAT: &str = "a file for cloud-init";
    let mut texts: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    if path.is_dir() {
        for name in CLOUD_FILES {
            let file = path.join(name);
            match once::open(&file, WHAT) {
                Ok(open) => _ = texts.insert(name.into(), read_open(&open, &file, WHAT, LONGEST)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read {WHAT}: {}", shown(&file))),
            }
        }
        if texts.is_empty() {
            return Err(WithHint {
                message: format!("folder has nothing for cloud-init: {}", shown(path)),
                hint: format!("it has one or more of these files: {}", CLOUD_FILES.join(", ")),
            }
            .into());
        }
    } else {
        texts.insert("user-data".into(), read(path, WHAT, LONGEST)?);
    }
    // cloud-init takes a disk for one only with both of them.
    texts.entry("user-data".into()).or_insert_with(|| b"#cloud-config\n{}\n".to_vec());
    let instance = instance(&texts);
    texts.entry("meta-data".into()).or_insert_with(|| format!("instance-id: {instance}\n").into_bytes());
    let files: Files<'_> = texts.iter().map(|(name, text)| (name.clone(), &text[..])).collect();
    let disk = in_memory().context("cannot make a disk in memory")?;
    let size = esp::smallest_for(&files).context("too much for cloud-init")?;
    disk.set_len(size).context("cannot make a disk in memory")?;
    let volume = Volume { first_lba: 0, size, id: 0, label: LABEL, time: 0 };
    let volume = esp::encode(&files, &volume).map_err(|error| anyhow::anyhow!(escape(error.to_string().as_bytes())))?;
    volume.write(&disk).context("cannot write a disk in memory")?;
    Ok(Arc::new(disk))
}

/// Another content is another instance, for which cloud-init does everything again.
fn instance(texts: &BTreeMap<String, Vec<u8>>) -> String {
    let mut all = Vec::new();
    for (name, text) in texts {
        all.extend_from_slice(format!("{name}\0{}\0", text.len()).as_bytes());
        all.extend_from_slice(text);
    }
    format!("bootdisk-{}", &Digest::sha256(&all).hex()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::fat;
    use std::fs;

    #[test]
    fn a_credential_has_a_name_that_systemd_and_qemu_take_and_a_file() {
        let parsed = Credential::parse("db.password=/run/a=b").unwrap();
        assert_eq!((parsed.name.as_str(), parsed.file), ("db.password", PathBuf::from("/run/a=b")));
        assert!(Credential::parse(&format!("{}=f", "x".repeat(28))).is_ok());
        for (text, why) in [
            ("db.password", "not NAME=FILE"),
            ("a=", "not NAME=FILE"),
            ("=f", "no name of a credential"),
            ("..=f", "no name of a credential"),
            ("a/b=f", "no name of a credential"),
            ("a:b=f", "no name of a credential"),
            ("a,b=f", "no name with a comma"),
            ("bootdisk.settings=f", "give it by --settings"),
            (&format!("{}=f", "x".repeat(29)), "28 bytes at most"),
        ] {
            let refusal = Credential::parse(text).unwrap_err();
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
    }

    fn given(settings: Option<PathBuf>, credentials: &[(&str, &Path)]) -> Given {
        let credential =
            |(name, file): &(&str, &Path)| Credential { name: (*name).to_owned(), file: (*file).to_owned() };
        Given { settings, credential: credentials.iter().map(credential).collect(), cloud_init: None }
    }

    #[test]
    fn what_cannot_be_told_is_refused_before_there_is_a_machine() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, content: &[u8]| {
            fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name)
        };
        let (small, large) = (at("small", b"x"), at("large", &vec![b' '; MAX_FW_CFG as usize + 1]));
        let many: Vec<String> = (0..11).map(|number| format!("c{number}")).collect();
        let many: Vec<(&str, &Path)> = many.iter().map(|name| (name.as_str(), &*small)).collect();
        for (given, why) in [
            (given(Some(at("bad", b"{}")), &[]), "no version"),
            (given(Some(large.clone()), &[]), "has more than 131072 bytes"),
            (given(Some(folder.path().join("none")), &[]), "cannot read a settings document"),
            (given(None, &[("a", &large)]), "has more than 131072 bytes"),
            (given(None, &[("a", &small), ("a", &small)]), "credential is given twice: a"),
            (given(None, &many), "a machine takes 10 credentials, and these are 11"),
            (
                Given { cloud_init: Some(folder.path().join("none")), ..Given::default() },
                "cannot read a file for cloud-init",
            ),
            (
                Given { cloud_init: Some(tempfile::tempdir().unwrap().keep()), ..Given::default() },
                "nothing for cloud-init",
            ),
        ] {
            let refusal = given.read().map(drop).unwrap_err().to_string();
            assert!(refusal.contains(why), "{why}: {refusal}");
        }
        let told = given(Some(at("good", br#"{"version": 1}"#)), &[("a", &small)]).read().unwrap();
        let names: Vec<&str> = told.handed.fw_cfg.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["opt/io.systemd.credentials/bootdisk.settings", "opt/io.systemd.credentials/a"]);
    }

    /// Each file of the disk, as whoever mounts it sees them.
    fn on_disk(path: &Path) -> Vec<(&'static str, String)> {
        let disk = cloud_disk(path).unwrap();
        let length = disk.metadata().unwrap().len();
        let volume = fat::Volume::open(&*disk, 0, length).unwrap();
        assert_eq!(volume.label(), b"CIDATA");
        let text = |name| {
            let entry = volume.find_file(name).unwrap()?;
            Some((name, String::from_utf8(volume.read(&entry, LONGEST).unwrap()).unwrap()))
        };
        CLOUD_FILES.into_iter().filter_map(text).collect()
    }

    #[test]
    fn a_cloud_disk_has_what_was_given_and_an_instance_that_is_named_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("user-data");
        fs::write(&file, "#cloud-config\n").unwrap();
        let alone = on_disk(&file);
        assert_eq!(alone[0], ("user-data", "#cloud-config\n".into()));
        assert!(alone[1].0 == "meta-data" && alone[1].1.starts_with("instance-id: bootdisk-"), "{alone:?}");
        assert_eq!(on_disk(folder.path()), alone);
        fs::write(&file, "#cloud-config\n{}\n").unwrap();
        assert_ne!(on_disk(&file)[1], alone[1]);
        fs::write(folder.path().join("meta-data"), "instance-id: i\n").unwrap();
        fs::write(folder.path().join("network-config"), "version: 2\n").unwrap();
        fs::remove_file(&file).unwrap();
        let all = on_disk(folder.path());
        let rest = [("meta-data", "instance-id: i\n".to_owned()), ("network-config", "version: 2\n".to_owned())];
        assert_eq!((all[0].0, &all[1..]), ("user-data", &rest[..]));
    }
}
