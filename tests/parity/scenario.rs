//! A scenario: an image's configuration, what the user asked for on top, and what must then be seen.
//!
//! Rows are written as chains: `row("umask").sh("umask").says("0022\n")`. What is written down holds for us and for the
//! runtime; where the two differ, [`Row::runtime`] says what the runtime does and which row of the table in docs/container.md tells
//! the user; where the runtime is not the truth or cannot be asked, [`Row::recorded`] says whose behaviour it is.

use bootdisk::guest::channel::Overrides;
use bootdisk::guest::overrides;
use bootdisk::guest::spec::{BootSpec, Init, Network, Process, Root, VERSION};
use std::path::PathBuf;

/// What somebody saw of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Its exit status, 128 and the signal's number if one killed it, and its standard output.
    Ended(u8, String),
    /// It never ran: the exit status and why. A runtime has no status of its own for it.
    Refused(u8, String),
}

/// Whether the runtime agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// It shows the same.
    Same,
    /// It shows something else, and the table of docs/container.md has a row that begins with these words.
    Differs(Seen, &'static str),
    /// It is not asked: whose behaviour this is.
    NotAsked(&'static str),
}

/// One scenario.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: &'static str,
    /// `config` of the image.
    pub image: Process,
    /// Options of `docker run`.
    pub options: Overrides,
    /// Files and folders of the host, where they are mounted, and whether read-only.
    pub binds: Vec<(PathBuf, &'static str, bool)>,
    /// With a terminal.
    pub terminal: bool,
    /// Standard input, if somebody sends any.
    pub stdin: Option<&'static str>,
    pub expected: Seen,
    pub runtime: Runtime,
    /// crun is another opinion, which is its own.
    pub only_runc: bool,
}

/// A scenario that expects status 0 and no output, until told otherwise.
pub fn row(name: &'static str) -> Row {
    Row {
        name,
        image: Process::default(),
        options: Overrides::default(),
        binds: Vec::new(),
        terminal: false,
        stdin: None,
        expected: Seen::Ended(0, String::new()),
        runtime: Runtime::Same,
        only_runc: false,
    }
}

pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

impl Row {
    pub fn sh(self, script: &str) -> Row {
        self.cmd(&["/bin/sh", "-c", script])
    }
    pub fn cmd(mut self, list: &[&str]) -> Row {
        self.image.cmd = words(list);
        self
    }
    pub fn entrypoint(mut self, list: &[&str]) -> Row {
        self.image.entrypoint = words(list);
        self
    }
    pub fn env(mut self, list: &[&str]) -> Row {
        self.image.env = words(list);
        self
    }
    pub fn user(mut self, user: &str) -> Row {
        user.clone_into(&mut self.image.user);
        self
    }
    pub fn dir(mut self, dir: &str) -> Row {
        dir.clone_into(&mut self.image.working_dir);
        self
    }
    pub fn with(mut self, change: impl FnOnce(&mut Overrides)) -> Row {
        change(&mut self.options);
        self
    }
    pub fn tty(mut self) -> Row {
        self.terminal = true;
        self
    }
    pub fn stdin(mut self, text: &'static str) -> Row {
        self.stdin = Some(text);
        self
    }
    pub fn says(mut self, text: &str) -> Row {
        let status = if let Seen::Ended(status, _) = self.expected { status } else { 0 };
        self.expected = Seen::Ended(status, text.to_owned());
        self
    }
    pub fn ends(mut self, status: u8) -> Row {
        let text = if let Seen::Ended(_, text) = self.expected { text } else { String::new() };
        self.expected = Seen::Ended(status, text);
        self
    }
    /// It is never started; `why` is a part of our reason.
    pub fn refused(mut self, status: u8, why: &str) -> Row {
        self.expected = Seen::Refused(status, why.to_owned());
        self
    }
    /// The runtime's process ends like this instead, as the table of docs/container.md says in the row that begins so.
    pub fn runtime(mut self, status: u8, text: &str, readme: &'static str) -> Row {
        self.runtime = Runtime::Differs(Seen::Ended(status, text.to_owned()), readme);
        self
    }
    /// The runtime does not start it.
    pub fn runtime_refuses(mut self, readme: &'static str) -> Row {
        self.runtime = Runtime::Differs(Seen::Refused(0, String::new()), readme);
        self
    }
    pub fn only_runc(mut self) -> Row {
        self.only_runc = true;
        self
    }
    pub fn recorded(mut self, source: &'static str) -> Row {
        self.runtime = Runtime::NotAsked(source);
        self
    }

    /// What is started once the options are applied, by the code that applies them on the host and in the guest.
    pub fn process(&self) -> Process {
        let mut spec = BootSpec {
            version: VERSION,
            root: Root {
                partuuid: String::new(),
                fstype: String::new(),
                read_only: false,
                ephemeral: false,
                verity: None,
            },
            init: Init::Container,
            process: self.image.clone(),
            hostname: None,
            network: Network::None,
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
            mounts: Some(Vec::new()),
            settings: None,
            cards: Some(Vec::new()),
            restart: Default::default(),
            modules: vec![],
        };
        overrides::apply(&mut spec, self.options.clone());
        spec.process
    }

    /// What is wrong, if anything: one sentence that names the scenario, what was expected, and what both gave.
    pub fn judge(&self, ours: &Seen, runtime: Option<&Seen>) -> Option<String> {
        let wanted_of_runtime = match &self.runtime {
            Runtime::Same => Some(&self.expected),
            Runtime::Differs(seen, _) => Some(seen),
            Runtime::NotAsked(_) => None,
        };
        let runtime_agrees = match (runtime, wanted_of_runtime) {
            (Some(Seen::Refused(..)), Some(Seen::Refused(..))) | (None, _) | (_, None) => true,
            (Some(seen), Some(wanted)) => seen == wanted,
        };
        let we_agree = match (ours, &self.expected) {
            (Seen::Refused(status, reason), Seen::Refused(wanted, part)) => status == wanted && reason.contains(part),
            (seen, wanted) => seen == wanted,
        };
        if we_agree && runtime_agrees {
            return None;
        }
        let runtime = runtime.map_or("was not asked".to_owned(), |seen| format!("gave {seen:?}"));
        Some(format!(
            "{}:\n  expected {:?}, runtime {:?}\n  we gave  {ours:?}\n  runtime  {runtime}",
            self.name, self.expected, self.runtime
        ))
    }
}
