//! Components that answer requests themselves: `wasi:http/proxy@0.2`, as cargo, jco and componentize-py make them.
//!
//! A request gets an instance of its own on the engine of the plugins, and the instance ends with the response. What it may reach
//! is what it was granted and nothing else: no files, no sockets, an empty environment; outgoing requests go to upstreams by
//! name, through their own pools. It runs on a fiber and gives the core back at each tick, so that however long it computes,
//! others have their turn; how much of the processor a request may have is bounded, as memory, calls and waiting are.

mod guest;
mod meter;
mod outgoing;
mod printed;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::engine::Engine;
use super::load_error::LoadError;
use super::{artifact, explain};
use crate::body::{Body, BodyError};
use crate::telemetry::{self, Level};
use crate::upstream::Upstream;
use guest::{Guest, Hit};
use meter::{Meter, Metered};

/// A component that answers requests.
pub struct Service {
    name: Arc<str>,
    pre: ProxyPre<Guest>,
    engine: Engine,
    limits: Arc<ServiceLimits>,
    upstreams: Arc<BTreeMap<Arc<str>, Arc<Upstream>>>,
    /// Places for requests, over all cores.
    places: Arc<Semaphore>,
}

/// What one request may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Processor time.
    pub time: Duration,
    /// Linear memory of its instance, all memories together.
    pub memory_bytes: usize,
    /// How long until the head of the response is there.
    pub answer_time: Duration,
    /// How long no byte of the body may come while it is waited for.
    pub body_time: Duration,
    /// Outgoing requests.
    pub callouts: u32,
    /// The longest wait for the head of the answer to one of them.
    pub callout_time: Duration,
    /// Lines that it may print; more are dropped.
    pub log_lines: u32,
    /// Requests at a time.
    pub requests: usize,
}

/// Why a service gave no answer.
#[derive(Debug)]
pub enum ServiceError {
    /// It has as many requests as it may have, or the engine has no place for another instance.
    Busy,
    /// No head of a response in time.
    TimedOut(Duration),
    /// It computed for longer than it may.
    OutOfTime,
    /// It wanted more memory than it may have.
    OutOfMemory,
    /// It ended without an answer, with why.
    Failed(String),
}

impl Service {
    /// Compiles the component, or takes it from the cache, and links it. Takes up to seconds: never on a data core.
    ///
    /// # Errors
    /// It is no component, or does not export `wasi:http/incoming-handler@0.2`.
    pub fn load(
        engine: &Engine,
        name: &str,
        bytes: &[u8],
        limits: ServiceLimits,
        upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    ) -> Result<Service, LoadError> {
        let component = artifact::compile(engine, bytes).map_err(|error| match error {
            // What is new in 0.3 cannot be compiled, so its exports are not to be seen.
            LoadError::Invalid(_) if memmem::find(bytes, LATER).is_some() => LoadError::LaterWasi,
            error => error,
        })?;
        artifact::check_serves(&component)?;
        let pre = link(engine, &component).map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(Service {
            name: name.into(),
            pre,
            engine: engine.clone(),
            places: Arc::new(Semaphore::new(limits.requests)),
            limits: Arc::new(limits),
            upstreams: Arc::new(upstreams),
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Answers one request, within `time` where the route gives less than the limits. The guest goes on while the body is
    /// sent and ends with it, or when nobody wants it any more.
    ///
    /// # Errors
    /// There is no response; nothing was sent.
    pub async fn serve(
        self: &Arc<Self>,
        request: Request<Body>,
        https: bool,
        time: Option<Duration>,
    ) -> Result<Response<Body>, ServiceError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| ServiceError::Busy)?;
        let meter = Arc::new(Meter::new(self.limits.time));
        let (sender, receiver) = oneshot::channel();
        let guest = self.clone().run(request, https, sender, meter.clone());
        let guest = Metered::new(guest, meter, self.engine.clone());
        // It holds its place until it ends, and it ends when its handle is dropped.
        let name = self.name.clone();
        let mut task = Task(tokio::spawn(async move {
            let _place = place;
            let ended = guest.await;
            if let Err(error) = &ended {
                telemetry::log_lines(&name, Level::Warn, &error.to_string(), &[("service", &name)]);
            }
            ended
        }));
        let time = time.map_or(self.limits.answer_time, |time| time.min(self.limits.answer_time));
        match tokio::time::timeout(time, receiver).await {
            Err(_) => Err(ServiceError::TimedOut(time)),
            Ok(Ok(Ok(response))) => {
                let (head, body) = response.into_parts();
                if head.status.is_informational() {
                    return Err(ServiceError::Failed(format!("it answers with {}, which ends nothing", head.status)));
                }
                let body = Answer { body, task: Some(task), body_time: self.limits.body_time, alarm: None };
                Ok(Response::from_parts(head, Body::boxed(body)))
            }
            Ok(Ok(Err(code))) => Err(ServiceError::Failed(format!("it answers with an error: {code:?}"))),
            // The other end went with the instance; the task says why.
            Ok(Err(_)) => match (&mut task.0).await {
                Ok(Ok(())) => Err(ServiceError::Failed("it ended without an answer".to_owned())),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ServiceError::Failed("it ended with the core".to_owned())),
            },
        }
    }

