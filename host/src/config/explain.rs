//! Turns the errors of the `jsonschema` crate into messages that an operator can act on.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::diagnostic::{Diagnostic, suggest};
use super::document::{Document, child};
use super::granted::{Granted, UPSTREAM};
use super::text::{FORMATS, quoted};

/// Collects the diagnostics for one value checked against one schema.
pub(super) struct Explainer<'a> {
    pub(super) schema: &'a Value,
    granted: Option<&'a Granted>,
    pub(super) document: &'a Document,
    /// The position of the checked value in the document.
    prefix: &'a str,
    pub(super) found: Vec<Diagnostic>,
    /// Pointers of strings with a wrong format: their pattern is not reported again.
    wrong_formats: Vec<String>,
    wrong_patterns: Vec<(String, Diagnostic)>,
    /// Pointers of values of a wrong type. That such a value fits several alternatives means nothing, because their
    /// requirements (a key, say) apply only to the right type.
    wrong_types: Vec<String>,
    several_fit: Vec<(String, Diagnostic)>,
    /// Missing keys, and keys that an unknown one was probably meant to be: by object and name.
    missing: Vec<((String, String), Diagnostic)>,
    meant: Vec<(String, String)>,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(
        schema: &'a Value,
        granted: Option<&'a Granted>,
        document: &'a Document,
        prefix: &'a str,
    ) -> Explainer<'a> {
        Explainer {
            schema,
            granted,
            document,
            prefix,
            found: Vec::new(),
            wrong_formats: Vec::new(),
            wrong_patterns: Vec::new(),
            wrong_types: Vec::new(),
            several_fit: Vec::new(),
            missing: Vec::new(),
            meant: Vec::new(),
        }
    }

    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.wrong_patterns.retain(|(pointer, _)| !self.wrong_formats.contains(pointer));
        self.several_fit.retain(|(pointer, _)| !self.wrong_types.contains(pointer));
        self.missing.retain(|(key, _)| !self.meant.contains(key));
        self.found.extend(self.wrong_patterns.into_iter().map(|(_, diagnostic)| diagnostic));
        self.found.extend(self.several_fit.into_iter().map(|(_, diagnostic)| diagnostic));
        self.found.extend(self.missing.into_iter().map(|(_, diagnostic)| diagnostic));
        self.found
    }

    /// Adds the meaning of `error`.
    pub(super) fn explain(&mut self, error: &ValidationError<'_>) {
        let pointer = format!("{}{}", self.prefix, error.instance_path().as_str());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let allowed = allowed_keys(self.schema, self.around(error));
                for key in unexpected {
                    self.unknown_key(&pointer, key, &allowed);
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                self.missing_key(&pointer, key, error);
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.alternatives(&pointer, error, context),
            Kind::PropertyNames { error: inner } => {
                let name = inner.instance().as_str().unwrap_or_default().to_owned();
                let pointer = child(&pointer, &name);
                let found = self.document.at_key(&pointer, String::new());
                let found = self.explain_string(found, inner, &quoted(&name), Some(&name));
                self.found.push(found);
            }
            Kind::Type { kind } => self.wrong_type(&pointer, error, &type_names(kind)),
            Kind::Enum { options } => {
                let options: Vec<&Value> = options.as_array().into_iter().flatten().collect();
                self.not_one_of(&pointer, &options, error);
            }
            _ => {
                let written = self.written(&pointer);
                let text = error.instance().as_str().filter(|_| !self.document.is_expanded(&pointer));
                let found = self.document.at_value(&pointer, String::new());
                let found = self.explain_string(found, error, &written, text);
                match error.kind() {
                    Kind::Pattern { .. } => self.wrong_patterns.push((pointer, found)),
                    Kind::OneOfMultipleValid { .. } => self.several_fit.push((pointer, found)),
                    Kind::Format { .. } => {
                        self.wrong_formats.push(pointer);
                        self.found.push(found);
                    }
                    _ => self.found.push(found),
                }
            }
        }
    }

    /// Fills `diagnostic` for an error about one value. `written` is how the value is shown, `text` the string that may
    /// be quoted.
    fn explain_string(
        &self,
        diagnostic: Diagnostic,
        error: &ValidationError<'_>,
        written: &str,
        text: Option<&str>,
    ) -> Diagnostic {
        let around = self.around(error);
        let more = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let message = match error.kind() {
            Kind::Constant { expected_value } => format!("expected {expected_value}, found {written}"),
            Kind::Minimum { limit } => format!("{written} is less than {limit}"),
            Kind::Maximum { limit } => format!("{written} is more than {limit}"),
            Kind::ExclusiveMinimum { limit } => format!("{written} is not more than {limit}"),
            Kind::ExclusiveMaximum { limit } => format!("{written} is not less than {limit}"),
            Kind::MultipleOf { multiple_of } => format!("{written} is not a multiple of {multiple_of}"),
            Kind::MinLength { limit: 1 } => "the string is empty".to_owned(),
            Kind::MinLength { limit } => {
                format!("{written} is shorter than {}", more(*limit, "character", "characters"))
            }
            Kind::MaxLength { limit } => {
                format!("{written} is longer than {}", more(*limit, "character", "characters"))
            }
            Kind::MinItems { limit: 1 } => "the array is empty".to_owned(),
            Kind::MinItems { limit } => format!("the array has fewer than {}", more(*limit, "item", "items")),
            Kind::MaxItems { limit } => format!("the array has more than {}", more(*limit, "item", "items")),
            Kind::AdditionalItems { limit } => {
                format!("the array has more than {}", more(*limit as u64, "item", "items"))
            }
            Kind::UnevaluatedItems { .. } => "the array has items that the schema does not know".to_owned(),
            Kind::MinProperties { limit: 1 } => "the object is empty".to_owned(),
            Kind::MinProperties { limit } => format!("the object has fewer than {}", more(*limit, "key", "keys")),
            Kind::MaxProperties { limit } => format!("the object has more than {}", more(*limit, "key", "keys")),
            Kind::UniqueItems => "an item stands twice in the array".to_owned(),
            Kind::Contains => "no item of the array is as one has to be".to_owned(),
            Kind::FalseSchema => "this is not allowed here".to_owned(),
            Kind::Not { .. } => "this value is excluded by the schema".to_owned(),
            Kind::OneOfMultipleValid { .. } => {
                "this value fits several alternatives of the schema, of which one is allowed".to_owned()
            }
            Kind::Format { format } => {
                if let (UPSTREAM, Some(granted)) = (format.as_str(), self.granted) {
                    let name = error.instance().as_str().unwrap_or_default();
                    return granted.refuse(diagnostic, name, written, text.is_none());
                }
                return self.wrong_format(diagnostic, format, around, written, text);
            }
            Kind::Pattern { pattern } => {
                let pattern = format!("it has to match the regular expression {pattern}");
                let help = described(around).unwrap_or(pattern);
                return Diagnostic { message: format!("{written} is not written as expected"), ..diagnostic }
                    .with_help(help);
            }
            // The rest is rare: the crate's own words, without the value.
            _ => error.masked_with("the value").to_string(),
        };
        let diagnostic = Diagnostic { message, ..diagnostic };
        match described(around) {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }

    fn wrong_format(
        &self,
        diagnostic: Diagnostic,
        name: &str,
        around: Option<&Value>,
        written: &str,
        text: Option<&str>,
    ) -> Diagnostic {
        let Some(format) = FORMATS.iter().find(|format| format.name == name) else {
            let diagnostic = Diagnostic { message: format!("expected {name}, found {written}"), ..diagnostic };
            return match described(around) {
                Some(help) => diagnostic.with_help(help),
                None => diagnostic,
            };
        };
        let label = text.and_then(|text| (format.check)(text).err()).unwrap_or_default();
        Diagnostic { message: format!("expected {}, found {written}", format.noun), label, ..diagnostic }
            .with_help(format!("{} is {}", format.noun, format.hint))
    }

    pub(super) fn unknown_key(&mut self, pointer: &str, key: &str, allowed: &[&str]) {
        let at = child(pointer, key);
        let diagnostic = self.document.at_key(&at, format!("unknown key {}", quoted(key)));
        let others = || allowed.iter().copied().filter(|allowed| *allowed != key);
        self.meant.extend(suggest(key, others()).map(|meant| (pointer.to_owned(), meant.to_owned())));
        let diagnostic = diagnostic.with_suggestion(key, others());
        let help = match allowed {
            [] => "no keys are allowed here".to_owned(),
            _ => format!("the keys here are {}", list(allowed.iter().copied())),
        };
        self.found.push(diagnostic.with_help(help));
    }

    fn missing_key(&mut self, pointer: &str, key: &str, error: &ValidationError<'_>) {
        let diagnostic = self.document.at_value(pointer, format!("the key {} is missing", quoted(key)));
        let described = self.around(error).and_then(|around| around.get("properties")?.get(key));
        let described = described.and_then(|property| described_by(self.schema, property));
        let diagnostic = match described {
            Some(help) => diagnostic.with_help(format!("\"{key}\": {help}")),
            None => diagnostic,
        };
        self.missing.push(((pointer.to_owned(), key.to_owned()), diagnostic));
    }

    pub(super) fn wrong_type(&mut self, pointer: &str, error: &ValidationError<'_>, expected: &[&'static str]) {
        let instance = error.instance();
        let found = match instance.as_ref() {
            Value::Array(_) => "an array".to_owned(),
            Value::Object(_) => "an object".to_owned(),
            _ => self.written(pointer),
        };
        self.wrong_types.push(pointer.to_owned());
        // A schema generated from types says "or null" of everything optional.
        let named: Vec<&str> = expected.iter().copied().filter(|name| *name != "null" || expected.len() == 1).collect();
        let diagnostic = self.document.at_value(pointer, format!("expected {}, found {found}", either(&named)));
        let diagnostic = if instance.is_string() { diagnostic.with_label("a string") } else { diagnostic };
        let help = match instance.as_ref() {
            Value::Null => Some("leave the key out for its default".to_owned()),
            Value::String(_) if self.document.is_expanded(pointer) => {
                Some("what \"${..}\" brings in is always a string".to_owned())
            }
            Value::String(text)
                if text.parse::<f64>().is_ok() && expected.iter().any(|name| NUMBERS.contains(name)) =>
            {
                Some("write the number without the quotes".to_owned())
            }
            Value::Number(_) if expected.contains(&"a string") => {
                self.format_hint(error).or_else(|| described(self.around(error)))
            }
            _ => described(self.around(error)),
        };
        self.found.push(match help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        });
    }

    /// How the expected string is written, if the schema names one of our formats.
    fn format_hint(&self, error: &ValidationError<'_>) -> Option<String> {
        let around = self.around(error)?;
        let alternatives = around.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        let name = std::iter::once(around).chain(alternatives).find_map(|schema| schema.get("format")?.as_str())?;
        let format = FORMATS.iter().find(|format| format.name == name)?;
        Some(format!("{} is {}", format.noun, format.hint))
    }

    pub(super) fn not_one_of(&mut self, pointer: &str, options: &[&Value], error: &ValidationError<'_>) {
        let instance = error.instance();
        let written = self.written(pointer);
        let mut diagnostic = self.document.at_value(pointer, format!("{written} is not one of the allowed values"));
        if let Some(text) = instance.as_str().filter(|_| !self.document.is_expanded(pointer)) {
            diagnostic = diagnostic.with_suggestion(text, options.iter().filter_map(|option| option.as_str()));
        }
        let shown: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        self.found.push(diagnostic.with_help(format!("the values here are {}", list_bare(&shown))));
    }

    /// How a value is shown in a message: as written. A value that is not in the document has no such form, and may
    /// contain a secret.
    fn written(&self, pointer: &str) -> String {
        let written = self.document.written(pointer);
        if written.is_empty() { "this value".to_owned() } else { written }
    }

    /// The schema that contains the failed keyword.
    pub(super) fn around(&self, error: &ValidationError<'_>) -> Option<&'a Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)
    }
}

