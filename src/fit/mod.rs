//! Whether a machine can start a disk, found out before there is a machine.
//!
//! ```text
//!  Existing ─▶ Facts ─┐
//!  MachineOptions ────┼─▶ check ─▶ Unfit: `run` ends, `test` does not make the test
//!  Overrides ─────────┘
//! ```
//!
//! Everything that is known then is looked at in this one place: boot stage and loader, memory, the kernel's drivers,
//! and whether there is something to start and somebody to start it as ([`crate::startable`]). Ports are the host's
//! business, and `qemu` looks at them. Only what cannot turn out well is refused.

mod facts;
mod memory;

pub use facts::Facts;

use crate::formats::ReadAt;
use crate::guest::channel::Overrides;
use crate::guest::mounts::DRIVER;
use crate::guest::network::Network;
use crate::guest::overrides;
use crate::guest::restart::Restart;
use crate::guest::settings::at_start::FW_CFG;
use crate::guest::spec::Init;
use crate::qemu::{Access, Boot, Bus, MachineOptions, Nic};
use crate::startable::{self, Doubt};
use thiserror::Error;

/// Why a machine cannot start a disk.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// Built without BIOS.
    #[error("the disk has no boot stage for BIOS")]
    NoStage,
    /// Built without UEFI.
    #[error("the disk has no boot loader for UEFI")]
    NoLoader,
    /// No kernel and initramfs where its entry says.
    #[error("the disk has no kernel that could be booted directly")]
    NoKernel,
    /// Nothing would be found on such a bus, or over such a card.
    #[error("no driver: the disk's kernel does not drive {device}")]
    NoDriver {
        /// As the preflight names it.
        device: &'static str,
        /// It is the network card.
        card: bool,
    },
    /// Addresses are given, and nothing to have them.
    #[error("addresses are given, and the machine has no network card")]
    NoCard,
    /// It would hang, or crash in the firmware.
    #[error("too little memory: {given} MiB, and this disk's kernel and initramfs need at least {least} MiB to start{}",
        if *.uefi { " under UEFI" } else { "" })]
    Memory {
        /// MiB.
        given: u64,
        /// MiB.
        least: u64,
        /// The firmware's part is in it.
        uefi: bool,
    },
    /// Asked for what this disk's PID 1 has never heard of.
    #[error("the disk was made by an older bootdisk, which had no {0}")]
    Older(&'static str),
    /// Built not to listen.
    #[error("the disk was built with --no-settings, and reads no {0}")]
    NoSettings(&'static str),
    /// Nothing would bring them.
    #[error("the disk's kernel does not read QEMU's firmware configuration (CONFIG_FW_CFG_SYSFS), by which {0} comes")]
    NoFwCfg(&'static str),
    /// A policy for a workload, where there is none.
    #[error("the image's own init runs the machine, and restart policies are for a command: {0}")]
    OwnInit(Restart),
    /// A change of what is verified.
    #[error("the disk's root is verified (dm-verity): {0} would change it, and it would not start again")]
    Verified(&'static str),
    /// The workload.
    #[error(transparent)]
    Workload(#[from] Doubt),
}

impl Unfit {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Unfit::NoStage => "start it with --firmware uefi, or build it with --firmware bios,uefi".into(),
            Unfit::NoLoader => "start it with --firmware bios, or build it with --firmware bios,uefi".into(),
            Unfit::NoKernel => "omit --firmware, or build the disk again".into(),
            Unfit::NoCard => "omit --nic none or --net static:, or give --net none".into(),
            Unfit::NoDriver { card: true, .. } => "omit --nic, or build with a kernel that has the driver".into(),
            Unfit::NoDriver { .. } => "omit --bus, or build with a kernel that has the driver".into(),
            Unfit::Memory { least, .. } => format!("give it more: -m {}m", (least * 3 / 2).next_multiple_of(64)),
            Unfit::Older(option) => format!("build it again, or omit {option}"),
            Unfit::NoSettings(option) => format!("build it without --no-settings, or omit {option}"),
            Unfit::NoFwCfg(option) => format!("build with a kernel that has the driver, or omit {option}"),
            Unfit::Verified(option) => {
                format!("omit {option}; what is to stay goes to a volume (-v NAME:PATH), or into another build")
            }
            Unfit::OwnInit(_) => "omit --restart, or start the image's command instead: --init container".into(),
            Unfit::Workload(doubt) => return doubt.hint(),
        })
    }

    /// The exit status of `run`.
    pub fn status(&self) -> u8 {
        match self {
            Unfit::Workload(doubt) => doubt.status().unwrap_or(125),
            _ => 125,
        }
    }
}

/// Checks the machine against the disk.
///
/// # Errors
/// The first thing that cannot turn out well.
pub fn machine(disk: &Facts, machine: &MachineOptions, changes: &Overrides) -> Result<(), Unfit> {
    match machine.boot {
        Boot::Bios if !disk.bios => return Err(Unfit::NoStage),
        Boot::Uefi if disk.uefi == Some(false) => return Err(Unfit::NoLoader),
        _ => {}
    }
    if disk.spec.as_ref().is_some_and(|spec| spec.root.verity.is_some()) {
        match machine {
            MachineOptions { access: Access::Write, .. } => return Err(Unfit::Verified("--write")),
            MachineOptions { size: Some(_), .. } => return Err(Unfit::Verified("--size")),
            _ => {}
        }
    }
    let bus = bus_name(machine.bus);
    if disk.lacks(bus) {
        return Err(Unfit::NoDriver { device: bus, card: false });
    }
    if let Some(card) = machine.network.map(card_name).filter(|card| disk.lacks(card)) {
        return Err(Unfit::NoDriver { device: card, card: true });
    }
    let network = changes.network.as_ref().or(disk.spec.as_ref().map(|spec| &spec.network));
    if machine.network.is_none() && matches!(network, Some(Network::Static(_))) {
        return Err(Unfit::NoCard);
    }
    let knows_mounts = disk.spec.as_ref().is_none_or(|spec| spec.mounts.is_some());
    if !changes.mounts.is_empty() && !knows_mounts {
        return Err(Unfit::Older("--volume"));
    }
    let knows_cards = disk.spec.as_ref().is_none_or(|spec| spec.cards.is_some());
    if !changes.cards.is_empty() && !knows_cards {
        return Err(Unfit::Older("[[test.machine]]"));
    }
    let private = card_name(Nic::Virtio);
    if !changes.cards.is_empty() && disk.lacks(private) {
        return Err(Unfit::NoDriver { device: private, card: true });
    }
    let least = disk.needs.map_or(0, |needs| memory::least(needs, disk.unified, &machine.boot));
    let given = u64::from(machine.memory);
    match given < least {
        true => Err(Unfit::Memory { given, least, uefi: machine.boot == Boot::Uefi }),
        false => Ok(()),
    }
}

/// Checks what the disk is to start, with this boot's changes, against the disk's root file system.
///
/// # Errors
/// What keeps it from starting, whatever the machine has.
pub fn workload(disk: &Facts, root: &dyn ReadAt, changes: &Overrides) -> Result<(), Unfit> {
    let Some(mut spec) = disk.spec.clone() else { return Ok(()) };
    if let Some(option) = changes.unknown_to_older_disks().filter(|_| spec.surroundings.is_none()) {
        return Err(Unfit::Older(option));
    }
    overrides::apply(&mut spec, changes.clone());
    let init = spec.init.settle(&spec.process);
    if let (Init::Image, Some(policy)) = (init, changes.restart.filter(|policy| !policy.is_no())) {
        return Err(Unfit::OwnInit(policy));
    }
    let words = startable::in_words(&spec.process, init).into_iter();
    let names = disk.root.map_or(vec![], |offset| startable::on_disk(root, offset, &spec.process, init));
    let certain = words.chain(names).find(|doubt| doubt.status().is_some());
    certain.map_or(Ok(()), |doubt| Err(doubt.into()))
}

/// Whether a disk hears of what an option tells it at its start.
///
/// # Errors
/// Why it does not.
pub fn told(disk: &Facts, option: &'static str, by_fw_cfg: bool) -> Result<(), Unfit> {
    let Some(spec) = &disk.spec else { return Ok(()) };
    match &spec.settings {
        None => Err(Unfit::Older(option)),
        Some(settings) if !settings.read => Err(Unfit::NoSettings(option)),
        Some(settings) if by_fw_cfg && !settings.reads(FW_CFG) => Err(Unfit::NoFwCfg(option)),
        Some(_) => Ok(()),
    }
}

/// Whether a disk's kernel mounts folders of the host. What is not known is tried.
pub fn mounts_folders(disk: &Facts) -> bool {
    !disk.lacks(DRIVER)
}

/// Under the preflight's name for it.
fn bus_name(bus: Bus) -> &'static str {
    match bus {
        Bus::Virtio => "virtio-blk",
        Bus::Nvme => "nvme",
        Bus::Ahci => "ahci",
        Bus::Scsi => "virtio-scsi",
        Bus::Ide => "ide",
        Bus::Usb => "usb-storage",
    }
}

