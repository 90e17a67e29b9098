//! Builds the plugin from the configuration as written.

use std::collections::{BTreeMap, BTreeSet};

use gatewright_sdk::{
    HeaderBlock, Method, StatusCode,
    json::{Path, Value},
    template::{Document, PathPattern, Scope, Target},
};

use crate::{
    XmlJson,
    config::{Config, Language, Soap},
    names::Names,
    read::Reading,
    soap::{Envelope, KNOWN},
};

/// # Errors
/// What is wrong, with its key.
pub(crate) fn new(config: Config) -> Result<XmlJson, String> {
    let names = Names::new(&config.namespaces).map_err(|why| format!("namespaces: {why}"))?;
    let pattern = config.path.as_deref().map(PathPattern::parse).transpose();
    let pattern = pattern.map_err(|why| format!("path: {why}"))?;
    let scope = Scope { path: pattern.as_ref().map_or(&[], PathPattern::names), body: true, parts: &[] };
    let request = config.request.as_ref().map(|request| Document::parse(request, &scope)).transpose();
    let request = request.map_err(|why| format!("request: {why}"))?;
    if config.soap.is_some() && config.upstream == Language::Json {
        return Err("soap: it is what the upstream speaks, and it speaks JSON".to_owned());
    }
    let soap = config.soap.map(|soap| envelope(soap, &names)).transpose().map_err(|why| format!("soap.{why}"))?;
    let mut roots = BTreeSet::new();
    let header = soap.as_ref().and_then(|soap| soap.header.as_ref());
    for document in request.iter().chain(header) {
        document.each_place(&mut |place| {
            roots.insert(place.root().clone());
        });
    }
    if let Some(root) = config.root.as_ref().filter(|root| !names.is_in_xml(root)) {
        return Err(format!("root: {root:?} is no name of an element, or its prefix is not among \"namespaces\""));
    }
    if let Some(endpoint) = &config.endpoint {
        let target = Target::parse(endpoint, &Scope::default()).map_err(|why| format!("endpoint: {why}"))?;
        if target.places().next().is_some() {
            return Err("endpoint: it is no template".to_owned());
        }
    }
    let result = Path::parse(&config.result).map_err(|why| format!("result: {:?} {why}", config.result))?;
    if !result.is_single() {
        return Err(format!("result: {:?} is more than one place", config.result));
    }
    for (key, have, allowed) in [
        ("max_depth", config.max_depth, 1..=120),
        ("max_elements", config.max_elements, 1..=100_000),
        ("max_attributes", config.max_attributes, 0..=1000),
    ] {
        if !allowed.contains(&have) {
            return Err(format!("{key}: {have} is not from {} to {}", allowed.start(), allowed.end()));
        }
    }
    let mut headers = HeaderBlock::new();
    headers.push("accept-encoding", "identity");
    match (&soap, config.upstream) {
        (Some(envelope), _) => envelope.headers().iter().for_each(|(name, value)| headers.push(name, value)),
        (None, Language::Xml) => headers.push("accept", "application/xml, text/xml;q=0.9"),
        (None, Language::Json) => headers.push("accept", "application/json"),
    }
    Ok(XmlJson {
        upstream: config.upstream,
        method: method(config.method.as_deref(), soap.is_some())?,
        headers,
        soap,
        names,
        pattern,
        endpoint: config.endpoint,
        request,
        roots,
        root: config.root,
        result,
        reading: Reading {
            lists: config.lists,
            types: config.types,
            depth: config.max_depth,
            elements: config.max_elements,
            attributes: config.max_attributes,
            size: usize::try_from(config.max_size.0).unwrap_or(usize::MAX),
        },
    })
}

fn method(written: Option<&str>, is_soap: bool) -> Result<Option<Method>, String> {
    match written {
        None => Ok(is_soap.then_some(Method::POST)),
        Some(written) => match Method::from_bytes(written.as_bytes()) {
            Ok(method) if method != Method::CONNECT => Ok(Some(method)),
            _ => Err(format!("method: {written:?} is not a method that can be asked with")),
        },
    }
}

fn envelope(soap: Soap, names: &Names) -> Result<Envelope, String> {
    // It is put in quotes, in a header.
    if !soap.action.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte)) {
        return Err(format!("action: {:?} is no address", soap.action));
    }
    let header = soap.header.as_ref().map(|header| match header {
        // Values from the client's body must not become headers of the gateway.
        Value::Object(blocks) => match blocks.iter().find(|(name, _)| !names.is_in_xml(name)) {
            Some((name, _)) => {
                Err(format!("{name:?} is no name of an element, or its prefix is not among \"namespaces\""))
            }
            None => Document::parse(header, &Scope::default()),
        },
        _ => Err("it is an object with a member for each block".to_owned()),
    });
    let header = header.transpose().map_err(|why| format!("header: {why}"))?;
    let known = KNOWN.iter().map(|(code, status)| ((*code).to_owned(), *status));
    let faults = known.chain(soap.faults).map(|(code, number)| {
        let status = StatusCode::from_u16(number).ok().filter(|_| (400..600).contains(&number));
        status
            .map(|status| (code.clone(), status))
            .ok_or_else(|| format!("faults.{code}: {number} is not from 400 to 599"))
    });
    let faults = faults.collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Envelope { version: soap.version, action: soap.action, header, faults, messages: soap.messages })
}
