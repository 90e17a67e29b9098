//! Checks a value against a JSON Schema: our own, or that of a plugin.
//!
//! A plugin's schema is written by a stranger, in any language. So nothing is ever fetched, regular expressions run on
//! an engine that takes linear time (a schema that needs look-around is refused, not run), and size and depth are
//! limited. The default is draft 2020-12; a schema may name an older one in `$schema`. Formats are checked, both the
//! standard ones and ours (`gateway-duration` and the others in [`FORMATS`]; [`UPSTREAM`] where it is known what the
//! plugin was granted).

use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::document::{DEEPEST, Document};
use super::explain::Explainer;
use super::granted::{Granted, UPSTREAM};
use super::text::FORMATS;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    source: Value,
    validator: jsonschema::Validator,
    granted: Option<Granted>,
}

impl Schema {
    /// Compiles `source`. The error is one sentence for the author of the schema.
    pub fn compile(source: &Value) -> Result<Schema, String> {
        Schema::build(source, None)
    }

    /// The same for the configuration of a plugin: a string of the format [`UPSTREAM`] must name an upstream that the
    /// plugin was granted.
    pub fn of_plugin(source: &Value, granted: Granted) -> Result<Schema, String> {
        Schema::build(source, Some(granted))
    }

    fn build(source: &Value, granted: Option<Granted>) -> Result<Schema, String> {
        let mut nodes = MOST_NODES;
        if !fits(source, DEEPEST, &mut nodes) {
            return Err(format!("the schema has more than {MOST_NODES} values or more than {DEEPEST} levels"));
        }
        let patterns = jsonschema::PatternOptions::regex().size_limit(LARGEST_REGEX).dfa_size_limit(LARGEST_REGEX);
        let mut options = jsonschema::options().offline().should_validate_formats(true).with_pattern_options(patterns);
        for format in FORMATS {
            options = options.with_format(format.name, |text: &str| (format.check)(text).is_ok());
        }
        if let Some(Granted { upstreams, .. }) = granted.clone() {
            options = options.with_format(UPSTREAM, move |name: &str| upstreams.contains(name));
        }
        match options.build(source) {
            Ok(validator) => Ok(Schema { source: source.clone(), validator, granted }),
            Err(error) => Err(match error.schema_path().as_str() {
                "" => error.to_string(),
                path => format!("{error} (at {path})"),
            }),
        }
    }

    /// Everything that is wrong with `value`, which is at `pointer` in `document`, up to a bound far above what a
    /// report shows. If the document has no such value (a plugin without a configuration), the nearest one around it is
    /// shown.
    pub fn check(&self, value: &Value, document: &Document, pointer: &str) -> Vec<Diagnostic> {
        let mut explainer = Explainer::new(&self.source, self.granted.as_ref(), document, pointer);
        for error in self.validator.iter_errors(value).take(MOST_ERRORS) {
            explainer.explain(&error);
        }
        explainer.finish()
    }
}

/// Compiles and checks in one step; a schema that does not compile is reported at `pointer`.
pub fn validate(schema: &Value, value: &Value, document: &Document, pointer: &str) -> Vec<Diagnostic> {
    match Schema::compile(schema) {
        Ok(schema) => schema.check(value, document, pointer),
        Err(error) => vec![document.at_key(pointer, format!("the schema for this value is wrong: {error}"))],
    }
}

fn fits(value: &Value, depth: usize, nodes: &mut usize) -> bool {
    if depth == 0 || *nodes == 0 {
        return false;
    }
    *nodes -= 1;
    match value {
        Value::Array(items) => items.iter().all(|item| fits(item, depth - 1, nodes)),
        Value::Object(members) => members.values().all(|member| fits(member, depth - 1, nodes)),
        _ => true,
    }
}

