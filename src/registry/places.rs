//! Where this user's programs have their configuration.

use std::env;
use std::path::PathBuf;

/// The path that a variable names; an empty one names none.
pub fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The user's folder of configurations (XDG Base Directory Specification).
pub fn config() -> Option<PathBuf> {
    named("XDG_CONFIG_HOME").or_else(|| Some(named("HOME")?.join(".config")))
}
