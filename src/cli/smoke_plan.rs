//! From what is asked for to the tests that are made: spec files, the matrix, disks, and what is skipped.

use super::machine::{BootChoice, parse_timeout};
use super::options::{self, Global};
use super::smoke::Machine;
use super::target::{DirectBoot, Target};
use crate::boot::existing::Existing;
use crate::fit::{self, Facts, Unfit};
use crate::guest::channel::Overrides;
use crate::guest::spec::BootSpec;
use crate::qemu::{AccelChoice, Boot, Bus, Display, MachineOptions, Nic, accel, binary};
use crate::smoke::expect::{Expectation, Pattern};
use crate::smoke::spec::{Spec, SpecTest};
use crate::smoke::{Axis, Combination, Matrix, Report, Test, Verdict};
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A test as it is asked for.
#[derive(Clone)]
pub struct Entry {
    /// For reports.
    pub name: String,
    /// Image or disk.
    pub target: OsString,
    /// How an image becomes a disk.
    pub disk: options::Disk,
    /// What must hold.
    pub expectations: Vec<Expectation>,
    /// For everything.
    pub timeout: Duration,
    /// For the first sign of life.
    pub boot_timeout: Duration,
    /// In MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// Axes, each `NAME=VALUE,VALUE`.
    pub matrix: Vec<String>,
    /// Environment in addition to the command line's.
    pub env: Vec<String>,
    /// Command instead of the command line's.
    pub command: Vec<String>,
}

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

/// A name for a target: the last part of its path without what says the format.
pub fn name_of(target: &OsStr) -> String {
    let text = target.to_string_lossy();
    let path = text.split_once(':').map_or(&*text, |(_, rest)| rest);
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let last = last.split(':').next().unwrap_or(last);
    let stem = [".tar.gz", ".tar.zst", ".oci.tar", ".tar", ".oci", ".img", ".raw"];
    let stem = stem.iter().find_map(|end| last.strip_suffix(end)).unwrap_or(last);
    if stem.is_empty() || stem == "-" { "image".into() } else { stem.to_owned() }
}

/// The tests of a spec file.
pub fn of_spec(spec: &Spec, defaults: &Entry) -> Result<Vec<Entry>> {
    let entry = |test: &SpecTest| {
        let target: OsString = match (&test.image, &test.disk) {
            (Some(image), _) => image.into(),
            (None, disk) => disk.clone().unwrap_or_default().into(),
        };
        let name = test.name.clone().unwrap_or_else(|| name_of(&target));
        let place = || format!("test {}", crate::escape::escape(name.as_bytes()));
        fill(spec, test, Entry { name: name.clone(), target, ..defaults.clone() }).with_context(place)
    };
    spec.tests.iter().map(entry).collect()
}

fn fill(spec: &Spec, test: &SpecTest, mut entry: Entry) -> Result<Entry> {
    let time = |text: &String| parse_timeout(text).map_err(anyhow::Error::msg);
    let own = &spec.defaults;
    if let Some(text) = test.timeout.as_ref().or(own.timeout.as_ref()) {
        entry.timeout = time(text)?;
    }
    if let Some(text) = test.boot_timeout.as_ref().or(own.boot_timeout.as_ref()) {
        entry.boot_timeout = time(text)?;
    }
    if let Some(text) = test.memory.as_ref().or(own.memory.as_ref()) {
        entry.memory = crate::qemu::machine::parse_memory(text).map_err(anyhow::Error::msg)?;
    }
    entry.cpus = test.cpus.or(own.cpus).unwrap_or(entry.cpus);
    anyhow::ensure!((1..=255).contains(&entry.cpus), "number of processors is not from 1 to 255: {}", entry.cpus);
    if let Some(matrix) = test.matrix.as_ref().or(own.matrix.as_ref()) {
        entry.matrix.clone_from(matrix);
    }
    if let Some(kernel) = test.kernel.as_ref().or(own.kernel.as_ref()) {
        entry.disk.kernel = Some(kernel.into());
    }
    entry.expectations.extend(expectations(test, own)?);
    entry.env = test.env.clone().unwrap_or_default();
    entry.command = test.command.clone().unwrap_or_default();
    Ok(entry)
}