const MOST_NODES: usize = 20_000;
const MOST_ERRORS: usize = 1_000;
const LARGEST_REGEX: usize = 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::expand::tests::Fake;
    use super::*;

    fn messages(schema: Value, text: &str) -> Vec<String> {
        let document = Document::parse("f", text, &Fake).unwrap();
        let found = validate(&schema, document.value(), &document, "");
        found
            .into_iter()
            .map(|diagnostic| {
                let label =
                    if diagnostic.label.is_empty() { String::new() } else { format!(" [{}]", diagnostic.label) };
                format!("{} {}{label}", diagnostic.pointer, diagnostic.message).trim().to_owned()
            })
            .collect()
    }

    #[test]
    fn every_keyword_has_words() {
        for (schema, text, expected) in [
            (json!({"type": "integer"}), "\"5\"", "expected an integer, found \"5\" [a string]"),
            (json!({"type": ["integer", "string"]}), "[]", "expected an integer or a string, found an array"),
            (
                json!({"enum": ["deny", "skip"]}),
                "\"denny\"",
                "\"denny\" is not one of the allowed values [did you mean \"deny\"?]",
            ),
            (json!({"enum": [1, 2]}), "3", "3 is not one of the allowed values"),
            (json!({"const": 4}), "3", "expected 4, found 3"),
            (json!({"minimum": 4}), "3", "3 is less than 4"),
            (json!({"maximum": 4}), "5", "5 is more than 4"),
            (json!({"exclusiveMinimum": 4}), "4", "4 is not more than 4"),
            (json!({"exclusiveMaximum": 4}), "4", "4 is not less than 4"),
            (json!({"multipleOf": 4}), "5", "5 is not a multiple of 4"),
            (json!({"minLength": 2}), "\"a\"", "\"a\" is shorter than 2 characters"),
            (json!({"maxLength": 2}), "\"abc\"", "\"abc\" is longer than 2 characters"),
            (json!({"minItems": 1}), "[]", "the array is empty"),
            (json!({"minItems": 2}), "[1]", "the array has fewer than 2 items"),
            (json!({"maxItems": 1}), "[1,2]", "the array has more than 1 item"),
            (json!({"uniqueItems": true}), "[1,1]", "an item stands twice in the array"),
            (json!({"minProperties": 1}), "{}", "the object is empty"),
            (json!({"maxProperties": 1}), "{\"a\":1,\"b\":2}", "the object has more than 1 key"),
            (json!({"pattern": "^a"}), "\"b\"", "\"b\" is not written as expected"),
            (json!({"format": "ipv4"}), "\"b\"", "expected ipv4, found \"b\""),
            (
                json!({"format": "gateway-size"}),
                "\"1kib\"",
                "expected a size, found \"1kib\" [the unit is written \"KiB\", right after the number]",
            ),
            (json!({"required": ["a"]}), "{}", "the key \"a\" is missing"),
            (json!({"properties": {"a": false}}), "{\"a\": 1}", "/a this is not allowed here"),
            (
                json!({"properties": {"keys": {}}, "additionalProperties": false}),
                "{\"key\": 1}",
                "/key unknown key \"key\" [did you mean \"keys\"?]",
            ),
            (
                json!({"properties": {"keys": {}}, "unevaluatedProperties": false}),
                "{\"key\": 1}",
                "/key unknown key \"key\" [did you mean \"keys\"?]",
            ),
            (json!({"propertyNames": {"pattern": "^a"}}), "{\"b~/\": 1}", "/b~0~1 \"b~/\" is not written as expected"),
            (json!({"not": {"type": "string"}}), "\"a\"", "this value is excluded by the schema"),
            (json!({"contains": {"type": "string"}}), "[1]", "no item of the array is as one has to be"),
            (json!({"items": {"type": "string"}}), "[1]", "/0 expected a string, found 1"),
            (json!({"prefixItems": [true], "items": false}), "[1, 2]", "/1 this is not allowed here"),
            (
                json!({"prefixItems": [true], "unevaluatedItems": false}),
                "[1, 2]",
                "the array has items that the schema does not know",
            ),
            (json!({"dependentRequired": {"a": ["b"]}}), "{\"a\": 1}", "the key \"b\" is missing"),
            (json!({"if": true, "then": {"required": ["z"]}}), "{}", "the key \"z\" is missing"),
        ] {
            assert_eq!(messages(schema.clone(), text), [expected], "{schema}");
        }
    }

    #[test]
    fn a_wrong_type_is_one_mistake_and_null_is_not_asked_for() {
        let one_key = json!({
            "type": "object",
            "properties": {"key": {"type": "string"}, "sha256": {"type": "string"}},
            "oneOf": [{"required": ["key"]}, {"required": ["sha256"]}],
        });
        let either = "this value fits several alternatives of the schema, of which one is allowed";
        let maybe = json!({"anyOf": [{"$ref": "#/$defs/it"}, {"type": "null"}], "$defs": {"it": {"type": "object"}}});
        for (schema, text, expected) in [
            (&one_key, "\"abc\"", "expected an object, found \"abc\" [a string]"),
            (&one_key, "{\"key\": \"a\", \"sha256\": \"b\"}", either),
            (&json!({"type": ["array", "null"]}), "{}", "expected an array, found an object"),
            (&json!({"type": "null"}), "1", "expected null, found 1"),
            (&maybe, "1", "expected an object, found 1"),
        ] {
            assert_eq!(messages(schema.clone(), text), [expected], "{text}");
        }
    }

    #[test]
    fn alternatives_are_explained_by_the_one_that_was_meant() {
        let tagged = json!({"oneOf": [
            {"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"], "additionalProperties": false},
            {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"], "additionalProperties": false},
        ]});
        let mixed = json!({"anyOf": [{"type": "string", "format": "gateway-duration"}, {"$ref": "#/$defs/long"}], "$defs": {"long":
            {"type": "object", "properties": {"every": {"type": "string"}}, "required": ["every"], "additionalProperties": false}}});
        let documented = json!({"oneOf": [{"type": "string", "const": "deny"}, {"type": "string", "const": "skip"}]});
        let kinds = json!({"oneOf": [
            {"properties": {"kind": {"const": "a"}, "x": {"type": "integer"}}, "required": ["kind"]},
            {"properties": {"kind": {"const": "b"}, "y": {"type": "integer"}}, "required": ["kind"]},
        ]});
        for (schema, text, expected) in [
            (&tagged, "{\"envv\": \"A\"}", &["/envv unknown key \"envv\" [did you mean \"env\"?]"][..]),
            (&tagged, "{\"env\": 1}", &["/env expected a string, found 1"]),
            (&tagged, "{\"env\": \"a\", \"file\": \"b\"}", &["the keys \"env\", \"file\" exclude each other"]),
            (&tagged, "{}", &["one of the keys \"env\", \"file\" is missing"]),
            (&tagged, "3", &["expected an object, found 3"]),
            (&mixed, "\"5\"", &["expected a duration, found \"5\" [the unit is missing]"]),
            (&mixed, "{\"evry\": \"1s\"}", &["/evry unknown key \"evry\" [did you mean \"every\"?]"]),
            (&mixed, "[]", &["expected a string or an object, found an array"]),
            (&documented, "\"denny\"", &["\"denny\" is not one of the allowed values [did you mean \"deny\"?]"]),
            (&documented, "1", &["expected a string, found 1"]),
            (&kinds, "{\"kind\": \"b\", \"y\": \"no\"}", &["/y expected an integer, found \"no\" [a string]"]),
        ] {
            assert_eq!(messages(schema.clone(), text), expected, "{text}");
        }
    }

    #[test]
    fn what_was_expanded_is_never_shown() {
        for schema in [
            json!({"type": "integer"}),
            json!({"enum": ["hunter3"]}),
            json!({"const": "x"}),
            json!({"pattern": "^x"}),
            json!({"maxLength": 1}),
            json!({"format": "gateway-duration"}),
            json!({"format": "gateway-listen-address"}),
            json!({"format": "email"}),
            json!({"not": {}}),
            json!({"oneOf": [{"const": "a"}, {"const": "hunter1"}]}),
            json!({"oneOf": [true, true]}),
        ] {
            let found = messages(schema.clone(), "\"${SECRET}\"").concat();
            assert!(
                !found.is_empty() && !found.contains("hunter") && !found.contains("did you mean"),
                "{schema}: {found}"
            );
        }
    }

    #[test]
    fn a_name_of_an_upstream_must_be_one_that_was_granted() {
        let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let granted =
            Granted { plugin: "ask".to_owned(), upstreams: names(&["auth"]), known: names(&["auth", "h", "users"]) };
        let schema = json!({
            "properties": {
                "ask": { "type": "string", "format": UPSTREAM },
                "all": { "items": { "$ref": "#/$defs/up" } },
            },
            "$defs": { "up": { "anyOf": [{ "format": UPSTREAM }, { "const": "none" }] } },
        });
        let compiled = Schema::of_plugin(&schema, granted).unwrap();
        for (text, expected) in [
            (r#"{ "ask": "auth", "all": ["auth", "none"] }"#, None),
            (
                r#"{ "ask": "auht" }"#,
                Some("/ask there is no upstream \"auht\" [did you mean \"auth\"?] there are: auth, h, users"),
            ),
            (
                r#"{ "ask": "users" }"#,
                Some(
                    "/ask the upstream \"users\" is not granted to the plugin \"ask\" [] \
                     to grant it: \"plugins\": { \"ask\": { \"grants\": { \"upstreams\": [\"auth\", \"users\"] } } }",
                ),
            ),
            (
                r#"{ "ask": "${HOST}" }"#,
                Some(
                    "/ask the upstream \"${HOST}\" is not granted to the plugin \"ask\" [] \
                     to grant it: \"plugins\": { \"ask\": { \"grants\": { \"upstreams\": [\"auth\", \"${HOST}\"] } } }",
                ),
            ),
            (r#"{ "ask": "${SECRET}" }"#, Some("/ask there is no upstream \"${SECRET}\" [] there are: auth, h, users")),
        ] {
            let document = Document::parse("f", text, &Fake).unwrap();
            let found = compiled.check(document.value(), &document, "").into_iter().next().map(|mistake| {
                let help = mistake.help.unwrap_or_default();
                format!("{} {} [{}] {help}", mistake.pointer, mistake.message, mistake.label)
            });
            assert_eq!(found.as_deref(), expected, "{text}");
            // Without a plugin, it is not known what was granted.
            assert!(validate(&schema, document.value(), &document, "").is_empty(), "{text}");
        }
        let document = Document::parse("f", r#"{ "all": ["none", "users"] }"#, &Fake).unwrap();
        assert_eq!(compiled.check(document.value(), &document, "")[0].pointer, "/all/1");
        let none = Schema::of_plugin(&schema, Granted::default()).unwrap();
        let document = Document::parse("f", r#"{ "ask": "a" }"#, &Fake).unwrap();
        assert_eq!(none.check(document.value(), &document, "")[0].help.as_deref(), Some("no upstream is defined"));
    }

    #[test]
    fn wrong_and_hostile_schemas_are_an_error_text() {
        let deep = (0..200).fold(json!({}), |inner, _| json!({ "not": inner }));
        let large = json!({ "enum": (0..30_000).collect::<Vec<_>>() });
        for schema in [
            json!(3),
            json!({"type": "strin"}),
            json!({"$ref": "https://example.com/schema.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$ref": "#/nowhere"}),
            json!({"$schema": "https://example.com/unknown"}),
            json!({"pattern": "(?=a)b"}),
            json!({"pattern": "(a{1000}){1000}"}),
            json!({"pattern": "("}),
            json!({"properties": []}),
            deep,
            large,
        ] {
            assert!(Schema::compile(&schema).is_err(), "{schema}");
        }
        // References in a circle and slow patterns compile, and end.
        for (schema, text) in [
            (json!({"$ref": "#"}), "1".to_owned()),
            (json!({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}), "1".to_owned()),
            (json!({"$dynamicRef": "#"}), "1".to_owned()),
            (json!({"pattern": "^(a+)+$"}), format!("\"{}!\"", "a".repeat(10_000))),
        ] {
            messages(schema, &text);
        }
    }
}
