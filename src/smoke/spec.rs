//! `smoke.toml`: images and disks with what is expected of them.
//!
//! ```toml
//! [defaults]                      # optional; anything of a test but its name and what is tested
//! timeout = "90s"
//!
//! [[test]]
//! name = "web"                    # the file's name without its extension when absent
//! image = "nginx.oci"             # or disk = "nginx.img"; relative to this file
//! http = ["/", "/missing=404"]
//! matrix = ["firmware=bios,uefi", "bus=virtio,nvme"]
//! ```
//!
//! Keys are those of the command line. An unknown key is an error: a misspelt expectation would hold for ever.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Longest spec file, in bytes.
const LONGEST: u64 = 1 << 20;
/// Most tests of one file.
const MOST: usize = 1000;

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What tests have that do not say otherwise.
    #[serde(default)]
    pub defaults: Settings,
    /// The tests, in order.
    #[serde(default, rename = "test")]
    pub tests: Vec<SpecTest>,
}

/// One test.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecTest {
    /// For reports.
    pub name: Option<String>,
    /// An image reference; a path in it is relative to the spec file.
    pub image: Option<String>,
    /// A disk's path, relative to the spec file.
    pub disk: Option<PathBuf>,
    /// The rest. Flattening and refusing unknown keys do not go together, hence the long list.
    pub kernel: Option<String>,
    /// As `--expect`.
    pub expect: Option<Vec<String>>,
    /// As `--expect-regex`.
    #[serde(rename = "expect-regex")]
    pub expect_regex: Option<Vec<String>>,
    /// As `--reject`.
    pub reject: Option<Vec<String>>,
    /// As `--reject-regex`.
    #[serde(rename = "reject-regex")]
    pub reject_regex: Option<Vec<String>>,
    /// As `--exit-code`.
    #[serde(rename = "exit-code")]
    pub exit_code: Option<u8>,
    /// As `--tcp`.
    pub tcp: Option<Vec<u16>>,
    /// As `--http`.
    pub http: Option<Vec<String>>,
    /// As `--exec`.
    pub exec: Option<Vec<String>>,
    /// As `--healthy`.
    pub healthy: Option<bool>,
    /// As `--timeout`.
    pub timeout: Option<String>,
    /// As `--boot-timeout`.
    #[serde(rename = "boot-timeout")]
    pub boot_timeout: Option<String>,
    /// As `--memory`.
    pub memory: Option<String>,
    /// As `--cpus`.
    pub cpus: Option<u32>,
    /// As `--matrix`.
    pub matrix: Option<Vec<String>>,
    /// As `--env`.
    pub env: Option<Vec<String>>,
    /// The command after `--`.
    pub command: Option<Vec<String>>,
}

/// What `[defaults]` may say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// As `--kernel`.
    pub kernel: Option<String>,
    /// As `--timeout`.
    pub timeout: Option<String>,
    /// As `--boot-timeout`.
    #[serde(rename = "boot-timeout")]
    pub boot_timeout: Option<String>,
    /// As `--memory`.
    pub memory: Option<String>,
    /// As `--cpus`.
    pub cpus: Option<u32>,
    /// As `--matrix`.
    pub matrix: Option<Vec<String>>,
    /// As `--reject`.
    pub reject: Option<Vec<String>>,
    /// As `--reject-regex`.
    #[serde(rename = "reject-regex")]
    pub reject_regex: Option<Vec<String>>,
}

/// Why a spec file is not used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file, escaped.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("spec file is longer than {LONGEST} bytes: {0}")]
    Long(String),
    /// It is not TOML, or has a key too many.
    #[error("{path}, {place}: {message}")]
    Toml {
        /// The file, escaped.
        path: String,
        /// `line N`, or `somewhere`.
        place: String,
        /// One line.
        message: String,
    },
    /// A test that says nothing, or too much, about what is tested.
    #[error("test {test} of {path} needs one of image and disk")]
    Target {
        /// The file, escaped.
        path: String,
        /// Name or number.
        test: String,
    },
    /// No tests, or too many.
    #[error("{path} has {count} tests, from 1 to {MOST} are run")]
    Count {
        /// The file, escaped.
        path: String,
        /// How many.
        count: usize,
    },
    /// Two tests of one name would write the same logs.
    #[error("{path} has two tests of one name: {name}")]
    Twice {
        /// The file, escaped.
        path: String,
        /// The name, escaped.
        name: String,
    },
}

/// Reads a spec file.
///
/// # Errors
/// See [`SpecError`].
pub fn read(path: &Path) -> Result<Spec, SpecError> {
    let shown = || crate::escape::path(path);
    let cannot = |source| SpecError::Read { path: shown(), source };
    let file = crate::once::open(path, "the tests").map_err(cannot)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::Read::take(file, LONGEST + 1), &mut text).map_err(cannot)?;
    if text.len() as u64 > LONGEST {
        return Err(SpecError::Long(shown()));
    }
    parse(&text, &shown())
}

fn parse(text: &str, path: &str) -> Result<Spec, SpecError> {
    let spec: Spec = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        let place = line.map_or("somewhere".into(), |line| format!("line {line}"));
        let message = crate::escape::escape(error.message().lines().next().unwrap_or_default().as_bytes());
        SpecError::Toml { path: path.into(), place, message }
    })?;
    if !(1..=MOST).contains(&spec.tests.len()) {
        return Err(SpecError::Count { path: path.into(), count: spec.tests.len() });
    }
    let mut names = std::collections::BTreeSet::new();
    for (number, test) in spec.tests.iter().enumerate() {
        let escaped = |name: &str| crate::escape::escape(name.as_bytes());
        if test.image.is_some() == test.disk.is_some() {
            let test = test.name.as_deref().map_or_else(|| (number + 1).to_string(), escaped);
            return Err(SpecError::Target { path: path.into(), test });
        }
        if let Some(name) = &test.name
            && !names.insert(name)
        {
            return Err(SpecError::Twice { path: path.into(), name: escaped(name) });
        }
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_the_documentation_has_it() {
        let text = "[defaults]\ntimeout = \"90s\"\n\n[[test]]\nname = \"web\"\nimage = \"nginx.oci\"\n\
            http = [\"/\", \"/missing=404\"]\nmatrix = [\"firmware=bios,uefi\"]\n\n[[test]]\ndisk = \"x.img\"\nexit-code = 7\n";
        let spec = parse(text, "smoke.toml").unwrap();
        assert_eq!(spec.defaults.timeout.as_deref(), Some("90s"));
        assert_eq!(spec.tests[0].http.as_ref().unwrap().len(), 2);
        assert_eq!((spec.tests[1].exit_code, spec.tests[1].disk.as_deref()), (Some(7), Some(Path::new("x.img"))));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, message) in [
            ("", "f has 0 tests, from 1 to 1000 are run"),
            ("[[test]]\nname = \"a\"\n", "test a of f needs one of image and disk"),
            ("[[test]]\nimage = \"a\"\ndisk = \"b\"\n", "test 1 of f needs one of image and disk"),
            ("[[test]]\nimage = \"a\"\nexpct = [\"x\"]\n", "f, line 3: unknown field `expct`"),
            ("[[test]\n", "f, line 1: "),
        ] {
            let error = parse(text, "f").unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
        let twice = "[[test]]\nname = \"a\"\nimage = \"x\"\n".repeat(2);
        assert_eq!(parse(&twice, "f").unwrap_err().to_string(), "f has two tests of one name: a");
    }
}
