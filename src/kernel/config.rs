//! A kernel's configuration: the `.config` it was built from.
//!
//! Specification: Linux Documentation/kbuild/kconfig.rst; a line is `CONFIG_X=value`, or `# CONFIG_X is not set`.

use std::ops::Range;

/// What names of options begin with in the file.
const PREFIX: &str = "CONFIG_";
/// Longest configuration accepted, in bytes; real ones have 130 to 300 KB.
pub const MAX: u64 = 4 << 20;

/// A configuration and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it was found, for people: a file name, or `IKCONFIG in vmlinuz`.
    pub origin: String,
    /// The text as found.
    text: String,
    /// Where in the text each option that is set has its name, by these names; of equal ones the last of the text last.
    options: Vec<Range<u32>>,
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

impl Config {
    /// A configuration from a file's bytes, [`MAX`] at most. What is not UTF-8 in it is replaced: option names and values
    /// are ASCII.
    pub fn new(origin: impl Into<String>, bytes: &[u8]) -> Config {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let start = |part: &str| part.as_ptr().addr() - text.as_ptr().addr();
        let name = |option: &str| start(option) as u32..(start(option) + option.len()) as u32;
        let mut options: Vec<Range<u32>> = text.lines().filter_map(line).map(|(option, _)| name(option)).collect();
        options.sort_by_key(|name| named(&text, name));
        Config { origin: origin.into(), text, options }
    }

    /// The text as found.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The setting of `option` (without `CONFIG_`); `None` when it is not set or not known to this kernel.
    pub fn get(&self, option: &str) -> Option<Setting<'_>> {
        let behind = self.options.partition_point(|name| named(&self.text, name) <= option);
        let name = self.options.get(behind.checked_sub(1)?).filter(|name| named(&self.text, name) == option)?;
        line(self.text.get(name.start as usize - PREFIX.len()..)?.lines().next()?).map(|(_, setting)| setting)
    }
}

/// The name at a place of a text.
fn named<'a>(text: &'a str, name: &Range<u32>) -> &'a str {
    text.get(name.start as usize..name.end as usize).unwrap_or_default()
}

/// One line that sets an option.
pub(crate) fn line(line: &str) -> Option<(&str, Setting<'_>)> {
    let (option, value) = line.strip_prefix(PREFIX)?.split_once('=')?;
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
            b"CONFIG_A=y\nCONFIG_B=m\r\n# CONFIG_C is not set\nCONFIG_D=\"x y\"\nCONFIG_E=0x10\nCONFIG_F=n\n\xff\n\
              CONFIG_AB=m\nX_CONFIG_G=y\nCONFIG_H=y\nCONFIG_H=m\nCONFIG_I=y\nCONFIG_I=n\n CONFIG_J=y\nCONFIG_K=7";
        let config = Config::new("here", text);
        for (option, expected) in [
            ("A", Some(Setting::Yes)),
            ("B", Some(Setting::Module)),
            ("C", None),
            ("D", Some(Setting::Value("x y"))),
            ("E", Some(Setting::Value("0x10"))),
            ("F", None),
            ("AB", Some(Setting::Module)),
            ("G", None),
            ("H", Some(Setting::Module)),
            ("I", Some(Setting::Yes)),
            ("J", None),
            ("K", Some(Setting::Value("7"))),
            ("", None),
        ] {
            assert_eq!(config.get(option), expected, "{option}");
        }
    }
}
