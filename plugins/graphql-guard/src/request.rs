//! GraphQL requests over HTTP.

use gatewright_sdk::{
    json,
    serde_json::{Map, Value},
};
use percent_encoding::percent_decode_str;

use crate::{Variables, limits::Refusal};

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Operation {
    pub document: Option<String>,
    /// The name of a document that the server knows.
    pub id: Option<String>,
    pub variables: Variables,
}

/// The requests in a JSON body: one, or a list of them. A duplicate member is refused, since the upstream might use the
/// other one.
pub(crate) fn requests(body: &[u8]) -> Result<Vec<Operation>, Refusal> {
    match json::unique(body) {
        Ok(Value::Object(members)) => Ok(vec![Operation::of_members(members)?]),
        Ok(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::Object(members) => Operation::of_members(members),
                _ => Err(Refusal::malformed("a request in the list is no object")),
            })
            .collect(),
        Ok(_) => Err(Refusal::malformed("it is neither an object nor a list")),
        Err(error) => Err(Refusal::malformed(&format!("it is not JSON: {error}"))),
    }
}

impl Operation {
    pub(crate) fn of_document(text: &str) -> Self {
        Self { document: Some(text.to_owned()), ..Self::default() }
    }

    /// From the query of a GET. A duplicate parameter is refused: the upstream might use the other one.
    pub(crate) fn of_query(query: &str) -> Result<Self, Refusal> {
        let mut members = Map::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decode(name);
            if !NAMES.contains(&name.as_str()) {
                continue;
            }
            let value = decode(value);
            let value = match name.as_str() {
                "variables" | "extensions" if !value.is_empty() => json::unique(value.as_bytes())
                    .map_err(|error| Refusal::malformed(&format!("{name} is not JSON: {error}")))?,
                _ => Value::String(value),
            };
            if members.insert(name.clone(), value).is_some() {
                return Err(Refusal::malformed(&format!("{name} is there twice")));
            }
        }
        Self::of_members(members)
    }

    fn of_members(mut members: Map<String, Value>) -> Result<Self, Refusal> {
        let text = |value: Option<Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::malformed(&format!("{name} is no text"))),
        };
        let hash =
            members.get("extensions").and_then(|extensions| extensions.pointer("/persistedQuery/sha256Hash")).cloned();
        let mut id = None;
        for named in [members.remove("id"), members.remove("documentId"), hash] {
            match (text(named, "the document's id")?, &id) {
                (Some(named), Some(id)) if named != *id => {
                    return Err(Refusal::malformed("it names different documents"));
                }
                (Some(named), None) => id = Some(named),
                _ => {}
            }
        }
        let variables = match members.remove("variables") {
            Some(Value::Object(variables)) => variables.into_iter().collect(),
            None | Some(Value::Null) => Variables::new(),
            Some(Value::String(empty)) if empty.is_empty() => Variables::new(),
            Some(_) => return Err(Refusal::malformed("variables is no object")),
        };
        Ok(Self { document: text(members.remove("query"), "query")?, id, variables })
    }
}

/// The first GraphQL parameter in a query.
pub(crate) fn named_in(query: &str) -> Option<&'static str> {
    let mut names = query.split('&').map(|part| decode(part.split('=').next().unwrap_or_default()));
    names.find_map(|name| NAMES.into_iter().find(|known| *known == name))
}

/// The names of GraphQL parameters in a query.
const NAMES: [&str; 6] = ["query", "variables", "extensions", "id", "documentId", "operationName"];

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
