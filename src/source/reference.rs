//! Image references, in the forms of containers-transports(5) and some more of their kind.
//!
//! ```text
//!  docker-archive:PATH[:REF]   oci:PATH[:REF]   oci-archive:PATH[:REF]   PATH[:REF]   -[:REF]
//!  dir:PATH   rootfs:PATH   rootfs:-   dockerfile:PATH
//!  docker://NAME   docker-daemon:NAME   containers-storage:NAME   containerd:NAME
//!
//!  REF   name:tag │ name │ tag │ :tag │ @sha256:… │ name@sha256:… │ @N   (N-th image, from 0)
//! ```
//!
//! A colon may be part of PATH or begin REF. The longest beginning that exists is the path; when nothing exists, all
//! up to the first colon is. Where no REF can follow, everything is the path. A known transport before the first colon
//! is always a transport: for a file that is called `oci:x`, write `./oci:x`. PATH need not be UTF-8. A file called `-` is
//! `./-`. A command line takes `-:REF` for an option: there it is `docker-archive:-:REF` or `oci-archive:-:REF`. NAME is an
//! image in a registry, and where a command takes one bare, it is a name only if no such file is here and it looks like
//! none; behind other transports it goes to whoever owns the images as it is.

use crate::escape::escape;
use crate::image::Digest;
use crate::registry::{Name, NameError, looks_like_a_name};
use std::ffi::{OsStr, OsString};
use std::fmt;
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
    /// `dir:`, a directory as skopeo makes it.
    Dir,
    /// `rootfs:`, a root file system that is in no image: a folder or a tar.
    Rootfs,
    /// `dockerfile:`, a folder from which an image is built first.
    Dockerfile,
    /// `docker-daemon:`, an image of Docker's daemon, or of one that speaks as it does.
    DockerDaemon,
    /// `containers-storage:`, an image of podman, buildah, CRI-O and skopeo.
    ContainersStorage,
    /// `containerd:`, an image of containerd.
    Containerd,
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
    /// The name that an image has with whoever keeps it.
    Name(String),
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

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Name(name) => f.write_str(name),
            Choice::Digest(digest) => write!(f, "@{digest}"),
            Choice::Index(index) => write!(f, "@{index}"),
        }
    }
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
    #[error("images cannot be read from {transport}: \"{}\"", escape(.reference.as_bytes()))]
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
    /// What follows another transport is no name.
    #[error("not the name of an image: \"{}\"", escape(.0.as_bytes()))]
    NameThere(OsString),
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
            ReferenceError::NameThere(_) => Some("a name is text without blanks: docker-daemon:nginx:latest"),
            ReferenceError::Choice(_) => Some("after the path: NAME:TAG, TAG, @sha256:DIGEST or @POSITION"),
        }
    }
}

const SKOPEO: &str =
    "copy it first: skopeo copy REFERENCE oci:DIRECTORY:NAME, then bootdisk build oci:DIRECTORY:NAME -o DISK";

/// Transports that are known and not built, and what to do instead.
const REFUSED: [(&str, &str); 4] = [
    ("podman", "its images are in containers-storage: bootdisk build containers-storage:NAME -o DISK"),
    ("ostree", SKOPEO),
    ("sif", SKOPEO),
    ("tarball", SKOPEO),
];

/// What follows a transport's colon.
#[derive(Clone, Copy)]
enum Rest {
    /// A path, and perhaps which image of several.
    PathAndChoice,
    /// A path.
    Path,
    /// A name, which is nobody's business here.
    Name,
}

