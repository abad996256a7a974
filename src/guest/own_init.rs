//! What counts as an image's own init, for the disk's maker who warns and for PID 1 who hands over.

use super::spec::{Init, Process};

/// Where distributions keep their init, most specific first.
pub const PLACES: [&str; 6] =
    ["/sbin/init", "/usr/sbin/init", "/lib/systemd/systemd", "/usr/lib/systemd/systemd", "/bin/init", "/init"];

/// What the process is called that PID 1 leaves beside such an init.
pub const CARETAKER: &str = "@bootdisk";

/// Whether an image's command is an init itself, which then is the one to hand over to.
pub fn is_init(command: &str) -> bool {
    let name = command.rsplit('/').next();
    matches!(name, Some("init" | "systemd" | "openrc-init" | "runit" | "s6-svscan" | "dinit"))
}

/// Commands of images that are a whole system, which its init is to have to itself. `/init` is not among them: images
/// call small supervisors so, which want what a container gives.
const SYSTEMS: [&str; 9] = [
    "/sbin/init",
    "/usr/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/sbin/openrc-init",
    "/usr/sbin/openrc-init",
    "init",
    "systemd",
    "openrc-init",
];

impl Init {
    /// Who is in charge of what this starts.
    pub fn settle(self, process: &Process) -> Init {
        let command = process.words().next();
        match self {
            Init::Auto if command.is_some_and(|command| SYSTEMS.contains(&command.as_str())) => Init::Image,
            Init::Auto => Init::Container,
            settled => settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_as_the_command_has_the_machine() {
        let settled = |init: Init, words: &[&str]| {
            init.settle(&Process { cmd: words.iter().map(|&word| word.into()).collect(), ..Process::default() })
        };
        assert_eq!(settled(Init::Auto, &["/sbin/init"]), Init::Image);
        assert_eq!(settled(Init::Auto, &["/lib/systemd/systemd", "--log-target=console"]), Init::Image);
        for other in [&["/init"][..], &["bash"], &["/usr/bin/tini", "/sbin/init"], &[]] {
            assert_eq!(settled(Init::Auto, other), Init::Container, "{other:?}");
        }
        assert_eq!(settled(Init::Container, &["/sbin/init"]), Init::Container);
        assert_eq!(settled(Init::Image, &["bash"]), Init::Image);
    }

    #[test]
    fn inits_are_known_by_name() {
        assert!(PLACES.iter().all(|place| is_init(place)));
        assert!(is_init("systemd") && is_init("/opt/dinit"));
        assert!(!is_init("/hello") && !is_init("/sbin/init/x") && !is_init(""));
    }
}
