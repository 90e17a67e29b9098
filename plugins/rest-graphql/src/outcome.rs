//! The meaning of a GraphQL response.

use std::collections::BTreeMap;

use gatewright_sdk::{
    StatusCode,
    json::{Path, Value},
};

use crate::config::Partial;

/// How to read responses.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) result: Path,
    pub(crate) status: StatusCode,
    pub(crate) missing: StatusCode,
    pub(crate) errors: BTreeMap<String, StatusCode>,
    pub(crate) messages: bool,
    pub(crate) partial: Partial,
}

/// The result for the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Result(StatusCode, Vec<u8>),
    Problem {
        /// The metric's label.
        reason: &'static str,
        status: StatusCode,
        /// For the client.
        detail: String,
        /// For the operator's log.
        why: String,
    },
}

impl Reading {
    /// Reads a body of `application/graphql-response+json` or `application/json` (GraphQL over HTTP, section 6).
    pub(crate) fn read(&self, body: &[u8]) -> Outcome {
        let response = match Value::parse(body) {
            Ok(response @ Value::Object(_)) => response,
            Ok(_) => return unreadable("it is no object"),
            Err(error) => return unreadable(&error.to_string()),
        };
        let data = response.get("data").filter(|data| **data != Value::Null);
        let errors = match response.get("errors") {
            Some(Value::Array(errors)) => errors.as_slice(),
            Some(Value::Null) | None => &[],
            Some(_) => return unreadable("its errors are no list"),
        };
        if response.get("data").is_none() && errors.is_empty() {
            return unreadable("it has neither data nor errors");
        }
        let result = data.and_then(|data| self.result.find(data)).filter(|result| **result != Value::Null);
        match result {
            Some(result) if errors.is_empty() || self.partial == Partial::Pass => {
                Outcome::Result(self.status, result.to_bytes())
            }
            _ if !errors.is_empty() => self.failed(errors),
            _ if self.missing.is_success() => Outcome::Result(self.missing, b"null".to_vec()),
            _ => Outcome::Problem {
                reason: "missing",
                status: self.missing,
                detail: "There is nothing here.".to_owned(),
                why: "the result is null".to_owned(),
            },
        }
    }

    /// The first error whose code has a status counts.
    fn failed(&self, errors: &[Value]) -> Outcome {
        let message = |error: &Value| error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = errors.iter().find_map(|error| {
            let code = error.get("extensions")?.get("code")?.as_str()?;
            Some((*self.errors.get(code)?, message(error)))
        });
        let why = errors.first().map(message).unwrap_or_default();
        match known {
            Some((status, message)) => {
                let tells = self.messages && !message.is_empty();
                let detail = if tells { message } else { "The query was refused.".to_owned() };
                Outcome::Problem { reason: "error", status, detail, why }
            }
            None => Outcome::Problem {
                reason: "error",
                status: StatusCode::BAD_GATEWAY,
                detail: "The query failed.".to_owned(),
                why,
            },
        }
    }
}

pub(crate) fn unreadable(why: &str) -> Outcome {
    Outcome::Problem {
        reason: "unreadable",
        status: StatusCode::BAD_GATEWAY,
        detail: "The upstream's answer could not be read.".to_owned(),
        why: why.to_owned(),
    }
}
