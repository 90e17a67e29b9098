//! Converts values of a request to the declared types.

use gatewright_sdk::json::Value;

use crate::operation::Kind;

/// The value, as JSON of that type. Texts are parsed; JSON values must already have the type.
///
/// # Errors
/// What it should be, as a clause that follows the variable's name.
pub(crate) fn coerce(kind: &Kind, value: Value) -> Result<Value, &'static str> {
    match (kind, value) {
        (Kind::NonNull(_), Value::Null) => Err("may not be null"),
        (Kind::NonNull(kind), value) => coerce(kind, value),
        (_, Value::Null) => Ok(Value::Null),
        (Kind::List(item), Value::Array(items)) => {
            Ok(Value::Array(items.into_iter().map(|value| coerce(item, value)).collect::<Result<_, _>>()?))
        }
        (Kind::List(_), Value::String(text)) if text.is_empty() => Ok(Value::Array(Vec::new())),
        (Kind::List(item), Value::String(text)) => {
            let items = text.split(',').map(|text| coerce(item, Value::String(text.trim().to_owned())));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        // One value stands for a list of one (GraphQL, section 3.11).
        (Kind::List(item), value) => Ok(Value::Array(vec![coerce(item, value)?])),
        (Kind::Int, Value::String(digits) | Value::Number(digits)) => {
            let number = digits.parse::<i32>().map_err(|_| "has to be a whole number of 32 bits")?;
            Ok(Value::Number(number.to_string()))
        }
        (Kind::Float, Value::String(digits) | Value::Number(digits)) => number(digits),
        (Kind::Boolean, Value::String(text)) => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("has to be true or false"),
        },
        (Kind::Boolean, value @ Value::Bool(_)) | (Kind::Text, value @ Value::String(_)) | (Kind::Other, value) => {
            Ok(value)
        }
        // An ID may be a number, and is equal to the same digits as a text.
        (Kind::Text, Value::Number(digits)) => Ok(Value::String(digits)),
        (Kind::Int, _) => Err("has to be a whole number of 32 bits"),
        (Kind::Float, _) => Err("has to be a number"),
        (Kind::Boolean, _) => Err("has to be true or false"),
        (Kind::Text, _) => Err("has to be a text"),
    }
}

fn number(digits: String) -> Result<Value, &'static str> {
    let is_finite = digits.parse::<f64>().is_ok_and(f64::is_finite);
    match Value::parse(digits.as_bytes()) {
        Ok(Value::Number(digits)) if is_finite => Ok(Value::Number(digits)),
        _ => Err("has to be a number"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values() {
        let list = |kind| Kind::List(Box::new(kind));
        let some = |kind| Kind::NonNull(Box::new(kind));
        for (kind, value, expected) in [
            (Kind::Int, r#""7""#, "7"),
            (Kind::Int, "-7", "-7"),
            (Kind::Int, r#""+7""#, "7"),
            (Kind::Int, "2147483648", "!"),
            (Kind::Int, "7.0", "!"),
            (Kind::Int, r#""""#, "!"),
            (Kind::Int, "true", "!"),
            (Kind::Int, "null", "null"),
            (some(Kind::Int), "null", "!"),
            (Kind::Float, r#""1.50""#, "1.50"),
            (Kind::Float, r#""1e999""#, "!"),
            (Kind::Float, r#""NaN""#, "!"),
            (Kind::Float, r#"" 1""#, "!"),
            (Kind::Float, r#""1 2""#, "!"),
            (Kind::Boolean, r#""true""#, "true"),
            (Kind::Boolean, r#""True""#, "!"),
            (Kind::Boolean, "false", "false"),
            (Kind::Boolean, "0", "!"),
            (Kind::Text, r#""x""#, r#""x""#),
            (Kind::Text, "12345678901234567890", r#""12345678901234567890""#),
            (Kind::Text, "true", "!"),
            (Kind::Text, "{}", "!"),
            (Kind::Other, r#"{"a":1}"#, r#"{"a":1}"#),
            (list(Kind::Int), r#""1, 2""#, "[1,2]"),
            (list(Kind::Int), r#""""#, "[]"),
            (list(Kind::Int), "3", "[3]"),
            (list(Kind::Int), r#"["1",2,null]"#, "[1,2,null]"),
            (list(some(Kind::Int)), "[null]", "!"),
            (list(list(Kind::Text)), r#"[["a"],"b,c"]"#, r#"[["a"],["b","c"]]"#),
        ] {
            let have = coerce(&kind, Value::parse(value.as_bytes()).unwrap());
            assert_eq!(have.map_or("!".to_owned(), |value| value.to_string()), expected, "{kind:?} {value}");
        }
    }

    proptest! {
        #[test]
        fn what_comes_out_is_json_of_the_type(text in ".*") {
            for kind in [Kind::Int, Kind::Float, Kind::Boolean, Kind::Text] {
                if let Ok(value) = coerce(&kind, Value::String(text.clone())) {
                    prop_assert_eq!(Value::parse(&value.to_bytes()).unwrap(), value);
                }
            }
        }
    }
}
