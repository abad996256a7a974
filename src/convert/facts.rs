//! What is found out about a disk before anything is written: its boot specification, and the digest that is its identity.

use super::{Enroll, EspSize, Event, Observer, Options, Unified};
use crate::ext4::Free;
use crate::guest::spec::{self, BootSpec, Network, Root};
use crate::guest::surroundings::Surroundings;
use crate::identity::Ingredients;
use crate::image::Image;
use crate::kernel::Bundle;
use crate::kernel::modules::{ModuleTree, Selection};
use crate::pid1::Pid1;
use anyhow::{Context, Result, bail};

/// The time of what this program makes: the image's own, never later than the limit.
pub fn made_at(image: &Image, limit: Option<i64>) -> i64 {
    let created = image.created.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let created = created.map_or(0, |time| time.as_second().max(0));
    limit.map_or(created, |limit| created.min(limit))
}

/// A time in seconds since 1970, in RFC 3339.
pub(super) fn rfc3339(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.to_string())
}

/// The boot specification of an image, but for the root's partition GUID, which depends on it.
pub(super) fn boot_spec(image: &Image, modules: &Selection, options: &Options) -> Result<BootSpec> {
    let config = &image.config;
    let mut spec = BootSpec {
        version: spec::VERSION,
        root: Root { partuuid: String::new(), fstype: "ext4".into(), read_only: false, ephemeral: false, verity: None },
        init: options.init,
        process: config.process(),
        hostname: None,
        network: Network::default(),
        wait_online: None,
        volumes: config.volumes.clone(),
        healthcheck: config.health(),
        exposed_ports: config.exposed_ports.clone(),
        drivers: None,
        boots_on: None,
        guest_modules: None,
        machine_id: None,
        console_login: options.console_login,
        surroundings: Some(Surroundings::default()),
        mounts: Some(Vec::new()),
        settings: None,
        cards: Some(Vec::new()),
        restart: Default::default(),
        modules: modules.specs(),
    };
    crate::guest::overrides::apply(&mut spec, options.overrides.clone());
    let strings = [&spec.process.entrypoint, &spec.process.cmd, &spec.process.env];
    let paths = spec.volumes.iter().chain([&spec.process.working_dir]);
    if let Some(bad) = strings.into_iter().flatten().chain(paths).find(|text| text.contains('\0')) {
        bail!("argument, environment variable or path with a NUL byte: {}", crate::escape::escape(bad.as_bytes()));
    }
    Ok(spec)
}

/// All modules of the kernel, where the userland is to have them and there are any.
pub(super) fn all_modules<'a>(bundle: &'a Bundle, options: &Options, observe: Observer<'_>) -> Option<&'a ModuleTree> {
    let wanted = bundle.modules.as_ref().filter(|_| options.guest_modules);
    let found = wanted.filter(|tree| !tree.is_empty());
    if options.guest_modules && found.is_none() {
        let text = format!("kernel {} has no modules for the userland", bundle.release);
        observe(Event::Warning(&text));
    }
    found
}

/// What was found out about a disk before its identity.
pub(super) struct Facts<'a> {
    pub(super) modules: &'a Selection,
    pub(super) guest_modules: Option<[u8; 32]>,
    pub(super) pid1: Pid1,
    pub(super) efi_loader: Option<&'a [u8]>,
    pub(super) unified: Option<&'a Unified>,
    pub(super) command_line: &'a str,
    pub(super) spec: &'a BootSpec,
}

/// A word where the boot files decide.
fn esp_size(size: EspSize) -> Vec<u8> {
    match size {
        EspSize::Bytes(bytes) => bytes.to_le_bytes().to_vec(),
        EspSize::Auto => b"auto".to_vec(),
        EspSize::Least => b"least".to_vec(),
    }
}

/// Digest of everything that goes onto the disk.
pub(super) fn ingredients(image: &Image, bundle: &Bundle, options: &Options, facts: &Facts<'_>) -> Result<[u8; 32]> {
    let mut all = Ingredients::default();
    all.add("bootdisk", env!("CARGO_PKG_VERSION").as_bytes())
        .add("layers", image.chain_id().to_string().as_bytes())
        .add("created", image.created.as_deref().unwrap_or_default().as_bytes())
        .add("spec", &serde_json::to_vec(facts.spec).context("cannot encode the boot specification")?)
        .add("kernel", bundle.boot.sha256().as_bytes())
        .add("release", bundle.release.as_bytes())
        .add("PID 1", facts.pid1.sha256)
        .add("EFI loader", facts.efi_loader.unwrap_or_default())
        .add("command line", facts.command_line.as_bytes())
        .add("firmware", &[options.firmware.bios.into(), options.firmware.uefi.into()])
        .add("size", &options.size.unwrap_or(0).to_le_bytes())
        .add("ESP size", &esp_size(options.esp_size))
        // A limit that is later than the image changes nothing on the disk, and so not its identity either.
        .add("time", &made_at(image, options.source_date_epoch).to_le_bytes());
    for module in &facts.modules.modules {
        all.add(&module.spec.name, module.sha256.as_bytes());
    }
    match options.free {
        Free::Usual => {}
        Free::Bytes(bytes) => _ = all.add("free", &bytes.to_le_bytes()),
        Free::Least => _ = all.add("free", b"least"),
    }
    if let Some(identity) = &options.identity {
        all.add("identity", identity.as_bytes());
    }
    if let Some(signing) = &options.signing {
        all.add("certificate", &signing.certificate().der);
        all.add("enroll", options.enroll.map_or("", Enroll::name).as_bytes());
    }
    if let Some(unified) = facts.unified {
        all.add("EFI stub", &unified.stub);
    }
    if let Some(digest) = &facts.guest_modules {
        all.add("guest modules", digest);
    }
    Ok(all.digest())
}
