//! An HTTP answer through a forwarded port.

use super::super::board::Board;
use super::super::expect::Http;
use super::{LOOK, PAUSE};
use crate::escape::printable;
use std::net::Ipv4Addr;
use std::time::Duration;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Asks until the answer has the status. `assumed` is how the port was chosen, where that needs saying.
pub(in crate::smoke) fn watch(board: &Board, number: usize, port: u16, http: &Http, assumed: Option<&str>) {
    let url = format!("http://127.0.0.1:{port}{}", http.path);
    let agent = agent();
    let told = |seen: String| assumed.map_or(seen.clone(), |why| format!("{seen} ({why})"));
    while board.wait_for_workload() {
        match agent.get(&url).call() {
            Ok(response) => {
                let got = response.status().as_u16();
                board.check(number, got == http.status, told(format!("status {got}")));
                if got == http.status {
                    return;
                }
            }
            Err(error) => {
                board.check(number, false, told(format!("no answer: {}", printable(&error.to_string()))));
            }
        }
        if !board.sleep(PAUSE) {
            return;
        }
    }
}

/// One that answers what it was told: no redirects, no proxy of this host's.
fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(LOOK))
        .timeout_connect(Some(Duration::from_secs(2)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(concat!("bootdisk/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Loopback)
}

/// The one address there is. The usual resolver takes a thread for each request, and panics where there is none to have.
#[derive(Debug)]
struct Loopback;

impl Resolver for Loopback {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let port = uri.port_u16().ok_or(ureq::Error::HostNotFound)?;
        let mut addresses = self.empty();
        addresses.push((Ipv4Addr::LOCALHOST, port).into());
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::expect::Expectation;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn it_asks_until_the_status_is_right() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in
                ["", "HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 301 go\r\nlocation: /y\r\n\r\n"]
            {
                let mut client = listener.accept().unwrap().0;
                let mut request = [0; 1024];
                let n = client.read(&mut request).unwrap();
                asked.push(String::from_utf8_lossy(&request[..n]).lines().next().unwrap_or_default().to_owned());
                client.write_all(answer.as_bytes()).unwrap();
            }
            asked
        });
        let http = Http::parse_status("301:/x?y=1").unwrap();
        let board = Board::new(vec![Expectation::Http(http.clone())]);
        board.write(|state| state.phases.workload = Some(Duration::ZERO));
        watch(&board, 0, port, &http, Some("port 80 was asked"));
        assert_eq!(server.join().unwrap(), ["GET /x?y=1 HTTP/1.1"; 3]);
        let held = board.into_state().held();
        assert!(held[0].at.is_some() && held[0].seen.as_deref() == Some("status 301 (port 80 was asked)"), "{held:?}");
    }
}
