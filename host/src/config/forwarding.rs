//! `forwarding`: what upstreams are told about the client.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which header fields tell upstreams about the client, and clients about the gateway. Each one that is off makes every
/// request a little shorter and cheaper, but is still removed from requests whose sender is not in `trusted_proxies`,
/// so that no client can forge it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port`: the client addresses, nearest
    /// last, and the protocol, host and port that the first client used.
    pub x_forwarded: bool,

    /// `Forwarded` (RFC 7239): the same in one standard field.
    pub forwarded: bool,

    /// `Via` on requests, as RFC 9110, section 7.6.3, requires of gateways. It also reveals loops.
    pub via: bool,

    /// `Via` on responses, where it is optional.
    pub response_via: bool,

    /// `X-Request-Id`: 32 hexadecimal digits, generated here or by a trusted proxy. The access log has the ID in any
    /// case.
    pub request_id: bool,
}

impl Default for Forwarding {
    fn default() -> Forwarding {
        Forwarding { x_forwarded: true, forwarded: true, via: true, response_via: false, request_id: true }
    }
}
