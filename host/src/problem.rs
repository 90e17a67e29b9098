//! The gateway's own error responses: `application/problem+json` (RFC 9457), with nothing internal in them; for a gRPC
//! client, a gRPC status.

pub mod grpc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::exchange::{Parts, ResponseHead};

/// The head and the body of the response to this exchange. `detail` is one sentence for the client; the exchange's id
/// is in both the response and the operator's log.
pub fn answer(status: StatusCode, detail: &str, exchange: &Parts) -> (ResponseHead, Bytes) {
    if exchange.received.is_grpc {
        return (grpc::answer(status, detail), Bytes::new());
    }
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = serde_json::json!({
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "instance": format!("urn:request:{}", exchange.id()),
    });
    (ResponseHead { status: Some(status), headers }, Bytes::from(body.to_string()))
}
