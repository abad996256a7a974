//! From what is asked for to the tests that are made: spec files, the matrix, disks, and what is skipped.

use super::Host;
use super::again;
use super::keys::Given;
use super::settings::SnapshotAt;
use super::several;
use super::spec::SpecTest;
use crate::arch::Architecture;
use crate::boot::existing::Existing;
use crate::cli::handed::Told;
use crate::cli::machine::{AccelOption, BootChoice, reach};
use crate::cli::mounts;
use crate::cli::options::Global;
use crate::cli::target::{DirectBoot, Target};
use crate::fit::{self, Facts, Unfit};
use crate::guest::channel::Overrides;
use crate::guest::spec::BootSpec;
use crate::qemu::{AccelChoice, Boot, Bus, Display, MachineOptions, Nic, accel, binary};
use crate::sharing::Wanted;
use crate::smoke::{
    Axis, Combination, Expectation, Matrix, Report, Start, Test, Verdict, caught, name_logs, share_snapshots,
};
use crate::source::Reference;
use anyhow::Result;
use clap::ValueEnum;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Tests in their order, with the disks they boot.
#[derive(Default)]
pub struct Planned {
    slots: Vec<Slot>,
    /// They go when the tests are over.
    _disks: Vec<(Target, Option<DirectBoot>)>,
}

enum Slot {
    Boot(Box<Test>),
    Unmade(Box<Report>),
}

impl Slot {
    fn booted(&mut self) -> Option<&mut Test> {
        match self {
            Slot::Boot(test) => Some(test),
            Slot::Unmade(_) => None,
        }
    }
}

impl Planned {
    /// The tests to boot, and by place the reports of those that are not.
    pub fn split(&self) -> (Vec<Test>, Vec<(usize, Report)>) {
        let (mut tests, mut unmade) = (Vec::new(), Vec::new());
        for (place, slot) in self.slots.iter().enumerate() {
            match slot {
                Slot::Boot(test) => tests.push((**test).clone()),
                Slot::Unmade(report) => unmade.push((place, (**report).clone())),
            }
        }
        (tests, unmade)
    }

    /// All reports in the order of what was asked for.
    pub fn in_order(&self, made: Vec<Report>, unmade: Vec<(usize, Report)>) -> Vec<Report> {
        let (mut made, mut unmade) = (made.into_iter(), unmade.into_iter());
        let next = |slot: &Slot| match slot {
            Slot::Boot(_) => made.next(),
            Slot::Unmade(_) => unmade.next().map(|(_, report)| report),
        };
        self.slots.iter().filter_map(next).collect()
    }
}

/// What is wished of all tests.
pub struct Wishes<'a> {
    /// What this host contributes.
    pub host: &'a Host,
    /// What the command line says of all tests.
    pub said: &'a [Given],
    /// Where logs go.
    pub log_dir: Option<&'a Path>,
    /// How often each is made.
    pub repeat: u16,
}

/// Builds what has to be built, and decides what is booted how. What fails for one test is that test's verdict.
pub fn plan(global: &Global, tests: &[SpecTest], wishes: &Wishes<'_>) -> Result<Planned> {
    let mut planned = Planned::default();
    for test in tests {
        let first = planned.slots.len();
        planned.add(global, test, wishes)?;
        none_is_no_success(&mut planned.slots[first..]);
    }
    name_logs(planned.slots.iter_mut().filter_map(Slot::booted));
    share_snapshots(planned.slots.iter_mut().filter_map(Slot::booted));
    Ok(planned)
}

/// A test of which every combination was skipped was asked for and could not be run.
fn none_is_no_success(slots: &mut [Slot]) {
    let skipped = |slot: &Slot| matches!(slot, Slot::Unmade(report) if matches!(report.verdict, Verdict::Skipped(_)));
    if !slots.iter().all(skipped) {
        return;
    }
    for slot in slots {
        if let Slot::Unmade(report) = slot
            && let Verdict::Skipped(why) = &report.verdict
        {
            report.verdict = Verdict::Error(format!("{why}; no combination of the matrix can be made"));
        }
    }
}

