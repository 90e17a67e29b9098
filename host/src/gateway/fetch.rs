//! How key sets are fetched.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::outbound::{Call, Outbound};
use crate::capability::jwt::{Fetch, FetchFuture, Fetched};
use crate::telemetry::{self, Level};

impl Fetch for Outbound {
    fn fetch<'a>(&'a self, address: &'a str, through: Option<&'a str>) -> FetchFuture<'a> {
        Box::pin(async move {
            let accept = HeaderValue::from_static("application/jwk-set+json, application/json");
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept)]);
            let call = Call { method: Method::GET, headers, body: Bytes::new(), time: TIME, bytes: BYTES };
            read(self.call(address, through, call).await?)
        })
    }

    fn warn(&self, message: &str) {
        telemetry::log_as("key set", Level::Warn, message, &[]);
    }
}

fn read(response: Response<Bytes>) -> Result<Fetched, String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the answer was {}", response.status()));
    }
    let max_age = max_age(response.headers());
    Ok(Fetched { body: response.into_body(), max_age })
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let control = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

/// Time limit for the whole answer.
const TIME: Duration = Duration::from_secs(10);
/// The largest key set, in bytes.
const BYTES: usize = 256 << 10;
