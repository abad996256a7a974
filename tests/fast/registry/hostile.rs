//! A proxy before a registry that cuts, delays, refuses and lies, by a seed. Every pull ends in the right image or in one
//! sentence, the next honest one in the right image, and the cache never holds a wrong blob.

use super::{Home, image, layout, oci};
use crate::support::http::{self, Request, Server, answer};
use crate::support::images::Pack;
use crate::support::layers::fnv;
use crate::support::registry::Registry;
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}

/// Passes a request on, and perhaps not all of its answer.
fn pass(port: u16, request: &Request, dice: &mut Dice, stream: &mut TcpStream, honest: bool) {
    let headers: Vec<(&str, &str)> = ["accept", "range"]
        .into_iter()
        .map(|name| (name, request.header(name)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let fault = if honest { 99 } else { dice.roll(24) };
    if fault == 0 {
        return;
    }
    // It knows nothing of parts.
    let headers = if fault == 1 { vec![] } else { headers };
    let got = http::ask(port, &request.method, &request.path, &headers, b"");
    let kept = ["content-type", "docker-content-digest", "content-range"];
    let mut kept: Vec<(&str, String)> =
        kept.into_iter().filter_map(|name| Some((name, got.headers.get(name)?.clone()))).collect();
    let mut body = got.body;
    let cut = dice.roll(body.len() as u64 + 1) as usize;
    let refusal = |status| answer(status, &[("retry-after", "0")], b"{}");
    let whole = match fault {
        2 => refusal(429),
        3 => refusal(500),
        4 => refusal(503),
        5 => refusal(401),
        6 => {
            if let Some(byte) = body.get_mut(cut.saturating_sub(1)) {
                *byte ^= 1;
            }
            answer_of(got.status, &kept, body.len(), &body)
        }
        7 => answer_of(got.status, &kept, body.len() + 7, &body),
        8 => answer_of(got.status, &kept, cut, &body),
        9 => {
            kept.retain(|(name, _)| *name != "content-range");
            kept.push(("content-range", format!("bytes {cut}-{cut}/{cut}")));
            answer_of(got.status, &kept, body.len(), &body)
        }
        _ => answer_of(got.status, &kept, body.len(), &body),
    };
    let end = match fault {
        10..=12 => whole.len() - (body.len() - cut).min(whole.len()),
        _ => whole.len(),
    };
    let pause = if fault == 13 { Duration::from_millis(dice.roll(200)) } else { Duration::ZERO };
    _ = stream.write_all(&whole[..end / 2]);
    std::thread::sleep(pause);
    _ = stream.write_all(&whole[end / 2..end]);
}

fn answer_of(status: u16, headers: &[(&str, String)], length: usize, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {length}\r\n");
    headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    [head.as_bytes(), b"\r\n", body].concat()
}

/// Pulls with each seed; how many of them succeeded at once.
fn pulls(seeds: std::ops::Range<u64>) -> usize {
    let registry = Registry::open();
    let prepared = Home::new();
    let from = layout(&prepared, "app", &image("app", &[Pack::Gzip, Pack::Zstd, Pack::Plain, Pack::Gzip]));
    registry.push(&oci(&from), "app", &["--preserve-digests"]);
    let expected = fnv(prepared.files_of(&from, &[]).as_bytes());
    let (upstream, honest) = (registry.port, Arc::new(AtomicBool::new(false)));
    let (dice, is_honest) = (Arc::new(Mutex::new(Dice(0))), Arc::clone(&honest));
    let thrown = Arc::clone(&dice);
    let proxy = Server::with(move |request, stream| {
        let mut own = Dice(thrown.lock().unwrap().roll(u64::MAX));
        pass(upstream, &request, &mut own, stream, is_honest.load(Ordering::SeqCst));
    });
    let name = format!("docker://127.0.0.1:{}/app", proxy.port);
    let right = AtomicU64::new(0);
    for seed in seeds {
        let home = Home::new();
        *dice.lock().unwrap() = Dice(seed);
        honest.store(false, Ordering::SeqCst);
        let options: &[&str] = if seed % 4 == 3 { &["--no-cache"] } else { &[] };
        let ran = home.files(&name, options);
        home.has_right_blobs();
        assert!(!ran.stderr.contains("panicked"), "seed {seed}: {}", ran.stderr);
        match ran.status {
            Some(0) => {
                assert_eq!(fnv(ran.text().as_bytes()), expected, "seed {seed}");
                right.fetch_add(1, Ordering::SeqCst);
            }
            _ => {
                println!("seed {seed}: {}", ran.stderr.lines().find(|line| line.starts_with("error: ")).unwrap_or("?"))
            }
        }
        if ran.status != Some(0) {
            assert_eq!(ran.stderr.matches("error: ").count(), 1, "seed {seed}: {}", ran.stderr);
        }
        honest.store(true, Ordering::SeqCst);
        let again = home.files(&name, &[]).expect_status(0);
        assert_eq!(fnv(again.text().as_bytes()), expected, "seed {seed}, honest");
        home.has_right_blobs();
    }
    right.into_inner() as usize
}

#[test]
fn a_hostile_proxy_brings_the_right_image_or_one_sentence() {
    let right = pulls(0..24);
    assert!(right > 0, "what another try mends is tried again");
}

#[test]
#[ignore = "two hundred pulls take minutes"]
fn a_hostile_proxy_brings_the_right_image_or_one_sentence_two_hundred_times() {
    pulls(1000..1200);
}
