//! The head of a request, from bytes that [`Framing`](super::super::framing::Framing) has found to be one.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::super::framing::{Field, Head};
use crate::headers::Reject;

/// Builds the request. Its target and its values share `bytes`.
pub(super) fn request(head: &Head, fields: &[Field], bytes: &Bytes) -> Result<Request<()>, Reject> {
    let line = &head.line;
    let mut request = Request::new(());
    let method = bytes.get(line.method()).unwrap_or_default();
    *request.method_mut() = Method::from_bytes(method).map_err(|_| Reject::RequestLine)?;
    *request.uri_mut() = Uri::from_maybe_shared(bytes.slice(line.target())).map_err(|_| Reject::Target)?;
    *request.version_mut() = if line.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = map(fields, bytes)?;
    Ok(request)
}

/// The fields, with room for those that the gateway adds.
pub(super) fn map(fields: &[Field], bytes: &Bytes) -> Result<HeaderMap, Reject> {
    let mut map = HeaderMap::with_capacity(fields.len() + ADDED_FIELDS);
    for field in fields {
        let (name, value) = field.parts(bytes);
        let name = HeaderName::from_bytes(name).map_err(|_| Reject::Syntax)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(value)).map_err(|_| Reject::Syntax)?;
        map.append(name, value);
    }
    Ok(map)
}

/// How many fields the gateway adds to a request: those about the client, and the id.
const ADDED_FIELDS: usize = 8;
