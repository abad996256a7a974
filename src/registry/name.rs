//! Names of images in registries, as Docker completes them.
//!
//! ```text
//!  nginx                        docker.io/library/nginx:latest
//!  user/app:1                   docker.io/user/app:1
//!  ghcr.io/x/y@sha256:…         ghcr.io/x/y@sha256:…
//!  localhost:5000/a:1@sha256:…  localhost:5000/a:1@sha256:…     the digest decides
//! ```
//!
//! What stands before the first `/` is a registry if it has a `.`, a `:` or a capital letter, or is `localhost`.
//!
//! Specification: the grammar of github.com/distribution/reference.

use crate::escape::escape;
use crate::image::Digest;
use std::fmt;

/// Docker's own registry.
pub const DOCKER: &str = "docker.io";
/// Most bytes of a repository's name.
const MAX_PATH: usize = 255;
/// Most bytes of a tag.
const MAX_TAG: usize = 128;

/// An image in a registry, by its full name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It does not follow the grammar.
    #[error("not the name of an image in a registry: \"{}\"", escape(.0.as_bytes()))]
    Form(String),
    /// Capital letters in the repository.
    #[error("the name of a repository has no capital letters: \"{}\"", escape(.0.as_bytes()))]
    Capitals(String),
    /// What follows the `@`.
    #[error("\"{}\": {why}", escape(.text.as_bytes()))]
    Digest {
        /// The whole text.
        text: String,
        /// What is wrong with its digest.
        why: crate::image::DigestError,
    },
    /// 64 hexadecimal digits name an image of a daemon.
    #[error("the identifier of an image in a daemon, not a name in a registry: \"{}\"", escape(.0.as_bytes()))]
    Identifier(String),
}

impl Name {
    /// Completes and checks a name.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        let wrong = || NameError::Form(text.chars().take(300).collect());
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NameError::Identifier(text.into()));
        }
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(named);
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_registry(registry) || !tag.is_none_or(is_tag) {
            return Err(wrong());
        }
        if repository.bytes().any(|b| b.is_ascii_uppercase()) && is_repository(&repository.to_ascii_lowercase()) {
            return Err(NameError::Capitals(text.into()));
        }
        if !is_repository(repository) {
            return Err(wrong());
        }
        let digest = digest.map(str::parse).transpose();
        let digest: Option<Digest> = digest.map_err(|why| NameError::Digest { text: text.into(), why })?;
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        let repository = match registry == DOCKER && !repository.contains('/') {
            true => format!("library/{repository}"),
            false => repository.to_owned(),
        };
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".into()));
        Ok(Name { registry: registry.into(), repository, tag, digest })
    }

    /// The registry, with its port if one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in it.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, which means nothing where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Digest or tag, whichever decides.
    pub fn decides(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// Ends of names of archives, disks, kernels and packages. A file of that name that is not there yet is never an image
/// of somebody's.
const ENDS_OF_FILES: [&str; 30] = [
    ".tar", ".gz", ".tgz", ".zst", ".xz", ".txz", ".bz2", ".tbz2", ".lz4", ".zip", ".oci", ".img", ".raw", ".qcow2",
    ".qcow", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso", ".ova", ".bin", ".efi", ".deb", ".rpm", ".apk", ".json",
    ".toml", ".html", ".cpio",
];

/// Whether a text that is no file here may be meant as the name of an image in a registry.
pub fn looks_like_a_name(text: &str) -> bool {
    let path = text.split_once('@').map_or(text, |(path, _)| path);
    let path = path.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(path, |(path, _)| path);
    let is_file = |text: &str| ENDS_OF_FILES.iter().any(|end| text.ends_with(end));
    !text.starts_with(['/', '.', '-', '~'])
        && !path.starts_with("vmlinu")
        && !is_file(path)
        && !is_file(text)
        && Name::parse(text).is_ok()
}

/// The registry and the rest.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DOCKER, text),
    }
}

fn is_registry(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let is_address = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    port.is_none_or(is_port) && host.split('.').all(is_label)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_PATH && text.split('/').all(is_component)
}