/// Transports by their names.
const TRANSPORTS: [(&str, Transport, Rest); 9] = [
    ("docker-archive", Transport::DockerArchive, Rest::PathAndChoice),
    ("oci", Transport::Oci, Rest::PathAndChoice),
    ("oci-archive", Transport::OciArchive, Rest::PathAndChoice),
    ("dir", Transport::Dir, Rest::Path),
    ("rootfs", Transport::Rootfs, Rest::Path),
    ("dockerfile", Transport::Dockerfile, Rest::Path),
    ("docker-daemon", Transport::DockerDaemon, Rest::Name),
    ("containers-storage", Transport::ContainersStorage, Rest::Name),
    ("containerd", Transport::Containerd, Rest::Name),
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

    /// The folder with a Dockerfile at `path`.
    pub fn dockerfile(path: &Path) -> Reference {
        Reference { transport: Transport::Dockerfile, input: Input::Path(path.to_owned()), choice: None }
    }

    /// Whether a text begins with a transport, so that it is an image and no file.
    pub fn names_transport(text: &OsStr) -> bool {
        split_once(text.as_bytes())
            .is_some_and(|(name, _)| name == b"docker" || known(name).is_some() || refused(name).is_some())
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
    let named = split_once(bytes);
    if let Some((b"docker", rest)) = named {
        return in_registry(rest);
    }
    if let Some(&(transport, hint)) = named.and_then(|(name, _)| refused(name)) {
        return Err(ReferenceError::Transport { transport, reference: text.into(), hint });
    }
    let named = named.and_then(|(name, rest)| known(name).map(|(transport, form)| (transport, form, rest)));
    let (transport, form, rest) = named.unwrap_or((Transport::Detect, Rest::PathAndChoice, bytes));
    let (input, choice) = match form {
        _ if rest.is_empty() => return Err(ReferenceError::Empty(text.into())),
        Rest::Name => (Input::Name(parse_name(rest)?), None),
        Rest::Path => (input_at(rest), None),
        Rest::PathAndChoice => match split_choice(rest, exists) {
            (b"", _) => return Err(ReferenceError::Empty(text.into())),
            (path, choice) => (input_at(path), choice.map(parse_choice).transpose()?),
        },
    };
    Ok(Reference { transport, input, choice })
}

fn known(name: &[u8]) -> Option<(Transport, Rest)> {
    let found = TRANSPORTS.iter().find(|(known, ..)| known.as_bytes() == name);
    found.map(|&(_, transport, rest)| (transport, rest))
}

fn refused(name: &[u8]) -> Option<&'static (&'static str, &'static str)> {
    REFUSED.iter().find(|(refused, _)| refused.as_bytes() == name)
}

fn input_at(path: &[u8]) -> Input {
    match path {
        b"-" => Input::Stdin,
        path => Input::Path(PathBuf::from(OsStr::from_bytes(path))),
    }
}

/// Its owner knows what is a name; what could not be one on any command line is none.
fn parse_name(bytes: &[u8]) -> Result<String, ReferenceError> {
    let text = std::str::from_utf8(bytes).ok();
    let plain = |text: &&str| !text.starts_with('-') && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    text.filter(plain).map(str::to_owned).ok_or_else(|| ReferenceError::NameThere(OsString::from_vec(bytes.to_vec())))
}

/// The path, `-` among them, and what follows it.
fn split_choice<'a>(rest: &'a [u8], exists: &dyn Fn(&Path) -> bool) -> (&'a [u8], Option<&'a [u8]>) {
    match rest {
        b"-" => (rest, None),
        [b'-', b':', choice @ ..] => (&rest[..1], Some(choice)),
        _ => split_path(rest, exists),
    }
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
            Input::Name(name) => name,
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
            ("dir:a:b", "a", (Dir, "a:b", None)),
            ("rootfs:tree", "", (Rootfs, "tree", None)),
            ("rootfs:-", "", (Rootfs, "<stdin>", None)),
            ("rootfs:a:b", "a", (Rootfs, "a:b", None)),
            ("dockerfile:.", "", (Dockerfile, ".", None)),
            ("docker-daemon:app:1", "app", (DockerDaemon, "app:1", None)),
            ("docker-daemon:sha256:12", "", (DockerDaemon, "sha256:12", None)),
            ("containers-storage:[vfs@/a+/b]app", "", (ContainersStorage, "[vfs@/a+/b]app", None)),
            ("containerd:docker.io/library/app:1", "", (Containerd, "docker.io/library/app:1", None)),
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
        for text in ["podman:x", "ostree:x", "sif:x", "tarball:x"] {
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
        for text in [
            "",
            "oci:",
            "oci-archive:",
            "rootfs:",
            "docker-daemon:",
            "docker-daemon:--all",
            "containers-storage:a b",
            "containerd:a\n",
            ":x",
            "x.tar:",
            "x.tar::",
            "x.tar:@",
            "x.tar:@sha256:12",
            "x.tar:@-1",
        ] {
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
