//! Outgoing requests of a service: to the upstreams that it was granted, by their names.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, header};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::body::{Body, BodyError};
use crate::upstream::{Ask, Facts, Upstream};

/// Sends a guest's requests.
pub(super) struct Outgoing {
    upstreams: Arc<BTreeMap<Arc<str>, Arc<Upstream>>>,
    left: u32,
    longest: Duration,
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl Outgoing {
    pub fn new(upstreams: Arc<BTreeMap<Arc<str>, Arc<Upstream>>>, left: u32, longest: Duration) -> Outgoing {
        Outgoing { upstreams, left, longest }
    }

    /// Counts one more request.
    ///
    /// # Errors
    /// It exceeds the limit.
    pub fn count(&mut self) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::ConnectionLimitReached)?;
        Ok(())
    }

    /// Finds the upstream that the authority names. There are no addresses, so a port is not allowed either.
    fn prepare(&mut self, request: Request<WasiBody>) -> Result<(Arc<Upstream>, Request<Body>), Error> {
        self.count()?;
        let authority = request.uri().authority().ok_or(Error::HttpRequestUriInvalid)?;
        let upstream = self.upstreams.get(authority.as_str()).ok_or(Error::HttpRequestDenied)?.clone();
        if request.method() == http::Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let (mut head, body) = request.into_parts();
        let target = head.uri.path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        head.uri = target.into();
        head.headers.remove(header::HOST);
        let body = body.map_err(|error| BodyError::Plugin(format!("the service did not finish the body: {error}")));
        Ok((upstream, Request::from_parts(head, Body::boxed(body))))
    }
}

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let prepared = self.prepare(request);
        let wanted = options.and_then(|options| options.first_byte_timeout);
        let time = wanted.map_or(self.longest, |wanted| wanted.min(self.longest));
        Box::new(async move {
            let (upstream, request) = prepared?;
            let (ask, mut facts) = (Ask::default(), Facts::default());
            let sent = tokio::time::timeout(time, upstream.send(request, &ask, &mut facts)).await;
            // The reason is in the upstream's metrics, for the operator; it contains addresses.
            let response = sent.map_err(|_| Error::HttpResponseTimeout)?.map_err(|_| Error::ConnectionTerminated)?;
            let response = response.map(|body| body.map_err(|_| Error::HttpResponseIncomplete).boxed_unsync());
            Ok((response, Box::new(async { Ok(()) }) as Box<dyn Future<Output = _> + Send>))
        })
    }

    fn default_scheme(&mut self) -> Option<http::uri::Scheme> {
        // How to talk to an upstream is part of the upstream's configuration.
        Some(http::uri::Scheme::HTTP)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// How many bytes are copied out of a guest's memory at once.
const CHUNK_BYTES: usize = 64 << 10;
