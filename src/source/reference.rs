//! Image references, in the forms of containers-transports(5).
//!
//! ```text
//!  docker-archive:PATH[:REF]   oci:PATH[:REF]   oci-archive:PATH[:REF]   PATH[:REF]   -[:REF]   docker://NAME
//!
//!  REF   name:tag │ name │ tag │ :tag │ @sha256:… │ name@sha256:… │ @N   (N-th image, from 0)
//! ```
//!
//! A colon may be part of PATH or begin REF. The longest beginning that exists is the path; when nothing exists, all
//! up to the first colon is. A known transport before the first colon is always a transport: for a file that is
//! called `oci:x`, write `./oci:x`. PATH need not be UTF-8. A file called `-` is `./-`. A command line takes `-:REF` for
//! an option: there it is `docker-archive:-:REF` or `oci-archive:-:REF`. NAME is an image in a registry; where a command
//! takes one bare, it is a name only if no such file is here and it looks like none.

use crate::escape::escape;
use crate::image::Digest;
use crate::registry::{Name, NameError, looks_like_a_name};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A parsed reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// What to expect at the input.
    pub transport: Transport,
    /// Where the bytes are.
    pub input: Input,
    /// Which image of several.
    pub choice: Option<Choice>,
}

/// How a text is read: [`Reference::parse`] or [`Reference::parse_or_name`].
pub type Parse = fn(&OsStr) -> Result<Reference, ReferenceError>;

/// What to expect at the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `docker-archive:`.
    DockerArchive,
    /// `oci:`, a directory.
    Oci,
    /// `oci-archive:`.
    OciArchive,
    /// `docker://`.
    Docker,
    /// None given: recognised by content.
    Detect,
}

/// Where the bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, a directory, a pipe.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// An image in a registry.
    Registry(Box<Name>),
}

/// Which image of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By name, tag, or both.
    Name(String),
    /// By the digest of its manifest, or of its configuration in a docker archive.
    Digest(Digest),
    /// By position, from 0.
    Index(usize),
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing, or nothing behind the transport.
    #[error("an image reference without a path: \"{}\"", escape(.0.as_bytes()))]
    Empty(OsString),
    /// What follows `docker://` is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A transport that is not built.
    #[error("images cannot be read from {transport} yet: \"{}\"", escape(.reference.as_bytes()))]
    Transport {
        /// Its name, as containers-transports(5) has it.
        transport: &'static str,
        /// The whole reference.
        reference: OsString,
        /// What to do instead.
        hint: &'static str,
    },
    /// What follows the path is neither a name nor a digest nor a position.
    #[error("not an image name or digest: \"{}\"", escape(.0.as_bytes()))]
    Choice(OsString),
}

impl ReferenceError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ReferenceError::Transport { hint, .. } => Some(hint),
            ReferenceError::Empty(_) => {
                Some("give the path of a docker archive or an OCI layout, or - for standard input")
            }
            ReferenceError::Name(_) => Some("docker://[REGISTRY/]REPOSITORY[:TAG][@DIGEST], as docker pull takes it"),
            ReferenceError::Choice(_) => Some("after the path: NAME:TAG, TAG, @sha256:DIGEST or @POSITION"),
        }
    }
}

const SKOPEO: &str =
    "copy it first: skopeo copy REFERENCE oci:DIRECTORY:NAME, then bootdisk build oci:DIRECTORY:NAME -o DISK";

/// Transports that are known and not built, and what to do instead.
const REFUSED: [(&str, &str); 8] = [
    ("docker-daemon", "save it first: docker save NAME | bootdisk build - -o DISK"),
    ("containers-storage", "save it first: podman save NAME | bootdisk build - -o DISK"),
    ("podman", "save it first: podman save NAME | bootdisk build - -o DISK"),
    ("rootfs", "make an image of it first: docker import FILE NAME, then docker save NAME | bootdisk build - -o DISK"),
    ("dir", SKOPEO),
    ("ostree", SKOPEO),
    ("sif", SKOPEO),
    ("tarball", SKOPEO),
];

impl Reference {
    /// Parses a reference. Looks at the file system only to find where PATH ends.
    pub fn parse(text: &OsStr) -> Result<Reference, ReferenceError> {
        parse(text, &exists)
    }

