//! A list of components of anybody, read: which packages it names, by their package URLs.
//!
//! Bounds: [`MAX`] bytes of text, 128 levels (serde_json's), 100,000 components; components in components are not looked at.
//! Of a package URL the qualifiers are left out but for `arch` and `epoch`: programs differ in what else they write there.

use super::purl;
use crate::contents::installed::Installed;
use crate::escape::{escape, printable};
use crate::image::list;
use crate::shorten::fit;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Most bytes of a document.
pub const MAX: u64 = 64 << 20;
/// Longest reason that an error shows, in characters.
const SHOWN: usize = 160;
/// What is at the start of every package URL of a system's package.
const KINDS: [&str; 4] = ["pkg:deb/", "pkg:apk/", "pkg:rpm/", "pkg:alpm/"];

/// Why a text is no list of components.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Too long.
    #[error("a list of components has at most {} MiB", MAX >> 20)]
    TooLarge,
    /// No JSON, or not that of a list.
    #[error("not a list of components (CycloneDX in JSON): {0}")]
    Json(String),
    /// No package of it can be compared.
    #[error("the list names no package of a distribution by its package URL")]
    NoPackages,
}

/// Packages that one of two has alone. Texts are printable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Packages that are in both.
    pub same: usize,
    /// In the list alone.
    pub missing: Vec<String>,
    /// On the disk alone.
    pub more: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(rename = "bomFormat")]
    format: String,
    #[serde(default, deserialize_with = "list")]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    purl: Option<String>,
}

/// Whether a text is a list of components, well-formed or not.
pub fn is_document(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Any {
        #[serde(rename = "bomFormat")]
        _format: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Any>(text).is_ok()
}

/// Package URLs of the packages that a document names.
///
/// # Errors
/// When it is none, or names none.
pub fn read(text: &[u8]) -> Result<BTreeSet<String>, ListError> {
    if text.len() as u64 > MAX {
        return Err(ListError::TooLarge);
    }
    let json = |error: serde_json::Error| ListError::Json(fit(&printable(&error.to_string()), SHOWN));
    let document: Document = serde_json::from_slice(text).map_err(json)?;
    if document.format != "CycloneDX" {
        return Err(ListError::Json(format!("bomFormat is \"{}\"", fit(&escape(document.format.as_bytes()), SHOWN))));
    }
    let of_systems = |url: &String| KINDS.iter().any(|kind| url.starts_with(kind));
    let urls = document.components.into_iter().filter_map(|component| component.purl).filter(of_systems);
    let urls: BTreeSet<String> = urls.map(|url| without(&url)).collect();
    if urls.is_empty() { Err(ListError::NoPackages) } else { Ok(urls) }
}

/// Compares a list with what is installed.
pub fn compare(listed: &BTreeSet<String>, installed: &Installed) -> Listed {
    let all = installed.packages.iter().map(|package| without(&purl(package, installed.system.as_ref())));
    let there: BTreeSet<String> = all.collect();
    let alone = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
        one.difference(other).map(|url| escape(url.as_bytes())).collect()
    };
    Listed { same: listed.intersection(&there).count(), missing: alone(listed, &there), more: alone(&there, listed) }
}

/// The URL with the qualifiers that tell packages apart, and with `%3A` as others write a colon.
fn without(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let (start, qualifiers) = url.split_once('?').unwrap_or((url, ""));
    let telling = |one: &&str| one.starts_with("arch=") || one.starts_with("epoch=");
    let mut kept: Vec<&str> = qualifiers.split('&').filter(telling).collect();
    kept.sort_unstable();
    let start = start.replace("%3A", ":").replace("%3a", ":");
    if kept.is_empty() { start } else { format!("{start}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::installed::{Manager, Package};

    #[test]
    fn packages_that_one_side_lacks_are_told() {
        let text = br#"{"bomFormat":"CycloneDX","components":[
            {"purl":"pkg:deb/debian/a@1%3A1?distro=x&arch=amd64"},{"purl":"pkg:deb/debian/b@2"},{"purl":"pkg:npm/x@1"},{}]}"#;
        assert!(is_document(text));
        let listed = read(text).unwrap();
        let package = |name: &str, version: &str, arch: Option<&str>| Package {
            manager: Manager::Dpkg,
            name: name.into(),
            version: version.into(),
            epoch: None,
            arch: arch.map(str::to_owned),
            source: None,
        };
        let system = crate::contents::installed::System { id: "debian".into(), version: None, name: None };
        let packages = vec![package("a", "1:1", Some("amd64")), package("c\u{202e}", "3", None)];
        let installed = Installed { system: Some(system), packages, doubts: vec![] };
        let found = compare(&listed, &installed);
        assert_eq!((found.same, found.missing), (1, vec!["pkg:deb/debian/b@2".to_owned()]));
        assert_eq!(found.more, ["pkg:deb/debian/c%E2%80%AE@3"]);
    }

    #[test]
    fn what_is_no_list_is_refused_in_one_sentence() {
        let error = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(error("[").starts_with("not a list of components (CycloneDX in JSON): EOF"));
        assert!(error(r#"{"bomFormat":"\u001b[2J"}"#).ends_with("bomFormat is \"\\x1b[2J\""));
        assert_eq!(error(r#"{"bomFormat":"CycloneDX"}"#), ListError::NoPackages.to_string());
        assert!(!is_document(b"{}") && !is_document(b"x"));
    }
}