impl Planned {
    fn add(&mut self, global: &Global, test: &SpecTest, wishes: &Wishes<'_>) -> Result<()> {
        let matrix = test.settings.matrix()?;
        let told = test.settings.handed.read()?;
        let whole = Asked { test, told, wishes, overrides: test.settings.process.overrides()? };
        let machine = |number: usize| {
            let overrides = several::overrides(&test.machines, number)?;
            let test = &test.machines[number].test;
            Ok(Asked { test, told: test.settings.handed.read()?, wishes, overrides })
        };
        let machines = (0..test.machines.len()).map(machine).collect::<Result<Vec<_>>>()?;
        let asked: Vec<&Asked<'_>> = if machines.is_empty() { vec![&whole] } else { machines.iter().collect() };
        let kernels: Vec<Option<&String>> = match matrix.values(Axis::Kernel) {
            [] => vec![None],
            kernels => kernels.iter().map(Some).collect(),
        };
        for kernel in kernels {
            let combinations = matrix.combinations().into_iter();
            let combinations = combinations.filter(|one| one.get(Axis::Kernel) == kernel.map(String::as_str));
            let combinations = combinations.flat_map(|one| one.repeated(wishes.repeat));
            let opened: Vec<_> = asked.iter().map(|one| one.opened(global, &matrix, kernel)).collect();
            for combination in combinations {
                let parts = asked.iter().zip(&opened).map(|(one, opened)| match opened {
                    Ok(booted) => one.slot(booted, combination.clone()),
                    Err(verdict) => one.unmade(combination.clone(), verdict.clone()),
                });
                let mut parts: Vec<Slot> = parts.collect();
                self.slots.extend(match test.machines.is_empty() {
                    true => parts.pop(),
                    false => Some(whole.together(parts, combination)),
                });
            }
            self._disks.extend(opened.into_iter().flatten().map(|booted| (booted.target, booted.direct)));
        }
        Ok(())
    }
}

const NO_HEALTH: &str = "healthy was asked for, and the image has no HEALTHCHECK";

/// For a machine that is never made.
const DEFAULT_ARCH: Architecture = Architecture::X86_64;

/// A disk, and what it says about itself.
struct Booted {
    target: Target,
    disk: Existing,
    direct: Option<DirectBoot>,
    facts: Facts,
}

impl Booted {
    /// Reads what the disk says; for a direct boot its boot files too.
    fn open(target: Target, direct: bool) -> Result<Booted> {
        let disk = Existing::open(&target.path())?;
        let facts = Facts::of(&disk);
        let direct = (direct && facts.direct).then(|| DirectBoot::take(disk.boot_files()?)).transpose()?;
        Ok(Booted { target, disk, direct, facts })
    }

    fn spec(&self) -> Option<&BootSpec> {
        self.facts.spec.as_ref()
    }
}

struct Asked<'a> {
    test: &'a SpecTest,
    told: Told,
    wishes: &'a Wishes<'a>,
    overrides: Overrides,
}