fn expectations(test: &SpecTest, defaults: &crate::smoke::spec::Settings) -> Result<Vec<Expectation>> {
    fn all(list: &Option<Vec<String>>) -> &[String] {
        list.as_deref().unwrap_or_default()
    }
    let mut out = Vec::new();
    for text in all(&test.expect) {
        out.push(Expectation::Output(Pattern::text(text)?));
    }
    for text in all(&test.expect_regex) {
        out.push(Expectation::Output(Pattern::regex(text)?));
    }
    for text in all(&test.reject).iter().chain(all(&defaults.reject)) {
        out.push(Expectation::Reject(Pattern::text(text)?));
    }
    for text in all(&test.reject_regex).iter().chain(all(&defaults.reject_regex)) {
        out.push(Expectation::Reject(Pattern::regex(text)?));
    }
    for &port in test.tcp.iter().flatten() {
        out.push(Expectation::Tcp(crate::smoke::expect::parse_port(&port.to_string())?));
    }
    for text in all(&test.http) {
        out.push(Expectation::Http(text.parse()?));
    }
    for text in all(&test.exec) {
        out.push(Expectation::Exec(text.parse()?));
    }
    out.extend(test.healthy.unwrap_or(false).then_some(Expectation::Healthy));
    out.extend(test.exit_code.map(Expectation::ExitCode));
    Ok(out)
}

/// Builds what has to be built, and decides what is booted how. What fails for one test is that test's verdict.
pub fn plan(
    global: &Global,
    machine: &Machine,
    process: &options::Process,
    entries: Vec<Entry>,
    log_dir: Option<&Path>,
) -> Result<Planned> {
    let mut planned = Planned::default();
    let overrides = process.overrides()?;
    for entry in entries {
        let matrix = Matrix::parse(entry.matrix.iter().map(String::as_str))?;
        let kernels: Vec<Option<&String>> = match matrix.values(Axis::Kernel) {
            [] => vec![None],
            kernels => kernels.iter().map(Some).collect(),
        };
        let ways = match matrix.values(Axis::Firmware) {
            [] => machine.firmware.into_iter().collect(),
            values => values.iter().filter_map(|value| BootChoice::from_str(value, false).ok()).collect::<Vec<_>>(),
        };
        for kernel in kernels {
            let mut disk = entry.disk.clone();
            disk.kernel = kernel.map(OsString::from).or(disk.kernel);
            let asked = Asked { entry: &entry, machine, overrides: &overrides, log_dir };
            let combinations = matrix.combinations().into_iter();
            let combinations = combinations.filter(|one| one.get(Axis::Kernel) == kernel.map(String::as_str));
            let opened = Target::open(global, &entry.target, &disk, &ways)
                .and_then(|target| Booted::open(target, ways.contains(&BootChoice::Direct)));
            match opened {
                Ok(booted) => {
                    for combination in combinations {
                        planned.slots.push(asked.slot(&booted, combination));
                    }
                    planned._disks.push((booted.target, booted.direct));
                }
                Err(error) => {
                    let message = super::report::sentence(&error);
                    for combination in combinations {
                        let test = asked.test(MachineOptions::new(DEFAULT_ARCH, PathBuf::new()), combination);
                        let report = test.unmade(Verdict::Error(message.clone()));
                        planned.slots.push(Slot::Unmade(Box::new(report)));
                    }
                }
            }
        }
    }
    Ok(planned)
}

/// For a machine that is never made.
const DEFAULT_ARCH: crate::arch::Architecture = crate::arch::Architecture::X86_64;

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

/// What a combination is that cannot be: another of the matrix may do, or none does.
fn unmade(unfit: &Unfit) -> Verdict {
    match unfit.is_of_the_combination() {
        true => Verdict::Skipped(unfit.to_string()),
        false => Verdict::Error(unfit.to_string()),
    }
}

