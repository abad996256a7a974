//! As much of JSON Schema as the schemas in `docs/` use, so that real output can be held against them: `$ref`, `anyOf`,
//! `type` (one or several), `properties`, `required`, `additionalProperties`, `items`, `enum`, `minimum`.

use serde_json::Value;

/// Where and why `value` is not what `schema` says; `None` when it is. `root` has the definitions.
pub fn complaint(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let definition =
            root.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("no {name} in the schema"));
        return complaint(root, definition, value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let complaints: Vec<_> = choices.iter().map(|choice| complaint(root, choice, value, place)).collect();
        if complaints.iter().all(Option::is_some) {
            // The complaint about the deepest place is about the choice that was meant.
            return complaints.into_iter().flatten().max_by_key(|text| text.find(": "));
        }
    }
    if let Some(choices) = schema["enum"].as_array() {
        return (!choices.contains(value)).then(|| format!("{place}: {value} is none of {choices:?}"));
    }
    if let Some(kinds) = schema["type"].as_array() {
        let one = |kind: &Value| {
            let mut one = schema.clone();
            one["type"] = kind.clone();
            complaint(root, &one, value, place)
        };
        let complaints: Vec<_> = kinds.iter().map(one).collect();
        return if complaints.iter().any(Option::is_none) { None } else { complaints.into_iter().flatten().next() };
    }
    match schema["type"].as_str() {
        None => None,
        Some("object") => object(root, schema, value, place),
        Some("array") => match value.as_array() {
            None => Some(format!("{place}: no array")),
            Some(items) => items
                .iter()
                .enumerate()
                .find_map(|(i, item)| complaint(root, &schema["items"], item, &format!("{place}/{i}"))),
        },
        Some(kind) => {
            let fits = match kind {
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                "integer" => value.as_u64().is_some_and(|n| n >= schema["minimum"].as_u64().unwrap_or(0)),
                other => panic!("type {other} is not known here"),
            };
            (!fits).then(|| format!("{place}: {value} is no {kind}"))
        }
    }
}

fn object(root: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let Some(fields) = value.as_object() else { return Some(format!("{place}: no object")) };
    let known = &schema["properties"];
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in required {
        if !fields.contains_key(name) {
            return Some(format!("{place}: no {name}"));
        }
    }
    let rest = &schema["additionalProperties"];
    fields.iter().find_map(|(name, value)| match known.get(name) {
        None if !rest.is_object() => Some(format!("{place}: {name} is not in the schema")),
        None => complaint(root, rest, value, &format!("{place}/{name}")),
        Some(schema) => complaint(root, schema, value, &format!("{place}/{name}")),
    })
}