impl Asked<'_> {
    /// The disk, or the verdict where it cannot be had.
    fn opened(&self, global: &Global, matrix: &Matrix, kernel: Option<&String>) -> Result<Booted, Verdict> {
        let opened = caught(|| self.open(global, matrix, kernel)).unwrap_or_else(|why| Err(anyhow::Error::msg(why)));
        opened.map_err(|error| Verdict::Error(crate::cli::report::sentence(&error)))
    }

    /// The test of these machines, of which each has a slot.
    fn together(&self, parts: Vec<Slot>, combination: Combination) -> Slot {
        let test = self.test(MachineOptions::new(DEFAULT_ARCH, PathBuf::new()), combination);
        let part = |slot| match slot {
            Slot::Boot(test) => Ok(*test),
            Slot::Unmade(report) => Err(report),
        };
        match several::together(test, &self.test.machines, parts.into_iter().map(part).collect()) {
            Ok(test) => Slot::Boot(Box::new(test)),
            Err(report) => Slot::Unmade(report),
        }
    }

    /// The disk that is booted, made with this kernel of the matrix.
    fn open(&self, global: &Global, matrix: &Matrix, kernel: Option<&String>) -> Result<Booted> {
        let ways = match matrix.values(Axis::Firmware) {
            [] => self.test.settings.machine.firmware.into_iter().collect(),
            values => values.iter().filter_map(|value| BootChoice::from_str(value, false).ok()).collect::<Vec<_>>(),
        };
        let mut disk = self.test.settings.disk.clone();
        disk.kernel = kernel.map(OsString::from).or(disk.kernel);
        let target = Target::open(global, (&self.test.target, Reference::parse), &disk, &ways)?;
        let mut booted = Booted::open(target, ways.contains(&BootChoice::Direct))?;
        self.test.settings.handed.check(&booted.facts)?;
        self.told.tell(&mut booted.facts);
        Ok(booted)
    }

    fn slot(&self, booted: &Booted, combination: Combination) -> Slot {
        let mut overrides = self.overrides.clone();
        let settled = self.mounts(booted, &mut overrides);
        let machine = settled.and_then(|mounts| {
            let made = caught(|| self.machine(booted, &overrides, &combination));
            made.unwrap_or_else(|why| Err(Verdict::Error(why))).map(|machine| (machine, mounts))
        });
        match machine.and_then(|made| self.can_ask(&made.0, &combination).map(|()| made)) {
            Ok((machine, mounts)) => {
                let test = Test { overrides, mounts, ..self.test(machine, combination) };
                let exposed = booted.spec().map_or(vec![], |spec| tcp_ports(&spec.exposed_ports));
                let specified = booted.spec().and_then(|spec| spec.healthcheck.as_ref());
                let healthcheck = test.overrides.health(specified);
                let test = Test { exposed, healthcheck, ..test };
                let test = Test { snapshot: self.start(&test), ..test };
                // A disk that says nothing about its image may have one.
                match self.test.settings.expectations.healthy && booted.spec().is_some() && !test.has_health() {
                    true => Slot::Unmade(Box::new(test.unmade(Verdict::Error(NO_HEALTH.into())))),
                    false => Slot::Boot(Box::new(test)),
                }
            }
            Err(verdict) => self.unmade(combination, verdict),
        }
    }

    /// Where it starts instead of with a boot.
    fn start(&self, test: &Test) -> Option<Start> {
        Some(Start::at(match self.test.settings.expectations.snapshot.as_ref()? {
            SnapshotAt::Succeeds(exec) => Expectation::Exec(exec.clone()),
            SnapshotAt::Ready if test.has_health() => Expectation::Healthy,
            SnapshotAt::Ready => Expectation::Started,
        }))
    }

    fn unmade(&self, combination: Combination, verdict: Verdict) -> Slot {
        let test = self.test(MachineOptions::new(DEFAULT_ARCH, PathBuf::new()), combination);
        Slot::Unmade(Box::new(test.unmade(verdict)))
    }

    fn test(&self, machine: MachineOptions, combination: Combination) -> Test {
        let expectations = &self.test.settings.expectations;
        let again = again::command(self.test, self.wishes.said, self.wishes.host, &combination);
        Test {
            name: self.test.name.clone(),
            combination,
            machine,
            overrides: self.overrides.clone(),
            mounts: Vec::new(),
            handed: self.told.handed.clone(),
            expectations: expectations.all(),
            healthcheck: None,
            exposed: Vec::new(),
            snapshot: None,
            timeout: expectations.timeout,
            boot_timeout: expectations.boot_timeout,
            again,
            place: self.test.place.clone(),
            retries: expectations.retries,
            log_dir: self.wishes.log_dir.map(Path::to_owned),
            log_name: String::new(),
            members: Vec::new(),
        }
    }

    /// What is mounted, of which PID 1 hears by `overrides`.
    fn mounts(&self, booted: &Booted, overrides: &mut Overrides) -> Result<Vec<Wanted>, Verdict> {
        let machine = mounts::Machine { name: None, target: &self.test.target, facts: &booted.facts };
        let settled = self.test.settings.mounts.settle(&machine, overrides);
        settled.map_err(|error| Verdict::Error(crate::cli::report::sentence(&error)))
    }

    /// Whether what is expected can be asked of this machine.
    fn can_ask(&self, machine: &MachineOptions, combination: &Combination) -> Result<(), Verdict> {
        let asks = |expectation: &Expectation| matches!(expectation, Expectation::Tcp(_) | Expectation::Http(_));
        let expectations = self.test.settings.expectations.all();
        if let Some(asking) = expectations.iter().find(|one| asks(one)).filter(|_| machine.network.is_none()) {
            return Err(cannot(combination, &[Axis::Nic], format!("no network card: {asking} cannot be asked")));
        }
        Ok(())
    }

    /// The machine of a combination, or why there is none.
    fn machine(
        &self,
        booted: &Booted,
        overrides: &Overrides,
        combination: &Combination,
    ) -> Result<MachineOptions, Verdict> {
        let asked = &self.test.settings.machine;
        let arch = booted.disk.architecture().map_err(|error| Verdict::Error(error.to_string()))?;
        let mut machine = MachineOptions::new(arch, booted.target.path());
        machine.memory = asked.memory;
        machine.cpus = asked.cpus;
        machine.qemu = self.wishes.host.qemu.clone();
        machine.firmware_log = true;
        machine.extra = self.wishes.host.qemu_arg.clone();
        machine.display = if self.wishes.host.display { Display::Hidden } else { Display::None };
        machine.bus = match combination.get(Axis::Bus) {
            None => asked.bus.into(),
            Some("nvme") => Bus::Nvme,
            Some("ahci") => Bus::Ahci,
            Some("scsi") => Bus::Scsi,
            Some("ide") => Bus::Ide,
            Some("usb") => Bus::Usb,
            Some(_) => Bus::Virtio,
        };
        machine.network = match combination.get(Axis::Nic) {
            None => asked.nic.card(),
            Some("e1000") => Some(Nic::E1000),
            Some("none") => None,
            Some(_) => Some(Nic::Virtio),
        };
        let built = booted.spec().map(|spec| &spec.network);
        machine.reach = reach(self.wishes.host.host_loopback, overrides.network.as_ref(), built);
        machine.boot = self.boot(booted, combination)?;
        let keys = self.test.settings.signed.keys(&booted.disk);
        machine.secure_boot = keys.map_err(|error| Verdict::Error(crate::cli::report::sentence(&error)))?;
        machine.accel = match combination.get(Axis::Accel) {
            None => AccelOption::settled(asked.accel).map_err(|error| Verdict::Error(error.to_string()))?,
            Some(name) => {
                let choice: AccelChoice = name.parse().map_err(Verdict::Error)?;
                if choice != AccelChoice::Tcg {
                    let works =
                        binary::find(arch, machine.qemu.as_deref()).and_then(|qemu| accel::settle(choice, arch, &qemu));
                    works.map_err(|error| Verdict::Skipped(error.to_string()))?;
                }
                choice
            }
        };
        if !has_bus(arch, machine.bus) {
            return Err(cannot(combination, &[Axis::Bus], "an aarch64 machine has no IDE".into()));
        }
        fit::machine(&booted.facts, &machine, overrides).map_err(|unfit| unmade(&unfit, combination))?;
        Ok(machine)
    }

    fn boot(&self, booted: &Booted, combination: &Combination) -> Result<Boot, Verdict> {
        let asked = match combination.get(Axis::Firmware) {
            Some("bios") => Some(BootChoice::Bios),
            Some("uefi") => Some(BootChoice::Uefi),
            Some(_) => Some(BootChoice::Direct),
            None => self.test.settings.machine.firmware,
        };
        let signed = self.test.settings.signed.firmware(asked);
        let asked = signed.map_err(|error| cannot(combination, &[Axis::Firmware], error.to_string()))?;
        match asked.unwrap_or(if booted.facts.bios { BootChoice::Bios } else { BootChoice::Uefi }) {
            BootChoice::Bios => Ok(Boot::Bios),
            BootChoice::Uefi => Ok(Boot::Uefi),
            BootChoice::Direct => match &booted.direct {
                Some(direct) => Ok(direct.boot()),
                None => Err(unmade(&Unfit::NoKernel, combination)),
            },
        }
    }
}

