//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, json::Value, serde::Serialize, units::Size};

/// Translates between a client that speaks JSON and an upstream that speaks XML or SOAP, or the other way round.
///
/// An element is a member of the object that its parent is; `@NAME` is an attribute and `#text` the text beside them. An element
/// with nothing but text is that text, an empty one is `null`, and several of one name are a list.
#[config]
#[derive(Debug)]
pub struct Config {
    /// What the upstream speaks; the client speaks the other one.
    #[serde(default)]
    pub(crate) upstream: Language,
    /// The SOAP envelope around what the upstream gets and gives. Only where the upstream speaks XML.
    pub(crate) soap: Option<Soap>,
    /// Namespaces by the prefix that names have in JSON; `""` is for names without one. Elements and attributes of other namespaces
    /// have their local name.
    #[serde(default)]
    pub(crate) namespaces: BTreeMap<String, String>,
    /// The path of the requests that are answered, with names for segments, such as `"/users/{id}"`; others get 404. Without it
    /// every path is.
    pub(crate) path: Option<String>,
    /// The path at the upstream. Without it the request's own.
    pub(crate) endpoint: Option<String>,
    /// The method at the upstream. Without it the request's own, and POST with `soap`.
    pub(crate) method: Option<String>,
    /// A JSON template of what the upstream gets, with values of the request as `$(PLACE)`. Without it the request's body.
    pub(crate) request: Option<Value>,
    /// The element around what is XML on this side of the gateway: it is added to JSON that becomes XML, and taken off XML that
    /// becomes JSON. Without it the JSON has the element as its only member.
    pub(crate) root: Option<String>,
    /// A JSON Pointer into what the upstream answers, to what the client gets. With `soap` it begins within the envelope's body.
    #[serde(default)]
    pub(crate) result: String,
    /// Elements that are lists even where there is only one of them, by their name in JSON.
    #[serde(default)]
    pub(crate) lists: Vec<String>,
    /// Elements whose text is a number or a truth value, by their name in JSON. What does not read as one stays text.
    #[serde(default)]
    pub(crate) types: BTreeMap<String, Kind>,
    /// How deep XML may be nested, from 1 to 120.
    #[serde(default = "depth")]
    #[schemars(range(min = 1, max = 120))]
    pub(crate) max_depth: usize,
    /// The most elements of a document, from 1 to 100000.
    #[serde(default = "elements")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_elements: usize,
    /// The most attributes of an element, namespace declarations among them, from 0 to 1000.
    #[serde(default = "attributes")]
    #[schemars(range(max = 1000))]
    pub(crate) max_attributes: usize,
    /// The longest message that is read or written.
    #[serde(default = "size")]
    pub(crate) max_size: Size,
}

/// What one side speaks.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Language {
    /// XML; the client speaks JSON.
    #[default]
    Xml,
    /// JSON; the client speaks XML.
    Json,
}

/// The type of an element's text.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number of JSON.
    Number,
    /// `true`, `1`, `false` or `0`.
    Boolean,
}

/// A SOAP envelope.
#[config]
#[derive(Debug)]
pub struct Soap {
    /// Its version.
    #[serde(default)]
    pub(crate) version: SoapVersion,
    /// The action: `SOAPAction` in 1.1, the media type's `action` in 1.2.
    #[serde(default)]
    pub(crate) action: String,
    /// A JSON template of the envelope's header.
    pub(crate) header: Option<Value>,
    /// The status of a fault, from 400 to 599, by its code without a prefix, such as `"Client.NotFound"`; in 1.2 by its subcode or
    /// code. Where a code is not there, what is before its last dot counts. They are added to `Client` and `Sender` 400; all others
    /// are 502.
    #[serde(default)]
    pub(crate) faults: BTreeMap<String, u16>,
    /// Whether the client is told the text of a fault whose code has a status.
    #[serde(default)]
    pub(crate) messages: bool,
}

/// A version of SOAP.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum SoapVersion {
    /// 1.1: `text/xml` and `SOAPAction`.
    #[default]
    #[serde(rename = "1.1")]
    One,
    /// 1.2: `application/soap+xml`.
    #[serde(rename = "1.2")]
    Two,
}

const fn depth() -> usize {
    64
}

const fn elements() -> usize {
    10_000
}

const fn attributes() -> usize {
    64
}

const fn size() -> Size {
    Size(1 << 20)
}
