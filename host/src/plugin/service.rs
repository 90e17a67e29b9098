//! Components that answer requests themselves: `wasi:http/proxy@0.2` and `wasi:http/service@0.3`, as cargo, jco and
//! componentize-py build them.
//!
//! Each request gets its own instance, which ends with the response. It can reach only what it was granted: no files,
//! no sockets, an empty environment; outgoing requests go to upstreams by name, through their own pools. It runs on a
//! fiber and yields the core at each tick, so that however long it computes, others have their turn; its CPU time is
//! bounded, as are memory, calls and waiting.
//!
//! All this is the same for both versions; the differences are in `p2` and `p3`. Components of 0.2 run on the engine of
//! the plugins, those of 0.3 on the concurrent second one. A component that imports the handler that it exports is a
//! middleware: it stands before the target of a route, and its imported handler is the rest of that route (`onward`).

mod answer;
mod guest;
mod meter;
mod onward;
mod outgoing;
mod p2;
mod p3;
mod printed;
mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p3::bindings::ServicePre;

use super::engine::Engine;
use super::load_error::LoadError;
use super::{artifact, explain};
use crate::body::{Body, BodyError};
use crate::telemetry::{self, Level};
use crate::upstream::Upstream;
use answer::{Answer, Task};
use guest::{Guest, Hit};
use meter::{Meter, Metered};
pub use onward::{Handled, Next, NextError};
use world::World;

/// A component that answers requests.
pub struct Service {
    name: Arc<str>,
    linked: Linked,
    is_middleware: bool,
    /// The engine for the component's world.
    engine: Engine,
    limits: Arc<ServiceLimits>,
    upstreams: Arc<BTreeMap<Arc<str>, Arc<Upstream>>>,
    /// Permits for requests in flight, over all cores.
    places: Arc<Semaphore>,
}

/// Ready to be instantiated.
enum Linked {
    P2(ProxyPre<Guest>),
    P3(ServicePre<Guest>),
}

/// The limits of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Processor time.
    pub time: Duration,
    /// Linear memory of the instance, all its memories together.
    pub memory_bytes: usize,
    /// The longest wait for the head of the response.
    pub response_timeout: Duration,
    /// The longest wait for the next bytes of the body.
    pub body_timeout: Duration,
    /// Outgoing requests.
    pub callouts: u32,
    /// The longest wait for the response head of an outgoing request.
    pub callout_timeout: Duration,
    /// Lines that it may print; further ones are dropped.
    pub log_lines: u32,
    /// Requests in flight, over all cores.
    pub requests: usize,
}

/// Why a service gave no answer.
#[derive(Debug)]
pub enum ServiceError {
    /// It has as many requests in flight as it may have, or the engine has no room for another instance.
    Busy,
    /// No response head in time.
    TimedOut(Duration),
    /// It exceeded its processor time.
    OutOfTime,
    /// It exceeded its memory limit.
    OutOfMemory,
    /// It answered with an error of `wasi:http`.
    Code(String),
    /// It ended without an answer; with the reason.
    Failed(String),
}

