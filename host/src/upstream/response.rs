//! What an endpoint's response has to hold before it is passed on, and the body that keeps its connection taken.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Lease;
use super::endpoint::{Endpoint, InFlight};
use super::error::BadResponse;
use super::progress::Progress;
use super::request::parse_length;
use crate::body::BodyError;

/// Refuses what hyper's parser lets through although another reader might see another end of the message: RFC 9112,
/// section 6.3, lets a proxy repair some of it, but a server that sends it is broken or under attack. Says whether the
/// body comes in chunks.
pub(super) fn check(
    response: &mut Response<Incoming>,
    max_headers: usize,
    progress: &Progress,
) -> Result<bool, BadResponse> {
    if response.headers().len() > max_headers {
        return Err(BadResponse::TooManyHeaders(max_headers));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadResponse::SwitchingProtocols);
    }
    let chunked = check_framing(response.version(), response.headers())?;
    // These two end with their head, whatever it says (RFC 9112, section 6.3); what comes after them is nobody's body.
    let chunked = chunked && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if chunked && progress.is_unchunked() {
        return Err(BadResponse::Chunks);
    }
    if response.status() == StatusCode::NO_CONTENT {
        // It must not have one (RFC 9110, section 8.6), and some clients would wait for the bytes.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(chunked)
}

fn check_framing(version: Version, headers: &HeaderMap) -> Result<bool, BadResponse> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next();
    if length.is_some_and(|length| parse_length(length).is_none()) || lengths.next().is_some() {
        return Err(BadResponse::ContentLength);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(false);
    };
    if length.is_some() {
        return Err(BadResponse::TwoLengths);
    }
    // Other codings could be passed on only with the field, which is between us and the endpoint.
    if version != Version::HTTP_11 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Err(BadResponse::TransferEncoding);
    }
    Ok(true)
}

/// A response body that is still coming. It keeps its connection, or its place on one, and the request counted as in
/// flight; at its end, the connection goes back into the pool; dropped before, the connection closes (HTTP/1.1) or the
/// stream is reset (HTTP/2).
///
/// Only bodies that are not complete when the head is read are wrapped so: it costs an allocation.
pub(super) struct Held {
    body: Incoming,
    /// It comes in chunks, which have to be valid to the last.
    chunked: bool,
    held: Option<(Lease, InFlight<Arc<Endpoint>>)>,
}

impl Held {
    pub(super) fn new(body: Incoming, chunked: bool, lease: Lease, in_flight: InFlight<Arc<Endpoint>>) -> Self {
        Held { body, chunked, held: Some((lease, in_flight)) }
    }

    fn finish(&mut self) {
        if let Some((lease, in_flight)) = self.held.take() {
            lease.give_back(in_flight.endpoint());
        }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let Some((lease, _)) = &self.held else {
            return polled.map_err(BodyError::Connection);
        };
        let progress = lease.progress();
        let frame = match polled {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                progress.body_is_awaited();
                ready!(progress.poll_expired(context));
                lease.retire();
                self.held = None;
                return Poll::Ready(Some(Err(BodyError::TimedOut)));
            }
        };
        progress.body_has_come();
        if self.chunked && progress.is_unchunked() {
            self.held = None;
            return Poll::Ready(Some(Err(BodyError::Chunks)));
        }
        match &frame {
            Some(Err(_)) => {
                let expired = progress.is_expired();
                self.held = None;
                if expired {
                    return Poll::Ready(Some(Err(BodyError::TimedOut)));
                }
            }
            // The last bytes of a known length are the end: a reader that counts does not ask again.
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            _ => self.finish(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Connection)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_framing_is_refused() {
        let te = |value| ("transfer-encoding", value);
        let cl = |value| ("content-length", value);
        for (fields, expected) in [
            (vec![], "Ok(false)"),
            (vec![cl("0")], "Ok(false)"),
            (vec![te("Chunked")], "Ok(true)"),
            (vec![cl("5"), cl("5")], "Err(ContentLength)"),
            (vec![cl("5, 5")], "Err(ContentLength)"),
            (vec![cl("+5")], "Err(ContentLength)"),
            (vec![cl("")], "Err(ContentLength)"),
            (vec![cl("18446744073709551616")], "Err(ContentLength)"),
            (vec![te("chunked"), cl("5")], "Err(TwoLengths)"),
            (vec![te("chunked, chunked")], "Err(TransferEncoding)"),
            (vec![te("gzip, chunked")], "Err(TransferEncoding)"),
            (vec![te("chunked"), te("identity")], "Err(TransferEncoding)"),
            (vec![te("identity")], "Err(TransferEncoding)"),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.append(*name, value.parse().unwrap());
            }
            assert_eq!(format!("{:?}", check_framing(Version::HTTP_11, &headers)), expected, "{fields:?}");
        }
        let chunked = HeaderMap::from_iter([(TRANSFER_ENCODING, "chunked".parse().unwrap())]);
        assert!(check_framing(Version::HTTP_10, &chunked).is_err());
    }
}
