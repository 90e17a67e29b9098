//! A named group of servers, and the way one request gets an answer from it: pick an endpoint, lease a connection to
//! it, send, look at what comes.
//!
//! ```text
//! Upstream ─ pick ─▶ Endpoint ─ lease ─▶ Http1 or H2c ─ send ─▶ Response, whose body holds what is still needed
//!                       └ per core: Pool of connections, swept now and then
//! ```
//!
//! Upstreams belong to a snapshot and end with it; their endpoints are handed on to the next snapshot's upstream while
//! address and transport stay the same, and with them the connections and counters.
//!
//! hyper's connections are used directly. Its legacy client was rejected: it locks a pool that all cores share, clones
//! what it may have to send again, and wraps every body; so were tower layers, for what they hide. For a request whose
//! answer comes in one piece over a kept connection, nothing here reads a clock, registers a timer, allocates, or waits
//! for another core.

mod affinity;
mod call;
mod connect;
mod connection;
mod endpoint;
mod error;
mod health;
mod members;
mod pool;
mod probe;
mod probing;
mod progress;
mod request;
mod response;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::sync::watch;

pub use self::affinity::{Ask, Client, HashBy, SHORTEST_KEY, SameSite, Sticky, StickyKey};
pub use self::call::CallError;
pub use self::endpoint::{Endpoint, Stats};
pub use self::error::{BadResponse, Reason, SendError};
pub use self::health::{ProbeCounts, Standing, StandingReport};
pub use self::probe::{GrpcProbe, HttpProbe, Probe, TcpProbe};
pub use self::probing::{Probes, Probing};
pub use self::settings::{Address, AddressError, Hash, NoneAvailable, Protocol, Server, Settings, Transport};

use self::connection::Again;
use self::endpoint::{InFlight, Source};
use self::health::Ejections;
use self::members::{Members, Tried};
use crate::body::Body;

/// See the module.
pub struct Upstream {
    settings: Settings,
    members: Members,
    changes: watch::Sender<()>,
    ejections: Ejections,
}

/// What sending a request told: for the log, also when it failed.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Address of the endpoint that was asked last.
    pub endpoint: Option<Arc<str>>,
    /// How often the request was sent, or tried to be.
    pub attempts: u32,
    /// Whether the last attempt went over a connection that had carried requests before.
    pub reused: bool,
    /// How long making a connection took, if the last attempt needed one.
    pub connect_time: Option<Duration>,
}

impl Upstream {
    /// An upstream that runs. Endpoints of `previous` that stay the same are taken over as they are.
    pub fn new(settings: Settings, previous: Option<&Arc<Upstream>>) -> Arc<Self> {
        let known = previous.map_or_else(Vec::new, |previous| previous.endpoints());
        let members = Members::new(&settings.endpoints, &settings, &known);
        Arc::new(Upstream { settings, members, changes: watch::Sender::new(()), ejections: Ejections::default() })
    }

    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The endpoints that it has now, in the order of the settings.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.members.endpoints().to_vec()
    }

    /// Tells whenever [`Upstream::endpoints`] has changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Gets the request answered. Hop-by-hop fields are gone already; target, `Host` and framing are put into the form
    /// that the endpoint's protocol wants.
    ///
    /// The response's head is here when this returns, as it came, with the version that the endpoint speaks; its body
    /// may still be coming. Dropping either ends the exchange with the endpoint.
    pub async fn send(
        &self,
        mut request: Request<Body>,
        ask: &Ask,
        facts: &mut Facts,
    ) -> Result<Response<Body>, SendError> {
        let tried = Tried::default();
        let Some((_, endpoint)) = self.members.pick(&self.settings, ask, &tried) else {
            return Err(self.error(facts, Reason::NoEndpoint));
        };
        facts.endpoint = Some(endpoint.address_text());
        request::prepare(&mut request, endpoint.transport().protocol, endpoint.address())
            .map_err(|reason| self.error(facts, reason))?;

        // The one loop of the request path. What goes around here is safe whatever the request is; retries that are a
        // policy's choice (another endpoint, a status, a budget) belong here as well.
        let mut source = Source::Any;
        let mut repeated = false;
        loop {
            facts.attempts = facts.attempts.saturating_add(1);
            let in_flight = InFlight::begin(endpoint);
            let started = self.settings.is_timed().then(members::now);
            let unanswered = match endpoint.lease(source).await {
                Err(reason) => connection::Unanswered { reason, again: None },
                Ok((lease, connect_time)) => {
                    facts.connect_time = connect_time;
                    facts.reused = lease.is_reused();
                    let answer = lease.send(request, in_flight).await;
                    self.members.observe(&self.settings, endpoint, started, answer.is_ok());
                    match answer {
                        Ok(mut response) => {
                            self.answered(endpoint, response.status());
                            self.stick(ask, endpoint, &mut response);
                            return Ok(response);
                        }
                        Err(unanswered) => unanswered,
                    }
                }
            };
            endpoint.count_failure();
            request = match unanswered.again {
                Some(Again::Unsent(request)) if facts.attempts < MOST_ATTEMPTS => *request,
                Some(Again::Unread(request)) if !repeated => {
                    repeated = true;
                    source = Source::Fresh;
                    *request
                }
                _ => {
                    self.unanswered(endpoint, &unanswered.reason);
                    return Err(self.error(facts, unanswered.reason));
                }
            };
            // Several stale connections in a row: the endpoint has restarted, and the rest of the pool is stale too.
            if facts.attempts >= STALE_CONNECTIONS {
                source = Source::Fresh;
            }
        }
    }

    fn error(&self, facts: &Facts, reason: Reason) -> SendError {
        SendError { upstream: Arc::clone(&self.settings.name), endpoint: facts.endpoint.clone(), reason }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.settings.name).field("endpoints", &self.endpoints()).finish()
    }
}

/// Connections of the pool that may turn out to be closed before a new one is made.
const STALE_CONNECTIONS: u32 = 3;

/// Attempts at one request, the stale connections included. Only an endpoint that accepts connections and closes them
/// at once comes near.
const MOST_ATTEMPTS: u32 = 5;
