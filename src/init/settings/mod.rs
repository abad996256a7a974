//! Settings at start: what the machine gets beside its disk, and what wins.
//!
//! ```text
//!  the disk  <  a cloud's disk  <  our document, by fw_cfg or SMBIOS  <  the host's welcome
//!                                  (of both, fw_cfg; as systemd has it)
//! ```
//!
//! Our document and all credentials are there before anything else is: they cost no time. A cloud's disk is looked for
//! among the devices that are there when the root is, and nothing waits for one.

mod cloud;
mod cloud_network;
mod credentials;
mod fw_cfg;
mod meta;
mod place;
mod smbios;
mod yaml;

pub use cloud::Disk;
pub use place::{CREDENTIALS, Placed};

use super::failure::Failure;
use super::log;
use super::modules::Loader;
use crate::guest::channel::Overrides;
use crate::guest::settings::at_start::AtStart;
use crate::guest::settings::{CREDENTIAL, Settings, ssh_key};
use crate::guest::spec::{BootSpec, Init};
use credentials::Credentials;
use place::Keys;
use std::path::Path;

/// The credential with which systemd gives root SSH keys.
const ROOTS_KEYS: &str = "ssh.authorized_keys.root";
/// Where an image that can read a cloud's disk itself has the program for it.
const CLOUD_INIT: [&str; 2] = ["usr/bin/cloud-init", "usr/local/bin/cloud-init"];

/// Everything that the machine has got, and what of it has been applied.
#[derive(Default)]
pub struct Received {
    /// Whether settings are looked for at all.
    wanted: bool,
    document: Settings,
    credentials: Credentials,
    keys: Vec<Keys>,
    /// Set by something that a cloud's disk is below.
    hostname_is_set: bool,
    network_is_set: bool,
}

/// Reads fw_cfg and SMBIOS.
pub fn receive(wanted: Option<&AtStart>) -> Received {
    let mut received = Received::default();
    if !wanted.is_some_and(|wanted| wanted.read) {
        return received;
    }
    received.wanted = true;
    fw_cfg::read(Path::new(fw_cfg::FOLDER), &mut received.credentials);
    smbios::read(&mut received.credentials);
    for line in &received.credentials.refused {
        log::warning(format!("ignored: {line}"));
    }
    if let Some((document, source)) = received.credentials.take(CREDENTIAL) {
        match crate::guest::settings::read(&document.0) {
            Ok(settings) => {
                log::info(format!("settings from {source}: {}", settings.summary()));
                received.document = settings;
            }
            Err(why) => log::warning(format!("settings from {source} are ignored: {why}")),
        }
    }
    received
}

impl Received {
    /// Puts the document on top of the specification. The host's changes come on top of that.
    pub fn apply(&mut self, spec: &mut BootSpec, host: Option<&Overrides>) {
        let overrides = self.document.overrides();
        let is_set = |set: &dyn Fn(&Overrides) -> bool| set(&overrides) || host.is_some_and(set);
        self.hostname_is_set = is_set(&|one| one.hostname.is_some());
        self.network_is_set = is_set(&|one| one.network.is_some());
        crate::guest::overrides::apply(spec, overrides);
    }

    /// A cloud's disk, if there is one now.
    pub fn cloud_disk(&self) -> Option<Disk> {
        if self.wanted { cloud::find() } else { None }
    }

