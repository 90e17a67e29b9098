//! Values of the exchange that programs can use. Only those that a program names are made.

use gatewright_sdk::{Exchange, Headers, form, json};
use jaq_json::{Map, Val};

use crate::value;

/// A variable that every program can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    /// `method`, `path` (without the query), `query` and `headers`.
    Request,
    /// `status` and `headers`; null in a program for requests.
    Response,
    /// `subject` and `claims`; null while nobody is authenticated.
    Identity,
}

impl Variable {
    pub(crate) const ALL: [Self; 3] = [Self::Request, Self::Response, Self::Identity];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "$request",
            Self::Response => "$response",
            Self::Identity => "$identity",
        }
    }

    pub(crate) fn of(self, exchange: &Exchange) -> Val {
        match self {
            Self::Request => request(exchange),
            Self::Response => exchange.status().map_or(Val::Null, |status| {
                let status = Val::from(usize::from(status.as_u16()));
                object([("status", status), ("headers", headers(exchange.response_headers()))])
            }),
            Self::Identity => exchange.identity().map_or(Val::Null, |identity| {
                let claims = json::Value::parse(identity.claims.as_bytes()).unwrap_or_default();
                object([("subject", Val::utf8_str(identity.subject)), ("claims", value::read(&claims))])
            }),
        }
    }
}

fn request(exchange: &Exchange) -> Val {
    let target = exchange.path();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    object([
        ("method", Val::utf8_str(exchange.method().as_str().to_owned())),
        ("path", Val::utf8_str(path.to_owned())),
        ("query", parameters(query)),
        ("headers", headers(exchange.request_headers())),
    ])
}

/// The first value of each parameter, as in templates.
fn parameters(query: &str) -> Val {
    let mut parameters = Map::default();
    for pair in form::pairs(query).filter(|pair| !pair.text.is_empty()) {
        parameters.entry(decoded(pair.name)).or_insert_with(|| decoded(pair.value));
    }
    Val::obj(parameters)
}

fn decoded(text: &str) -> Val {
    Val::utf8_str(String::from_utf8_lossy(&form::decode(text)).into_owned())
}

/// By lower-case name; several values of a name are joined with commas.
fn headers(headers: Headers<'_>) -> Val {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, value) in headers.all() {
        let value = String::from_utf8_lossy(&value).into_owned();
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => *values = format!("{values}, {value}"),
            None => joined.push((name, value)),
        }
    }
    Val::obj(joined.into_iter().map(|(name, value)| (Val::utf8_str(name), Val::utf8_str(value))).collect())
}

fn object<const N: usize>(members: [(&str, Val); N]) -> Val {
    Val::obj(members.into_iter().map(|(name, value)| (Val::utf8_str(name.to_owned()), value)).collect())
}
