//! `forwarding`: what upstreams are told about the client.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which header fields tell upstreams about the client, and clients about the gateway. Each that is left out makes every
/// request a little shorter and cheaper. A field that is off is still taken out of requests whose sender is not in
/// `trusted_proxies`, so that no client can make it up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Port`: the addresses of the clients,
    /// the nearest last, and what the first of them spoke, asked for and connected to.
    pub x_forwarded: bool,

    /// `Forwarded` (RFC 7239): the same in one standard field.
    pub forwarded: bool,

    /// `Via` on requests, as RFC 9110, section 7.6.3, demands of gateways. It also shows loops.
    pub via: bool,

    /// `Via` on responses, where it is optional.
    pub response_via: bool,

    /// `X-Request-Id`: 32 hexadecimal digits, made here or by a trusted proxy. The access log has the id in any case.
    pub request_id: bool,
}

impl Default for Forwarding {
    fn default() -> Forwarding {
        Forwarding { x_forwarded: true, forwarded: true, via: true, response_via: false, request_id: true }
    }
}
