//! Files other than gateway.json, read with the same care: JSON with comments, every mistake with its position.

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::diagnostic::{Diagnostic, Report};
use super::document::{self, Document, child};
use super::expand::Process;
use super::schema::Schema;

/// Reads a file as a `T`, whose derived schema finds the mistakes. `${..}` comes from this process, as in gateway.json.
///
/// # Errors
/// Every mistake that was found, each with its place.
pub fn read<T: JsonSchema + DeserializeOwned>(path: &Path) -> Result<(T, Document), Report> {
    let file = path.to_string_lossy();
    let fail =
        |message: String| Report::new(file.clone(), Arc::new("".into()), vec![Diagnostic::new(message, "", None)]);
    let size = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?.len();
    if size > document::LARGEST_TEXT as u64 {
        return Err(fail(format!("the file is larger than {} MiB", document::LARGEST_TEXT >> 20)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let document = Document::parse(&file, &text, &Process::beside(path))?;
    let schema =
        Schema::compile(&super::schema_of::<T>()).map_err(|error| fail(format!("the schema is wrong: {error}")))?;
    let found = schema.check(document.value(), &document, "");
    if !found.is_empty() {
        return Err(document.report(found));
    }
    match T::deserialize(document.value()) {
        Ok(read) => Ok((read, document)),
        Err(_) => Err(document.report(vec![misread::<T>(&document)])),
    }
}

/// If serde refuses what the schema allows. In JSON Schema, 2.0 is an integer; anything else would be a bug of ours.
/// serde's own words are not shown, because they may contain an expanded value.
pub(super) fn misread<T: DeserializeOwned>(document: &Document) -> Diagnostic {
    let read: Result<T, _> = serde_path_to_error::deserialize(document.value());
    let mut pointer = String::new();
    for segment in read.err().iter().flat_map(|error| error.path().iter()) {
        match segment {
            Segment::Seq { index } => pointer = child(&pointer, index),
            Segment::Map { key } => pointer = child(&pointer, key),
            Segment::Enum { variant } => pointer = child(&pointer, variant),
            Segment::Unknown => break,
        }
    }
    let written = document.written(&pointer);
    match document.value().pointer(&pointer) {
        Some(Value::Number(_)) => document
            .at_value(&pointer, format!("expected an integer, found {written}"))
            .with_help("write it without a fraction and an exponent"),
        _ => document.at_value(&pointer, format!("the gateway cannot read {written}")),
    }
}
