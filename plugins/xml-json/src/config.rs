//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, json::Value, serde::Serialize, units::Size};

/// Translates between a client that uses JSON and an upstream that uses XML or SOAP, or the reverse.
///
/// An element becomes a member of its parent's object; `@NAME` is an attribute and `#text` the text beside it. An
/// element with only text becomes that text, an empty one `null`, and several of the same name an array.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The upstream's format; the client uses the other one.
    #[serde(default)]
    pub(crate) upstream: Language,
    /// The SOAP envelope of requests to the upstream and of its responses. Only if the upstream uses XML.
    pub(crate) soap: Option<Soap>,
    /// Namespaces, by the prefix that their names have in JSON; `""` is for names without a prefix. Elements and
    /// attributes of other namespaces have their local name.
    #[serde(default)]
    pub(crate) namespaces: BTreeMap<String, String>,
    /// The path to answer, with names for segments, such as `"/users/{id}"`; others get 404. Default: any path.
    pub(crate) path: Option<String>,
    /// The path at the upstream. Default: the request's own.
    pub(crate) endpoint: Option<String>,
    /// The method at the upstream. Default: the request's own; POST with `soap`.
    pub(crate) method: Option<String>,
    /// A JSON template of the upstream's request body, with values of the request as `$(PLACE)`. Default: the request's
    /// body.
    pub(crate) request: Option<Value>,
    /// The outermost element: added to JSON that becomes XML, and removed from XML that becomes JSON. Without it, the
    /// JSON has that element as its only member.
    pub(crate) root: Option<String>,
    /// A JSON Pointer to the part of the response that the client gets. With `soap` it starts inside the envelope's
    /// body.
    #[serde(default)]
    pub(crate) result: String,
    /// Elements that become arrays even if there is only one, by their name in JSON.
    #[serde(default)]
    pub(crate) lists: Vec<String>,
    /// Elements whose text is a number or a boolean, by their name in JSON. Text that cannot be parsed stays text.
    #[serde(default)]
    pub(crate) types: BTreeMap<String, Kind>,
    /// How deep XML may be nested, from 1 to 120.
    #[serde(default = "depth")]
    #[schemars(range(min = 1, max = 120))]
    pub(crate) max_depth: usize,
    /// The maximum number of elements in a document, from 1 to 100000.
    #[serde(default = "elements")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_elements: usize,
    /// The maximum number of attributes of an element, including namespace declarations, from 0 to 1000.
    #[serde(default = "attributes")]
    #[schemars(range(max = 1000))]
    pub(crate) max_attributes: usize,
    /// The maximum size of a message that is read or written.
    #[serde(default = "size")]
    pub(crate) max_size: Size,
}

/// The format of one side.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) enum Language {
    /// XML; the client uses JSON.
    #[default]
    Xml,
    /// JSON; the client uses XML.
    Json,
}

/// The type of an element's text.
#[config]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JSON number.
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
    /// Statuses of faults, from 400 to 599, by their code without a prefix, such as `"Client.NotFound"`; in 1.2 by
    /// their subcode or code. If a code is not listed, the part before its last dot counts. In addition to `Client` and
    /// `Sender` 400; all others are 502.
    #[serde(default)]
    pub(crate) faults: BTreeMap<String, u16>,
    /// Whether the client gets the text of a fault whose code has a status.
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
