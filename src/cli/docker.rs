//! Words of docker that this program has not, each with what is so here and what to use instead: a tip for the option
//! that is spelled most like it helps nobody.

use super::report::WithHint;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options of `docker run`, and after the bar of `docker build`: names, what is so here, what to do.
const OPTIONS: &[(&[&str], &str, &str)] = &[
    (
        &["--volumes-from", "--volume-driver"],
        "a volume is an ext4 file system in a file, and one machine has it at a time",
        "name it: -v NAME:/PATH",
    ),
    (
        &["--privileged", "--cap-add", "--cap-drop", "--security-opt", "--group-add"],
        "the machine is the workload's own: root has every capability in it, and no filter is around it",
        "omit it; for another user: --user NAME",
    ),
    (
        &["--device", "--gpus", "--device-cgroup-rule", "--device-read-bps", "--device-write-bps"],
        "a machine has devices of its own, and none of this host's",
        "omit it, or give QEMU a device: --qemu-arg=-device --qemu-arg=NAME",
    ),
    (
        &["--link", "--network-alias", "--ip", "--ip6", "--mac-address", "--link-local-ip"],
        "each machine has a network of its own, and there is none between machines",
        "publish a port of the other and name it: bootdisk run IMAGE --host-loopback --add-host NAME:host-gateway",
    ),
    (
        &["--log-driver", "--log-opt"],
        "output goes to standard output and standard error, and with -d to the machine's log",
        "bootdisk logs NAME",
    ),
    (
        &["--pid", "--ipc", "--uts", "--userns", "--cgroupns", "--cgroup-parent"],
        "namespaces are the machine's own, and none of this host's can be joined",
        "omit it",
    ),
    (
        &["--label", "-l", "--label-file", "--annotation"],
        "a machine has a name and no labels",
        "bootdisk run --name NAME IMAGE",
    ),
    (&["--cidfile"], "a machine has a name and no identifier", "bootdisk run -d --name NAME IMAGE prints it"),
    (
        &[
            "--cpu-shares",
            "-c",
            "--cpu-quota",
            "--cpu-period",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--memory-swap",
            "--memory-reservation",
            "--memory-swappiness",
            "--kernel-memory",
            "--pids-limit",
            "--blkio-weight",
            "--oom-kill-disable",
            "--oom-score-adj",
        ],
        "a machine has memory and processors of its own instead of a share of this host's",
        "--memory SIZE and --cpus N; for one process: --ulimit NAME=SOFT:HARD",
    ),
    (&["--expose"], "every port of a machine can be forwarded, exposed or not", "publish it: -p HOST:GUEST"),
    (&["--domainname"], "a host name may have its domain in it", "--hostname NAME.DOMAIN"),
    (
        &["--dns-option", "--dns-opt"],
        "resolv.conf has servers and domains here",
        "--dns ADDRESS and --dns-search DOMAIN",
    ),
    (
        &["--attach", "-a", "--detach-keys", "--sig-proxy"],
        "without -d the terminal is the workload's, and -i passes standard input",
        "bootdisk run -it IMAGE",
    ),
    (
        &["--runtime", "--isolation", "--storage-opt", "--disable-content-trust", "--use-api-socket"],
        "there is no daemon and no container runtime: the image becomes a disk that QEMU boots",
        "omit it",
    ),
    (
        &["--tag", "--build-arg", "--target", "--load", "--push", "--secret", "--ssh"],
        "another program builds from a Dockerfile, with options of its own",
        "docker build -t NAME . && bootdisk build docker-daemon:NAME -o DISK",
    ),
];

/// Commands of docker.
const COMMANDS: &[(&[&str], &str, &str)] = &[
    (
        &["pull"],
        "an image is pulled when it is used, and kept",
        "bootdisk run docker://NAME, or bootdisk build docker://NAME -o DISK",
    ),
    (
        &["push", "search", "login", "logout"],
        "registries are only read from, as docker login or podman login has logged in",
        "docker login REGISTRY && bootdisk run docker://REGISTRY/NAME",
    ),
    (
        &["images", "image", "rmi", "tag", "history", "import", "load", "save", "commit"],
        "images are files, and their disks are kept in a cache that clears itself",
        "bootdisk inspect FILE says what is in one",
    ),
    (
        &["rm", "container", "prune"],
        "nothing of a machine is kept after its end but the log of a detached one",
        "bootdisk ps -a",
    ),
    (&["kill"], "a machine is stopped", "bootdisk stop --timeout 0 NAME"),
    (&["start", "create", "restart"], "a machine is made by run, each time anew", "bootdisk run -d --name NAME IMAGE"),
    (&["attach", "wait", "events"], "the output of a detached machine is in its log", "bootdisk logs -f NAME"),
    (&["top", "stats", "diff"], "what runs in a machine is asked of it", "bootdisk exec NAME ps"),
    (&["port", "info"], "ports are listed with the machines", "bootdisk ps"),
    (
        &["pause", "unpause", "rename", "update"],
        "a machine that runs stays as it is",
        "bootdisk stop NAME, and run it with other options",
    ),
    (
        &["network", "system", "swarm", "service", "stack", "node", "config", "secret", "plugin", "context"],
        "there is no daemon to keep such things",
        "bootdisk --help",
    ),
    (&["compose"], "several machines are started one by one", "bootdisk run -d --name NAME IMAGE, for each service"),
    (&["version"], "the version is an option", "bootdisk --version"),
];

