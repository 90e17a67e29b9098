//! `json-schema`: JSON checked against schemas natively, compiled once for all instances of a plugin.
//!
//! The document with the schemas is the operator's, the checked values are a client's. So nothing is ever fetched,
//! regular expressions run on the engine that takes linear time (one that needs look-around is refused when it is
//! declared), and the numbers of schemas, values and violations are bounded. The default is draft 2020-12; a document
//! may name an older one in `$schema`.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};

use super::unique_json;

/// The schemas of one plugin configuration.
#[derive(Default)]
pub struct Schemas {
    declared: ArcSwap<HashMap<String, Arc<Document>>>,
    declaring: Mutex<()>,
}

/// The schemas of one document, by their place in it.
struct Document {
    text: Box<str>,
    schemas: HashMap<String, Validator>,
}

/// What is wrong in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A JSON Pointer into the checked value.
    pub pointer: String,
    /// One sentence that does not repeat the value.
    pub message: String,
}

/// Why something could not be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// The value is not JSON, is nested too deeply, or has a member twice; the text says which. With a duplicate member
    /// the next reader might use the other one, which was not checked.
    NotJson(String),
    /// No such schema was declared.
    Unknown,
}

impl Schemas {
    /// Compiles the schemas at these places (JSON Pointers) of a document. Every instance of a plugin declares its
    /// schemas anew, so declaring the same again is fine and cheap; another document under the same name is an error.
    ///
    /// # Errors
    /// What is wrong with the schemas, for the operator.
    pub fn declare(&self, name: &str, text: &str, places: &[String]) -> Result<(), String> {
        let is_declared = |declared: &HashMap<String, Arc<Document>>| match declared.get(name) {
            Some(document) if *document.text == *text => Ok(true),
            Some(_) => Err(format!("the schemas {name:?} are declared already, with another document")),
            None => Ok(false),
        };
        if is_declared(&self.declared.load())? {
            return Ok(());
        }
        let _declaring = self.declaring.lock().unwrap_or_else(PoisonError::into_inner);
        let declared = self.declared.load_full();
        if is_declared(&declared)? {
            return Ok(());
        }
        if declared.len() >= MOST_DOCUMENTS {
            return Err(format!("more than {MOST_DOCUMENTS} documents with schemas are declared"));
        }
        let document = Arc::new(Document::new(text, places)?);
        let mut declared = HashMap::clone(&declared);
        declared.insert(name.to_owned(), document);
        self.declared.store(Arc::new(declared));
        Ok(())
    }

    /// What is wrong with a value: at most [`MOST_VIOLATIONS`] violations, none if it is valid.
    ///
    /// # Errors
    /// See [`CheckError`].
    pub fn check(&self, name: &str, place: &str, value: &[u8]) -> Result<Vec<Violation>, CheckError> {
        let declared = self.declared.load();
        let validator =
            declared.get(name).and_then(|document| document.schemas.get(place)).ok_or(CheckError::Unknown)?;
        let value = unique_json::value(value).map_err(CheckError::NotJson)?;
        let violation = |error: jsonschema::ValidationError<'_>| Violation {
            pointer: error.instance_path().as_str().to_owned(),
            message: error.masked_with("the value").to_string(),
        };
        Ok(validator.iter_errors(&value).take(MOST_VIOLATIONS).map(violation).collect())
    }
}

impl Document {
    fn new(text: &str, places: &[String]) -> Result<Document, String> {
        if places.len() > MOST_SCHEMAS {
            return Err(format!("there are {} schemas, and at most {MOST_SCHEMAS} may be declared", places.len()));
        }
        let document: Value =
            serde_json::from_str(text).map_err(|error| format!("the document is not JSON: {error}"))?;
        let patterns = PatternOptions::regex().size_limit(LARGEST_REGEX).dfa_size_limit(LARGEST_REGEX);
        let options = jsonschema::options().offline().should_validate_formats(true).with_pattern_options(patterns);
        let mut schemas = HashMap::new();
        for place in places {
            let schema = schema_at(&document, place).ok_or_else(|| format!("there is nothing at {place:?}"))?;
            let validator = options.build(&schema).map_err(|error| match error.schema_path().as_str() {
                "" => format!("the schema at {place:?} is wrong: {error}"),
                path => format!("the schema at {place:?} is wrong at {path}: {error}"),
            })?;
            schemas.insert(place.clone(), validator);
        }
        Ok(Document { text: text.into(), schemas })
    }
}

/// A schema for a place in a document: a reference to it, together with the whole document, so that references inside
/// still resolve.
fn schema_at(document: &Value, place: &str) -> Option<Value> {
    if place.is_empty() {
        return Some(document.clone());
    }
    document.pointer(place)?;
    let Value::Object(members) = document else { return None };
    let mut schema: Map<String, Value> = members.clone();
    schema.insert("$ref".into(), Value::String(format!("#{}", escape(place))));
    Some(Value::Object(schema))
}

/// A pointer as the fragment of a URI (RFC 6901 section 6).
fn escape(pointer: &str) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const SET: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'<')
        .add(b'>')
        .add(b'`')
        .add(b'#')
        .add(b'%')
        .add(b'{')
        .add(b'}')
        .add(b'^')
        .add(b'|')
        .add(b'\\');
    utf8_percent_encode(pointer, SET).to_string()
}

impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schemas").finish_non_exhaustive()
    }
}

