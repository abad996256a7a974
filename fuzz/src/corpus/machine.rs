//! What machines, networks and other programs send; files of tests.

use super::{Corpus, texts, with};
use crate::machine::{MAC, NONCE, XID};
use bootdisk::guest::channel::{Frame, Kind, encode_raw};
use bootdisk::provenance::{self, Area, Facts, File, Parts, Resource};
use bootdisk::session::control::protocol::{Exec, Message, Question, Reply, Request, Stream};
use serde_json::{Value, json};

const TESTS: &str = r#"[defaults]
timeout = "30s"
memory = "512M"
matrix = ["firmware=bios,uefi"]

[[test]]
name = "says hello"
image = "oci:hello"
expect = ["hello .*"]
exit-code = 0
http = ["80/=200"]
tcp = ["80"]
exec = ["cat /etc/hostname"]
env = ["A=b"]

[[test]]
disk = "a.img"
reject = ["FATAL"]
"#;

const SETTINGS: &str = r#"{"version": 1, "entrypoint": ["/bin/sh"], "command": ["-c", "env"], "env": {"A": "1", "B": null}, "user": "www:33",
    "workdir": "/srv", "hostname": "web", "network": "static:10.0.2.50/24,gateway=10.0.2.2",
    "files": [{"path": "/etc/a", "text": "x", "mode": "0640", "owner": "www"}, {"path": "/etc/b", "base64": "AAE="}],
    "credentials": {"db": {"text": "x"}}, "ssh_keys": {"root": ["ssh-ed25519 AAAA"]}}"#;

const META_DATA: &str =
    "instance-id: i-1\nlocal-hostname: 'web' # name\npublic-keys:\n  me: [ssh-rsa A, \"ssh-rsa B\"]\n  - x\n";

const NETWORK_CONFIG: &str =
    "version: 2\nethernets:\n  a:\n    match: {macaddress: '52:54:00:12:34:56'}\n    addresses: [10.0.0.5/24]
    gateway4: 10.0.0.1\n    routes:\n    - {to: default, via: fd00::1}\n";

/// Two structures with strings, and the end.
fn smbios() -> Vec<u8> {
    let strings = b"io.systemd.credential:a=1\0io.systemd.credential.binary:b=AAE=\0\0";
    [&[0, 5, 0, 0, 1], &b"firmware\0\0"[..], &[11, 5, 1, 0, 2], strings, &[127, 4, 2, 0, 0, 0]].concat()
}

/// See [`super::all`].
pub fn all() -> Corpus {
    vec![
        ("channel_of_host", with(&[3, 255], &[from_guest()])),
        ("channel_of_guest", with(&[3, 255], &[from_host()])),
        ("control", with(&[3, 255], &[messages()])),
        ("dhcp", vec![dhcp(2), dhcp(5), dhcp(6)]),
        ("router_advertisement", vec![advertisement()]),
        ("boot_spec", vec![serde_json::to_vec(&boot_spec()).expect("JSON")]),
        ("settings", [texts(&[SETTINGS, META_DATA, NETWORK_CONFIG]), vec![smbios()]].concat()),
        ("smoke_toml", texts(&[TESTS, "[[test]]\nimage = 'a'\n"])),
        ("statement", vec![statement(), statement_of_others(), list()]),
    ]
}

fn frames(frames: &[(u32, Kind, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (stream, kind, value) in frames {
        let payload = match value {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Number(number) => (number.as_u64().unwrap_or_default() as u32).to_le_bytes().to_vec(),
            Value::Null => Vec::new(),
            document => serde_json::to_vec(document).expect("JSON"),
        };
        Frame { stream: *stream, kind: *kind, payload }.encode(&mut out).expect("short");
    }
    out
}

fn from_guest() -> Vec<u8> {
    let nonce = std::str::from_utf8(NONCE).expect("ASCII");
    frames(&[
        (0, Kind::Hello, json!({"version": 1, "bootdisk": "0.1", "kernel": "6.1", "uptime": 900})),
        (0, Kind::Log, json!({"level": "warning", "text": "a line"})),
        (0, Kind::Started, json!({"process": 0})),
        (2, Kind::Data, json!("some output\n")),
        (3, Kind::Data, json!("an error")),
        (1, Kind::Credit, json!(100)),
        (2, Kind::Eof, Value::Null),
        (3, Kind::Eof, Value::Null),
        (0, Kind::Result, json!({"process": 0, "nonce": nonce, "outcome": {"exited": 3}, "oom": false})),
        (0, Kind::HandedOver, json!({"nonce": nonce, "init": "/sbin/init", "caretaker": true})),
        (0, Kind::Done, Value::Null),
    ])
}

fn from_host() -> Vec<u8> {
    let process = json!({"entrypoint": ["/a"], "cmd": ["b"], "env": ["C=d"], "user": "1:2", "working_dir": "/"});
    let mut out = frames(&[
        (0, Kind::Welcome, json!({"version": 1, "nonce": "00", "time": 5, "overrides": {}, "stdin": true})),
        (1, Kind::Data, json!("typed\n")),
        (1, Kind::Eof, Value::Null),
        (2, Kind::Credit, json!(4096)),
        (0, Kind::Exec, json!({"process": 1, "what": process, "stdin": false})),
        (0, Kind::Signal, json!({"process": 0, "signal": 15})),
        (0, Kind::Resize, json!({"process": 0, "rows": 24, "cols": 80})),
    ]);
    encode_raw(0, Kind::Stop as u8, &[b" ".repeat(70_000), b"{\"timeout\":3}".to_vec()].concat(), &mut out)
        .expect("short");
    out
}

fn messages() -> Vec<u8> {
    let exec = Exec { command: vec!["cat".into()], env: vec!["A=b".into()], stdin: true, ..Exec::default() };
    let messages = [
        Message::Request(Request::Exec(exec)),
        Message::Request(Request::Signal(9)),
        Message::Request(Request::Monitor(Question::Screendump("/tmp/a.png".into()))),
        Message::Reply(Reply::Started),
        Message::Reply(Reply::Finished { status: 3, sentence: Some("why".into()) }),
        Message::Data(Stream::Stdout, b"words".to_vec()),
        Message::Credit(Stream::Stderr, 5),
        Message::Eof(Stream::Stdin),
    ];
    let mut out = Vec::new();
    messages.iter().for_each(|message| message.encode(&mut out).expect("short"));
    out
}

fn dhcp(kind: u8) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..4].copy_from_slice(&[2, 1, 6, 0]);
    packet[4..8].copy_from_slice(&XID.to_be_bytes());
    packet[16..20].copy_from_slice(&[10, 0, 2, 15]);
    packet[28..34].copy_from_slice(&MAC);
    packet[236..].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    let options: [&[u8]; 10] = [
        &[53, 1, kind],
        &[1, 4, 255, 255, 255, 0],
        &[3, 4, 10, 0, 2, 2],
        &[6, 8, 10, 0, 2, 3, 8, 8, 8, 8],
        &[15, 7, b'a', b'.', b'l', b'o', b'c', b'a', b'l'],
        &[51, 4, 0, 0, 14, 16],
        &[54, 4, 10, 0, 2, 2],
        &[26, 2, 5, 220],
        &[121, 14, 24, 192, 168, 7, 10, 0, 2, 9, 0, 10, 0, 2, 2, 0],
        &[255],
    ];
    packet.extend(options.concat());
    packet
}

