//! Readers of what a machine, its network and other programs of the user send; and of what a test is.

use crate::{choice, file};
use bootdisk::cli::smoke::spec;
use bootdisk::guest::channel::{Decoder, Exec, Frame, Kind, Resize, Signal, Stop, Welcome};
use bootdisk::guest::spec::BootSpec;
use bootdisk::init::{advertised, dhcp as client};
use bootdisk::session::channel::{Channel, Incoming};
use bootdisk::session::control::protocol::Messages;
use bootdisk::{provenance, sbom};
use serde::de::DeserializeOwned;

/// The transaction and the hardware address that answers of DHCP are for.
pub const XID: u32 = 0x1234_5678;
/// See [`XID`].
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// The bytes in pieces, as a port gives them.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (length, data) = choice(data);
    data.chunks(1 + 3 * usize::from(length))
}

/// Stands in inputs for the nonce, which nobody can know before the welcome.
pub const NONCE: &[u8; 32] = b"the nonce that the welcome tells";

/// What the guest says to the host, to its end or to the first thing that is not allowed.
pub fn channel_of_host(data: &[u8]) {
    let (length, data) = choice(data);
    let (mut rest, mut channel) = (data.to_vec(), Channel::new());
    while !rest.is_empty() {
        let behind = rest.split_off(rest.len().min(1 + 3 * usize::from(length)));
        channel.feed(&std::mem::replace(&mut rest, behind));
        loop {
            match channel.next_incoming() {
                Ok(Some(Incoming::Hello(_))) => welcome(&mut channel, &mut rest),
                Ok(Some(Incoming::Data { process, output, bytes })) => {
                    channel.passed_on(process, output, bytes.len() as u32);
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
        let ready = channel.output().len();
        channel.wrote(ready);
    }
}

/// Answers, and lets the guest know the nonce.
fn welcome(channel: &mut Channel, rest: &mut [u8]) {
    _ = channel.welcome(Welcome::default());
    let said = channel.output();
    let key = b"\"nonce\":\"";
    let Some(at) = said.windows(key.len()).position(|window| window == key) else { return };
    let nonce = said[at + key.len()..][..NONCE.len()].to_vec();
    while let Some(at) = rest.windows(NONCE.len()).position(|window| window == NONCE) {
        rest[at..at + NONCE.len()].copy_from_slice(&nonce);
    }
}

/// What the host says to the guest.
pub fn channel_of_guest(data: &[u8]) {
    let mut decoder = Decoder::with_pieces();
    for piece in pieces(data) {
        decoder.feed(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => understand(&frame),
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
    }
}

fn understand(frame: &Frame) {
    fn read<T: DeserializeOwned>(frame: &Frame) {
        _ = serde_json::from_slice::<T>(&frame.payload);
    }
    match frame.kind {
        Kind::Welcome => read::<Welcome>(frame),
        Kind::Signal => read::<Signal>(frame),
        Kind::Resize => read::<Resize>(frame),
        Kind::Stop => read::<Stop>(frame),
        Kind::Exec => read::<Exec>(frame),
        _ => {}
    }
}

/// What clients and sessions of a running machine say to each other.
pub fn control(data: &[u8]) {
    let mut messages = Messages::default();
    for piece in pieces(data) {
        messages.feed(piece);
        loop {
            match messages.next_message() {
                Ok(Some(message)) => {
                    let mut again = Vec::new();
                    message.encode(&mut again).expect("what came in a frame fits one");
                }
                Ok(None) => break,
                Err(error) => return drop(error.to_string()),
            }
        }
    }
}

/// Answers of a DHCP server.
pub fn dhcp(data: &[u8]) {
    _ = client::decode(data, XID, MAC);
}

/// What routers advertise, as the kernel passes it on.
pub fn router_advertisement(data: &[u8]) {
    _ = advertised::decode(data);
}

/// A boot specification, as a disk has it.
pub fn boot_spec(data: &[u8]) {
    if let Ok(found) = serde_json::from_slice::<BootSpec>(data) {
        let again = serde_json::to_vec(&found).expect("a specification is JSON");
        assert_eq!(serde_json::from_slice::<BootSpec>(&again).expect("its own words"), found);
    }
}

/// Settings that a machine gets at start: our document, SMBIOS, a cloud's YAML.
pub fn settings(data: &[u8]) {
    bootdisk::init::settings::try_anything(data);
}

/// A file of tests.
pub fn smoke_toml(data: &[u8]) {
    let (_file, path) = file(data);
    match spec::read(&path, &[]) {
        Ok(tests) => _ = format!("{tests:?}"),
        Err(error) => _ = (error.to_string(), error.hint()),
    }
}

/// A statement about a disk, or a list of components. What a statement claims of areas is in order and bounded.
pub fn statement(data: &[u8]) {
    if sbom::is_document(data) {
        _ = sbom::read(data).map_err(|error| error.to_string());
    }
    match provenance::read(data) {
        Ok(claims) => {
            assert!(claims.areas.windows(2).all(|two| two[0].range().end <= two[1].offset), "{claims:?}");
            assert!(!claims.disks.is_empty() && claims.areas.len() <= 256);
        }
        Err(error) => assert!(error.to_string().chars().all(|c| !c.is_control()), "{error}"),
    }
}