/// Violations reported for one value.
pub const MOST_VIOLATIONS: usize = 20;
const MOST_DOCUMENTS: usize = 16;
const MOST_SCHEMAS: usize = 2000;
const LARGEST_REGEX: usize = 1 << 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn declared(document: &Value, places: &[&str]) -> Result<Schemas, String> {
        let schemas = Schemas::default();
        let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
        schemas.declare("d", &document.to_string(), &places)?;
        Ok(schemas)
    }

    fn wrong(schemas: &Schemas, place: &str, value: &str) -> Vec<String> {
        let violations = schemas.check("d", place, value.as_bytes()).unwrap();
        violations.into_iter().map(|violation| format!("{} {}", violation.pointer, violation.message)).collect()
    }

    #[test]
    fn values_are_checked_and_the_places_told() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": { "a": { "type": "integer", "minimum": 1 }, "b/c": { "items": { "format": "email" } } },
        });
        let schemas = declared(&schema, &[""]).unwrap();
        assert_eq!(wrong(&schemas, "", r#"{"a":1,"b/c":["ada@example.org"]}"#), Vec::<String>::new());
        for (value, places) in [
            (r#"{}"#, vec![""]),
            (r#"{"a":0}"#, vec!["/a"]),
            (r#"{"a":"x","b/c":["x"]}"#, vec!["/a", "/b~1c/0"]),
            (r#"{"a":1,"d":1}"#, vec![""]),
            ("[]", vec![""]),
        ] {
            let violations = schemas.check("d", "", value.as_bytes()).unwrap();
            let found: Vec<&str> = violations.iter().map(|violation| violation.pointer.as_str()).collect();
            assert_eq!(found, places, "{value}");
        }
        let secret = wrong(&schemas, "", r#"{"a":"hunter2"}"#);
        assert!(!secret[0].contains("hunter2"), "{secret:?}");
    }

    #[test]
    fn schemas_in_a_document_find_their_own() {
        let document = json!({
            "openapi": "3.1.0",
            "components": { "schemas": { "Id": { "type": "integer" }, "Pet": { "properties": { "id": { "$ref": "#/components/schemas/Id" } } } } },
            "paths": { "/pets/{id}": { "post": { "schema": { "$ref": "#/components/schemas/Pet", "required": ["id"] } } } },
        });
        let place = "/paths/~1pets~1{id}/post/schema";
        let schemas = declared(&document, &[place, "/components/schemas/Id"]).unwrap();
        assert_eq!(wrong(&schemas, place, r#"{"id":1}"#), Vec::<String>::new());
        assert_eq!(wrong(&schemas, place, r#"{"id":"1"}"#).len(), 1);
        assert_eq!(wrong(&schemas, place, "{}").len(), 1);
        assert_eq!(schemas.check("d", "/paths", b"1"), Err(CheckError::Unknown));
        assert_eq!(schemas.check("e", place, b"1"), Err(CheckError::Unknown));
    }

    #[test]
    fn what_is_no_json_is_told_apart() {
        let schemas = declared(&json!({}), &[""]).unwrap();
        let deep = "[".repeat(10_000);
        for value in ["", "{", deep.as_str(), "\u{feff}1"] {
            assert!(matches!(schemas.check("d", "", value.as_bytes()), Err(CheckError::NotJson(_))), "{value:.9}");
        }
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_whichever_is_good() {
        let schemas = declared(&json!({ "properties": { "n": { "type": "integer" } } }), &[""]).unwrap();
        for value in [r#"{"n":"x","n":1}"#, r#"{"n":1,"\u006e":"x"}"#, r#"[{"a":{"b":1,"b":1}}]"#] {
            match schemas.check("d", "", value.as_bytes()) {
                Err(CheckError::NotJson(why)) => assert!(why.contains("twice"), "{value}: {why}"),
                other => panic!("{value}: {other:?}"),
            }
        }
        assert_eq!(wrong(&schemas, "", r#"{"n":1,"a":{"n":1},"b":[{"n":"x"},{"n":"x"}]}"#), Vec::<String>::new());
    }

    #[test]
    fn bad_schemas_are_refused_when_they_are_declared() {
        for (document, place) in [
            (json!({ "type": "text" }), ""),
            (json!({ "pattern": "(" }), ""),
            (json!({ "pattern": "(?=a)b" }), ""),
            (json!({ "$ref": "https://example.org/schema.json" }), ""),
            (json!({ "$ref": "#/none" }), ""),
            (json!({ "a": {} }), "/b"),
            (json!([]), "/0"),
        ] {
            assert!(declared(&document, &[place]).is_err(), "{document} {place}");
        }
    }

    #[test]
    fn the_same_again_is_fine_and_another_one_is_not() {
        let schemas = declared(&json!({}), &[""]).unwrap();
        assert_eq!(schemas.declare("d", "{}", &[String::new()]), Ok(()));
        assert!(schemas.declare("d", "true", &[String::new()]).is_err());
    }

    #[test]
    fn complaints_are_bounded() {
        let schemas = declared(&json!({ "items": { "type": "string" } }), &[""]).unwrap();
        assert_eq!(wrong(&schemas, "", &format!("[{}1]", "1,".repeat(10_000))).len(), MOST_VIOLATIONS);
    }

    /// With a backtracking engine this pattern would take for ever on this text.
    #[test]
    fn patterns_take_linear_time() {
        let schemas = declared(&json!({ "pattern": "^(a+)+$" }), &[""]).unwrap();
        let began = std::time::Instant::now();
        assert_eq!(wrong(&schemas, "", &format!("\"{}!\"", "a".repeat(100_000))).len(), 1);
        assert!(began.elapsed() < std::time::Duration::from_secs(2));
    }
}
