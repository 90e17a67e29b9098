//! Documents as jq's values, and back.
//!
//! jq reads and writes more than JSON: comments, `NaN`, bytes, names that are not text. None of this comes in, since
//! the SDK has parsed the document, and none goes out.

use std::io::Write;

use gatewright_sdk::{
    json::{DEPTH, Value},
    serde_json,
};
use jaq_json::{Map, Num, Val};

/// Why a value is not a document.
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

/// An integer stays one, however many digits it has, and a number that is not computed with keeps its digits. Beyond
/// [`MOST_DIGITS`] it is computed with as a fraction: the cost of integers grows with the square of their length.
fn number(digits: &str) -> Num {
    let whole = (digits.len() <= MOST_DIGITS && digits != "-0").then(|| Num::from_str_radix(digits, 10)).flatten();
    whole.unwrap_or_else(|| Num::Dec(digits.to_owned().into()))
}

/// The value as a document of at most this many bytes.
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
    // Parts of a value may be shared, so its text can be far longer than its memory.
    if text.len() > most { Err(Unwritable::TooLarge) } else { Ok(()) }
}

/// As jq does it: what is not a number becomes null, and what is out of range the largest number.
fn put_number(number: &Num, text: &mut Vec<u8>) {
    let float = match number {
        Num::Dec(digits) if matches!(Value::parse(digits.as_bytes()), Ok(Value::Number(_))) => {
            return text.extend_from_slice(digits.as_bytes());
        }
        // Made by the program from a text that jq reads as a number, but JSON does not.
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

/// The text of a value; invalid UTF-8 in it becomes U+FFFD.
pub(crate) fn text(value: &Val) -> Option<String> {
    match value {
        Val::TStr(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    }
}

/// The most digits of an integer that stays one.
const MOST_DIGITS: usize = 400;
