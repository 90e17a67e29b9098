//! A named group of servers, and how a request gets its response from it: pick an endpoint, lease a connection to it,
//! send, check the response.
//!
//! ```text
//! Upstream ─ pick ─▶ Endpoint ─ lease ─▶ Http1 or Http2 ─ send ─▶ Response, whose body holds what is still needed
//!                       └ per core: Pool of connections, swept now and then
//! ```
//!
//! Upstreams belong to a snapshot and end with it; their endpoints are handed on to the next snapshot's upstream as
//! long as address and transport stay the same, and with them the connections and counters.
//!
//! HTTP/1.1 is implemented here (`http1`), HTTP/2 by hyper. hyper's legacy client was rejected: it locks a pool that
//! all cores share, clones what it may have to resend, and wraps every body; so were tower layers, for what they hide.
//! A request whose response arrives in one piece over a kept connection reads no clock here, registers no timer, and
//! waits for no other core or task.

mod affinity;
mod attempt_guard;
mod call;
mod connect;
mod connection;
mod deliver;
mod discovered;
mod endpoint;
mod error;
mod health;
mod http1;
mod members;
mod pool;
mod probe;
mod probing;
mod progress;
mod protocol_switch;
mod replay;
mod request;
mod request_cap;
mod response;
mod retry_counters;
mod settings;
mod socket;
#[cfg(test)]
mod tests;
mod tunnel;
mod watched_socket;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use tokio::sync::watch;

pub use self::affinity::{Ask, Client, HashBy, SHORTEST_KEY, SameSite, Sticky, StickyKey};
pub use self::call::CallError;
pub use self::deliver::Delivery;
pub use self::endpoint::{Endpoint, Stats};
pub use self::error::{BadResponse, Reason, SendError};
pub use self::health::{HealthReport, ProbeCounts, SharedHealth};
pub use self::probe::{GrpcProbe, HttpProbe, Probe, TcpProbe};
pub use self::probing::{Probes, Probing};
pub use self::retry_counters::RetryCounters;
pub use self::settings::{Address, AddressError, Hash, Named, NoneAvailable, Protocol, Server, Settings, Transport};
pub use self::socket::Socket;
pub use self::tunnel::{Place, Tunnel};

use self::attempt_guard::AttemptGuard;
use self::connection::Again;
use self::discovered::Current;
use self::endpoint::{InFlight, Source};
use self::health::Ejections;
use self::members::Tried;
use self::progress::{Patience, Progress};
use self::request_cap::RequestCap;
use crate::body::Body;
use crate::retry::{self, Budget, Cause};
use crate::telemetry::metrics::UpstreamMetrics;

/// A group of interchangeable endpoints that requests are sent to. See the module.
pub struct Upstream {
    settings: Settings,
    members: Current,
    changes: watch::Sender<()>,
    ejections: Arc<Ejections>,
    request_cap: RequestCap,
    budget: Arc<Budget>,
    retry_counters: Arc<RetryCounters>,
    metrics: Arc<UpstreamMetrics>,
}

/// What was learned while sending a request, for the log. Filled in for failed requests too.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Address of the endpoint of the last attempt.
    pub endpoint: Option<Arc<str>>,
    /// Number of attempts to send the request, including those that failed.
    pub attempts: u32,
    /// Whether the last attempt used a connection that had carried requests before.
    pub reused: bool,
    /// How long connecting took, if the last attempt needed a new connection.
    pub connect_time: Option<Duration>,
    /// The `Set-Cookie` of a sticky session. It is kept apart from the response because it is for this client only,
    /// while a cached response is also served to others.
    pub cookie: Option<Box<HeaderValue>>,
}

impl Upstream {
    /// Starts an upstream whose counters appear on no metrics page. Endpoints of `previous` that did not change are
    /// reused as they are.
    pub fn new(settings: Settings, previous: Option<&Arc<Upstream>>) -> Arc<Self> {
        Upstream::counted(settings, previous, Arc::default())
    }

    /// Like [`Upstream::new`], but counts its requests in `metrics`.
    pub fn counted(settings: Settings, previous: Option<&Arc<Upstream>>, metrics: Arc<UpstreamMetrics>) -> Arc<Self> {
        let members = Current::new(&settings, previous);
        let same_share = |previous: &&Arc<Upstream>| previous.budget.share() == settings.retry_budget;
        let budget = previous.filter(same_share).map(|previous| Arc::clone(&previous.budget));
        Arc::new(Upstream {
            request_cap: RequestCap::new(settings.max_requests, previous.map(|previous| &previous.request_cap)),
            budget: budget.unwrap_or_else(|| Arc::new(Budget::new(settings.retry_budget, std::time::Instant::now()))),
            retry_counters: previous.map_or_else(Arc::default, |previous| Arc::clone(&previous.retry_counters)),
            metrics,
            settings,
            members,
            changes: watch::Sender::new(()),
            ejections: previous.map(|previous| Arc::clone(&previous.ejections)).unwrap_or_default(),
        })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The current endpoints, in the order of the settings.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.members.held().endpoints().to_vec()
    }

    /// Counts of requests that were retried, and of those that were not.
    pub fn retry_counters(&self) -> &RetryCounters {
        &self.retry_counters
    }

    /// The metrics that this upstream's requests are counted in.
    pub fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Requests in flight and requests refused so far; `None` if the number of requests is not limited.
    pub fn requests(&self) -> Option<(usize, u64)> {
        self.request_cap.counts()
    }