/// Small letters and digits, with `.`, `_`, `__` or hyphens between them.
fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    let separators = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    separators.into_iter().all(|between| matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let pinned = format!("@sha256:{HEX}");
        for (text, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1", "docker.io/library/nginx:1"),
            ("library/nginx", "docker.io/library/nginx:latest"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/user/app:1", "docker.io/user/app:1"),
            ("ghcr.io/x/y:tag", "ghcr.io/x/y:tag"),
            ("ghcr.io/y", "ghcr.io/y:latest"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("Host/x", "Host/x:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
            ("127.0.0.1:5000/a/b/c:V1.0-x_y", "127.0.0.1:5000/a/b/c:V1.0-x_y"),
            ("a/b/c", "docker.io/a/b/c:latest"),
            ("a__b.c--d_e", "docker.io/library/a__b.c--d_e:latest"),
            ("1234", "docker.io/library/1234:latest"),
        ] {
            assert_eq!(Name::parse(text).unwrap().to_string(), full, "{text}");
            assert_eq!(Name::parse(full).unwrap().to_string(), full, "a full name is full: {full}");
        }
        let name = Name::parse(&format!("app:1{pinned}")).unwrap();
        assert_eq!(name.to_string(), format!("docker.io/library/app:1{pinned}"));
        assert_eq!(name.decides(), format!("sha256:{HEX}"), "the digest decides");
        assert_eq!(Name::parse(&format!("app{pinned}")).unwrap().tag(), None);
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "x".repeat(129));
        for text in [
            "",
            ":",
            "@",
            "/",
            "a/",
            "/a",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a._b",
            "a:",
            "a:-x",
            "a:.x",
            "a:b:c",
            "a b",
            "A",
            "a/B",
            "ghcr.io/",
            "ghcr.io:/x",
            "ghcr.io:x/y",
            "-host.io/x",
            "host-.io/x",
            "a@",
            "a@sha256:12",
            "a@md5:00",
            "[::1/x",
            "[]:1/x",
            "x\u{1b}",
            "é",
            "https://ghcr.io/x",
            "a@b@c",
            HEX,
            &long,
            &tag,
        ] {
            assert!(Name::parse(text).is_err(), "{text:?}");
        }
        let capitals = Name::parse("Nginx:1").unwrap_err().to_string();
        assert_eq!(capitals, "the name of a repository has no capital letters: \"Nginx:1\"");
    }

    /// The verdicts of the grammar as the specification writes it, on texts that are nearly names.
    #[test]
    fn the_verdicts_are_those_of_the_grammar() {
        let label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
        let domain = format!(r"(?:{label}(?:\.{label})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?");
        let component = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*";
        let grammar = format!(
            r"^{domain}/{component}(?:/{component})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[a-f0-9]{{64}})?$"
        );
        let grammar = regex::Regex::new(&grammar).unwrap();
        let letters =
            ["a", "b", "0", "9", "B", ".", "-", "_", "/", ":", "@", "[", "]", " ", "é", "localhost", "docker.io"];
        let pinned = format!("@sha256:{HEX}");
        let (mut seed, mut right) = (7u32, 0);
        let mut roll = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        for _ in 0..20_000 {
            // Mostly letters, so that many are names.
            let one =
                |roll: &mut dyn FnMut(usize) -> usize| letters[if roll(3) > 0 { roll(4) } else { roll(letters.len()) }];
            let mut text: String = (0..roll(12)).map(|_| one(&mut roll)).collect();
            if roll(8) == 0 {
                text.push_str(&pinned);
            }
            let (registry, rest) = split_registry(&text);
            let expected = grammar.is_match(&format!("{registry}/{rest}"));
            assert_eq!(Name::parse(&text).is_ok(), expected, "{text:?}");
            right += usize::from(expected);
        }
        assert!(right > 1000 && right < 19_000, "{right} of them are names");
    }

    #[test]
    fn a_file_that_is_not_there_never_becomes_an_image() {
        for (text, expected) in [
            ("nginx", true),
            ("nginx:1.27", true),
            ("ghcr.io/x/y:tag", true),
            ("localhost:5000/x", true),
            ("user/app", true),
            ("./nginx", false),
            ("../nginx", false),
            ("/nginx", false),
            ("-nginx", false),
            ("~/nginx", false),
            ("nginx.tar", false),
            ("nginx.tar:1", false),
            ("out/nginx.img", false),
            ("nginx.tar.gz", false),
            ("disk.qcow2", false),
            ("app.oci:tag", false),
            ("vmlinuz-6.1", false),
            ("app:v1.tar", false),
            ("kernel.deb", false),
            ("UPPER", false),
            ("a b", false),
            ("", false),
        ] {
            assert_eq!(looks_like_a_name(text), expected, "{text}");
        }
    }
}
