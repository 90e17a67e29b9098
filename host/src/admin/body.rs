//! Request bodies, with limits for size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use super::problem::Problem;

/// Reads a whole body. If the announced length is too long it is refused before the first byte, so that a client that
/// waits for `100 Continue` never sends it.
pub(super) async fn read(body: &mut Incoming, limit_bytes: usize, time: Duration) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large(limit_bytes));
    }
    match timeout(time, collect(body, limit_bytes)).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("The body did not arrive within {} seconds.", time.as_secs_f64()),
        )),
    }
}

async fn collect(body: &mut Incoming, limit_bytes: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let broken = |error| Problem::new(StatusCode::BAD_REQUEST, format!("The body broke off: {error}."));
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len().saturating_add(data.len()) > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// Reads and discards the rest of a refused request's body, within limits: a connection that is closed with unread
/// bytes is reset, and the client might never see the response. Returns whether the end was reached.
///
/// A client that waits for `100 Continue` sends nothing, so there is nothing to wait for.
pub(super) async fn discard(body: &mut Incoming, headers: &HeaderMap) -> bool {
    if body.is_end_stream() {
        return true;
    }
    if headers.contains_key(header::EXPECT) || body.size_hint().lower() > DISCARD_BYTES as u64 {
        return false;
    }
    matches!(timeout(DISCARD_TIME, collect(body, DISCARD_BYTES)).await, Ok(Ok(_)))
}

fn too_large(limit_bytes: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body is longer than {limit_bytes} bytes."))
}

const DISCARD_BYTES: usize = 1 << 20;

const DISCARD_TIME: Duration = Duration::from_secs(1);