/// Whether QEMU's machine of this architecture can have it.
fn has_bus(arch: Architecture, bus: Bus) -> bool {
    (arch, bus) != (Architecture::Aarch64, Bus::Ide)
}

/// Why a machine is not made, by what another combination could have instead.
fn unmade(unfit: &Unfit, combination: &Combination) -> Verdict {
    let axes: &[Axis] = match unfit {
        Unfit::NoStage | Unfit::NoLoader | Unfit::NoKernel => &[Axis::Firmware, Axis::Kernel],
        Unfit::NoCard => &[Axis::Nic],
        Unfit::NoDriver { card: true, .. } => &[Axis::Nic, Axis::Kernel],
        Unfit::NoDriver { .. } => &[Axis::Bus, Axis::Kernel],
        Unfit::NoFwCfg(_) => &[Axis::Kernel],
        Unfit::Memory { .. }
        | Unfit::Verified(_)
        | Unfit::Older(_)
        | Unfit::NoSettings(_)
        | Unfit::OwnInit(_)
        | Unfit::Workload(_) => &[],
    };
    cannot(combination, axes, unfit.to_string())
}

/// One of several values that were asked for together is skipped. What was asked for by itself cannot be made.
fn cannot(combination: &Combination, axes: &[Axis], why: String) -> Verdict {
    match axes.iter().any(|&axis| combination.get(axis).is_some()) {
        true => Verdict::Skipped(why),
        false => Verdict::Error(why),
    }
}

/// The TCP ports among `PORT`, `PORT/tcp` and `PORT/udp`.
pub(super) fn tcp_ports(exposed: &[String]) -> Vec<u16> {
    let port = |text: &String| match text.split_once('/') {
        None => text.parse().ok(),
        Some((port, "tcp")) => port.parse().ok(),
        Some(_) => None,
    };
    exposed.iter().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_skipped_only_as_one_of_several() {
        let combination = Matrix::parse(["bus=ide,virtio"]).unwrap().combinations().remove(0);
        assert_eq!(cannot(&combination, &[Axis::Bus], "no".into()), Verdict::Skipped("no".into()));
        assert_eq!(cannot(&combination, &[Axis::Nic], "no".into()), Verdict::Error("no".into()));
        assert!(has_bus(Architecture::X86_64, Bus::Ide) && has_bus(Architecture::Aarch64, Bus::Ahci));
        assert!(!has_bus(Architecture::Aarch64, Bus::Ide));
    }

    #[test]
    fn exposed_ports_of_tcp() {
        let ports = ["80/tcp", "53/udp", "8080", "x"].map(str::to_owned);
        assert_eq!(tcp_ports(&ports), [80, 8080]);
    }
}
