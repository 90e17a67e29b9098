//! An endpoint that switches protocols: the connection leaves the pool for good and becomes one end of a tunnel.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response};

use super::error::BadResponse;
use crate::body::Body;
use crate::tunnel::Upgrade;

/// The protocol that the request asks to switch to.
pub(super) fn asked(request: &Request<Body>) -> Option<Box<Upgrade>> {
    if request.extensions().is_empty() {
        return None;
    }
    request.extensions().get::<Upgrade>().cloned().map(Box::new)
}

/// Whether the request asks for another protocol.
pub(super) fn asks(request: &Request<Body>) -> bool {
    !request.extensions().is_empty() && request.extensions().get::<Upgrade>().is_some()
}

/// Writes the fields with which HTTP/1.1 asks for the switch on this connection.
pub(super) fn ask(request: &mut Request<Body>) {
    if let Some(upgrade) = asked(request) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, upgrade.protocol);
    }
}

/// Checks an endpoint's 101, which has to switch to the protocol that was asked for.
pub(super) fn check(response: Response<()>, asked: &Upgrade) -> Result<Response<()>, BadResponse> {
    let mut protocols = response.headers().get_all(UPGRADE).iter();
    let is_asked = |protocol: &HeaderValue| protocol.as_bytes().eq_ignore_ascii_case(asked.protocol.as_bytes());
    if !protocols.next().is_some_and(is_asked) || protocols.next().is_some() {
        return Err(BadResponse::SwitchingProtocols);
    }
    Ok(response)
}
