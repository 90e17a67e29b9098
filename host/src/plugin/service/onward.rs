//! The handler that a middleware imports: the target of its route.
//!
//! A middleware may call it once, not at all, or repeatedly; each call counts as a callout. The request that it passes on must be
//! one that a plugin could have written: a method, a path and an authority that the router accepts, and no header field that belongs
//! to the gateway.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request as GuestRequest, Response as GuestResponse};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::guest::{BrokenOff, Guest};
use crate::body::{Body, BodyError};
use crate::plugin::guard;

/// What is behind a middleware.
pub trait Next: Send + Sync {
    /// Sends the request there. Dropping the future gives the request up.
    fn handle(self: Arc<Self>, request: Request<Body>) -> Handled;
}

/// The future answer.
pub type Handled = Pin<Box<dyn Future<Output = Result<Response<Body>, NextError>> + Send>>;

/// What a middleware is told if there is no answer; the reason is for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextError {
    TimedOut,
    Failed,
}

/// Defines `wasi:http/handler`.
pub(super) fn lend(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("wasi:http/handler@0.3.0")?.func_wrap_concurrent("handle", |guest, (request,)| {
        Box::pin(async move { Ok((handle(guest, request).await?,)) })
    })
}

async fn handle(
    guest: &Accessor<Guest>,
    request: Resource<GuestRequest>,
) -> wasmtime::Result<Result<Resource<GuestResponse>, ErrorCode>> {
    // Dropped with the answer: by then the request has been sent as far as it will be.
    let (_sending, sent) = oneshot::channel::<()>();
    let begun = guest.with(|mut store| {
        let request = store.data_mut().http().table.delete(request)?;
        let done = async move {
            let _ = sent.await;
            Ok(())
        };
        match request.into_http(&mut store, done) {
            Ok((request, _)) => Ok(begin(store.data_mut(), request)),
            Err(error) => error.downcast().map(Err),
        }
    })?;
    let mut handled = match begun {
        Ok(handled) => handled,
        Err(code) => return Ok(Err(code)),
    };
    // This also sends the request's body, however long that is, and none of that is the guest's work.
    let meter = guest.with(|mut store| store.data_mut().meter());
    let answered = poll_fn(|context| meter.pause(|| handled.as_mut().poll(context))).await;
    let response = match answered {
        Ok(response) => response.map(|body| body.map_err(|_| Error::HttpResponseIncomplete)),
        Err(NextError::TimedOut) => return Ok(Err(ErrorCode::HttpResponseTimeout)),
        Err(NextError::Failed) => return Ok(Err(ErrorCode::ConnectionTerminated)),
    };
    guest.with(|mut store| {
        let http = store.data_mut().http();
        let (response, _) = GuestResponse::from_http(http.hooks, response);
        Ok(Ok(http.table.push(response)?))
    })
}

/// Validates the request and passes it on.
fn begin(guest: &mut Guest, request: Request<WasiBody>) -> Result<Handled, ErrorCode> {
    let next = guest.next()?;
    let (mut head, body) = request.into_parts();
    guard::method(head.method.as_str()).map_err(|_| ErrorCode::HttpRequestMethodInvalid)?;
    let authority = head.uri.authority().ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let host = guard::authority(authority.as_str()).map_err(|_| ErrorCode::HttpRequestUriInvalid)?;
    let target = head.uri.path_and_query().ok_or(ErrorCode::HttpRequestUriInvalid)?;
    let target = match target.as_str() {
        // About the server as a whole (RFC 9110, section 9.3.7): there is no path, and the router handles it.
        "*" if head.method == Method::OPTIONS => PathAndQuery::from_static("*"),
        path => guard::target(path).map_err(|_| ErrorCode::HttpRequestUriInvalid)?,
    };
    head.uri = target.into();
    head.headers.insert(header::HOST, host);
    head.headers.remove(header::EXPECT);
    if head.headers.get_all(header::TE).iter().any(|te| te != "trailers") {
        head.headers.remove(header::TE);
    }
    let broke_off = guest.broke_off();
    let body = body.map_err(move |error| broken_off(error, broke_off.get()));
    Ok(next.handle(Request::from_parts(head, Body::boxed(body))))
}

/// The error behind the middleware if a body breaks off: the opposite of `error_of`, for the client's body that the
/// middleware passes on.
fn broken_off(error: Error, by_client: Option<&BrokenOff>) -> BodyError {
    match (error, by_client) {
        (Error::HttpRequestBodySize(Some(limit)), _) => BodyError::TooLarge(limit),
        (Error::ConnectionReadTimeout, _) => BodyError::TimedOut,
        (Error::ConnectionTerminated, Some(BrokenOff::Left)) => BodyError::Gone,
        (Error::ConnectionTerminated, Some(BrokenOff::Unreadable)) => {
            BodyError::Client(io::ErrorKind::InvalidData.into())
        }
        (error, _) => BodyError::Plugin(format!("the middleware did not finish the body: {error}")),
    }
}
