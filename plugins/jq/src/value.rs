//! Documents as jq's values, and back.
//!
//! jq reads and writes more than JSON: comments, `NaN`, bytes, names that are no text. None of it comes in, since the SDK has
//! read the document, and none of it goes out.

use std::io::Write;

use gatewright_sdk::{
    json::{DEPTH, Value},
    serde_json,
};
use jaq_json::{Map, Num, Val};

/// Why a value is no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    TooLarge,
    TooDeep,
    NotJson,
}

/// Of members with the same name the last one stays.
pub(crate) fn read(document: &Value) -> Val {
    match document {
        Value::Null => Val::Null,
        Value::Bool(is) => Val::Bool(*is),
        Value::Number(digits) => Val::Num(number(digits)),
        Value::String(text) => Val::utf8_str(text.clone()),
        Value::Array(items) => items.iter().map(read).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (Val::utf8_str(name.clone()), read(value)));
            Val::obj(members.collect::<Map>())
        }
    }
}

/// A whole number stays one, however many digits it has, and what is not computed with is written as it was. Beyond
/// [`MOST_DIGITS`] it is computed with as a fraction is: the effort for whole ones grows with the square of their length.
fn number(digits: &str) -> Num {
    let whole = (digits.len() <= MOST_DIGITS && digits != "-0").then(|| Num::from_str_radix(digits, 10)).flatten();
    whole.unwrap_or_else(|| Num::Dec(digits.to_owned().into()))
}

/// The value as a document of at most so many bytes.
pub(crate) fn write(value: &Val, most: usize) -> Result<Vec<u8>, Unwritable> {
    let mut text = Vec::new();
    put(value, &mut text, most, DEPTH)?;
    Ok(text)
}

fn put(value: &Val, text: &mut Vec<u8>, most: usize, depth: usize) -> Result<(), Unwritable> {
    match value {
        Val::Null => text.extend_from_slice(b"null"),
        Val::Bool(true) => text.extend_from_slice(b"true"),
        Val::Bool(false) => text.extend_from_slice(b"false"),
        Val::Num(number) => put_number(number, text),
        Val::TStr(_) => put_text(value, text)?,
        Val::BStr(_) => return Err(Unwritable::NotJson),
        Val::Arr(items) => {
            let depth = depth.checked_sub(1).ok_or(Unwritable::TooDeep)?;
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                put(item, text, most, depth)?;
            }
            text.push(b']');
        }
        Val::Obj(members) => {
            let depth = depth.checked_sub(1).ok_or(Unwritable::TooDeep)?;
            text.push(b'{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                put_text(name, text)?;
                text.push(b':');
                put(value, text, most, depth)?;
            }
            text.push(b'}');
        }
    }
    // Parts of a value may be the same one, so it can be far longer written than it is in memory.
    if text.len() > most { Err(Unwritable::TooLarge) } else { Ok(()) }
}

/// As jq does it: what is no number is null, and what is beyond all is the largest one.
fn put_number(number: &Num, text: &mut Vec<u8>) {
    let float = match number {
        Num::Dec(digits) if matches!(Value::parse(digits.as_bytes()), Ok(Value::Number(_))) => {
            return text.extend_from_slice(digits.as_bytes());
        }
        // Made by the program of a text that jq reads as a number and JSON does not.
        Num::Dec(digits) => digits.parse().unwrap_or(f64::NAN),
        Num::Float(float) => *float,
        Num::Int(_) | Num::BigInt(_) => return shown(number, text),
    };
    match float {
        float if float.is_nan() => text.extend_from_slice(b"null"),
        float => shown(&Num::Float(float.clamp(f64::MIN, f64::MAX)), text),
    }
}

fn shown(number: &Num, text: &mut Vec<u8>) {
    // A Vec takes all that is written.
    let _ = write!(text, "{number}");
}

fn put_text(value: &Val, text: &mut Vec<u8>) -> Result<(), Unwritable> {
    let string = self::text(value).ok_or(Unwritable::NotJson)?;
    // Text can always be written, and so can a Vec.
    let _ = serde_json::to_writer(text, &string);
    Ok(())
}

/// The text that a value is; what is no UTF-8 in it as U+FFFD.
pub(crate) fn text(value: &Val) -> Option<String> {
    match value {
        Val::TStr(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// Of a whole number that stays one.
const MOST_DIGITS: usize = 400;
