//! The configuration as the operator writes it.

use std::collections::BTreeMap;

use gatewright_sdk::{config, rules, units};
use gatewright_transcoding::{Query, Schema, Sources, Verbs, json};

/// Lets REST clients call gRPC servers. Requires one of `descriptor_set` and `protos`.
#[config]
#[derive(Debug)]
#[schemars(extend("oneOf" = [{ "required": ["descriptor_set"] }, { "required": ["protos"] }]))]
pub struct Config {
    /// The services as a `FileDescriptorSet` with all imports, in base64: `"${base64:shop.pb}"`. `protoc
    /// --include_imports --descriptor_set_out=shop.pb` creates one.
    descriptor_set: Option<String>,
    /// The services as `.proto` files, under the names by which they import each other: `{ "shop.proto":
    /// "${file:shop.proto}" }`. Those of `google/protobuf`, `google/rpc/status.proto`, `google/rpc/error_details.proto`
    /// and, of `google/api`, `annotations.proto`, `http.proto` and `httpbody.proto` are built in.
    #[serde(default)]
    protos: BTreeMap<String, String>,
    /// The services to expose, such as `shop.v1.Orders`. Default: all of the files.
    #[serde(default)]
    services: Vec<String>,
    /// A prefix of the rules' paths.
    #[serde(default)]
    #[schemars(regex(pattern = "^(/[^/?#]+)*$"))]
    pub base_path: String,
    /// Whether requests that match no rule pass unchanged. Otherwise they are answered with 404 or 405.
    #[serde(default)]
    pub pass_unknown: bool,
    /// Whether a last segment such as `1:go` matches rules without a verb, if `go` is the verb of no rule.
    #[serde(default = "yes")]
    unknown_verbs: bool,
    /// What happens to fields of a body that the message does not have.
    #[serde(default)]
    unknown_fields: Unknown,
    /// What happens to query arguments that the message does not have.
    #[serde(default)]
    unknown_arguments: Unknown,
    /// Query arguments that are not for the service.
    #[serde(default)]
    ignored_arguments: Vec<String>,
    /// Whether "+" in a query is a space.
    #[serde(default)]
    plus_is_space: bool,
    /// How responses are written.
    #[serde(default)]
    json: Json,
    /// The header that says how long the client waits: in gRPC's format (`250m`), or in seconds (`0.25`).
    #[serde(default = "timeout_header")]
    pub timeout_header: String,
    /// How long a call may take at most, whatever the client says.
    pub timeout: Option<units::Span>,
}

/// How messages are written.
#[config]
#[derive(Clone, Copy, Debug, Default)]
pub struct Json {
    /// Whether fields without a value are written as well.
    #[serde(default)]
    defaults: bool,
    /// Whether enumerations are written as numbers.
    #[serde(default)]
    enum_numbers: bool,
    /// Whether fields are written with their names from the `.proto` file instead of lowerCamelCase.
    #[serde(default)]
    original_names: bool,
}

/// What happens to unknown fields and arguments.
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
