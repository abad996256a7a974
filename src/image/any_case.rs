//! JSON as Go's decoder reads it, which is that of Docker, containerd and every tool beside them: the names of a
//! structure's fields in any case.
//!
//! A name as the specification writes it goes before others that differ from it in case. (With both in one object Go
//! takes the later; nobody writes both.) Two that are equally good are one name twice, which is refused. Names in maps,
//! such as labels, are kept as they are.
//!
//! Text is looked at once for each structure around it, and only what a structure asks for is kept. Go also folds a few
//! letters outside of ASCII, which is not done here.
//!
//! Source: Go, encoding/json, `Unmarshal`.

use crate::image::MAX_ITEMS;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Error, Result, Value};
use std::fmt;

/// Parses a document.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T> {
    T::deserialize(AnyCase(serde_json::from_slice(bytes)?))
}

/// A value that is yet to be read.
struct AnyCase<'de>(&'de RawValue);

impl<'de> AnyCase<'de> {
    fn begins_with(&self, byte: u8) -> bool {
        self.0.get().as_bytes().first() == Some(&byte)
    }

    fn members(&self) -> Result<Vec<Member<'de>>> {
        serde_json::from_str::<Members>(self.0.get()).map(|members| members.0)
    }
}

impl<'de> Deserializer<'de> for AnyCase<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.0.get().as_bytes().first() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            // What is wrong with it has no place of its own: a value by itself begins in column 1.
            _ => serde_json::from_str::<Value>(self.0.get())?.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.0.get() == "null" { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if !self.begins_with(b'{') {
            return self.deserialize_any(visitor);
        }
        let members = named(self.members()?, fields).into_iter().map(|(name, value)| (name, AnyCase(value)));
        visitor.visit_map(MapDeserializer::new(members))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if !self.begins_with(b'{') {
            return self.deserialize_any(visitor);
        }
        let members = self.members()?.into_iter().map(|(name, value)| (name, AnyCase(value)));
        visitor.visit_map(MapDeserializer::new(members))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if !self.begins_with(b'[') {
            return self.deserialize_any(visitor);
        }
        let items = serde_json::from_str::<Items>(self.0.get())?.0;
        visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(AnyCase)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct enum identifier
    }
}

impl<'de> IntoDeserializer<'de, Error> for AnyCase<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// A name and its value.
type Member<'de> = (String, &'de RawValue);

/// Members under the names of these fields where there are such, in their order; others are left out.
fn named<'de>(members: Vec<Member<'de>>, fields: &'static [&'static str]) -> Vec<(&'static str, &'de RawValue)> {
    let exact: Vec<bool> = fields.iter().map(|field| members.iter().any(|(name, _)| name == field)).collect();
    let field_of = |name: &str| {
        let same = fields.iter().position(|field| name == *field);
        same.or_else(|| (0..fields.len()).find(|&at| !exact[at] && name.eq_ignore_ascii_case(fields[at])))
    };
    members.into_iter().filter_map(|(name, value)| Some((fields[field_of(&name)?], value))).collect()
}

struct Members<'de>(Vec<Member<'de>>);

struct Items<'de>(Vec<&'de RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {MAX_ITEMS} members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MAX_ITEMS {
                        return Err(A::Error::custom(format_args!("an object of more than {MAX_ITEMS} members")));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_ITEMS} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MAX_ITEMS {
                        return Err(A::Error::custom(format_args!("a list of more than {MAX_ITEMS} items")));
                    }
                    items.push(item);
                }
                Ok(Items(items))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Outer {
        cmd: Vec<String>,
        working_dir: String,
        inner: Option<Box<Outer>>,
        all: Vec<Outer>,
        labels: std::collections::BTreeMap<String, u32>,
        #[serde(rename = "os")]
        system: Option<i64>,
    }

    fn cmd(word: &str) -> Outer {
        Outer { cmd: vec![word.into()], ..Outer::default() }
    }

    #[test]
    fn names_of_fields_are_taken_in_any_case_at_any_depth_and_the_exact_one_goes_first() {
        let labels = [("a".into(), 1), ("A".into(), 2)].into_iter().collect();
        for (text, expected) in [
            (r#"{"cmd":["x"]}"#, cmd("x")),
            (r#" {"CMD" : ["x"] } "#, cmd("x")),
            (r#"{"cmd":["y"],"Cmd":["x"]}"#, cmd("x")),
            (r#"{"Cmd":["x"],"cmd":["y"]}"#, cmd("x")),
            (r#"{"Cmd":["x"],"cmd":7,"CMD":{}}"#, cmd("x")),
            (r#"{"workingdir":"/"}"#, Outer { working_dir: "/".into(), ..Outer::default() }),
            (r#"{"working_dir":"/","c":[[[]]]}"#, Outer::default()),
            (r#"{"iNNER":{"cMD":["x"]}}"#, Outer { inner: Some(Box::new(cmd("x"))), ..Outer::default() }),
            (r#"{"ALL":[{"cmd":["x"]},{}]}"#, Outer { all: vec![cmd("x"), Outer::default()], ..Outer::default() }),
            (r#"{"Labels":{"a":1,"A":2}}"#, Outer { labels, ..Outer::default() }),
            (r#"{"OS":-3}"#, Outer { system: Some(-3), ..Outer::default() }),
            (r#"{"\u0063md":["\u0078"]}"#, cmd("x")),
            (r#"{"inner":null,"os":null}"#, Outer::default()),
        ] {
            assert_eq!(from_slice::<Outer>(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn one_name_twice_is_refused_and_so_is_what_is_no_json() {
        for (text, why) in [
            (r#"{"Cmd":[],"Cmd":[]}"#, "duplicate field `Cmd`"),
            (r#"{"cmd":[],"CMD":[]}"#, "duplicate field `Cmd`"),
            (r#"{"cmd":"x"}"#, "invalid type: string \"x\", expected a sequence"),
            (r#"{"cmd":[7]}"#, "invalid type: integer `7`, expected a string"),
            (r#"{"cmd":[]"#, "EOF while parsing an object at line 1 column 9"),
            ("{\"x\":\"\u{1}\"}", "control character"),
            ("[]x", "trailing characters at line 1 column 3"),
            ("", "EOF while parsing a value at line 1 column 0"),
        ] {
            let error = from_slice::<Outer>(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(from_slice::<Outer>(b"{\"x\":\"\xff\"}").is_err(), "no text");
        let many = format!("{{{}\"x\":1}}", "\"x\":1,".repeat(MAX_ITEMS));
        assert!(from_slice::<Outer>(many.as_bytes()).unwrap_err().to_string().contains("more than 100000 members"));
        let deep = [&b"{\"x\":"[..], &[b'['; 1_000_000], &[b']'; 1_000_000], b"}"].concat();
        assert_eq!(from_slice::<Outer>(&deep).unwrap(), Outer::default(), "what nobody asks for may be deep");
    }
}
