//! What the operator says.

use std::collections::BTreeMap;

use gatewright_sdk::{config, rules, units};
use gatewright_transcoding::{Query, Schema, Sources, Verbs, json};

/// Answers REST clients with gRPC servers. One of `descriptor_set` and `protos` is needed.
#[config]
#[derive(Debug)]
#[schemars(extend("oneOf" = [{ "required": ["descriptor_set"] }, { "required": ["protos"] }]))]
pub struct Config {
    /// The services as a `FileDescriptorSet` with all imports, in base64: `"${base64:shop.pb}"`, which `protoc --include_imports
    /// --descriptor_set_out=shop.pb` writes.
    descriptor_set: Option<String>,
    /// The services as `.proto` files, by the names that they import each other by: `{ "shop.proto": "${file:shop.proto}" }`.
    /// Those of `google/protobuf`, `google/rpc/status.proto`, `google/rpc/error_details.proto` and, of `google/api`,
    /// `annotations.proto`, `http.proto` and `httpbody.proto` are there already.
    #[serde(default)]
    protos: BTreeMap<String, String>,
    /// The services that there are, such as `shop.v1.Orders`. Default: all of the files.
    #[serde(default)]
    services: Vec<String>,
    /// What comes before the paths of the rules.
    #[serde(default)]
    #[schemars(regex(pattern = "^(/[^/?#]+)*$"))]
    pub base_path: String,
    /// Whether requests that no rule is for go on as they are. Else they are answered with 404 or 405.
    #[serde(default)]
    pub pass_unknown: bool,
    /// Whether a last segment such as `1:go` fits rules that have no verb, where `go` is the verb of no rule.
    #[serde(default = "yes")]
    unknown_verbs: bool,
    /// What becomes of fields of a body that the message does not have.
    #[serde(default)]
    unknown_fields: Unknown,
    /// What becomes of arguments of a query that the message does not have.
    #[serde(default)]
    unknown_arguments: Unknown,
    /// Arguments of a query that are for others.
    #[serde(default)]
    ignored_arguments: Vec<String>,
    /// Whether "+" in a query is a space.
    #[serde(default)]
    plus_is_space: bool,
    /// How answers are written.
    #[serde(default)]
    json: Json,
    /// The header that says how long the client waits: in gRPC's words (`250m`), or in seconds (`0.25`).
    #[serde(default = "timeout_header")]
    pub timeout_header: String,
    /// How long a call takes at the most, whatever the client says.
    pub timeout: Option<units::Span>,
}

/// How messages are written.
#[config]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json {
    /// Whether fields without a value are there as well.
    #[serde(default)]
    defaults: bool,
    /// Whether enumerations are numbers.
    #[serde(default)]
    enum_numbers: bool,
    /// Whether fields have their names of the `.proto` file, and not those in lowerCamelCase.
    #[serde(default)]
    original_names: bool,
}

/// What becomes of what is not known.
#[config]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The request is answered with 400.
    #[default]
    Refuse,
    /// It is left out.
    Ignore,
}

const fn yes() -> bool {
    true
}

fn timeout_header() -> String {
    "grpc-timeout".to_owned()
}

impl Config {
    pub(crate) fn schema(&self) -> Result<Schema, String> {
        rules::check_name(&self.timeout_header)
            .map_err(|why| format!("timeout_header: {:?} {why}", self.timeout_header))?;
        Schema::new(Sources {
            descriptor_set: self.descriptor_set.as_deref(),
            protos: &self.protos,
            services: &self.services,
        })
    }

    pub(crate) const fn verbs(&self) -> Verbs {
        if self.unknown_verbs { Verbs::Lenient } else { Verbs::Strict }
    }

    pub(crate) fn query(&self) -> Query {
        Query {
            ignored: self.ignored_arguments.clone(),
            lenient: self.unknown_arguments == Unknown::Ignore,
            plus_is_space: self.plus_is_space,
        }
    }

    pub(crate) fn json(&self) -> json::Options {
        json::Options {
            lenient: self.unknown_fields == Unknown::Ignore,
            defaults: self.json.defaults,
            numbers: self.json.enum_numbers,
            original_names: self.json.original_names,
        }
    }
}
