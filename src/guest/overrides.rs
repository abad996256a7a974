//! What the host changes in the boot specification for one boot.

use super::channel::Overrides;
use super::spec::BootSpec;
use std::collections::BTreeSet;

/// Applies the overrides of a welcome, as `docker run`'s options change an image's configuration.
pub fn apply(spec: &mut BootSpec, overrides: Overrides) {
    set(&mut spec.restart, overrides.restart);
    spec.healthcheck = overrides.health(spec.healthcheck.as_ref());
    let process = &mut spec.process;
    if let Some(entrypoint) = overrides.entrypoint {
        process.entrypoint = entrypoint;
        process.cmd.clear();
    }
    set(&mut process.cmd, overrides.cmd);
    process.env = before(overrides.env, std::mem::take(&mut process.env));
    set(&mut process.user, overrides.user);
    set(&mut process.working_dir, overrides.working_dir);
    set(&mut process.stop_timeout, overrides.stop_timeout);
    set(&mut spec.root.read_only, overrides.read_only);
    set(&mut spec.root.ephemeral, overrides.ephemeral);
    set(&mut spec.network, overrides.network);
    if overrides.wait_online.is_some() {
        spec.wait_online = overrides.wait_online;
    }
    if overrides.stop_signal.is_some() {
        process.stop_signal = overrides.stop_signal;
    }
    if overrides.hostname.is_some() {
        spec.hostname = overrides.hostname;
    }
    process.ulimits.extend(overrides.ulimits);
    if !overrides.mounts.is_empty() {
        spec.mounts.get_or_insert_default().extend(overrides.mounts);
    }
    if !overrides.cards.is_empty() {
        spec.cards.get_or_insert_default().extend(overrides.cards);
    }
    if overrides.surroundings.given().is_some() {
        spec.surroundings.get_or_insert_default().apply(overrides.surroundings);
    }
}

/// The user's variables, and then the image's that the user did not name: Docker's order. A name alone takes the image's
/// variable away.
fn before(mut users: Vec<String>, images: Vec<String>) -> Vec<String> {
    let named: BTreeSet<String> = users.iter().map(|entry| name(entry).to_owned()).collect();
    users.retain(|entry| entry.contains('='));
    users.extend(images.into_iter().filter(|entry| !named.contains(name(entry))));
    users
}

/// The environment of a process beside the workload: the workload's and its own, which replaces and takes away like the
/// user's.
pub fn beside(workloads: &[String], own: &[String]) -> Vec<String> {
    let (set, removed): (Vec<&String>, Vec<&String>) = own.iter().partition(|entry| entry.contains('='));
    let kept = workloads.iter().filter(|entry| !removed.iter().any(|removed| *removed == name(entry)));
    kept.chain(set).cloned().collect()
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::spec::{Init, Network, Process, Root, VERSION};

    fn spec() -> BootSpec {
        BootSpec {
            version: VERSION,
            root: Root {
                partuuid: String::new(),
                fstype: "ext4".into(),
                read_only: false,
                ephemeral: false,
                verity: None,
            },
            init: Init::Container,
            process: Process {
                entrypoint: vec!["/docker-entrypoint.sh".into()],
                cmd: vec!["nginx".into()],
                env: vec!["A=1".into()],
                ..Process::default()
            },
            hostname: None,
            network: Network::Dhcp,
            wait_online: None,
            volumes: vec![],
            healthcheck: None,
            exposed_ports: vec![],
            drivers: None,
            boots_on: None,
            guest_modules: None,
            machine_id: None,
            console_login: false,
            surroundings: None,
            mounts: None,
            settings: None,
            cards: None,
            restart: Default::default(),
            modules: vec![],
        }
    }

    #[test]
    fn an_entrypoint_clears_the_command_and_a_command_alone_keeps_the_entrypoint() {
        let mut changed = spec();
        apply(&mut changed, Overrides { entrypoint: Some(vec!["sh".into()]), ..Overrides::default() });
        assert_eq!((changed.process.entrypoint, changed.process.cmd), (vec!["sh".to_owned()], vec![]));
        let mut changed = spec();
        apply(&mut changed, Overrides { cmd: Some(vec!["-t".into()]), ..Overrides::default() });
        assert_eq!(changed.process.cmd, ["-t"]);
        assert_eq!(changed.process.entrypoint, ["/docker-entrypoint.sh"]);
        let mut changed = spec();
        let both =
            Overrides { entrypoint: Some(vec!["".into()]), cmd: Some(vec!["ls".into()]), ..Overrides::default() };
        apply(&mut changed, both);
        assert!(changed.process.words().eq(["ls"]));
    }

    #[test]
    fn nothing_changes_nothing_and_values_replace() {
        let mut changed = spec();
        apply(&mut changed, Overrides::default());
        assert_eq!(changed, spec());
        let again = Overrides { env: vec!["C=3".into(), "A=2".into(), "C=4".into()], ..Overrides::default() };
        apply(&mut changed, again);
        assert_eq!(changed.process.env, ["C=3", "A=2", "C=4"]);
        let removed = Overrides { env: vec!["A".into(), "B".into(), "C=3".into()], ..Overrides::default() };
        let mut changed = spec();
        apply(&mut changed, removed);
        assert_eq!(changed.process.env, ["C=3"]);
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        assert_eq!(beside(&list(&["A=1", "B=2", "odd"]), &list(&["B", "C=3", "A=4"])), ["A=1", "odd", "C=3", "A=4"]);
        let mut changed = spec();
        let overrides = Overrides {
            env: vec!["B=2".into()],
            user: Some("www".into()),
            hostname: Some("h".into()),
            read_only: Some(true),
            ephemeral: Some(true),
            network: Some(Network::None),
            wait_online: Some(30),
            ..Overrides::default()
        };
        apply(&mut changed, overrides);
        assert_eq!(changed.process.env, ["B=2", "A=1"]);
        assert_eq!(changed.process.user, "www");
        assert_eq!(changed.hostname.as_deref(), Some("h"));
        assert!(changed.root.read_only && changed.root.ephemeral);
        assert_eq!((changed.network, changed.wait_online), (Network::None, Some(30)));
    }
}