    /// Notifies whenever [`Upstream::endpoints`] has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Sends the request and returns the response. Hop-by-hop fields must already be removed; target, `Host` and
    /// framing are rewritten for the endpoint's protocol.
    ///
    /// Returns once the response's head has arrived, unchanged and with the version that the endpoint speaks; the body
    /// may still be arriving. Dropping the future or the response ends the exchange with the endpoint.
    ///
    /// If nothing of the request could be sent to an endpoint, another one is tried. Everything else that a route can
    /// configure is in [`Upstream::deliver`].
    pub async fn send(
        &self,
        request: Request<Body>,
        ask: &Ask,
        facts: &mut Facts,
    ) -> Result<Response<Body>, SendError> {
        let place = self.request_cap.enter().map_err(|reason| self.error(facts, reason))?;
        let members = self.members.held();
        let mut tried = Tried::default();
        let mut request = Some(request);
        loop {
            let Some((position, endpoint)) = members.pick(&self.settings, ask, &tried) else {
                return Err(self.error(facts, Reason::NoEndpoint));
            };
            let guard = AttemptGuard::begin(self, endpoint);
            let answer = self.attempt(endpoint, &mut request, ask, Patience::Usual, None, facts).await;
            guard.ends();
            let reason = match answer {
                Ok(response) => return Ok(request_cap::hold(response, place)),
                Err(reason) => reason,
            };
            tried.add(position);
            let moves_on =
                request.is_some() && tried.len() < FAILOVER_ENDPOINTS && members.has_others(&self.settings, &tried);
            if !moves_on {
                return Err(self.error(facts, reason));
            }
            self.retry_counters.count(Cause::Connect);
        }
    }

    /// Sends the request to one endpoint. The request is taken out of `place` when it is sent; if it is there
    /// afterwards, the endpoint cannot have received any of it. `shown` gets the progress of what is sent, for a caller
    /// that may drop the attempt.
    ///
    /// The retries in this loop are safe for every request: the connection turned out to be closed, or an HTTP/2
    /// endpoint said that it did not process the request.
    async fn attempt(
        &self,
        endpoint: &Arc<Endpoint>,
        place: &mut Option<Request<Body>>,
        ask: &Ask,
        patience: Patience,
        mut shown: Option<&mut Option<Arc<Progress>>>,
        facts: &mut Facts,
    ) -> Result<Response<Body>, Reason> {
        (facts.endpoint, facts.cookie) = (Some(endpoint.address_text()), None);
        if let Some(request) = place
            && let Err(reason) = request::prepare(request, endpoint.transport(), endpoint.address())
        {
            *place = None;
            return Err(reason);
        }
        // A tunnel needs a new connection: a pooled one may turn out to be closed, and other requests would miss it.
        let is_tunnel = place.as_ref().is_some_and(protocol_switch::asks);
        let mut source = if is_tunnel { Source::Fresh } else { Source::Any };
        let (mut sent, mut repeated) = (0, false);
        loop {
            facts.attempts = facts.attempts.saturating_add(1);
            let in_flight = InFlight::begin(endpoint);
            let started = self.settings.is_timed().then(members::now);
            let (lease, connect_time) = match endpoint.lease(source).await {
                Ok(leased) => leased,
                Err(reason) => {
                    endpoint.count_failure();
                    return Err(self.failed(endpoint, reason));
                }
            };
            facts.connect_time = connect_time;
            facts.reused = lease.is_reused();
            lease.progress().wait(patience);
            if let Some(shown) = &mut shown {
                **shown = Some(Arc::clone(lease.progress()));
            }
            // `place` is filled whenever the loop gets here.
            let Some(request) = place.take() else { return Err(Reason::NoEndpoint) };
            let answer = lease.send(request, in_flight).await;
            let members = self.members.held();
            // A request that the client did not send completely says nothing about the endpoint.
            let counts = answer.as_ref().err().is_none_or(|unanswered| unanswered.reason.failure().is_some());
            if counts {
                members.observe(&self.settings, endpoint, started, answer.is_ok());
            }
            let unanswered = match answer {
                Ok(response) => {
                    self.answered(endpoint, response.status());
                    facts.cookie = self.stick(&members, ask, endpoint);
                    return Ok(response);
                }
                Err(unanswered) => unanswered,
            };
            if counts {
                endpoint.count_failure();
            }
            sent += 1;
            match unanswered.again {
                Some(Again::Unsent(request)) => {
                    *place = Some(*request);
                    if sent >= MOST_CONNECTIONS {
                        return Err(self.failed(endpoint, unanswered.reason));
                    }
                }
                Some(Again::Unread(request)) if !repeated => {
                    repeated = true;
                    source = Source::Fresh;
                    *place = Some(*request);
                }
                _ => return Err(self.failed(endpoint, unanswered.reason)),
            }
            // Several stale connections in a row: the endpoint has restarted, and the rest of the pool is stale too.
            if sent >= STALE_CONNECTIONS {
                source = Source::Fresh;
            }
        }
    }

    /// Records what an attempt without a response says about the endpoint.
    fn failed(&self, endpoint: &Endpoint, reason: Reason) -> Reason {
        self.unanswered(endpoint, &reason);
        reason
    }

    /// Builds the error for a request that is given up for this reason.
    fn error(&self, facts: &Facts, reason: Reason) -> SendError {
        if let Some(failure) = reason.failure() {
            self.metrics.failed(failure);
        }
        SendError { upstream: Arc::clone(&self.settings.name), endpoint: facts.endpoint.clone(), reason }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.settings.name).field("endpoints", &self.endpoints()).finish()
    }
}

/// How many endpoints a request is tried at, as long as nothing of it could be sent.
const FAILOVER_ENDPOINTS: usize = retry::FAILOVER_ATTEMPTS as usize;

/// Number of pooled connections that may turn out to be closed before a new one is made.
const STALE_CONNECTIONS: u32 = 3;

/// Maximum connections to one endpoint for one attempt, stale ones included. Only an endpoint that accepts connections
/// and closes them at once comes near it.
const MOST_CONNECTIONS: u32 = 5;
