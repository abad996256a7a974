//! A document of a stranger's as a tree: JSON (RFC 8259) with bounds, in which no name is given twice.
//!
//! `serde_json::Value` would keep the last of two equal names in silence, and takes any number of values.
//!
//! Not supported: numbers that are not whole, negative or beyond 64 bits; they are read, and fit nowhere.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::fmt;

/// Most values of one document, each list, object and scalar counted: some 3 MiB of memory.
pub const MAX_VALUES: usize = 32_768;

/// Most names of one object, as each is compared with those before it.
const MAX_NAMES: usize = 2048;

/// One value. Texts may be secrets: there is no way to show one.
#[derive(PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(u64),
    /// A number of another kind.
    Odd,
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Names and values in the document's order. No name stands twice.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of a name; `None` where it is no object or has no such name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.map()?.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The items, where it is a list.
    pub fn list(&self) -> Option<&[Value]> {
        if let Value::List(items) = self { Some(items) } else { None }
    }

    /// The names and values, where it is an object.
    pub fn map(&self) -> Option<&[(String, Value)]> {
        if let Value::Map(fields) = self { Some(fields) } else { None }
    }
}

/// Reads JSON. The error says where, and nothing of what stands there but a name that is given twice.
pub fn from_json(bytes: &[u8]) -> Result<Value, String> {
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = One(&left).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let (text, line, column) = (error.to_string(), error.line(), error.column());
        let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
        format!("line {line}, column {column}: {what}")
    })
}

/// A name as errors quote it: its beginning.
pub fn quoted(name: &str) -> String {
    const MOST: usize = 40;
    match name.char_indices().nth(MOST) {
        None => name.to_owned(),
        Some((end, _)) => format!("{}...", &name[..end]),
    }
}

/// Adds a name that is new to an object.
pub fn push(fields: &mut Vec<(String, Value)>, name: String, value: Value) -> Result<(), String> {
    is_new(fields, &name)?;
    fields.push((name, value));
    Ok(())
}

fn is_new(fields: &[(String, Value)], name: &str) -> Result<(), String> {
    if fields.len() == MAX_NAMES {
        return Err(format!("more than {MAX_NAMES} names in one object"));
    }
    if fields.iter().any(|(other, _)| other == name) {
        return Err(format!("given twice: {}", quoted(name)));
    }
    Ok(())
}

/// One more value, while there are some left.
#[derive(Clone, Copy)]
struct One<'a>(&'a Cell<usize>);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.ok_or_else(|| D::Error::custom(format!("more than {MAX_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Odd)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Odd)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = entries.next_key::<String>()? {
            // In front of the value, so that the place is the name's.
            is_new(&fields, &name).map_err(A::Error::custom)?;
            fields.push((name, entries.next_value_seed(self)?));
        }
        Ok(Value::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_json_says() {
        let read = from_json(br#" {"a": [null, true, 7, -7, 1.5, "x\u0041"], "b": {}, "": ""} "#);
        let Ok(Value::Map(fields)) = read else { panic!("no object") };
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", ""]);
        let list = [Value::Null, Value::Bool(true), Value::Number(7), Value::Odd, Value::Odd, Value::Text("xA".into())];
        assert!(fields[0].1.list() == Some(&list[..]));
        let document = Value::Map(fields);
        assert_eq!(document.get("").and_then(Value::text), Some(""));
        assert!(document.get("b").and_then(Value::map).is_some_and(|fields| fields.is_empty()));
        assert!(document.get("c").is_none() && Value::Null.get("a").is_none());
    }

    #[test]
    fn what_is_no_document_is_told_with_its_place_in_bounded_steps() {
        let deep = "[".repeat(100_000);
        let many = format!("[{}1]", "1,".repeat(40_000));
        let wide = format!("{{{}}}", (0..3000).map(|n| format!("\"n{n}\":1")).collect::<Vec<_>>().join(","));
        let long = format!(r#"{{"{0}": 1, "{0}": 2}}"#, "ä".repeat(10_000));
        for (text, error) in [
            ("", ": EOF while parsing a value"),
            ("{\n  \"a\": 1,\n  \"a\": 2\n}", ": given twice: a"),
            (r#"{"a": {"b": 1, "c": 2, "b": 3}}"#, ": given twice: b"),
            (r#"{"a": 1} x"#, ": trailing characters"),
            (r#"{"a": "secret}"#, ": EOF while parsing a string"),
            ("[1e999]", ": number out of range"),
            (&deep, ": recursion limit exceeded"),
            (&many, ": more than 32768 values"),
            (&wide, "more than 2048 names in one object"),
            (&long, &format!("given twice: {}...", "ä".repeat(40))),
        ] {
            let found = from_json(text.as_bytes()).err().unwrap_or_default();
            assert!(found.starts_with("line ") && found.ends_with(error) && found.len() < 160, "{found}");
        }
        let twice = from_json(b"{\n  \"a\": 1,\n  \"a\": 2\n}").err().unwrap_or_default();
        assert!(twice.starts_with("line 3, column "), "{twice}");
        assert!(from_json(br#"["\ud800"]"#).is_err());
        assert!(from_json(b"\"\xff\"").is_err());
    }
}
