//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, json::Value, serde::Serialize};

/// Answers a REST endpoint with a stored GraphQL query, which the route's upstream executes.
///
/// In `variables` `$(PLACE)` is a value: `$(path.NAME)`, `$(query.NAME)`, `$(header.NAME)`, `$(identity.subject)`,
/// `$(identity.claims/POINTER)`, `$(body/POINTER)`, an attribute such as `$(source.address)`, and `$(PLACE:-DEFAULT)`.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The path of the requests that are answered, with names for segments, such as `"/users/{id}"`; others get 404. Without it
    /// every path is.
    pub(crate) path: Option<String>,
    /// The document: one or more operations with their fragments. `"${file:user.graphql}"` reads it from a file.
    #[schemars(length(min = 1))]
    pub(crate) query: String,
    /// The operation's name, where the document has several.
    pub(crate) operation: Option<String>,
    /// A JSON template for each variable that the operation declares, by its name without `$`. Texts become what the declared
    /// type says: `Int`, `Float`, `Boolean`, `String`, `ID`; one for a list is split at commas. One that is not there is left out.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Value>,
    /// The path that the upstream takes GraphQL at.
    #[serde(default = "graphql")]
    pub(crate) endpoint: String,
    /// A JSON Pointer into `data`, to what the client gets.
    #[serde(default)]
    pub(crate) result: String,
    /// The status where there is a result, from 200 to 299.
    #[serde(default = "ok")]
    pub(crate) status: u16,
    /// The status where the result is `null` and there are no errors, from 200 to 499.
    #[serde(default = "not_found")]
    pub(crate) missing: u16,
    /// The status of an error, from 400 to 599, by `extensions.code`. They are added to those that are known: `UNAUTHENTICATED` 401,
    /// `FORBIDDEN` 403, `NOT_FOUND` 404, `BAD_USER_INPUT` 400. All others are 502.
    #[serde(default)]
    pub(crate) errors: BTreeMap<String, u16>,
    /// Whether the client is told the upstream's message of an error whose code has a status.
    #[serde(default)]
    pub(crate) messages: bool,
    /// What becomes of a result that has errors beside it.
    #[serde(default)]
    pub(crate) partial: Partial,
}

/// What becomes of a result that has errors beside it.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Partial {
    /// The errors count.
    #[default]
    Fail,
    /// What there is of it counts, unless it is `null`.
    Pass,
}

fn graphql() -> String {
    "/graphql".to_owned()
}

const fn ok() -> u16 {
    200
}

const fn not_found() -> u16 {
    404
}
