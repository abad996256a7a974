//! The document of settings at start: what the published schema takes is what is read.

use crate::support::schema::complaint;
use bootdisk::guest::settings;
use serde_json::{Value, json};

#[test]
fn schema_and_reader_agree_on_the_kinds_of_values() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/settings.schema.json")).unwrap();
    let whole = json!({
        "version": 1, "entrypoint": ["/init.sh"], "command": ["a", ""], "env": {"A": "1", "B": null}, "user": "www",
        "workdir": "/srv", "hostname": "web", "network": "dhcp",
        "files": [{"path": "/etc/a", "text": "", "mode": "0600", "owner": "0:0"}, {"path": "/b", "base64": "AA=="}],
        "credentials": {"db": {"text": "x"}}, "ssh_keys": {"root": ["ssh-ed25519 AAAA"]},
    });
    let agree = |document: &Value, fits: bool| {
        let read = settings::read(document.to_string().as_bytes());
        let complaint = complaint(&schema, &schema, document, "");
        assert_eq!((read.is_ok(), complaint.is_none()), (fits, fits), "{document}: {read:?} {complaint:?}");
    };
    agree(&whole, true);
    agree(&json!({"version": 1}), true);
    agree(&json!({}), false);
    // A value of every other kind in every place.
    for key in settings::KEYS {
        for value in [json!(1.5), json!(true), json!([7]), json!({"a": 7}), json!([[]])] {
            let mut changed = whole.clone();
            changed[key] = value;
            agree(&changed, false);
        }
    }
    for (pointer, value) in [
        ("/files/0/path", json!(1)),
        ("/files/0/mode", json!(420)),
        ("/files/0/more", json!("")),
        ("/credentials/db/text", json!(null)),
        ("/ssh_keys/root/0", json!(null)),
        ("/env/A", json!(1)),
    ] {
        let mut changed = whole.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[0] = value,
            object => object[name] = value,
        }
        agree(&changed, false);
    }
}
