//! `--console-login`: what it needs of an image.

use crate::contents::paths::resolve;
use crate::guest::spec::{BootSpec, Init, SHELL};
use crate::rootfs::Tree;

/// Why nobody can be given a shell on the consoles.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// An init of the image's decides who logs in where.
    #[error("--console-login is for images without an init of their own, and this one's starts its own logins")]
    OwnInit,
    /// There is none to give.
    #[error("--console-login needs a shell, and the image has no {}", SHELL)]
    NoShell,
}

impl LoginError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            LoginError::OwnInit => "omit --console-login, and give root a password: --password root:HASHFILE",
            LoginError::NoShell => "omit it, or bring a static one: --copy-in /bin/busybox:/bin/sh:755",
        }
    }
}

/// Refuses it where the image's own init will be PID 1.
pub(super) fn has_no_own(spec: &BootSpec) -> Result<(), LoginError> {
    match spec.console_login && spec.init.settle(&spec.process) == Init::Image {
        true => Err(LoginError::OwnInit),
        false => Ok(()),
    }
}

/// Refuses it where the merged image has no shell.
pub(super) fn has_shell<B>(spec: &BootSpec, tree: &Tree<B>) -> Result<(), LoginError> {
    match spec.console_login && resolve(tree, SHELL.as_bytes()).is_none() {
        true => Err(LoginError::NoShell),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::paths::tests::tree;

    fn spec(console_login: bool, command: &str) -> BootSpec {
        let text = r#"{"version": 1, "root": {"partuuid": "", "fstype": ""}, "init": "auto", "process": {}}"#;
        let mut spec: BootSpec = serde_json::from_str(text).unwrap();
        spec.console_login = console_login;
        spec.process.cmd = vec![command.to_owned()];
        spec
    }

    #[test]
    fn a_shell_on_the_consoles_needs_a_shell_and_no_init_beside_ours() {
        let (with, without) = (tree::<()>(&["bin/", "bin/dash", "bin/sh -> dash"]), tree::<()>(&["bin/", "bin/app"]));
        for (asked, command, own, bare) in [
            (true, "/app", Ok(()), Err(LoginError::NoShell)),
            (true, "/sbin/init", Err(LoginError::OwnInit), Err(LoginError::NoShell)),
            (false, "/app", Ok(()), Ok(())),
            (false, "/sbin/init", Ok(()), Ok(())),
        ] {
            let spec = spec(asked, command);
            assert_eq!((has_no_own(&spec), has_shell(&spec, &without)), (own, bare), "{asked} {command}");
            assert_eq!(has_shell(&spec, &with), Ok(()));
        }
    }
}
