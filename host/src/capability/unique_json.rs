//! Strict JSON: every object key once, at every depth.
//!
//! Of two members with the same name some readers take the first, some the last (RFC 8259 section 4; RFC 7515 section 4
//! and RFC 7519 section 4 allow either). Tokens, and bodies that are checked, are read here and again by the upstream;
//! only refusing duplicates ensures that both read the same.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The value in `text`. The message of an error says where it is wrong and does not quote the text.
pub(super) fn value(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map(|Unique(value)| value).map_err(|error| error.to_string())
}

/// The object in `text`, likewise.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, String> {
    match value(text)? {
        Value::Object(object) => Ok(object),
        _ => Err("not a JSON object".to_owned()),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Unique, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unique(value))) = members.next_entry::<String, Unique>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(Unique(Value::Object(object)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Unique(Value::Array(list)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(Value::String(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Unique, E> {
        Ok(Unique(Value::String(text)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(number.into())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(number.into())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Unique, E> {
        Number::from_f64(number).map(|number| Unique(Value::Number(number))).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(Value::Bool(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_with_unique_keys_are_read_and_all_else_is_refused() {
        let fine = r#"{"a":1,"b":[-1,1.5,true,null,"x"],"c":{"a":{"a":2}}}"#;
        assert_eq!(object(fine.as_bytes()).map(Value::Object), serde_json::from_str(fine).map_err(|_| String::new()));
        for odd in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
            r#"{"a":1} {}"#,
            r#"{"a":1e999}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":01}"#,
            "{'a':1}",
            "[1]",
            "null",
            "\u{feff}{}",
            "",
        ] {
            assert!(object(odd.as_bytes()).is_err(), "{odd}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
        assert!(object(deep.as_bytes()).is_err());
    }
}
