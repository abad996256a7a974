//! An image of Docker's daemon, or of podman's service, which speaks as it does: one GET on its socket.
//!
//! ```text
//!  GET /images/NAME/get HTTP/1.0  ─▶  200, and the archive of `docker save` to the connection's end
//!                                     404, {"message": "…"}
//! ```
//!
//! HTTP/1.0, as an answer without pieces is one to read with nothing in between. The daemon is where `DOCKER_HOST` says, else
//! at the first of the usual sockets where somebody listens. Not supported: TLS, ssh and other hosts, which the program docker does.
//!
//! Docker Engine API, ImageGet.

use super::OutsideError;
use crate::escape::escape;
use crate::percent;
use crate::source::{SourceError, spool};
use serde::Deserialize;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Longest head of an answer, in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Longest error that is read, in bytes.
const MAX_ERROR: u64 = 64 << 10;

/// Where a daemon may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Socket(PathBuf),
    /// Host and port, which must be this machine's own.
    Port(String),
}

/// The archive of an image.
pub fn archive(name: &str) -> Result<File, SourceError> {
    let addresses = addresses(&|name| std::env::var_os(name))?;
    let mut place = String::new();
    for asked in names(name) {
        let (address, stream) = connect(&addresses)?;
        place = address.shown();
        match get(stream, &asked).map_err(|source| OutsideError::Daemon { place: place.clone(), source })? {
            Answer::Archive(body) => return spool::copy_stream(body),
            Answer::Unknown => {}
            Answer::Refused(said) => return Err(OutsideError::Refused { place, said }.into()),
        }
    }
    Err(OutsideError::Unknown { place, name: escape(name.as_bytes()) }.into())
}

/// What an image may be called. A repository alone would be all of its tags, so `latest` is meant, or it is an id.
fn names(name: &str) -> Vec<String> {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) {
        return vec![name.to_owned()];
    }
    let id = name.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| name.to_owned());
    [format!("{name}:latest")].into_iter().chain(id).collect()
}

/// Where to look, by these environment variables.
fn addresses(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Vec<Address>, OutsideError> {
    let env = |name| env(name).filter(|value| !value.is_empty());
    if let Some(host) = env("DOCKER_HOST") {
        let host = host.to_string_lossy().into_owned();
        let secure = env("DOCKER_TLS_VERIFY").is_some();
        return match host.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(vec![Address::Socket(path.into())]),
            Some(("tcp" | "http", port)) if !secure && is_of_this_machine(port) => Ok(vec![Address::Port(port.into())]),
            _ => Err(OutsideError::Host(escape(host.as_bytes()))),
        };
    }
    let below = |name, path: &str| env(name).map(|dir| Path::new(&dir).join(path));
    let sockets = [
        Some("/var/run/docker.sock".into()),
        below("XDG_RUNTIME_DIR", "docker.sock"),
        below("HOME", ".docker/run/docker.sock"),
        below("HOME", ".docker/desktop/docker.sock"),
        below("XDG_RUNTIME_DIR", "podman/podman.sock"),
        Some("/run/podman/podman.sock".into()),
    ];
    Ok(sockets.into_iter().flatten().map(Address::Socket).collect())
}

/// What goes over a network has to be encrypted, and is docker's business.
fn is_of_this_machine(port: &str) -> bool {
    let port = port.trim_end_matches('/');
    port.to_socket_addrs().is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()))
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The first address where somebody listens.
fn connect(addresses: &[Address]) -> Result<(&Address, Box<dyn Stream>), OutsideError> {
    let mut denied = None;
    for address in addresses {
        match address.connect() {
            Ok(stream) => return Ok((address, stream)),
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                denied.get_or_insert(OutsideError::Daemon { place: address.shown(), source });
            }
            Err(_) => {}
        }
    }
    Err(denied.unwrap_or_else(|| OutsideError::NoDaemon(addresses.iter().map(Address::shown).collect())))
}

impl Address {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Address::Socket(path) => Box::new(UnixStream::connect(path)?),
            Address::Port(port) => Box::new(TcpStream::connect(port.trim_end_matches('/'))?),
        })
    }

    fn shown(&self) -> String {
        match self {
            Address::Socket(path) => crate::escape::path(path),
            Address::Port(port) => escape(port.as_bytes()),
        }
    }
}

/// What a daemon answers.
enum Answer {
    /// What follows is the archive.
    Archive(Body),
    /// It has no such image.
    Unknown,
    /// Anything else, in its words, escaped.
    Refused(String),
}

fn get(mut stream: Box<dyn Stream>, name: &str) -> io::Result<Answer> {
    let request = format!("GET /images/{}/get HTTP/1.0\r\nHost: docker\r\n\r\n", percent::in_a_path(name));
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let head = Head::read(&mut reader)?;
    let body = Body { reader, left: head.length };
    Ok(match head.status {
        200 => Answer::Archive(body),
        404 => Answer::Unknown,
        status => Answer::Refused(message(body, status)?),
    })
}