/// What to say of a word of docker's, if that is what is wrong with a command line.
pub fn explain(error: &clap::Error, command: Option<&str>) -> Option<WithHint> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument if matches!(command, Some("run" | "test" | "build" | "exec")) => {
            let word = text(ContextKind::InvalidArg)?;
            let name = word.split('=').next().unwrap_or(word);
            let (_, so, hint) = OPTIONS.iter().find(|(names, ..)| names.contains(&name))?;
            Some(said(format!("no option {name}: {so}"), hint))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            network(text(ContextKind::InvalidArg)?, text(ContextKind::InvalidValue)?)
        }
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            let (_, so, hint) = COMMANDS.iter().find(|(names, ..)| names.contains(&word))?;
            Some(said(format!("no command {word}: {so}"), hint))
        }
        _ => None,
    }
}

/// Docker's networks are not among ours.
fn network(option: &str, value: &str) -> Option<WithHint> {
    if !option.starts_with("--net ") {
        return None;
    }
    let (so, hint) = match value {
        "host" => (
            "a machine has a network of its own",
            "publish ports with -p; --host-loopback lets it reach this host's services",
        ),
        "bridge" | "default" => {
            ("this is how it is: a network of its own, and this host between it and others", "omit it")
        }
        other if other.starts_with("container:") => {
            ("each machine has a network of its own", "publish a port of the other, and reach it with --host-loopback")
        }
        _ => return None,
    };
    Some(said(format!("no network {}: {so}", crate::escape::escape(value.as_bytes())), hint))
}

fn said(message: String, hint: &str) -> WithHint {
    WithHint { message, hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn explained(line: &str) -> Option<String> {
        let words = ["bootdisk"].into_iter().chain(line.split(' '));
        let error = super::super::Cli::command().try_get_matches_from(words).expect_err(line);
        explain(&error, line.split(' ').next()).map(|said| format!("{said}\n{}", said.hint))
    }

    #[test]
    fn every_word_of_dockers_that_is_not_here_has_a_sentence_of_its_own() {
        for name in OPTIONS.iter().flat_map(|(names, ..)| *names) {
            for line in [format!("run {name} x img"), format!("run img {name}=x"), format!("run img {name}")] {
                // A short option takes what is behind it for more of its kind.
                let short = !name.starts_with("--") && line.contains('=');
                let said = explained(&line).unwrap_or_default();
                assert!(short || said.starts_with(&format!("no option {name}: ")), "{line}: {said}");
            }
        }
        for name in COMMANDS.iter().flat_map(|(names, ..)| *names) {
            for line in [name.to_string(), format!("{name} x"), format!("{name} --all")] {
                let said = explained(&line).unwrap_or_default();
                assert!(said.starts_with(&format!("no command {name}: ")), "{line}: {said}");
            }
        }
        for (line, so) in [
            ("run --net host img", "no network host: a machine has"),
            ("run --network=bridge img", "no network bridge: this is how it is"),
            ("test img --net container:db", "no network container:db: each machine"),
        ] {
            assert!(explained(line).unwrap_or_default().starts_with(so), "{line}: {:?}", explained(line));
        }
    }

    #[test]
    fn no_word_of_ours_is_explained_away_and_other_mistakes_are_claps() {
        for line in ["run --nope img", "nope", "run img --net nope", "run img --memory x", "ps --volume", "stop -v x"] {
            assert_eq!(explained(line), None, "{line}");
        }
        let mut root = super::super::Cli::command();
        root.build();
        for command in ["run", "test", "build", "exec"] {
            for arg in root.find_subcommand(command).unwrap().get_arguments().filter(|_| command == "run") {
                let long = arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
                let short = arg.get_short().map(|short| format!("-{short}")).unwrap_or_default();
                let known = OPTIONS.iter().flat_map(|(names, ..)| *names);
                assert!(known.into_iter().all(|name| *name != long && *name != short), "{long}");
            }
        }
    }
}