    async fn instance(&self, meter: Arc<Meter>) -> Result<(Store<Guest>, Proxy), ServiceError> {
        let guest = Guest::new(&self.name, self.limits.clone(), self.upstreams.clone(), meter);
        let mut store = Store::new(self.engine.wasmtime(), guest);
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|store| Ok(store.data().at_tick()));
        store.set_epoch_deadline(1);
        match self.pre.instantiate_async(&mut store).await {
            Ok(proxy) => Ok((store, proxy)),
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => Err(ServiceError::Busy),
            Err(error) => Err(failure(store.data(), &error)),
        }
    }

    async fn run(
        self: Arc<Self>,
        request: Request<Body>,
        https: bool,
        sender: oneshot::Sender<Result<Response<HyperOutgoingBody>, ErrorCode>>,
        meter: Arc<Meter>,
    ) -> Result<(), ServiceError> {
        let (mut store, proxy) = self.instance(meter).await?;
        let scheme = if https { Scheme::Https } else { Scheme::Http };
        let request = request.map(|body| body.map_err(|error| error_of(&error)));
        let mut http = store.data_mut().http();
        let prepared = http
            .new_incoming_request(scheme, request)
            .and_then(|request| Ok((request, http.new_response_outparam(sender)?)));
        let (request, answer) = prepared.map_err(|error| failure(store.data(), &error))?;
        let handled = proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await;
        store.data_mut().end_lines();
        handled.map_err(|error| failure(store.data(), &error))
    }
}

impl ServiceError {
    /// What the client is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            ServiceError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::TimedOut(_) | ServiceError::OutOfTime => StatusCode::GATEWAY_TIMEOUT,
            ServiceError::OutOfMemory | ServiceError::Failed(_) => StatusCode::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceError::Busy => f.write_str("it has as many requests as it may have"),
            ServiceError::TimedOut(time) => write!(f, "no response within {time:?}"),
            ServiceError::OutOfTime => f.write_str("it computed for longer than limits.time"),
            ServiceError::OutOfMemory => f.write_str("it wanted more memory than limits.memory"),
            ServiceError::Failed(why) => f.write_str(why),
        }
    }
}

/// A guest that runs; dropped, it is ended.
struct Task(JoinHandle<Result<(), ServiceError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of an answer, with the guest that writes it. The guest ends with it.
struct Answer {
    body: HyperOutgoingBody,
    task: Option<Task>,
    body_time: Duration,
    /// Rings when the body has been waited for too long.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            let body_time = self.body_time;
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(body_time)));
            ready!(alarm.as_mut().poll(context));
            return Poll::Ready(Some(Err(BodyError::TimedOut)));
        };
        self.alarm = None;
        let ended = match frame {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => Err(error.to_string()),
            None => match self.task.take() {
                Some(task) => task.outcome(context),
                None => Ok(()),
            },
        };
        Poll::Ready(ended.err().map(|why| Err(BodyError::Plugin(format!("service: the body was not finished: {why}")))))
    }
}

impl Task {
    /// What the guest has come to. Where it fails, what it wrote of its body looks finished and is not.
    fn outcome(mut self, context: &mut Context<'_>) -> Result<(), String> {
        match Pin::new(&mut self.0).poll(context) {
            Poll::Pending | Poll::Ready(Ok(Ok(()))) => Ok(()),
            Poll::Ready(Ok(Err(error))) => Err(error.to_string()),
            Poll::Ready(Err(error)) => Err(error.to_string()),
        }
    }
}

fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ProxyPre<Guest>> {
    let mut linker = Linker::new(engine.wasmtime());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    ProxyPre::new(linker.instantiate_pre(component)?)
}

fn failure(guest: &Guest, error: &wasmtime::Error) -> ServiceError {
    match guest.hit() {
        Some(Hit::Time) => ServiceError::OutOfTime,
        Some(Hit::Memory) => ServiceError::OutOfMemory,
        None => ServiceError::Failed(explain(error)),
    }
}

fn error_of(error: &BodyError) -> wasmtime_wasi_http::Error {
    match error {
        BodyError::TooLarge(limit) => wasmtime_wasi_http::Error::HttpRequestBodySize(Some(*limit)),
        BodyError::TimedOut => wasmtime_wasi_http::Error::ConnectionReadTimeout,
        _ => wasmtime_wasi_http::Error::ConnectionTerminated,
    }
}

/// In what a service of WASI 0.3 exports.
const LATER: &[u8] = b"wasi:http/handler@0.3.";