/// A netlink message with two options of a router: servers and domains.
fn advertisement() -> Vec<u8> {
    let servers = [&[25, 3, 0, 0, 0, 0, 2, 88, 0xfe, 0xc0][..], &[0; 13], &[3]].concat();
    let domains = [&[31, 3, 0, 0, 0, 0, 0, 60][..], b"\x01a\x07example\0\x03lan\0\0"].concat();
    let options = [servers, domains].concat();
    let mut message = ((16 + 16 + options.len()) as u32).to_ne_bytes().to_vec();
    message.extend(68u16.to_ne_bytes());
    message.extend([0; 10]);
    message.extend([10, 0]);
    message.extend((options.len() as u16).to_ne_bytes());
    message.extend(2i32.to_ne_bytes());
    message.extend([134, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(options);
    message
}

fn boot_spec() -> Value {
    json!({
        "version": 1,
        "root": {"partuuid": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "read_only": false},
        "process": {"entrypoint": ["/bin/sh"], "cmd": ["-c", "true"], "env": ["PATH=/bin"], "user": "www:data",
            "working_dir": "/srv", "stop_signal": "SIGQUIT", "stop_timeout": 5},
        "hostname": "box",
        "modules": [{"name": "ext4", "file": "/lib/ext4.ko", "depends": ["jbd2"], "aliases": ["fs-ext4"], "always": true}],
    })
}

/// A statement of ours about a disk of two areas.
fn statement() -> Vec<u8> {
    let area = |name: &str, offset, number| Area {
        name: name.into(),
        offset,
        bytes: 1 << 20,
        sha256: "00".repeat(32),
        number,
        type_id: number.map(|_| "c12a7328-f81f-11d2-ba4b-00a0c93ec93b".into()),
        guid: number.map(|_| "00000000-0000-5000-8000-000000000001".into()),
    };
    let file = File { path: "bootdisk/linux".into(), bytes: 9, sha256: "01".repeat(32) };
    let parts = Parts {
        size: 2 << 20,
        sha256: "02".repeat(32),
        areas: vec![area("boot code", 0, None), area("partition 1 (esp)", 1 << 20, Some(1))],
        files: vec![file],
        command_line: Some("quiet console=ttyS0".into()),
        pid1: Some("03".repeat(32)),
    };
    let facts = Facts {
        name: "disk.img",
        parts: &parts,
        file: Some(("qcow2", "04")),
        parameters: json!({ "image": "app.tar", "options": { "--size": "2M" } }),
        dependencies: vec![Resource::new("image", "05")],
        builder: Vec::new(),
        byproducts: Vec::new(),
    };
    provenance::render(&facts).expect("JSON").into_bytes()
}

/// One that only has a digest.
fn statement_of_others() -> Vec<u8> {
    let subject = json!([{ "name": "x", "digest": { "sha256": "0A".repeat(32), "sha512": "00" } }]);
    let kind = "https://in-toto.io/Statement/v1";
    json!({ "_type": kind, "subject": subject, "predicateType": "x", "predicate": null }).to_string().into_bytes()
}

fn list() -> Vec<u8> {
    let package = |purl: &str| json!({ "type": "library", "purl": purl });
    let components = [package("pkg:deb/debian/a@1%3A1?arch=amd64&distro=x"), package("pkg:rpm/fedora/b@1-2?epoch=1#x")];
    json!({ "bomFormat": "CycloneDX", "components": components }).to_string().into_bytes()
}
