//! Platforms, `os/architecture[/variant]`, in Go's names: which manifest of an index fits which machine.
//!
//! | wanted | fits, best first |
//! |---|---|
//! | `amd64`, `amd64/v1` | none or v1 |
//! | `amd64/v3` | v3, v2, v1 or none |
//! | `arm`, `arm/v7` | v7 or none, v6, v5 |
//! | `arm/v6` | v6, v5 |
//! | `arm64`, `arm64/v8` | v8 or none |
//! | `arm64/v9` | v9, v8 or none |
//! | `amd64`, `arm64`, when there is nothing else | v2, v3, … of amd64, v9 of arm64, the lowest first |
//! | anything else | the same variant |
//!
//! A lower variant runs on a higher machine. The other way round only where no variant was asked for and the image has
//! no other: Docker and containerd take an image that is the only one, and most machines can do what v2 and v3 want.
//! `os.version` and `os.features` matter only to
//! Windows and are not read. OCI image-spec, image-index.md, "Platform Variants".

use crate::escape::escape;
use std::fmt;
use std::str::FromStr;

/// An operating system, an architecture and perhaps a variant of it, normalised: `x86_64` is `amd64`, `aarch64` is
/// `arm64`, `armhf` is `arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// `linux` for everything that can be booted.
    pub os: String,
    /// In Go's names: `amd64`, `arm64`, `arm`, `riscv64`, …
    pub architecture: String,
    /// `v7`, `v8`, …
    pub variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a platform (os/architecture or os/architecture/variant): \"{}\"", escape(.0.as_bytes()))]
pub struct PlatformError(pub String);

impl Platform {
    /// A normalised platform.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let variant = variant.filter(|v| !v.is_empty()).map(str::to_lowercase);
        let architecture = architecture.to_lowercase();
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", Some("v1")) => ("amd64".into(), None),
            ("x86_64" | "x86-64", _) => ("amd64".into(), variant),
            ("i386" | "i486" | "i586" | "i686", _) => ("386".into(), variant),
            ("aarch64" | "arm64", Some("8" | "v8") | None) => ("arm64".into(), None),
            ("aarch64", _) => ("arm64".into(), variant),
            ("armhf", None) => ("arm".into(), Some("v7".into())),
            ("armel", None) => ("arm".into(), Some("v6".into())),
            ("arm", Some("5" | "6" | "7" | "8")) => (architecture.clone(), variant.map(|v| format!("v{v}"))),
            _ => (architecture.clone(), variant),
        };
        let os = os.to_lowercase();
        Platform { os: if os == "macos" { "darwin".into() } else { os }, architecture, variant }
    }

    /// Linux on the architecture this program was built for.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Platform::new("linux", architecture, None)
    }

    /// How well an image made for `image` fits a machine that is `self`: 0 is best, `None` not at all.
    pub fn accepts(&self, image: &Platform) -> Option<u32> {
        if self.os != image.os || self.architecture != image.architecture {
            return None;
        }
        let baseline = match self.architecture.as_str() {
            "amd64" => 1,
            "arm" => 7,
            "arm64" => 8,
            _ => return (self.variant == image.variant).then_some(0),
        };
        match (number(&self.variant, baseline), number(&image.variant, baseline)) {
            (Some(wanted), Some(offered)) => wanted.checked_sub(offered).or_else(|| {
                let any_will_do = self.variant.is_none() && self.architecture != "arm";
                any_will_do.then(|| AS_A_LAST_RESORT + offered)
            }),
            _ => (self.variant == image.variant).then_some(0),
        }
    }

    /// Whether this is an image that not every machine `wanted` stands for can run.
    pub fn is_beyond(&self, wanted: &Platform) -> bool {
        wanted.accepts(self).is_some_and(|rank| rank >= AS_A_LAST_RESORT)
    }

    /// Whether it is the mark of what is no image at all: attestations have `unknown/unknown`.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

/// The rank of variants that are higher than the one a machine certainly is.
const AS_A_LAST_RESORT: u32 = 1000;

/// The number of a variant such as `v7`, or the baseline's when there is no variant.
fn number(variant: &Option<String>, baseline: u32) -> Option<u32> {
    match variant.as_deref() {
        None => Some(baseline),
        Some(variant) => variant.strip_prefix('v')?.parse().ok(),
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let word =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        match parts.as_slice() {
            _ if !parts.iter().all(word) => Err(PlatformError(text.into())),
            [os, architecture] => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, Some(variant))),
            _ => Err(PlatformError(text.into())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", escape(self.os.as_bytes()), escape(self.architecture.as_bytes()))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", escape(variant.as_bytes())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(wanted: &str, offered: &str) -> Option<u32> {
        wanted.parse::<Platform>().unwrap().accepts(&offered.parse().unwrap())
    }

    #[test]
    fn the_platform_table() {
        for (wanted, offered, expected) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v1", Some(0)),
            ("linux/x86_64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/amd64/v2", Some(1002)),
            ("linux/amd64", "linux/amd64/v3", Some(1003)),
            ("linux/amd64/v2", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64/v3", Some(0)),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm", "linux/arm/v7", Some(0)),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/arm", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v6", "linux/arm", None),
            ("linux/arm/v6", "linux/arm/v5", Some(1)),
            ("linux/armhf", "linux/arm/v7", Some(0)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/aarch64", "linux/arm64", Some(0)),
            ("linux/arm64", "linux/arm64/v9", Some(1009)),
            ("linux/arm", "linux/arm/v8", None),
            ("linux/arm64/v9", "linux/arm64", Some(1)),
            ("linux/riscv64", "linux/riscv64", Some(0)),
            ("linux/riscv64/rva20u64", "linux/riscv64", None),
            ("linux/amd64/odd", "linux/amd64", None),
        ] {
            assert_eq!(fit(wanted, offered), expected, "{wanted} takes {offered}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux/\x1b", "linux//v7"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