/// As above.
pub fn card_name(nic: Nic) -> &'static str {
    match nic {
        Nic::Virtio => "virtio-net",
        Nic::E1000 => "e1000",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Architecture;
    use crate::guest::mounts::Mount;
    use crate::guest::network::Card;
    use crate::guest::spec::{BootSpec, Process, Root, VERSION};

    const MIB: u64 = 1 << 20;

    fn spec(drivers: Option<&[&str]>) -> BootSpec {
        BootSpec {
            version: VERSION,
            root: Root {
                partuuid: String::new(),
                fstype: "ext4".into(),
                read_only: false,
                ephemeral: false,
                verity: None,
            },
            init: Init::Auto,
            process: Process { cmd: vec!["sh".into()], ..Process::default() },
            hostname: None,
            machine_id: None,
            console_login: false,
            surroundings: None,
            mounts: Some(Vec::new()),
            settings: None,
            cards: Some(Vec::new()),
            network: Network::Dhcp,
            wait_online: None,
            volumes: vec![],
            healthcheck: None,
            exposed_ports: vec![],
            drivers: drivers.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            boots_on: None,
            guest_modules: None,
            restart: Default::default(),
            modules: vec![],
        }
    }

    fn facts() -> Facts {
        let drivers = ["virtio-blk", "nvme", "virtio-net"];
        Facts {
            bios: true,
            uefi: Some(true),
            direct: true,
            needs: Some(72 * MIB),
            unified: 0,
            spec: Some(spec(Some(&drivers))),
            root: None,
        }
    }

    fn machine(change: impl FnOnce(&mut MachineOptions)) -> MachineOptions {
        let mut machine = MachineOptions::new(Architecture::X86_64, "/disk".into());
        change(&mut machine);
        machine
    }

    #[test]
    fn what_cannot_start_is_refused_and_what_is_not_known_is_tried() {
        let uefi = |machine: &mut MachineOptions| machine.boot = Boot::Uefi;
        let no_stage = Facts { bios: false, ..facts() };
        let no_loader = Facts { uefi: Some(false), ..facts() };
        let unknown = Facts { bios: true, ..Facts::default() };
        type Change = fn(&mut MachineOptions);
        let rows: [(&Facts, Change, Option<&str>); 14] = [
            (&facts(), |_| {}, None),
            (&facts(), uefi, None),
            (&no_stage, |_| {}, Some("the disk has no boot stage for BIOS")),
            (&no_stage, uefi, None),
            (&no_loader, |_| {}, None),
            (&no_loader, uefi, Some("the disk has no boot loader for UEFI")),
            (&facts(), |machine| machine.bus = Bus::Nvme, None),
            (&facts(), |machine| machine.bus = Bus::Ahci, Some("no driver: the disk's kernel does not drive ahci")),
            (&facts(), |machine| machine.network = Some(Nic::E1000), Some("does not drive e1000")),
            (&facts(), |machine| machine.network = None, None),
            (&facts(), |machine| machine.memory = 73, None),
            (&facts(), |machine| machine.memory = 72, Some("too little memory: 72 MiB, and this disk's kernel")),
            (
                &facts(),
                |machine| (machine.boot, machine.memory) = (Boot::Uefi, 128),
                Some("need at least 136 MiB to start under UEFI"),
            ),
            (&unknown, |machine| (machine.boot, machine.memory, machine.bus) = (Boot::Uefi, 32, Bus::Ide), None),
        ];
        for (number, (facts, change, says)) in rows.into_iter().enumerate() {
            let result = super::machine(facts, &machine(change), &Overrides::default());
            let said = result.as_ref().err().map(Unfit::to_string);
            match says {
                None => assert_eq!(said, None, "row {number}"),
                Some(says) => assert!(said.as_ref().is_some_and(|said| said.contains(says)), "row {number}: {said:?}"),
            }
            if let Err(unfit) = result {
                assert!(unfit.hint().is_some() && unfit.status() == 125, "row {number}");
            }
        }
        let memory =
            super::machine(&facts(), &machine(|machine| machine.memory = 64), &Overrides::default()).unwrap_err();
        assert_eq!(memory.hint().unwrap(), "give it more: -m 128m");
    }

    #[test]
    fn a_verified_root_is_not_written_to_and_does_not_grow() {
        let mut spec = spec(None);
        spec.root.verity = Some(Default::default());
        let verified = Facts { spec: Some(spec), ..facts() };
        type Change = fn(&mut MachineOptions);
        let rows: [(Change, Option<&str>); 3] = [
            (|_| {}, None),
            (|machine| machine.access = Access::Write, Some("--write")),
            (|machine| machine.size = Some(1 << 40), Some("--size")),
        ];
        for (change, refused) in rows {
            let result = super::machine(&verified, &machine(change), &Overrides::default());
            assert_eq!(result.err(), refused.map(Unfit::Verified));
            assert_eq!(super::machine(&facts(), &machine(change), &Overrides::default()), Ok(()));
        }
    }

    #[test]
    fn mounts_want_a_disk_whose_pid_1_knows_them() {
        let mount: Mount = serde_json::from_str(r#"{"name": "bootdisk-0", "by": "share", "at": "/srv"}"#).unwrap();
        let (some, none) = (Overrides { mounts: vec![mount], ..Overrides::default() }, Overrides::default());
        let older = Facts { spec: Some(BootSpec { mounts: None, ..spec(None) }), ..facts() };
        for (disk, changes, refused) in
            [(&facts(), &some, false), (&older, &some, true), (&older, &none, false), (&Facts::default(), &some, false)]
        {
            let disk = Facts { bios: true, ..disk.clone() };
            let result = super::machine(&disk, &machine(|_| {}), changes);
            assert_eq!(result == Err(Unfit::Older("--volume")), refused, "{result:?}");
        }
        assert!(!mounts_folders(&facts()) && mounts_folders(&older));
    }

    #[test]
    fn cards_want_a_disk_whose_pid_1_knows_them_and_a_kernel_that_drives_them() {
        let card = Card { mac: [2; 6], address: "10.113.0.1".parse().unwrap(), prefix: 24 };
        let (some, none) = (Overrides { cards: vec![card], ..Overrides::default() }, Overrides::default());
        let older = Facts { spec: Some(BootSpec { cards: None, ..spec(None) }), ..facts() };
        let driverless = Facts { spec: Some(spec(Some(&["virtio-blk", "e1000"]))), ..facts() };
        let by_e1000 = machine(|machine| machine.network = Some(Nic::E1000));
        for (disk, changes, says) in [
            (&facts(), &some, None),
            (&older, &some, Some("the disk was made by an older bootdisk, which had no [[test.machine]]")),
            (&older, &none, None),
            (&driverless, &some, Some("no driver: the disk's kernel does not drive virtio-net")),
            (&driverless, &none, None),
        ] {
            let machine = if disk.lacks("virtio-net") { &by_e1000 } else { &machine(|_| {}) };
            let said = super::machine(disk, machine, changes).err().map(|unfit| unfit.to_string());
            assert_eq!(said.as_deref(), says);
        }
    }

    #[test]
    fn addresses_want_a_card() {
        let fixed: Network = "static:10.0.2.50/24".parse().unwrap();
        let built = Facts { spec: Some(BootSpec { network: fixed.clone(), ..spec(None) }), ..facts() };
        let changed = |network: &Network| Overrides { network: Some(network.clone()), ..Overrides::default() };
        let without = machine(|machine| machine.network = None);
        for (disk, machine, changes, refused) in [
            (&built, &without, Overrides::default(), true),
            (&facts(), &without, changed(&fixed), true),
            (&built, &without, changed(&Network::None), false),
            (&facts(), &without, Overrides::default(), false),
            (&built, &machine(|_| {}), Overrides::default(), false),
        ] {
            let result = super::machine(disk, machine, &changes);
            assert_eq!(result == Err(Unfit::NoCard), refused, "{result:?}");
        }
    }

    #[test]
    fn a_workload_is_checked_as_this_boot_changes_it() {
        let long = "x".repeat(200_000);
        let cmd = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        for (changes, status) in [
            (Overrides::default(), None),
            (Overrides { entrypoint: Some(vec![]), ..Overrides::default() }, Some(125)),
            (Overrides { cmd: cmd(&["sh", &long]), ..Overrides::default() }, Some(126)),
            // PID 1 says so and goes on.
            (Overrides { stop_signal: Some("SIGFOO".into()), ..Overrides::default() }, None),
            (Overrides { restart: Some(Restart::Always), ..Overrides::default() }, None),
            (
                Overrides { restart: Some(Restart::Always), cmd: cmd(&["/sbin/init"]), ..Overrides::default() },
                Some(125),
            ),
            (Overrides { restart: Some(Restart::No), cmd: cmd(&["/sbin/init"]), ..Overrides::default() }, None),
        ] {
            let result = workload(&facts(), &Vec::new(), &changes);
            assert_eq!(result.as_ref().err().map(Unfit::status), status, "{result:?}");
            assert!(result.is_ok() || result.unwrap_err().hint().is_some());
        }
        assert_eq!(workload(&Facts::default(), &Vec::new(), &Overrides::default()), Ok(()));
    }
}
