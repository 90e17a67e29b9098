//! Converts parameters, which are text, to the numbers, booleans and lists of a schema.

use gatewright_sdk::serde_json::{Map, Number, Value};
use percent_encoding::percent_decode_str;

use crate::refusal::Refusal;

/// The values of one name as JSON of the schema's type. A value that does not fit stays text, and the schema refuses
/// it.
pub(crate) fn value(schema: &Value, values: &[String], explode: bool) -> Value {
    if is(schema, "array") {
        let items = schema.get("items").unwrap_or(&Value::Null);
        let parts: Vec<&str> = match values {
            [one] if !explode => one.split(',').collect(),
            many => many.iter().map(String::as_str).collect(),
        };
        return parts.into_iter().map(|part| scalar(items, part)).collect();
    }
    match values {
        [one] => scalar(schema, one),
        many => many.iter().map(|value| Value::String(value.clone())).collect(),
    }
}

fn scalar(schema: &Value, text: &str) -> Value {
    let number = || text.parse::<Number>().ok().map(Value::Number);
    let found = match text {
        "true" if is(schema, "boolean") => Some(Value::Bool(true)),
        "false" if is(schema, "boolean") => Some(Value::Bool(false)),
        _ if is(schema, "integer") || is(schema, "number") => number(),
        "null" | "" if is(schema, "null") && !is(schema, "string") => Some(Value::Null),
        _ => None,
    };
    found.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn is(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(have)) => have == kind,
        Some(Value::Array(kinds)) => kinds.iter().any(|have| have == kind),
        _ => false,
    }
}

/// All values by name, as one object, with the types of a schema's `properties`.
pub(crate) fn object(schema: &Value, values: Vec<(String, String)>) -> Value {
    let mut by_name: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in values {
        match by_name.iter_mut().find(|(have, _)| *have == name) {
            Some((_, values)) => values.push(value),
            None => by_name.push((name, vec![value])),
        }
    }
    let properties = schema.get("properties").unwrap_or(&Value::Null);
    let members = by_name.into_iter().map(|(name, values)| {
        let value = value(properties.get(&name).unwrap_or(&Value::Null), &values, true);
        (name, value)
    });
    Value::Object(members.collect::<Map<_, _>>())
}

/// The arguments of a query, decoded. Excess arguments would go unchecked, so they are refused.
pub(crate) fn query(target: &str) -> Result<Vec<(String, String)>, Refusal> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let parts = || query.split('&').filter(|part| !part.is_empty());
    if parts().nth(MOST_ARGUMENTS).is_some() {
        return Err(Refusal::arguments(MOST_ARGUMENTS));
    }
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
    };
    Ok(parts().map(pair).collect())
}

pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The gateway bounds the length of a target; this bounds the work.
const MOST_ARGUMENTS: usize = 1000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use gatewright_sdk::serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_their_schema_says() {
        for (schema, values, explode, expected) in [
            (json!({ "type": "integer" }), vec!["12"], true, json!(12)),
            (json!({ "type": "integer" }), vec!["x"], true, json!("x")),
            (json!({ "type": "integer" }), vec!["1", "2"], true, json!(["1", "2"])),
            (json!({ "type": "number" }), vec!["1.5"], true, json!(1.5)),
            (json!({ "type": "boolean" }), vec!["true"], true, json!(true)),
            (json!({ "type": "boolean" }), vec!["1"], true, json!("1")),
            (json!({ "type": "string" }), vec!["12"], true, json!("12")),
            (json!({ "type": ["integer", "null"] }), vec![""], true, json!("")),
            (json!({ "type": ["null"] }), vec![""], true, json!(null)),
            (json!({}), vec!["12"], true, json!("12")),
            (json!({ "type": "array", "items": { "type": "integer" } }), vec!["1", "2"], true, json!([1, 2])),
            (json!({ "type": "array", "items": { "type": "integer" } }), vec!["1,2"], false, json!([1, 2])),
            (json!({ "type": "array", "items": { "type": "integer" } }), vec!["1,2"], true, json!(["1,2"])),
        ] {
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            assert_eq!(value(&schema, &values, explode), expected, "{schema} {values:?}");
        }
    }

    #[test]
    fn arguments_by_name() {
        let schema = json!({ "properties": { "n": { "type": "integer" }, "l": { "type": "array" } } });
        let arguments = query("/a?n=1&l=x&b=%C3%A4+c&l=y&&e").unwrap();
        assert_eq!(object(&schema, arguments), json!({ "n": 1, "l": ["x", "y"], "b": "ä c", "e": "" }));
        assert_eq!(object(&schema, query("/a").unwrap()), json!({}));
    }

    #[test]
    fn no_argument_goes_unread() {
        let most = "x&".repeat(MOST_ARGUMENTS);
        assert_eq!(query(&format!("/?{most}")).unwrap().len(), MOST_ARGUMENTS);
        assert_eq!(query(&format!("/?&&{most}&")).unwrap().len(), MOST_ARGUMENTS);
        assert!(query(&format!("/?{most}x")).is_err());
    }
}
