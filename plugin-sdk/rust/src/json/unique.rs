//! Documents without duplicate members.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub(super) fn document(text: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(text).map(|Unique(value)| value).map_err(|error| error.to_string())
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
