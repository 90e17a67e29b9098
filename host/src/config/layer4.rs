//! Layer 4: listeners that forward connections or datagrams as they are, without looking inside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::forms::{one_or_many, or_one_alone, or_string, two_forms};
use super::pattern::HostPattern;
use super::text::Cidr;

/// What a listener does with what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// Requests take the `routes`.
    #[default]
    Http,
    /// Each connection is forwarded as it is: a byte stream in both directions.
    Tcp,
    /// Datagrams are forwarded; those of one client go to one endpoint while its session lasts.
    Udp,
}

/// TLS that is forwarded as it is to the upstream that its server name (SNI) chooses.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Passthrough {
    /// "a.example.com", "*.example.com" (every name below it), or a list of such. An exact name goes before a
    /// wildcard, a longer wildcard before a shorter one. Left out: whatever no other entry takes, clients that send no
    /// name among them; there may be one such entry. Without it, they are refused with the alert `unrecognized_name`.
    #[serde(default, deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 1000))]
    pub sni: Vec<HostPattern>,

    /// Where their connections go: the name of an upstream, or a list of them with weights.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(transform = or_one_alone, length(min = 1, max = 100))]
    pub to: Vec<ForwardTarget>,
}

/// One of the upstreams that connections or datagrams are forwarded to.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(rename = "ForwardTarget", transform = or_string)]
pub struct ForwardTarget {
    /// The name of an upstream.
    pub upstream: String,

    /// Its share, beside those of the other targets.
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

/// The PROXY protocol (versions 1 and 2) at a listener: a load balancer in front says in a header before the first byte
/// who its client is.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptProxyProtocol {
    /// The load balancers. Their connections have to begin with a header, which is believed; one without a header, or
    /// with a wrong one, is closed.
    #[schemars(length(min = 1, max = 10_000))]
    pub trusted: Vec<Cidr>,

    /// What becomes of connections from everywhere else.
    #[serde(default)]
    pub others: Others,
}

/// What becomes of connections from sources that are not trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// They are closed.
    #[default]
    Refuse,
    /// They are served as if the listener knew no PROXY protocol: their own address counts, and a header that they send
    /// is data like any other.
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
