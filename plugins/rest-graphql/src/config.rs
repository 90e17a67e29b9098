//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, json::Value, serde::Serialize};

/// Answers a REST endpoint with a stored GraphQL query, which the route's upstream executes.
///
/// In `variables`, `$(PLACE)` is a value: `$(path.NAME)`, `$(query.NAME)`, `$(header.NAME)`, `$(identity.subject)`,
/// `$(identity.claims/POINTER)`, `$(body/POINTER)`, an attribute such as `$(source.address)`, and `$(PLACE:-DEFAULT)`.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The path to answer, with names for segments, such as `"/users/{id}"`; others get 404. Default: any path.
    pub(crate) path: Option<String>,
    /// The document: one or more operations with their fragments. `"${file:user.graphql}"` reads it from a file.
    #[schemars(length(min = 1))]
    pub(crate) query: String,
    /// The operation's name, if the document has several.
    pub(crate) operation: Option<String>,
    /// A JSON template for each variable that the operation declares, by its name without `$`. Texts are converted to
    /// the declared type: `Int`, `Float`, `Boolean`, `String`, `ID`; one for a list is split at commas. One without a
    /// value is left out.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Value>,
    /// The upstream's GraphQL path.
    #[serde(default = "graphql")]
    pub(crate) endpoint: String,
    /// A JSON Pointer to the part of `data` that the client gets.
    #[serde(default)]
    pub(crate) result: String,
    /// The status of a result, from 200 to 299.
    #[serde(default = "ok")]
    pub(crate) status: u16,
    /// The status if the result is `null` and there are no errors, from 200 to 499.
    #[serde(default = "not_found")]
    pub(crate) missing: u16,
    /// Statuses of errors, from 400 to 599, by `extensions.code`, in addition to `UNAUTHENTICATED` 401, `FORBIDDEN`
    /// 403, `NOT_FOUND` 404 and `BAD_USER_INPUT` 400. All others are 502.
    #[serde(default)]
    pub(crate) errors: BTreeMap<String, u16>,
    /// Whether the client gets the upstream's message of an error whose code has a status.
    #[serde(default)]
    pub(crate) messages: bool,
    /// What happens to a result that comes with errors.
    #[serde(default)]
    pub(crate) partial: Partial,
}

/// What happens to a result that comes with errors.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Partial {
    /// The client gets an error.
    #[default]
    Fail,
    /// The client gets the result, unless it is `null`.
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