/// What the daemon says, or its status.
fn message(body: Body, status: u16) -> io::Result<String> {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let mut text = Vec::new();
    body.take(MAX_ERROR).read_to_end(&mut text)?;
    let said = serde_json::from_slice::<Message>(&text).map(|said| said.message).ok();
    Ok(said.map_or_else(|| format!("status {status}"), |said| escape(said.trim().as_bytes())))
}

/// The head of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<u64>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Head> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut lines = reader
            .take(MAX_HEAD)
            .split(b'\n')
            .map(|line| line.map(|line| String::from_utf8_lossy(line.trim_ascii()).into_owned()));
        let first = lines.next().transpose()?.unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let mut head = Head { status: status.ok_or_else(|| wrong("its answer is no HTTP"))?, length: None };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else {
                return if line.is_empty() { Ok(head) } else { Err(wrong("its answer is no HTTP")) };
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.trim().parse().ok(),
                "transfer-encoding" => return Err(wrong("its answer is chunked, which HTTP/1.0 does not allow")),
                _ => {}
            }
        }
        Err(wrong("its answer ends in its head"))
    }
}

/// What follows the head, which is as long as was said, or ends with the connection.
struct Body {
    reader: BufReader<Box<dyn Stream>>,
    left: Option<u64>,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(left) = self.left else { return self.reader.read(buffer) };
        let most = left.min(buffer.len() as u64) as usize;
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon's answer is cut short"));
        }
        self.left = Some(left - read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_looked_for_where_they_are() {
        let found = |vars: &[(&str, &str)]| {
            let env =
                |name: &str| vars.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
            addresses(&env).map(|all| all.iter().map(Address::shown).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(found(&[]).unwrap(), "/var/run/docker.sock /run/podman/podman.sock");
        let all = found(&[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/h"), ("DOCKER_HOST", "")]).unwrap();
        assert!(all.contains(" /run/user/7/docker.sock ") && all.contains(" /run/user/7/podman/podman.sock "), "{all}");
        for (host, place) in [
            ("unix:///a/b.sock", Some("/a/b.sock")),
            ("tcp://127.0.0.1:2375", Some("127.0.0.1:2375")),
            ("tcp://[::1]:2375/", Some("[::1]:2375/")),
            ("tcp://192.0.2.1:2375", None),
            ("ssh://me@host", None),
            ("unix://relative", None),
            ("/a/b.sock", None),
            ("tcp://127.0.0.1", None),
        ] {
            assert_eq!(found(&[("DOCKER_HOST", host)]).ok().as_deref(), place, "{host}");
        }
        assert!(found(&[("DOCKER_HOST", "tcp://127.0.0.1:2376"), ("DOCKER_TLS_VERIFY", "1")]).is_err());
    }

    #[test]
    fn a_repository_alone_is_its_latest_or_an_id() {
        assert_eq!(names("app"), ["app:latest"]);
        assert_eq!(names("5b28e10166fe"), ["5b28e10166fe:latest", "5b28e10166fe"]);
        assert_eq!(names("host:5000/app"), ["host:5000/app:latest"]);
        assert_eq!(names("app:1"), ["app:1"]);
        assert_eq!(names("app@sha256:12"), ["app@sha256:12"]);
    }

    #[test]
    fn answers_are_read_by_their_heads() {
        let read = |text: &str| Head::read(&mut text.as_bytes()).map_err(|error| error.to_string());
        let ok = |status, length| Ok(Head { status, length });
        assert_eq!(read("HTTP/1.0 200 OK\r\nContent-Type: x\r\n\r\nbody"), ok(200, None));
        assert_eq!(read("HTTP/1.1 404 Not Found\ncontent-length: 7\n\n"), ok(404, Some(7)));
        for bad in ["", "SSH-2.0-x\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(&format!("HTTP/1.0 200 OK\r\n{}", "a: b\r\n".repeat(20_000))).is_err());
    }

    /// A daemon that answers once with these bytes.
    fn asked(answer: &'static [u8]) -> io::Result<Answer> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = std::thread::spawn(move || {
            let request = BufReader::new(&theirs).lines().map(Result::unwrap);
            assert_eq!(request.take_while(|line| !line.is_empty()).count(), 2);
            theirs.write_all(answer).unwrap();
        });
        let answer = get(Box::new(ours), "app:1");
        daemon.join().unwrap();
        answer
    }

    #[test]
    fn what_a_daemon_says_is_said_escaped_and_a_cut_is_noticed() {
        let refused = asked(b"HTTP/1.0 500 x\r\n\r\n{\"message\": \"no room\\u001b[2J\\n\"}").unwrap();
        assert!(matches!(refused, Answer::Refused(said) if said == "no room\\x1b[2J"));
        assert!(matches!(asked(b"HTTP/1.0 503 x\r\n\r\nhtml").unwrap(), Answer::Refused(said) if said == "status 503"));
        assert!(matches!(asked(b"HTTP/1.0 404 x\r\n\r\n{}").unwrap(), Answer::Unknown));
        let Answer::Archive(mut body) = asked(b"HTTP/1.0 200 x\r\nContent-Length: 9\r\n\r\nabc").unwrap() else {
            panic!("an archive")
        };
        assert_eq!(body.read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