impl Service {
    /// Compiles the component, or takes it from the cache, and links it. Takes up to seconds: never call it on a data
    /// core.
    ///
    /// # Errors
    /// It is not a component, exports neither `wasi:http/incoming-handler@0.2` nor `wasi:http/handler@0.3`, or imports
    /// something that services are not given.
    pub fn load(
        engine: &Engine,
        name: &str,
        bytes: &[u8],
        limits: ServiceLimits,
        upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    ) -> Result<Service, LoadError> {
        let invalid = |error: wasmtime::Error| LoadError::Invalid(format!("{error:#}"));
        artifact::check_kind(bytes)?;
        let world = world::of(bytes)?;
        let (engine, linked) = match world {
            World::Proxy => {
                let component = artifact::compile(engine, bytes)?;
                (engine.clone(), Linked::P2(p2::link(engine, &component).map_err(invalid)?))
            }
            World::Service | World::Middleware => {
                let engine = engine.concurrent().map_err(invalid)?;
                let component = artifact::compile(&engine, bytes)?;
                let linked = Linked::P3(p3::link(&engine, &component).map_err(invalid)?);
                (engine, linked)
            }
        };
        Ok(Service {
            name: name.into(),
            linked,
            is_middleware: world == World::Middleware,
            engine,
            places: Arc::new(Semaphore::new(limits.requests)),
            limits: Arc::new(limits),
            upstreams: Arc::new(upstreams),
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether it calls what is behind it, so that a route cannot end in it.
    pub fn is_middleware(&self) -> bool {
        self.is_middleware
    }

    /// Answers one request, within `time` if that is shorter than the limit. The guest continues while the body is
    /// sent, and ends with the body or when nobody reads it any more. A middleware may call `next`.
    ///
    /// # Errors
    /// There is no response; nothing was sent.
    pub async fn serve(
        &self,
        request: Request<Body>,
        https: bool,
        time: Option<Duration>,
        next: Option<Arc<dyn Next>>,
    ) -> Result<Response<Body>, ServiceError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| ServiceError::Busy)?;
        let time = time.map_or(self.limits.response_timeout, |time| time.min(self.limits.response_timeout));
        let meter = Arc::new(Meter::new(self.limits.time));
        let mut store = self.store(meter.clone(), next);
        match &self.linked {
            Linked::P2(proxy) => {
                let (proxy, (sender, receiver)) = (proxy.clone(), oneshot::channel());
                let guest = async move {
                    let ended = p2::answer(&mut store, proxy, request, https, sender).await;
                    outcome(store.data_mut(), ended)
                };
                self.answered(self.spawn(guest, meter, place), receiver, time).await
            }
            Linked::P3(service) => {
                let (service, (sender, receiver)) = (service.clone(), oneshot::channel());
                let guest = async move {
                    let ended = p3::answer(&mut store, service, request, https, sender).await;
                    outcome(store.data_mut(), ended)
                };
                self.answered(self.spawn(guest, meter, place), receiver, time).await
            }
        }
    }

    fn store(&self, meter: Arc<Meter>, next: Option<Arc<dyn Next>>) -> Store<Guest> {
        let guest = Guest::new(&self.name, self.limits.clone(), self.upstreams.clone(), meter, next);
        let mut store = Store::new(self.engine.wasmtime(), guest);
        store.limiter(|guest| guest);
        store.set_max_component_handles(guest::RESOURCES);
        store.set_hostcall_fuel(guest::CALL_BYTES);
        store.epoch_deadline_callback(|store| Ok(store.data().at_tick()));
        store.set_epoch_deadline(1);
        store
    }

    /// Runs the guest in a task. It holds its permit until it ends; dropping the task ends it.
    fn spawn(
        &self,
        guest: impl Future<Output = Result<(), ServiceError>> + Send + 'static,
        meter: Arc<Meter>,
        place: OwnedSemaphorePermit,
    ) -> Task {
        let guest = Metered::new(guest, meter, self.engine.clone());
        let name = self.name.clone();
        Task(tokio::spawn(async move {
            let _place = place;
            let ended = guest.await;
            if let Err(error) = &ended {
                telemetry::log_lines(&name, Level::Warn, &error.to_string(), &[("service", &name)]);
            }
            ended
        }))
    }

    /// Waits for the response head. `E` is the error type of the guest's version of `wasi:http`.
    async fn answered<E: fmt::Debug>(
        &self,
        mut task: Task,
        receiver: oneshot::Receiver<Result<Response<WasiBody>, E>>,
        time: Duration,
    ) -> Result<Response<Body>, ServiceError> {
        match tokio::time::timeout(time, receiver).await {
            Err(_) => Err(ServiceError::TimedOut(time)),
            Ok(Ok(Ok(response))) => {
                let (head, body) = response.into_parts();
                if head.status.is_informational() {
                    return Err(ServiceError::Failed(format!("it answers with {}, which ends nothing", head.status)));
                }
                let body = Answer { body, task: Some(task), body_timeout: self.limits.body_timeout, alarm: None };
                Ok(Response::from_parts(head, Body::boxed(body)))
            }
            Ok(Ok(Err(code))) => Err(ServiceError::Code(format!("{code:?}").chars().take(CODE_CHARS).collect())),
            // The sender was dropped with the instance; the task says why.
            Ok(Err(_)) => match (&mut task.0).await {
                Ok(Ok(())) => Err(ServiceError::Failed("it ended without an answer".to_owned())),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ServiceError::Failed("it ended with the core".to_owned())),
            },
        }
    }
}

impl ServiceError {
    /// The status that the client is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            ServiceError::Busy => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::TimedOut(_) | ServiceError::OutOfTime => StatusCode::GATEWAY_TIMEOUT,
            ServiceError::OutOfMemory | ServiceError::Code(_) | ServiceError::Failed(_) => StatusCode::BAD_GATEWAY,
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
            ServiceError::Code(code) => write!(f, "it answers with an error: {code}"),
            ServiceError::Failed(why) => f.write_str(why),
        }
    }
}

/// How the guest ended, including one that could not start.
fn outcome(guest: &mut Guest, ended: wasmtime::Result<()>) -> Result<(), ServiceError> {
    guest.end_lines();
    ended.map_err(|error| match guest.hit() {
        _ if error.is::<wasmtime::PoolConcurrencyLimitError>() => ServiceError::Busy,
        Some(Hit::Time) => ServiceError::OutOfTime,
        Some(Hit::Memory) => ServiceError::OutOfMemory,
        None => ServiceError::Failed(explain(&error)),
    })
}

/// The error that a guest sees if a request's body breaks off.
fn error_of(error: &BodyError) -> wasmtime_wasi_http::Error {
    match error {
        BodyError::TooLarge(limit) => wasmtime_wasi_http::Error::HttpRequestBodySize(Some(*limit)),
        BodyError::TimedOut | BodyError::Expectation => wasmtime_wasi_http::Error::ConnectionReadTimeout,
        _ => wasmtime_wasi_http::Error::ConnectionTerminated,
    }
}

/// The most characters of a `wasi:http` error that are logged: a guest can put anything into it.
const CODE_CHARS: usize = 1000;
