//! A kernel's configuration: the `.config` it was built from.
//!
//! Specification: Linux Documentation/kbuild/kconfig.rst; a line is `CONFIG_X=value`, or `# CONFIG_X is not set`.

use std::collections::HashMap;

/// Longest configuration accepted, in bytes; real ones have 130 to 300 KB.
pub const MAX: u64 = 4 << 20;

/// A configuration and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it was found, for people: a file name, or `IKCONFIG in vmlinuz`.
    pub origin: String,
    /// The text as found.
    pub text: String,
}

/// What an option is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting<'a> {
    /// `=y`.
    Yes,
    /// `=m`.
    Module,
    /// A number or a string, as written.
    Value(&'a str),
}

/// The options of a configuration that are set, without their `CONFIG_`.
pub struct Options<'a>(HashMap<&'a str, Setting<'a>>);

impl Config {
    /// A configuration from a file's bytes. What is not UTF-8 in it is replaced: option names and values are ASCII.
    pub fn new(origin: impl Into<String>, bytes: &[u8]) -> Config {
        Config { origin: origin.into(), text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// Reads every line once.
    pub fn options(&self) -> Options<'_> {
        Options(self.text.lines().filter_map(line).collect())
    }
}

impl<'a> Options<'a> {
    /// The setting of `option` (without `CONFIG_`); `None` when it is not set or not known to this kernel.
    pub fn get(&self, option: &str) -> Option<Setting<'a>> {
        self.0.get(option).copied()
    }
}

/// One line that sets an option.
pub(crate) fn line(line: &str) -> Option<(&str, Setting<'_>)> {
    let (option, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    let setting = match value {
        "y" => Setting::Yes,
        "m" => Setting::Module,
        "n" => return None,
        other => Setting::Value(other.trim_matches('"')),
    };
    Some((option, setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let text =
            b"# c\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"x y\"\nCONFIG_E=0x10\nCONFIG_F=n\n\xff\n";
        let config = Config::new("here", text);
        let options = config.options();
        assert_eq!(options.get("A"), Some(Setting::Yes));
        assert_eq!(options.get("B"), Some(Setting::Module));
        assert_eq!(options.get("C"), None);
        assert_eq!(options.get("D"), Some(Setting::Value("x y")));
        assert_eq!(options.get("E"), Some(Setting::Value("0x10")));
        assert_eq!(options.get("F"), None);
    }
}
