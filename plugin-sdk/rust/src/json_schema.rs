//! JSON checked against schemas by the gateway: natively, and compiled once for all instances.

use crate::host::json_schema as host;

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
    /// The value is not JSON, is nested too deeply, or has a member twice; the text says which.
    NotJson(String),
    /// No such schema was declared.
    Unknown,
}

/// Compiles the schemas at these places (JSON Pointers; `""` is the document itself) of a document. The default is
/// draft 2020-12. Only in [`crate::Plugin::new`].
///
/// # Errors
/// What is wrong with the schemas, for the operator.
pub fn declare(name: &str, document: &str, places: &[String]) -> Result<(), String> {
    host::declare(name, document, places)
}

/// What is wrong with a value: at most twenty violations, none if it is valid.
///
/// # Errors
/// See [`CheckError`].
pub fn check(name: &str, place: &str, value: &[u8]) -> Result<Vec<Violation>, CheckError> {
    host::check(name, place, value)
}
