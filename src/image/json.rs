//! JSON as image tools write it, with limits: lists and maps that may be `null`, are never longer than a fixed
//! number of items, and whose names are unique.
//!
//! A document of a few megabytes can claim tens of millions of items of a hundred bytes each; the limits keep memory
//! near the size of the document. Structures refuse a field that comes twice (serde's derive does that), maps refuse a
//! name that comes twice (RFC 7493, section 2.3). Depth is limited by serde_json.

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Most items of a list or map, in any document.
pub const MAX_ITEMS: usize = 100_000;

/// A value that may be `null`, which is the same as its being absent.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// A list that may be `null`, of at most [`MAX_ITEMS`].
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(deserializer.deserialize_option(ListVisitor(PhantomData))?.unwrap_or_default())
}

/// A list as [`list`], where absent and `null` differ from empty.
pub fn optional_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    deserializer.deserialize_option(ListVisitor(PhantomData))
}

/// A list of texts; one that is `null` is empty, as Go has it.
pub fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts: Vec<Option<String>> = list(deserializer)?;
    Ok(texts.into_iter().map(Option::unwrap_or_default).collect())
}

/// The same, or one text, which is then the only word of the list (moby, `strslice.StrSlice`).
pub fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(WordsVisitor)
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text or a list of at most {MAX_ITEMS} texts")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        texts(SeqAccessDeserializer::new(seq))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_ITEMS} items")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX_ITEMS {
                return Err(A::Error::custom(format_args!("a list of more than {MAX_ITEMS} items")));
            }
            items.push(item);
        }
        Ok(Some(items))
    }
}

/// A map from text to text that may be `null`; a value that is `null` is empty.
pub fn text_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = deserializer.deserialize_option(MapVisitor::<Option<String>>(PhantomData))?;
    Ok(map.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect())
}

/// The names of a map used as a set (`Volumes`, `ExposedPorts`), which may be `null`. Sorted.
pub fn name_set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = deserializer.deserialize_option(MapVisitor::<IgnoredAny>(PhantomData))?;
    Ok(map.into_keys().collect())
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapVisitor<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {MAX_ITEMS} items")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(BTreeMap::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, T>()? {
            if map.len() == MAX_ITEMS {
                return Err(A::Error::custom(format_args!("a map of more than {MAX_ITEMS} items")));
            }
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the name {name:?} twice in one map")));
            }
            map.insert(name, value);
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "list")]
        words: Vec<String>,
        #[serde(default, deserialize_with = "text_map")]
        labels: BTreeMap<String, String>,
        #[serde(default, deserialize_with = "name_set")]
        volumes: Vec<String>,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Command {
        #[serde(default, deserialize_with = "words")]
        words: Vec<String>,
    }

    #[test]
    fn a_command_is_a_list_or_one_word() {
        for (text, expected) in [
            ("{}", Some(&[][..])),
            (r#"{"words":null}"#, Some(&[])),
            (r#"{"words":[]}"#, Some(&[])),
            (r#"{"words":""}"#, Some(&[""])),
            (r#"{"words":"sleep 1"}"#, Some(&["sleep 1"])),
            (r#"{"words":["a",null,""]}"#, Some(&["a", "", ""])),
            (r#"{"words":7}"#, None),
            (r#"{"words":{}}"#, None),
            (r#"{"words":[["a"]]}"#, None),
        ] {
            let parsed: Option<Command> = crate::image::parse_json(text.as_bytes()).ok();
            assert_eq!(
                parsed.map(|command| command.words),
                expected.map(|words| words.iter().map(|&word| word.to_owned()).collect()),
                "{text}"
            );
        }
    }

    fn parse(text: &str) -> Result<Sample, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn null_and_absent_are_empty() {
        for text in ["{}", r#"{"words":null,"labels":null,"volumes":null}"#] {
            let sample = parse(text).unwrap();
            assert!(sample.words.is_empty() && sample.labels.is_empty() && sample.volumes.is_empty());
        }
        assert_eq!(parse(r#"{"labels":{"a":null}}"#).unwrap().labels["a"], "");
        assert_eq!(parse(r#"{"volumes":{"/b":{},"/a":null}}"#).unwrap().volumes, ["/a", "/b"]);
    }

    #[test]
    fn duplicates_and_endless_lists_are_refused() {
        assert!(parse(r#"{"words":[],"words":[]}"#).is_err());
        assert!(parse(r#"{"labels":{"a":"1","a":"2"}}"#).is_err());
        let endless = format!(r#"{{"words":[{}""]}}"#, "\"\",".repeat(MAX_ITEMS));
        assert!(parse(&endless).unwrap_err().to_string().contains("more than 100000"));
        assert!(parse(r#"{"words":"text"}"#).is_err());
    }
}