struct Asked<'a> {
    entry: &'a Entry,
    machine: &'a Machine,
    overrides: &'a Overrides,
    log_dir: Option<&'a Path>,
}

impl Asked<'_> {
    fn slot(&self, booted: &Booted, combination: Combination) -> Slot {
        match self.machine(booted, &combination) {
            Ok(machine) => {
                let test = self.test(machine, combination);
                let exposed = booted.spec().map_or(vec![], |spec| tcp_ports(&spec.exposed_ports));
                let healthcheck = booted.spec().and_then(|spec| spec.healthcheck.clone());
                Slot::Boot(Box::new(Test { exposed, healthcheck, ..test }))
            }
            Err(verdict) => {
                let test = self.test(MachineOptions::new(DEFAULT_ARCH, PathBuf::new()), combination);
                Slot::Unmade(Box::new(test.unmade(verdict)))
            }
        }
    }

    fn test(&self, machine: MachineOptions, combination: Combination) -> Test {
        let mut overrides = self.overrides.clone();
        overrides.env.extend(self.entry.env.iter().cloned());
        if !self.entry.command.is_empty() {
            overrides.cmd = Some(self.entry.command.clone());
        }
        Test {
            name: self.entry.name.clone(),
            combination,
            machine,
            overrides,
            expectations: self.entry.expectations.clone(),
            healthcheck: None,
            exposed: Vec::new(),
            timeout: self.entry.timeout,
            boot_timeout: self.entry.boot_timeout,
            log_dir: self.log_dir.map(Path::to_owned),
        }
    }

    /// The machine of a combination, or why there is none.
    fn machine(&self, booted: &Booted, combination: &Combination) -> Result<MachineOptions, Verdict> {
        let asked = self.machine;
        let arch = booted.disk.architecture().map_err(|error| Verdict::Error(error.to_string()))?;
        let mut machine = MachineOptions::new(arch, booted.target.path());
        machine.memory = self.entry.memory;
        machine.cpus = self.entry.cpus;
        machine.qemu = asked.qemu.clone();
        machine.firmware_log = true;
        machine.extra = asked.qemu_arg.clone();
        machine.display = if asked.display { Display::Hidden } else { Display::None };
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
        machine.boot = self.boot(booted, combination)?;
        machine.accel = match combination.get(Axis::Accel) {
            None => asked.accel.into(),
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
        fit::machine(&booted.facts, &machine).map_err(|unfit| unmade(&unfit))?;
        Ok(machine)
    }

    fn boot(&self, booted: &Booted, combination: &Combination) -> Result<Boot, Verdict> {
        let bios = booted.facts.bios;
        let choice = match combination.get(Axis::Firmware) {
            Some("bios") => BootChoice::Bios,
            Some("uefi") => BootChoice::Uefi,
            Some(_) => BootChoice::Direct,
            None => self.machine.firmware.unwrap_or(if bios { BootChoice::Bios } else { BootChoice::Uefi }),
        };
        match choice {
            BootChoice::Bios => Ok(Boot::Bios),
            BootChoice::Uefi => Ok(Boot::Uefi),
            BootChoice::Direct => match &booted.direct {
                Some(direct) => Ok(direct.boot()),
                None => Err(unmade(&Unfit::NoKernel)),
            },
        }
    }
}

/// The TCP ports among `PORT`, `PORT/tcp` and `PORT/udp`.
fn tcp_ports(exposed: &[String]) -> Vec<u16> {
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
    fn targets_have_short_names() {
        for (target, name) in [
            ("nginx.img", "nginx"),
            ("/a/b/app.tar.gz", "app"),
            ("oci:layouts/debian.oci:latest", "debian"),
            ("docker-archive:x.tar:app:1", "x"),
            ("dir/", "dir"),
            ("-", "image"),
        ] {
            assert_eq!(name_of(OsStr::new(target)), name, "{target}");
        }
    }

    #[test]
    fn exposed_ports_of_tcp() {
        let ports = ["80/tcp", "53/udp", "8080", "x"].map(str::to_owned);
        assert_eq!(tcp_ports(&ports), [80, 8080]);
    }
}
