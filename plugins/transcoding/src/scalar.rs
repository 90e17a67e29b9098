//! Values of fields as text in paths and queries.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;

/// The value of a text for a field of this kind.
///
/// # Errors
/// Why it has none, as the end of a sentence; the text is not repeated.
pub(crate) fn parse(kind: &Kind, text: &str) -> Result<Value, String> {
    let number = |what: &str| format!("is not {what}");
    Ok(match kind {
        Kind::Double => Value::F64(float(text)?),
        Kind::Float => {
            let wide = float(text)?;
            #[allow(clippy::cast_possible_truncation)]
            let narrow = wide as f32;
            if wide.is_finite() && narrow.is_infinite() {
                return Err("is out of range".to_owned());
            }
            Value::F32(narrow)
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(text.parse().map_err(|_| number("an integer of 32 bits"))?)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(text.parse().map_err(|_| number("an integer of 64 bits"))?)
        }
        Kind::Uint32 | Kind::Fixed32 => Value::U32(text.parse().map_err(|_| number("an unsigned integer of 32 bits"))?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(text.parse().map_err(|_| number("an unsigned integer of 64 bits"))?),
        Kind::Bool => Value::Bool(text.parse().map_err(|_| "is neither true nor false".to_owned())?),
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(bytes(text).ok_or("is not base64")?.into()),
        Kind::Enum(of) => Value::EnumNumber(enumerated(of, text)?),
        Kind::Message(of) => Value::Message(message(of, text)?),
    })
}

/// The text of a value: the reverse of [`parse`]. `None` for messages that have no text form.
pub(crate) fn text(kind: &Kind, value: &Value) -> Option<String> {
    Some(match (kind, value) {
        (_, Value::F64(value)) => value.to_string(),
        (_, Value::F32(value)) => value.to_string(),
        (_, Value::I32(value)) => value.to_string(),
        (_, Value::I64(value)) => value.to_string(),
        (_, Value::U32(value)) => value.to_string(),
        (_, Value::U64(value)) => value.to_string(),
        (_, Value::Bool(value)) => value.to_string(),
        (_, Value::String(value)) => value.clone(),
        (_, Value::Bytes(value)) => base64::engine::general_purpose::URL_SAFE.encode(value),
        (Kind::Enum(of), Value::EnumNumber(number)) => match of.get_value(*number) {
            Some(value) => value.name().to_owned(),
            None => number.to_string(),
        },
        (Kind::Message(of), Value::Message(message)) if has_text(of) => match serde_json::to_value(message).ok()? {
            Json::String(text) => text,
            Json::Bool(value) => value.to_string(),
            Json::Number(value) => value.to_string(),
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether a message is written as a single value in JSON.
pub(crate) fn has_text(of: &MessageDescriptor) -> bool {
    inner(of).is_some() || matches!(of.full_name(), TIMESTAMP | DURATION | FIELD_MASK)
}

fn message(of: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    if let Some(field) = inner(of) {
        let mut message = DynamicMessage::new(of.clone());
        message.set_field(&field, parse(&field.kind(), text)?);
        return Ok(message);
    }
    let what = match of.full_name() {
        TIMESTAMP => "is not a time as in RFC 3339",
        DURATION => "is not a duration such as \"1.5s\"",
        FIELD_MASK => "is not a list of fields",
        _ => return Err("is a message, whose fields are named one by one".to_owned()),
    };
    DynamicMessage::deserialize(of.clone(), Json::String(text.to_owned())).map_err(|_| what.to_owned())
}

/// The field of a wrapper.
fn inner(of: &MessageDescriptor) -> Option<prost_reflect::FieldDescriptor> {
    let is_wrapper = of.full_name().strip_prefix("google.protobuf.").is_some_and(|name| WRAPPERS.contains(&name));
    is_wrapper.then(|| of.get_field(1)).flatten()
}

fn float(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        _ => {
            // Rust accepts "inf" as well.
            let value = text.parse::<f64>().ok().filter(|_| !text.bytes().any(|byte| b"iInN".contains(&byte)));
            let value = value.ok_or_else(|| "is not a number".to_owned())?;
            if value.is_infinite() { Err("is out of range".to_owned()) } else { Ok(value) }
        }
    }
}

fn enumerated(of: &EnumDescriptor, text: &str) -> Result<i32, String> {
    let by_name = of.get_value_by_name(text).map(|value| value.number());
    by_name.or_else(|| text.parse().ok()).ok_or_else(|| "is not a value of its enumeration".to_owned())
}

/// Base64 of either alphabet, with padding or without.
fn bytes(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
    const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
    STANDARD.decode(text).or_else(|_| URL.decode(text)).ok()
}

const TIMESTAMP: &str = "google.protobuf.Timestamp";
const DURATION: &str = "google.protobuf.Duration";
const FIELD_MASK: &str = "google.protobuf.FieldMask";
const WRAPPERS: [&str; 9] = [
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
];
