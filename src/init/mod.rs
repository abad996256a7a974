//! PID 1 of the guest (`bootdisk-init`): from the initramfs to the workload, and from its end to power-off.
//!
//! ```text
//!  early mounts ─▶ modules ─▶ settings ─▶ host ─▶ DHCP asked ─▶ root ─▶ growth ─▶ address, or not yet ─▶ workload
//!                                                                      (own PID and mount namespace)
//!                                                                                         │
//!  power off ◀─ unmount ◀─ sync ◀─ result to host ◀─ reap, forward, stop, start again ◀────┘
//! ```
//!
//! A static binary that needs nothing from the image: everything of ours lies in the initramfs, where no file of the
//! image can be in its place. PID 1 never enters the root itself. It has one thread and never returns; a failure
//! becomes a result, as does a panic.
//!
//! Not supported: root on anything but a GPT partition, verified or not (LUKS, LVM, NFS), swap, DHCPv6.

mod accounts;
pub mod advertised;
mod booted;
mod buttons;
mod cards;
mod caretaker;
mod cgroup;
mod children;
mod clock;
mod command;
mod consoles;
mod controllers;
mod copy;
pub mod dhcp;
mod early;
mod environment;
mod ephemeral;
mod etc_files;
mod etc_mounts;
mod failure;
mod folders;
mod fstab;
mod growth;
mod guest_modules;
mod handover;
mod host;
mod inittab;
mod interface;
mod interface6;
mod journal;
mod lease;
mod leftovers;
mod lifetime;
mod log;
mod logins;
mod modules;
mod mounts;
mod namespaces;
mod network;
mod order;
mod parameters;
mod partition;
mod power;
mod processes;
mod report;
mod resumed;
mod root;
mod routes;
mod running;
mod seed;
pub mod settings;
mod signals;
mod start;
mod superblock;
mod systemd;
mod tags;
mod terminal;
mod title;
mod tmpfs;
mod userland;
mod verity;
mod volume;

use crate::guest::channel::{Terminal, Welcome};
use crate::guest::spec::{self, BootSpec, Init};
use booted::Booted;
use failure::{Doing, Failure};
use host::Host;
use lifetime::{End, Machine, Workload};
use modules::Loader;
use processes::streams_for;
use root::Writable;
use start::Streams;
use std::path::Path;
use userland::{Devices, Plan};

/// The whole life of the machine, by process 1. Started by the kernel for a module it wants: that, and nothing else.
pub fn main() -> ! {
    if let Some(name) = guest_modules::requested() {
        std::process::exit(if guest_modules::answer(&name) { 0 } else { 1 });
    }
    early::mounts();
    std::panic::set_hook(Box::new(|info| power::panicked(&format!("PID 1 has a defect: {info}"))));
    let mut host = Host::default();
    let end = boot(&mut host).unwrap_or_else(power::not_started);
    power::off(end, &mut host)
}