    /// Puts a cloud's disk below the document: what nothing else sets. `root` is where the image is mounted.
    pub fn apply_cloud(&mut self, disk: &Disk, spec: &mut BootSpec, init: Init, root: &Path, modules: &mut Loader) {
        let shown = disk.node.display();
        cloud::load_drivers(disk, modules);
        let has_cloud_init = CLOUD_INIT.iter().any(|path| root.join(path).symlink_metadata().is_ok());
        if init == Init::Image && has_cloud_init {
            return log::info(format!("the cloud disk {shown} is for the image's own cloud-init"));
        }
        let contents = match cloud::read(disk) {
            Ok(contents) => contents,
            Err(why) => return log::warning(format!("settings from the cloud disk {shown} are ignored: {why}")),
        };
        let instance = contents.meta.instance.map(|id| format!(", instance {id}")).unwrap_or_default();
        let mut settings =
            Settings { hostname: contents.meta.hostname, network: contents.network, ..Settings::default() };
        if !contents.meta.keys.is_empty() {
            settings.ssh_keys = vec![("root".to_owned(), contents.meta.keys)];
        }
        log::info(format!("settings from the cloud disk {shown}{instance}: {}", settings.summary()));
        contents.meta.doubts.iter().for_each(|doubt| log::warning(format!("cloud disk {shown}: {doubt}")));
        if contents.user_data {
            log::info("user-data is for cloud-init, and this image has none that is started");
        }
        if !self.hostname_is_set && settings.hostname.is_some() {
            spec.hostname = settings.hostname;
        }
        if let Some(network) = settings.network.filter(|_| !self.network_is_set) {
            spec.network = network;
        }
        self.keys.extend(settings.ssh_keys.into_iter().map(|(user, lines)| Keys { user, lines, demanded: false }));
    }

    /// Puts files, keys and credentials into memory, and tells the workload where its credentials are. An image's own init
    /// reads SMBIOS and fw_cfg by itself. Only if the document has credentials is it given all of them: once it is told of
    /// a folder, systemd looks nowhere else (src/core/import-creds.c).
    pub fn place(mut self, spec: &mut BootSpec, init: Init) -> Result<Placed, Failure> {
        let of_document = std::mem::take(&mut self.document.credentials);
        let mut all = Credentials::default();
        let is_own = init == Init::Image;
        if !is_own || !of_document.is_empty() {
            of_document.into_iter().for_each(|one| all.add(&one.name, one.content, "the document"));
            self.credentials.hand_to(&mut all);
            all.refused.iter().for_each(|line| log::warning(format!("ignored: {line}")));
        }
        if !is_own {
            self.keys.extend(all.get(ROOTS_KEYS).and_then(|content| keys_of_root(&content.0)));
        }
        let demanded = |(user, lines)| Keys { user, lines, demanded: true };
        let keys = merged(self.document.ssh_keys.into_iter().map(demanded).chain(self.keys));
        let user = if is_own { "0:0" } else { spec.process.user.as_str() };
        let placed = place::place(&self.document.files, &keys, all.all(), user)?;
        if !all.all().is_empty() {
            spec.process.env.push(format!("CREDENTIALS_DIRECTORY={CREDENTIALS}"));
        }
        Ok(placed)
    }
}

/// The lines of a credential.
fn keys_of_root(content: &[u8]) -> Option<Keys> {
    let text = String::from_utf8_lossy(content);
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#') && ssh_key(line));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    (!lines.is_empty()).then(|| Keys { user: "root".to_owned(), lines, demanded: false })
}

/// One entry for each user, as each is one file.
fn merged(all: impl Iterator<Item = Keys>) -> Vec<Keys> {
    let mut merged: Vec<Keys> = Vec::new();
    for keys in all {
        match merged.iter_mut().find(|other| other.user == keys.user) {
            Some(other) => {
                other.demanded |= keys.demanded;
                other.lines.extend(keys.lines);
            }
            None => merged.push(keys),
        }
    }
    merged
}

/// Everything that a stranger may have written and that is read here, for tests that try anything.
pub fn try_anything(bytes: &[u8]) {
    let mut found = Credentials::default();
    smbios::strings(bytes).for_each(|string| smbios::add(string, &mut found));
    if let Ok(document) = yaml::read(bytes) {
        _ = meta::of(&document);
        _ = cloud_network::of(&document, "52:54:00:12:34:56");
    }
    if let Ok(settings) = crate::guest::settings::read(bytes) {
        _ = (settings.summary(), settings.overrides());
    }
}
