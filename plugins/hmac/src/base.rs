//! The signed text: the signature base of a request (RFC 9421 section 2.5).

use base64::{Engine, engine::general_purpose::STANDARD};
use gatewright_sdk::Exchange;

use crate::structured::{self, InnerList, Item, Parameters, Value};

/// The parts of a request that signatures can cover.
pub(crate) struct Request<'a> {
    exchange: &'a Exchange,
    method: String,
    scheme: String,
    authority: String,
    target: String,
}

/// Why there is no base for the components that a signature covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBase {
    /// A component that the request does not have, or has twice although only one is allowed.
    Missing,
    /// A component that is not supported.
    Unknown,
}

impl<'a> Request<'a> {
    pub(crate) fn of(exchange: &'a Exchange) -> Self {
        let scheme = exchange.scheme();
        let authority = exchange.authority().to_ascii_lowercase();
        // Section 2.2.3: without the scheme's default port.
        let default = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default).unwrap_or(&authority).to_owned();
        Self { exchange, method: exchange.method().to_string(), scheme, authority, target: exchange.path() }
    }

    /// The base of a signature that covers `covered`.
    pub(crate) fn base(&self, covered: &InnerList) -> Result<String, NoBase> {
        let mut base = String::new();
        for (at, item) in covered.items.iter().enumerate() {
            // Section 2: no component may be there twice.
            if covered.items.iter().skip(at + 1).any(|other| is_same(item, other)) {
                return Err(NoBase::Unknown);
            }
            let Value::Text(name) = &item.value else { return Err(NoBase::Unknown) };
            let value = match name.strip_prefix('@') {
                Some(derived) => self.derived(derived, &item.parameters)?,
                None => self.field(name, &item.parameters)?,
            };
            base.push_str(&format!("{item}: {value}\n"));
        }
        base.push_str(&format!("\"@signature-params\": {covered}"));
        Ok(base)
    }

    /// Section 2.2.
    fn derived(&self, name: &str, parameters: &Parameters) -> Result<String, NoBase> {
        let (path, query) =
            self.target.split_once('?').map_or((self.target.as_str(), None), |(path, query)| (path, Some(query)));
        if name == "query-param" {
            return match parameters.as_slice() {
                [(key, Value::Text(name))] if key == "name" => query_parameter(query.unwrap_or_default(), name),
                _ => Err(NoBase::Unknown),
            };
        }
        if !parameters.is_empty() {
            return Err(NoBase::Unknown);
        }
        Ok(match name {
            "method" => self.method.clone(),
            "scheme" => self.scheme.clone(),
            "authority" => self.authority.clone(),
            "target-uri" => format!("{}://{}{}", self.scheme, self.authority, self.target),
            "request-target" => self.target.clone(),
            "path" => path.to_owned(),
            "query" => format!("?{}", query.unwrap_or_default()),
            _ => return Err(NoBase::Unknown),
        })
    }

    /// Section 2.1. A name in capitals is not valid: names are lower-case.
    fn field(&self, name: &str, parameters: &Parameters) -> Result<String, NoBase> {
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NoBase::Unknown);
        }
        let values = match name {
            "host" => vec![self.exchange.authority().into_bytes()],
            name => self.exchange.request_headers().values(name),
        };
        if values.is_empty() {
            return Err(NoBase::Missing);
        }
        let trimmed = values.iter().map(|value| value.trim_ascii());
        match parameters.as_slice() {
            [] => {
                let texts: Option<Vec<&str>> = trimmed.map(|value| str::from_utf8(value).ok()).collect();
                Ok(texts.ok_or(NoBase::Missing)?.join(", "))
            }
            // Section 2.1.3: each value separately, so that a comma in one cannot look like two values.
            [(key, Value::Boolean(true))] if key == "bs" => {
                Ok(trimmed.map(|value| format!(":{}:", STANDARD.encode(value))).collect::<Vec<_>>().join(", "))
            }
            // Section 2.1.2: a member of a dictionary.
            [(key, Value::Text(member))] if key == "key" => {
                let texts: Option<Vec<&str>> = trimmed.map(|value| str::from_utf8(value).ok()).collect();
                let members =
                    structured::dictionary(&texts.ok_or(NoBase::Missing)?.join(", ")).ok_or(NoBase::Missing)?;
                let found = members.into_iter().find(|(key, _)| key == member);
                found.map(|(_, member)| member.to_string()).ok_or(NoBase::Missing)
            }
            _ => Err(NoBase::Unknown),
        }
    }
}

fn is_same(one: &Item, other: &Item) -> bool {
    one.value == other.value
        && one.parameters.len() == other.parameters.len()
        && one.parameters.iter().all(|parameter| other.parameters.contains(parameter))
}

/// Section 2.2.8: decoded as a form, and encoded again in one way. A duplicate parameter cannot be signed.
fn query_parameter(query: &str, wanted: &str) -> Result<String, NoBase> {
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (encoded(name) == wanted).then(|| encoded(value))
    });
    let only = values.next().ok_or(NoBase::Missing)?;
    if values.next().is_some() { Err(NoBase::Missing) } else { Ok(only) }
}

/// The value of a form, percent-encoded: all but letters, digits and `*-._`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        let byte = match (byte, rest) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: u8| (digit as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => {
                        bytes = after;
                        high << 4 | low
                    }
                    _ => byte,
                }
            }
            _ => byte,
        };
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => encoded.push(byte.into()),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_query_have_one_form() {
        let query = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&a&b=1&b=2&c=%zz";
        for (name, value) in [
            // The examples of section 2.2.8.
            ("var", Ok("this%20is%20a%20big%0Amultiline%20value")),
            ("bar", Ok("with%20plus%20whitespace")),
            ("fa%C3%A7ade%22%3A%20", Ok("something")),
            ("a", Ok("")),
            ("c", Ok("%25zz")),
            ("b", Err(NoBase::Missing)),
            ("d", Err(NoBase::Missing)),
        ] {
            assert_eq!(query_parameter(query, name), value.map(str::to_owned), "{name}");
        }
    }
}
