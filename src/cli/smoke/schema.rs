//! The JSON schema of `smoke.toml`, for editors that know TOML: made from the definition of the keys.

use super::keys::Definition;
use super::machines::{self, Level};
use clap::{Arg, ArgAction};
use serde_json::{Map, Value, json};

/// The schema with a line end, as `docs/smoke.toml.schema.json` has it.
pub fn render(definition: &Definition) -> String {
    let keys: Map<String, Value> = definition.keys().map(|(key, arg)| (key.to_owned(), property(key, arg))).collect();
    // Of a level those that are no other's.
    let of = |level: Level| -> Map<String, Value> {
        let keys = keys.iter().filter(|(key, _)| level.refusal(key).is_none());
        keys.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let table = |keys: Map<String, Value>| json!({"type": "object", "additionalProperties": false, "properties": keys});
    let (defaults, mut test) = (of(Level::Defaults), of(Level::Test));
    let mut machine = json!({"type": "array", "items": table(of(Level::Machine))});
    machine["description"] = "Machines on a network of their own, instead of image or disk".into();
    test.insert(machines::KEY.into(), machine);
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "smoke.toml of bootdisk test",
        "type": "object",
        "additionalProperties": false,
        "required": ["test"],
        "properties": {
            "defaults": table(defaults),
            "test": {"type": "array", "items": table(test)},
        },
    });
    format!("{schema:#}\n")
}

fn property(key: &str, arg: &Arg) -> Value {
    let mut property = json!({"description": arg.get_help().map(ToString::to_string).unwrap_or_default()});
    let scalar = ["string", "number"].map(Value::from).to_vec();
    let kinds = match arg.get_action() {
        ArgAction::SetTrue => vec!["boolean".into()],
        ArgAction::Append => [scalar.clone(), vec!["array".into()]].concat(),
        _ if key == "command" => [scalar.clone(), vec!["array".into()]].concat(),
        _ if arg.get_num_args().is_some_and(|range| range.min_values() == 0) => {
            [scalar.clone(), vec!["boolean".into()]].concat()
        }
        _ => scalar.clone(),
    };
    if kinds.contains(&"array".into()) {
        property["items"] = json!({"type": scalar});
    }
    property["type"] = kinds.into();
    property
}
