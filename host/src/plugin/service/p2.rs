//! Requests to components of WASI 0.2: `wasi:http/incoming-handler`.

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::guest::Guest;
use super::{Engine, error_of};
use crate::body::Body;

type Sender = oneshot::Sender<Result<Response<WasiBody>, ErrorCode>>;

pub(super) fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ProxyPre<Guest>> {
    let mut linker = Linker::new(engine.wasmtime());
    lend(&mut linker)?;
    ProxyPre::new(linker.instantiate_pre(component)?)
}

/// Adds everything that a 0.2 guest may import.
pub(super) fn lend(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// Has a new instance answer the request, and runs it until it is done.
pub(super) async fn answer(
    store: &mut Store<Guest>,
    proxy: ProxyPre<Guest>,
    request: Request<Body>,
    https: bool,
    sender: Sender,
) -> wasmtime::Result<()> {
    let proxy = proxy.instantiate_async(&mut *store).await?;
    let scheme = if https { Scheme::Https } else { Scheme::Http };
    let request = request.map(|body| body.map_err(|error| error_of(&error)));
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let answer = http.new_response_outparam(sender)?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, answer).await
}
