//! What an endpoint's response must satisfy before it is passed on, and the body that keeps its connection leased.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::connection::Http2;
use super::endpoint::{Endpoint, InFlight};
use super::error::BadResponse;
use super::request::parse_length;
use crate::body::{Body, BodyError};

/// Refuses responses that a parser accepts but another reader might delimit differently. RFC 9112, section 6.3, lets a
/// proxy repair some of them, but a server that sends them is broken or under attack. `is_head` says that the request
/// was a HEAD.
pub(super) fn check<B>(response: &mut Response<B>, max_headers: usize, is_head: bool) -> Result<Framing, BadResponse> {
    if response.headers().len() > max_headers {
        return Err(BadResponse::TooManyHeaders(max_headers));
    }
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(BadResponse::SwitchingProtocols);
    }
    let framing = framing(response.version(), response.headers())?;
    if status == StatusCode::NO_CONTENT {
        // Not allowed here (RFC 9110, section 8.6), and some clients would wait for the bytes.
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    // These end with their head, whatever it says (RFC 9112, section 6.3); bytes after it belong to no body.
    let is_empty = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    Ok(if is_empty { Framing::Nothing } else { framing })
}

/// Where an HTTP/1.1 response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Nothing,
    Length(u64),
    Chunked,
    UntilClosed,
}

fn framing(version: Version, headers: &HeaderMap) -> Result<Framing, BadResponse> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let length = lengths.next().map(|length| parse_length(length).ok_or(BadResponse::ContentLength)).transpose()?;
    if lengths.next().is_some() {
        return Err(BadResponse::ContentLength);
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(length.map_or(Framing::UntilClosed, Framing::Length));
    };
    if length.is_some() {
        return Err(BadResponse::TwoLengths);
    }
    // Other codings could be passed on only together with this field, which is hop-by-hop.
    if version != Version::HTTP_11 || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") || codings.next().is_some() {
        return Err(BadResponse::TransferEncoding);
    }
    Ok(Framing::Chunked)
}

/// Whether the endpoint keeps the connection open after this HTTP/1 response (RFC 9112, section 9.3). An HTTP/1.0
/// server is never asked to.
pub(super) fn keeps_connection<B>(response: &Response<B>) -> bool {
    let options =
        response.headers().get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let mut options = options.map(<[u8]>::trim_ascii);
    response.version() == Version::HTTP_11 && !options.any(|option| option.eq_ignore_ascii_case(b"close"))
}

/// An HTTP/2 body that is still arriving. It holds its slot on the connection, and counts the request as in flight; if
/// it is dropped before its end, the stream is reset.
pub(super) struct Held {
    /// Empty only while being dropped.
    body: Body,
    held: Option<(Http2, InFlight<Arc<Endpoint>>)>,
}

impl Held {
    pub(super) fn new(body: Incoming, place: Http2, in_flight: InFlight<Arc<Endpoint>>) -> Self {
        Held { body: Body::Incoming(body), held: Some((place, in_flight)) }
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
        let Some((place, _)) = &self.held else {
            return polled;
        };
        let progress = place.progress();
        let frame = match polled {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                progress.body_is_awaited();
                ready!(progress.poll_expired(context));
                place.retire();
                self.held = None;
                return Poll::Ready(Some(Err(BodyError::TimedOut)));
            }
        };
        match &frame {
            Some(Err(_)) => {
                let expired = progress.is_expired();
                self.held = None;
                if expired {
                    return Poll::Ready(Some(Err(BodyError::TimedOut)));
                }
            }
            // The last bytes of a known length are the end: a reader that counts does not poll again.
            Some(Ok(_)) if !self.body.is_end_stream() => progress.body_has_come(),
            _ => self.held = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Held {
    /// A reader that counts does not poll after the last byte. If the end is a frame of its own, as Go servers send it,
    /// a task waits for it: otherwise a response that was read to its last byte would be cancelled.
    fn drop(&mut self) {
        let Some(held) = self.held.take().filter(|_| self.body.is_read()) else { return };
        let mut body = std::mem::take(&mut self.body);
        // Nothing but the end can follow: h2 treats more than the announced length as an error.
        if Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        // Without a runtime, the process is ending.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = timeout(END_PATIENCE, body.frame()).await;
                drop(held);
            });
        }
    }
}

/// How long to wait for the end of a response after all of its bytes have arrived.
const END_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_framing_is_refused() {
        let te = |value| ("transfer-encoding", value);
        let cl = |value| ("content-length", value);
        for (fields, expected) in [
            (vec![], "Ok(UntilClosed)"),
            (vec![cl("7")], "Ok(Length(7))"),
            (vec![te("Chunked")], "Ok(Chunked)"),
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
            assert_eq!(format!("{:?}", framing(Version::HTTP_11, &headers)), expected, "{fields:?}");
        }
        let chunked = HeaderMap::from_iter([(TRANSFER_ENCODING, "chunked".parse().unwrap())]);
        assert!(framing(Version::HTTP_10, &chunked).is_err());
    }
}