    /// Parses a reference that may also be the bare name of an image in a registry.
    pub fn parse_or_name(text: &OsStr) -> Result<Reference, ReferenceError> {
        parse_or_name(text, &exists)
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn parse_or_name(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Result<Reference, ReferenceError> {
    let reference = parse(text, exists)?;
    let name = text.to_str().filter(|text| looks_like_a_name(text));
    match (&reference, name) {
        (Reference { transport: Transport::Detect, input: Input::Path(path), .. }, Some(name))
            // In a folder that is here a file is meant that is not.
            if !exists(path) && !path.components().next().is_some_and(|first| exists(first.as_ref())) =>
        {
            Ok(Reference { input: Input::Registry(Box::new(Name::parse(name)?)), choice: None, ..reference })
        }
        _ => Ok(reference),
    }
}

fn parse(text: &OsStr, exists: &dyn Fn(&Path) -> bool) -> Result<Reference, ReferenceError> {
    let bytes = text.as_bytes();
    let (transport, rest) = match split_once(bytes) {
        Some((b"docker-archive", rest)) => (Transport::DockerArchive, rest),
        Some((b"oci", rest)) => (Transport::Oci, rest),
        Some((b"oci-archive", rest)) => (Transport::OciArchive, rest),
        Some((b"docker", rest)) => return in_registry(rest),
        Some((name, _)) => match REFUSED.iter().find(|(refused, _)| refused.as_bytes() == name) {
            Some(&(transport, hint)) => {
                return Err(ReferenceError::Transport { transport, reference: text.into(), hint });
            }
            None => (Transport::Detect, bytes),
        },
        None => (Transport::Detect, bytes),
    };
    if rest.is_empty() {
        return Err(ReferenceError::Empty(text.into()));
    }
    let (path, choice) = match rest {
        b"-" => (&rest[..1], None),
        [b'-', b':', choice @ ..] => (&rest[..1], Some(choice)),
        _ => split_path(rest, exists),
    };
    let input = match path {
        b"" => return Err(ReferenceError::Empty(text.into())),
        b"-" => Input::Stdin,
        path => Input::Path(PathBuf::from(OsStr::from_bytes(path))),
    };
    Ok(Reference { transport, input, choice: choice.map(parse_choice).transpose()? })
}

fn in_registry(rest: &[u8]) -> Result<Reference, ReferenceError> {
    let text = String::from_utf8_lossy(rest);
    let Some(name) = text.strip_prefix("//") else { return Err(NameError::Form(format!("docker:{text}")).into()) };
    let input = Input::Registry(Box::new(Name::parse(name)?));
    Ok(Reference { transport: Transport::Docker, input, choice: None })
}

fn split_once(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == b':')?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The path and what follows it.
fn split_path<'a>(bytes: &'a [u8], exists: &dyn Fn(&Path) -> bool) -> (&'a [u8], Option<&'a [u8]>) {
    let found = |end: &usize| *end > 0 && exists(Path::new(OsStr::from_bytes(&bytes[..*end])));
    let colons = || (0..bytes.len()).filter(|&i| bytes[i] == b':');
    let end = Some(bytes.len()).filter(found).or_else(|| colons().rev().find(found)).or_else(|| colons().next());
    match end {
        Some(end) if end < bytes.len() => (&bytes[..end], Some(&bytes[end + 1..])),
        _ => (bytes, None),
    }
}

fn parse_choice(bytes: &[u8]) -> Result<Choice, ReferenceError> {
    let wrong = || ReferenceError::Choice(OsString::from_vec(bytes.to_vec()));
    let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
    match text.split_once('@') {
        Some(("", position)) if !position.is_empty() && position.bytes().all(|b| b.is_ascii_digit()) => {
            position.parse().map(Choice::Index).map_err(|_| wrong())
        }
        Some((_, digest)) => digest.parse().map(Choice::Digest).map_err(|_| wrong()),
        None if text.is_empty() || text == ":" => Err(wrong()),
        None => Ok(Choice::Name(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, existing: &[&str]) -> (Transport, String, Option<Choice>) {
        let reference = parse(OsStr::new(text), &|path| existing.iter().any(|e| Path::new(e) == path)).unwrap();
        let input = match reference.input {
            Input::Stdin => "<stdin>".into(),
            Input::Path(path) => path.to_str().unwrap().into(),
            Input::Registry(name) => name.to_string(),
        };
        (reference.transport, input, reference.choice)
    }

    #[test]
    fn every_form() {
        let name = |name: &str| Some(Choice::Name(name.into()));
        let digest = Digest::sha256(b"");
        let by_digest = Some(Choice::Digest(digest.clone()));
        use Transport::*;
        for (text, existing, expected) in [
            ("app.tar", "", (Detect, "app.tar", None)),
            ("app.tar:x:1", "app.tar", (Detect, "app.tar", name("x:1"))),
            ("-", "", (Detect, "<stdin>", None)),
            ("-:x:1", "", (Detect, "<stdin>", name("x:1"))),
            ("oci:dir", "", (Oci, "dir", None)),
            ("oci:dir:tag", "", (Oci, "dir", name("tag"))),
            ("oci:/a:b/dir:tag", "/a:b/dir", (Oci, "/a:b/dir", name("tag"))),
            ("oci-archive:x.tar:quay.io/a/b:1", "x.tar", (OciArchive, "x.tar", name("quay.io/a/b:1"))),
            ("docker-archive:x.tar:@2", "x.tar", (DockerArchive, "x.tar", Some(Choice::Index(2)))),
            ("docker-archive:-", "", (DockerArchive, "<stdin>", None)),
            ("a:b", "a:b", (Detect, "a:b", None)),
            ("a:b:c", "a:b", (Detect, "a:b", name("c"))),
            ("a:b:c", "a:b a", (Detect, "a:b", name("c"))),
            ("./oci:x", "./oci:x", (Detect, "./oci:x", None)),
            ("docker://nginx", "", (Docker, "docker.io/library/nginx:latest", None)),
            ("docker://nginx", "nginx", (Docker, "docker.io/library/nginx:latest", None)),
        ] {
            let existing: Vec<_> = existing.split_whitespace().collect();
            let (transport, path, choice) = expected;
            assert_eq!(parsed(text, &existing), (transport, path.to_string(), choice), "{text}");
        }
        assert_eq!(parsed(&format!("x.tar:@{digest}"), &["x.tar"]).2, by_digest);
        assert_eq!(parsed(&format!("x.tar:app@{digest}"), &["x.tar"]).2, by_digest);
    }

    #[test]
    fn transports_that_are_not_built_say_what_to_do() {
        for text in ["docker-daemon:nginx:latest", "containers-storage:x", "rootfs:x.tar", "dir:x"] {
            let error = parse(OsStr::new(text), &|_| true).unwrap_err();
            assert!(matches!(error, ReferenceError::Transport { .. }), "{text}");
            assert!(error.hint().is_some());
            assert!(error.to_string().ends_with(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn a_bare_name_is_an_image_only_where_no_such_file_is_here_and_none_may_be_meant() {
        for (text, existing, registry) in [
            ("nginx", "", true),
            ("nginx:1", "", true),
            ("ghcr.io/x/y", "", true),
            ("out/nginx", "", true),
            ("nginx", "nginx", false),
            ("nginx:1", "nginx", false),
            ("nginx:1", "nginx:1", false),
            ("out/nginx", "out", false),
            ("ghcr.io/x/y", "ghcr.io", false),
            ("nginx.tar", "", false),
            ("./nginx", "", false),
            ("oci:nginx", "", false),
            ("-", "", false),
        ] {
            let reference = parse_or_name(OsStr::new(text), &|path| path == Path::new(existing)).unwrap();
            assert_eq!(matches!(reference.input, Input::Registry(_)), registry, "{text} beside {existing}");
            let strict = parse(OsStr::new(text), &|path| path == Path::new(existing)).unwrap();
            assert!(!matches!(strict.input, Input::Registry(_)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["docker:nginx", "docker:/nginx", "docker://", "docker://Nginx", "docker://a:b:c"] {
            assert!(matches!(parse(OsStr::new(text), &|_| true), Err(ReferenceError::Name(_))), "{text}");
        }
        for text in ["", "oci:", "oci-archive:", ":x", "x.tar:", "x.tar::", "x.tar:@", "x.tar:@sha256:12", "x.tar:@-1"]
        {
            assert!(parse(OsStr::new(text), &|path| path == Path::new("x.tar")).is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_need_not_be_text() {
        let text = OsStr::from_bytes(b"oci:/tmp/\xff\xfe:tag");
        let reference = parse(text, &|_| false).unwrap();
        assert_eq!(reference.input, Input::Path(OsStr::from_bytes(b"/tmp/\xff\xfe").into()));
        assert_eq!(reference.choice, Some(Choice::Name("tag".into())));
    }
}
