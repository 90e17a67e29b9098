//! Requests to components of WASI 0.3: `wasi:http/handler`.

use std::future::{pending, poll_fn};

use http::uri::{Authority, Scheme};
use http::{Request, Response, header};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p3::Request as GuestRequest;
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::{FieldMap, WasiBody, WasiHttpView};

use super::guest::{BrokenOff, Guest};
use super::{Engine, error_of, onward, p2};
use crate::body::{Body, BodyError};

type Sender = oneshot::Sender<Result<Response<WasiBody>, ErrorCode>>;

pub(super) fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ServicePre<Guest>> {
    let mut linker = Linker::new(engine.wasmtime());
    // The runtime libraries of languages still import 0.2.
    p2::lend(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    onward::lend(&mut linker)?;
    ServicePre::new(linker.instantiate_pre(component)?)
}

/// Has a new instance answer the request, and runs it until it is done.
pub(super) async fn answer(
    store: &mut Store<Guest>,
    service: ServicePre<Guest>,
    request: Request<Body>,
    https: bool,
    sender: Sender,
) -> wasmtime::Result<()> {
    let service = service.instantiate_async(&mut *store).await?;
    let request = given(store.data_mut(), request, https);
    let answering = store.run_concurrent(async move |guest| {
        // Nobody is told whether the body arrived: when that is known, the guest ends.
        let answer = match service.handle(guest, request).await? {
            Ok(response) => Ok(guest.with(|store| response.into_http(store, pending()))?),
            Err(code) => Err(code),
        };
        let is_wanted = sender.send(answer).is_ok();
        // The handler has returned, but its tasks may go on.
        if is_wanted {
            poll_fn(|context| guest.poll_no_interesting_tasks(context)).await;
        }
        Ok(())
    });
    answering.await?
}

/// The request for the guest, without the fields that belong to the gateway.
fn given(guest: &mut Guest, request: Request<Body>, https: bool) -> GuestRequest {
    let (head, body) = request.into_parts();
    let broke_off = guest.broke_off();
    let body = body.map_err(move |error| {
        if matches!(error, BodyError::Connection(_) | BodyError::Client(_) | BodyError::Gone) {
            let how = if error.is_clients_end() { BrokenOff::Left } else { BrokenOff::Unreadable };
            // A body has one error only.
            let _ = broke_off.set(how);
        }
        error_of(&error)
    });
    let authority = head.headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let (request, _) = GuestRequest::new(
        head.method,
        Some(if https { Scheme::HTTPS } else { Scheme::HTTP }),
        authority,
        head.uri.into_parts().path_and_query,
        FieldMap::new_immutable(guest.http().hooks, head.headers),
        None,
        body,
    );
    request
}