fn boot(host: &mut Host) -> Result<End, Failure> {
    let mut spec = read_spec()?;
    let modules = std::mem::take(&mut spec.modules);
    let mut loader = Loader::new(&modules);
    loader.load_always();
    loader.load_for_devices();
    let mut received = settings::receive(spec.settings.as_ref());
    let (connected, welcome) = Host::connect();
    *host = connected;
    let booted = Booted::new(welcome.as_ref().and_then(|welcome| welcome.disk_serial.clone()));
    received.apply(&mut spec, welcome.as_ref().map(|welcome| &welcome.overrides));
    let streams = welcomed(&mut spec, welcome);
    let cloud_disk = received.cloud_disk();
    let logins = spec.console_login && matches!(streams, Streams::Console);
    let mut hostname = name_machine(&spec);
    // The network's answers come while the root is mounted. A card that is not there yet gets its turn behind it, and so
    // do all where a cloud's disk may say what the network is.
    let cards = spec.cards.take().unwrap_or_default();
    let may_begin = network::is_there(&cards) && cloud_disk.is_none();
    let mut early = may_begin.then(|| network::begin(&spec.network, &cards, &hostname));
    let mounted = root::find_and_mount(&spec.root, booted, &mut loader, host)?;
    if mounted.writable == Writable::Yes && !spec.root.read_only && !spec.root.ephemeral && spec.root.verity.is_none() {
        let grown = growth::grow(&mounted.device, &spec.root.partuuid, root::ROOT, host);
        if grown.is_break() {
            power::stopped(host);
        }
    }
    let modules = spec.guest_modules.take();
    let modules = modules.filter(|wanted| guest_modules::mount_partition(wanted, &mounted.disk));
    let mounts = spec.mounts.take().unwrap_or_default();
    mounts::prepare(&mounts, &mut loader)?;
    let init = spec.init.settle(&spec.process);
    if let Some(disk) = cloud_disk.or_else(|| received.cloud_disk()) {
        let network = spec.network.clone();
        received.apply_cloud(&disk, &mut spec, init, Path::new(root::ROOT), &mut loader);
        hostname = rename_machine(&spec, hostname);
        // What was begun is another's, if the disk was found only now.
        early = early.filter(|_| spec.network == network);
    }
    let settings = received.place(&mut spec, init)?;
    let mut network = early.unwrap_or_else(|| network::begin(&spec.network, &cards, &hostname));
    cards::configure(&cards)?;
    if let Some(uplink) = &mut network {
        uplink.settle(network::patience(spec.wait_online, init));
    }
    let plan = |devices| Plan {
        read_only: spec.root.read_only,
        writable: mounted.writable,
        volumes: spec.volumes.clone(),
        working_dir: spec.process.working_dir.clone(),
        surroundings: spec.surroundings.clone().unwrap_or_default(),
        devices,
        modules: modules.map(|modules| modules.release),
        mounts: mounts.clone(),
        settings: settings.clone(),
    };
    parameters::set(spec.surroundings.iter().flat_map(|surroundings| &surroundings.sysctls))?;
    if init == Init::Image {
        if !spec.restart.is_no() {
            log::warning(format!(
                "the image's own init runs the machine: no restart policy applies, and this is {}",
                spec.restart
            ));
        }
        spec.machine_id.iter().for_each(|id| etc_files::write_machine_id(id));
        // Its sockets are for nobody any more.
        drop(network);
        return Err(handover::hand_over(&plan(Devices::Machine), &spec.process, &hostname, host));
    }
    let plan = plan(Devices::Container);
    cgroup::create();
    if plan.modules.is_some() {
        guest_modules::answer_requests();
    }
    let streams = if logins { Streams::Messages } else { streams };
    let workload = Workload { process: &spec.process, hostname: &hostname, plan, streams, restart: spec.restart };
    let mut machine = Machine::start(host, network, workload)?;
    if logins {
        machine.let_people_in();
    }
    Ok(machine.run())
}

fn read_spec() -> Result<BootSpec, Failure> {
    let bytes = std::fs::read(spec::PATH).doing(format!("read {}", spec::PATH))?;
    let spec: BootSpec = serde_json::from_slice(&bytes).doing(format!("understand {}", spec::PATH))?;
    if spec.version > spec::VERSION {
        let reason = format!("the boot specification has a version newer than {}: {}", spec::VERSION, spec.version);
        return Err(Failure::machine(reason));
    }
    Ok(spec)
}

/// Does what the host's welcome says. Without a host the workload has the machine's console.
fn welcomed(spec: &mut BootSpec, welcome: Option<Welcome>) -> Streams {
    let Some(welcome) = welcome else { return Streams::Console };
    if let Some(seconds) = welcome.panic {
        _ = std::fs::write("/proc/sys/kernel/panic", seconds.to_string());
    }
    clock::set_from_host(welcome.time);
    crate::guest::overrides::apply(spec, welcome.overrides);
    let terminal: Option<Terminal> = welcome.terminal;
    streams_for(terminal, welcome.stdin)
}

/// Gives the machine the name that the specification has by now, and returns it.
fn rename_machine(spec: &BootSpec, before: String) -> String {
    let hostname = etc_files::hostname(spec.hostname.as_deref(), &spec.root.partuuid);
    if hostname != before {
        set_name(&hostname);
        etc_files::rename(&hostname);
    }
    hostname
}

fn set_name(hostname: &str) {
    if let Err(errno) = nix::unistd::sethostname(hostname) {
        log::warning(format!("cannot set the host name {hostname}: {}", errno.desc()));
    }
}

/// Host name, the files that tell it, and what a container runtime sets in a network of its own.
fn name_machine(spec: &BootSpec) -> String {
    let hostname = etc_files::hostname(spec.hostname.as_deref(), &spec.root.partuuid);
    set_name(&hostname);
    etc_files::create(&hostname, spec.surroundings.clone().unwrap_or_default());
    // Any user may listen below port 1024 and ping, as in containers.
    _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    hostname
}
