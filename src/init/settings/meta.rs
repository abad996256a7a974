//! The meta-data of a cloud's disk: NoCloud's `meta-data` and OpenStack's `meta_data.json`, which differ in their names.
//!
//! Source: cloud-init's documentation of both data sources.

use crate::guest::settings::tree::Value;
use crate::guest::settings::{host_name, ssh_key};

/// Most keys that are taken.
const MAX_KEYS: usize = 256;

/// What PID 1 takes of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Which machine of the cloud's this is.
    pub instance: Option<String>,
    /// Its name.
    pub hostname: Option<String>,
    /// Lines of authorized_keys.
    pub keys: Vec<String>,
    /// What was not taken, a line each.
    pub doubts: Vec<String>,
}

/// Takes it from the document.
pub fn of(document: &Value) -> Meta {
    let named = |names: &[&str]| names.iter().find_map(|name| document.get(name));
    let mut meta = Meta { instance: named(&["instance-id", "uuid"]).and_then(text), ..Meta::default() };
    match named(&["local-hostname", "hostname"]).map(text) {
        None => {}
        Some(Some(name)) if host_name(&name) => meta.hostname = Some(name),
        Some(_) => meta.doubts.push("its host name is none".to_owned()),
    }
    if let Some(keys) = named(&["public-keys", "public_keys"]) {
        collect(keys, &mut meta, 3);
    }
    meta
}

/// A name or a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Keys stand in a list, behind names, or behind names in objects of their own (`openssh-key`).
fn collect(value: &Value, meta: &mut Meta, depth: usize) {
    match value {
        Value::List(items) if depth > 0 => items.iter().for_each(|item| collect(item, meta, depth - 1)),
        Value::Map(fields) if depth > 0 => fields.iter().for_each(|(_, value)| collect(value, meta, depth - 1)),
        Value::Text(text) => {
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                match ssh_key(line) && meta.keys.len() < MAX_KEYS {
                    true => meta.keys.push(line.to_owned()),
                    false => meta.doubts.push("a public key of it is none".to_owned()),
                }
            }
        }
        Value::Null => {}
        _ => meta.doubts.push("a public key of it is none".to_owned()),
    }
    meta.doubts.dedup();
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    #[test]
    fn both_kinds_and_every_form_of_keys_are_read() {
        for (text, instance, hostname, keys) in [
            ("instance-id: i-1\nlocal-hostname: web\n", "i-1", Some("web"), &[][..]),
            ("instance-id: 7\nhostname: a\nlocal-hostname: b\n", "7", Some("b"), &[]),
            ("instance-id: x\npublic-keys:\n- ssh-rsa A\n- ssh-rsa B\n", "x", None, &["ssh-rsa A", "ssh-rsa B"]),
            (
                "instance-id: x\npublic-keys:\n  me: ssh-rsa A\n  you: [ssh-rsa B]",
                "x",
                None,
                &["ssh-rsa A", "ssh-rsa B"],
            ),
            ("instance-id: x\npublic-keys:\n  0:\n    openssh-key: ssh-rsa A\n", "x", None, &["ssh-rsa A"]),
            (
                r#"{"uuid": "u-1", "hostname": "vm.novalocal", "public_keys": {"mine": "ssh-rsa A me\n"}, "name": "vm"}"#,
                "u-1",
                Some("vm.novalocal"),
                &["ssh-rsa A me"],
            ),
        ] {
            let meta = of(&yaml::read(text.as_bytes()).unwrap());
            assert_eq!((meta.instance.as_deref(), meta.hostname.as_deref()), (Some(instance), hostname), "{text}");
            assert_eq!(
                (meta.keys.as_slice(), meta.doubts.len()),
                (&keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>()[..], 0),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_odd_is_left_out_and_told() {
        let meta = of(&yaml::read(b"local-hostname: a b\npublic-keys: [1, [x, [y, [z]]]]\ninstance-id: [a]").unwrap());
        assert_eq!((meta.instance, meta.hostname, meta.keys.len()), (None, None, 2));
        assert_eq!(meta.doubts, ["its host name is none", "a public key of it is none"]);
        assert_eq!(of(&Value::Null), Meta::default());
    }
}