pub(super) fn type_names(kind: &TypeKind) -> Vec<&'static str> {
    match kind {
        TypeKind::Single(kind) => vec![type_name(*kind)],
        TypeKind::Multiple(kinds) => kinds.iter().map(type_name).collect(),
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "an array",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "an integer",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

/// The keys that `schema` knows, including those of the schemas it consists of.
pub(super) fn allowed_keys<'a>(root: &'a Value, schema: Option<&'a Value>) -> Vec<&'a str> {
    fn collect<'a>(root: &'a Value, schema: &'a Value, depth: usize, keys: &mut Vec<&'a str>) {
        if depth == 0 {
            return;
        }
        for key in schema.get("properties").and_then(Value::as_object).into_iter().flat_map(|members| members.keys()) {
            if !keys.contains(&key.as_str()) {
                keys.push(key);
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(keyword).and_then(Value::as_array).into_iter().flatten() {
                collect(root, part, depth - 1, keys);
            }
        }
        if let Some(part) = referenced(root, schema) {
            collect(root, part, depth - 1, keys);
        }
    }
    let mut keys = Vec::new();
    if let Some(schema) = schema {
        collect(root, schema, 4, &mut keys);
    }
    keys
}

fn referenced<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

fn described(schema: Option<&Value>) -> Option<String> {
    let description = schema?.get("description")?.as_str()?;
    // The first paragraph; the rest is for the reference page.
    let first = description.split("\n\n").next().unwrap_or_default();
    let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(300).collect())
}

fn described_by(root: &Value, schema: &Value) -> Option<String> {
    described(Some(schema)).or_else(|| described(referenced(root, schema)))
}

fn either<'a>(names: &[&'a str]) -> Cow<'a, str> {
    match names {
        [] => "another value".into(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")).into(),
    }
}

pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    list_bare(&names.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>())
}

fn list_bare(names: &[String]) -> String {
    let shown = names.get(..names.len().min(MOST_LISTED)).unwrap_or_default().join(", ");
    if names.len() > MOST_LISTED { format!("{shown}, …") } else { shown }
}

const NUMBERS: [&str; 2] = ["an integer", "a number"];
const MOST_LISTED: usize = 30;
