//! Layer 4: listeners that forward connections or datagrams unchanged, without looking inside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::{one_or_many, or_one_alone, or_string, two_forms};
use super::pattern::HostPattern;
use super::text::Cidr;

/// What a listener does with its traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Serves requests, by the `routes`.
    #[default]
    Http,
    /// Forwards each connection unchanged: a byte stream in both directions.
    Tcp,
    /// Forwards datagrams; those of one client go to one endpoint for the duration of its session.
    Udp,
}

/// TLS connections that are forwarded unchanged to an upstream chosen by server name (SNI).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passthrough {
    /// "a.example.com", "*.example.com" (every name below it), or a list of these. An exact name takes precedence over
    /// a wildcard, and a longer wildcard over a shorter one. If left out: everything that no other entry matches,
    /// including clients that send no name; there may be one such entry. Without it, they are refused with the alert
    /// `unrecognized_name`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 1000))]
    pub sni: Vec<HostPattern>,

    /// Where these connections go: the name of an upstream, or a list of them with weights.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<ForwardTarget>,
}

/// An upstream that connections or datagrams are forwarded to.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "ForwardTarget", transform = or_string)]
pub struct ForwardTarget {
    /// The name of an upstream.
    pub upstream: String,

    /// Its share, relative to the other targets.
    #[serde(default = "ForwardTarget::default_weight")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: u32,
}
two_forms!(ForwardTarget, short: String);

impl ForwardTarget {
    const fn default_weight() -> u32 {
        1
    }
}

impl From<String> for ForwardTarget {
    fn from(upstream: String) -> ForwardTarget {
        ForwardTarget { upstream, weight: ForwardTarget::default_weight() }
    }
}

/// The PROXY protocol (versions 1 and 2) at a listener: a load balancer in front sends the client's address in a header
/// before the first byte.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptProxyProtocol {
    /// The addresses of the load balancers. Their connections must begin with a header, which is trusted; those without
    /// a header, or with an invalid one, are closed.
    #[schemars(length(min = 1, max = 10_000))]
    pub trusted: Vec<Cidr>,

    /// What happens to connections from all other addresses.
    #[serde(default)]
    pub others: Others,
}

/// What happens to connections from sources that are not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// They are closed.
    #[default]
    Refuse,
    /// They are served as without the PROXY protocol: their own address counts, and a header that they send is ordinary
    /// data.
    Plain,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum ProxyProtocol {
    /// One line of text.
    #[serde(rename = "v1")]
    V1,
    /// Binary.
    #[serde(rename = "v2")]
    V2,
}
