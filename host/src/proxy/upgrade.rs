//! A request to switch protocols: whether it is passed on, and whether the response is what was asked for.
//!
//! Nothing is switched before the upstream's own 101 has been checked. If its route does not allow the protocol, a
//! request continues as plain HTTP, except where the client would take any success for a tunnel.

use http::header::SEC_WEBSOCKET_ACCEPT;
use http::{request, response};

use super::error::Error;
use crate::exchange::Exchange;
use crate::snapshot::Route;
use crate::tunnel::{End, Handover, websocket};

/// The switch that was requested from the upstream.
pub(super) struct Asked {
    /// The Sec-WebSocket-Accept that is expected; `None` for other protocols.
    accept: Option<String>,
}

/// Requests the switch from the upstream, if the client asks for it and the route allows it.
pub(super) fn ask(exchange: &Exchange, route: &Route, head: &mut request::Parts) -> Result<Option<Asked>, Error> {
    let Some(upgrade) = &exchange.upgrade else { return Ok(None) };
    let is_websocket = upgrade.protocol.as_bytes().eq_ignore_ascii_case(websocket::PROTOCOL.as_bytes());
    let accept = if is_websocket { websocket::expected_accept(&head.headers) } else { None };
    if !route.upgrades.allows(&upgrade.protocol) || is_websocket && accept.is_none() {
        return if upgrade.is_required { Err(Error::NoTunnel) } else { Ok(None) };
    }
    head.extensions.insert(upgrade.clone());
    Ok(Some(Asked { accept }))
}

impl Asked {
    /// The upstream's end of the tunnel, if it switched protocols.
    pub fn end(self, head: &mut response::Parts) -> Result<Option<End>, Error> {
        let Some(end) = head.extensions.remove::<Handover<End>>().and_then(|end| end.take()) else { return Ok(None) };
        let proof = head.headers.get(SEC_WEBSOCKET_ACCEPT).map(|proof| proof.as_bytes());
        match self.accept {
            Some(accept) if proof != Some(accept.as_bytes()) => Err(Error::NotSwitched),
            _ => Ok(Some(end)),
        }
    }
}
