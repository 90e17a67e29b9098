//! `Signature-Input` and `Signature`: the claimed signatures of a request, none of them verified.

use std::time::Duration;

use gatewright_sdk::Exchange;

use crate::structured::{self, InnerList, Item, Member, Value};

/// A signature and the components that it claims to cover.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) covered: InnerList,
    pub(crate) bytes: Vec<u8>,
}

/// What was found.
#[derive(Debug)]
pub(crate) enum Found {
    Nothing,
    Some(Vec<Signature>),
    Malformed,
}

/// Every signature of the request, or those with the wanted tag. A signature without its input, or the other way round,
/// invalidates them all.
pub(crate) fn find(exchange: &Exchange, tag: Option<&str>) -> Found {
    let values = |name: &str| exchange.request_headers().values(name);
    let (inputs, signatures) = (values("signature-input"), values("signature"));
    if inputs.is_empty() && signatures.is_empty() {
        return Found::Nothing;
    }
    match read(&inputs, &signatures, tag) {
        Some(signatures) if signatures.is_empty() => Found::Nothing,
        Some(signatures) => Found::Some(signatures),
        None => Found::Malformed,
    }
}

fn read(inputs: &[Vec<u8>], signatures: &[Vec<u8>], tag: Option<&str>) -> Option<Vec<Signature>> {
    let fields = |values: &[Vec<u8>]| {
        let texts: Vec<&str> = values.iter().map(|value| str::from_utf8(value).ok()).collect::<Option<_>>()?;
        let text = texts.join(", ");
        if text.len() > LONGEST_BYTES { None } else { structured::dictionary(&text) }
    };
    let (inputs, mut signatures) = (fields(inputs)?, fields(signatures)?);
    if inputs.len() != signatures.len() || inputs.len() > MOST {
        return None;
    }
    let mut found = Vec::with_capacity(inputs.len());
    for (label, input) in inputs {
        let at = signatures.iter().position(|(other, _)| *other == label)?;
        let (Member::List(covered), (_, Member::Item(Item { value: Value::Bytes(bytes), .. }))) =
            (input, signatures.swap_remove(at))
        else {
            return None;
        };
        let signature = Signature { covered, bytes };
        if tag.is_none() || signature.text("tag") == tag {
            found.push(signature);
        }
    }
    Some(found)
}

/// Why a signature is not valid at this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadTime {
    Missing,
    Expired,
    Future,
}

impl Signature {
    /// A parameter that is text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match structured::parameter(&self.covered.parameters, name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the parameter is there, with any value.
    pub(crate) fn has(&self, name: &str) -> bool {
        structured::parameter(&self.covered.parameters, name).is_some()
    }

    /// Times are whole seconds since 1970.
    pub(crate) fn check_time(&self, now: Duration, max_age: Duration, leeway: Duration) -> Result<(), BadTime> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let (now, max_age, leeway) = (seconds(now), seconds(max_age), seconds(leeway));
        let time = |name: &str| match structured::parameter(&self.covered.parameters, name) {
            None => Ok(None),
            Some(Value::Integer(time)) => Ok(Some(*time)),
            Some(_) => Err(BadTime::Missing),
        };
        let created = time("created")?.ok_or(BadTime::Missing)?;
        if created > now.saturating_add(leeway) {
            return Err(BadTime::Future);
        }
        let ends = created.saturating_add(max_age).min(time("expires")?.unwrap_or(i64::MAX));
        if ends.saturating_add(leeway) <= now { Err(BadTime::Expired) } else { Ok(()) }
    }

    /// Whether the component, or one that includes it, is covered.
    pub(crate) fn covers(&self, component: &Item) -> bool {
        let Value::Text(name) = &component.value else { return false };
        let more: &[&str] = match name.as_str() {
            "@authority" | "@scheme" => &["@target-uri"],
            "@path" | "@query" => &["@target-uri", "@request-target"],
            "@request-target" => &["@target-uri"],
            _ => &[],
        };
        self.covered.items.iter().any(|item| {
            let is_more = |name: &String| item.parameters.is_empty() && more.contains(&name.as_str());
            item == component || matches!(&item.value, Value::Text(name) if is_more(name))
        })
    }
}

/// A component as the operator writes it: `@method`, `date`, `@query-param;name="id"`.
///
/// # Errors
/// As a clause that follows the text.
pub(crate) fn component(text: &str) -> Result<Item, &'static str> {
    let (name, parameters) = text.split_once(';').map_or((text, ""), |(name, _)| (name, &text[name.len()..]));
    let wrong = "is not a component such as \"@method\", \"date\" or \"@query-param;name=\\\"id\\\"\"";
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_@".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(wrong);
    }
    match structured::dictionary(&format!("c=\"{name}\"{parameters}")).as_deref() {
        Some([(_, Member::Item(item))]) => Ok(item.clone()),
        _ => Err(wrong),
    }
}

/// Limit for each of the two fields, all its values together.
const LONGEST_BYTES: usize = 8 << 10;
/// Limit for the signatures of one request; each is work.
const MOST: usize = 8;
