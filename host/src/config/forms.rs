//! Short and long forms: a listener is `":8080"` or an object, a host is one string or a list.
//!
//! serde's `untagged` would try every form and answer "did not match any variant", without a position. Here the JSON
//! type alone selects the form, for the reader and (as `anyOf`) in the schema, so that an error is always about the
//! form that was meant.

use std::fmt;
use std::marker::PhantomData;

use schemars::Schema;
use serde::de::value::{
    BoolDeserializer, MapAccessDeserializer, SeqAccessDeserializer, StrDeserializer, U64Deserializer,
};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::text::{Written, text_schema};

/// A type with a short form (a string, a number, `true` or an array) beside the long one, an object.
pub(super) trait TwoForms: Sized {
    type Short: DeserializeOwned + Into<Self>;

    /// Reads the object.
    fn long_form<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Implements `Deserialize` by both forms for a type that derives the long one with `#[serde(remote = "Self")]`.
macro_rules! two_forms {
    ($type:ty, short: $short:ty) => {
        impl $crate::config::forms::TwoForms for $type {
            type Short = $short;

            fn long_form<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The function of the derive, which hides that of the trait.
                Self::deserialize(deserializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::forms::read_either(deserializer)
            }
        }
    };
}
pub(super) use two_forms;

/// Reads an object as the long form and anything else as the short one.
pub(super) fn read_either<'de, D: Deserializer<'de>, T: TwoForms>(deserializer: D) -> Result<T, D::Error> {
    struct Form<T>(PhantomData<T>);

    impl<'de, T: TwoForms> Visitor<'de> for Form<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the short form or an object")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::Short::deserialize(StrDeserializer::new(text)).map(Into::into)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            T::Short::deserialize(U64Deserializer::new(number)).map(Into::into)
        }

        fn visit_bool<E: Error>(self, flag: bool) -> Result<T, E> {
            T::Short::deserialize(BoolDeserializer::new(flag)).map(Into::into)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
            T::Short::deserialize(SeqAccessDeserializer::new(seq)).map(Into::into)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::long_form(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_any(Form(PhantomData))
}

/// Reads an array, or a single item (a string or an object).
pub(super) fn one_or_many<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Form<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Form<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one item or an array")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
            T::deserialize(StrDeserializer::new(text)).map(|item| vec![item])
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|item| vec![item])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(seq))
        }
    }

    deserializer.deserialize_any(Form(PhantomData))
}

/// The schema of [`one_or_many`], made from that of the array: a field's `#[schemars(transform = ..)]`.
pub(super) fn or_one_alone(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else { return };
    let item = object.get("items").cloned().unwrap_or_else(|| json!(true));
    let mut array = json!({ "type": "array" });
    for keyword in ["items", "minItems", "maxItems"] {
        if let Some(value) = object.remove(keyword) {
            array[keyword] = value;
        }
    }
    object.remove("type");
    object.insert("anyOf".to_owned(), json!([item, array]));
}

/// Adds a string as the short form to the schema of the long one: a type's `#[schemars(transform = ..)]`.
pub(super) fn or_text<T: Written>(schema: &mut Schema) {
    or_short(schema, text_schema::<T>().to_value());
}

/// Adds any string as the short form.
pub(super) fn or_string(schema: &mut Schema) {
    or_short(schema, json!({ "type": "string" }));
}

/// Adds `short` as the short form.
pub(super) fn or_short(schema: &mut Schema, short: Value) {
    let mut long = std::mem::take(schema.ensure_object());
    let description = long.remove("description");
    let object = schema.ensure_object();
    object.extend(description.map(|description| ("description".to_owned(), description)));
    object.insert("anyOf".to_owned(), json!([short, long]));
}

/// The keys of a map must be names: a field's `#[schemars(transform = ..)]`.
pub(super) fn keyed_by_name(schema: &mut Schema) {
    keyed_by::<super::text::Name>(schema);
}

/// The keys of a map must be names of header fields.
pub(super) fn keyed_by_header_name(schema: &mut Schema) {
    keyed_by::<super::route::HeaderName>(schema);
}

/// The keys of a map must be names of header fields that may be changed.
pub(super) fn keyed_by_field_name(schema: &mut Schema) {
    keyed_by::<super::rewrite::FieldName>(schema);
}

fn keyed_by<T: Written>(schema: &mut Schema) {
    // The derive turns the pattern of the key's own type into this; the format checks more.
    if let Some(Value::Object(patterns)) = schema.remove("patternProperties") {
        schema.insert(
            "additionalProperties".to_owned(),
            patterns.into_iter().next().map_or(Value::Bool(true), |(_, value)| value),
        );
    }
    schema.insert("propertyNames".to_owned(), json!({ "format": T::FORMAT }));
}
