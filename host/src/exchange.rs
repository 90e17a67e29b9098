//! One request with its response, from the accepted request line to the access-log record.
//!
//! An [`Exchange`] is passed through `proxy::handle`: rooms read and change it, plugins see it through the contract's
//! `exchange` interface, and when it is dropped it writes exactly one record. It is one pointer wide, because a hook
//! call moves it into the plugin's store and back, even if the future of a running hook is dropped because the client
//! has disconnected.

mod head;
mod record;

use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

pub use head::{Received, RequestHead, ResponseHead, Trailers};
pub use record::{Fault, Observer, Outcome};

use http::HeaderValue;

use crate::plugin::Run;
use crate::router::PathPattern;
use crate::telemetry::metrics::RouteMetrics;
use crate::tls;
use crate::tunnel::Upgrade;

/// One request with its response.
///
/// Empty only while the parts are lent out: to a hook during its call, or to the task that streams a request body
/// through plugins. The lender puts them back before anything else looks at the exchange.
#[derive(Default)]
pub struct Exchange(Option<Box<Parts>>);

/// The contents of an exchange.
pub struct Parts {
    pub request: RequestHead,
    pub response: ResponseHead,
    /// Trailers, as far as hooks may see them.
    pub trailers: Trailers,
    /// Which heads may still be changed.
    pub phase: Phase,
    /// Where the request came in.
    pub source: Source,
    /// 32 random hexadecimal digits, or the id that a trusted peer sent; also sent as `x-request-id`.
    pub id: HeaderValue,
    pub started: Instant,
    pub received: Received,
    /// The matched route, once one is found.
    pub route: Option<Arc<RouteFacts>>,
    /// The matched path pattern, if it has parameters and plugins may ask for them.
    pub template: Option<Arc<PathPattern>>,
    /// The requested version of the API, on a route with several.
    pub version: Option<Version>,
    /// The caller, once a plugin has authenticated it.
    pub identity: Option<Caller>,
    /// Attributes set by plugins, by `plugin.<plugin>.<name>`.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// The upstream that a plugin chose instead of the route's.
    pub upstream_choice: Option<Box<str>>,
    /// The protocol that the client asks to switch to.
    pub upgrade: Option<Upgrade>,
    /// Progress through the route's chain.
    pub run: Run,
    /// Facts for the log and the metrics.
    pub outcome: Outcome,
    observer: Arc<dyn Observer>,
}

/// Where a request came in.
#[derive(Clone, Debug)]
pub struct Source {
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// The client behind trusted proxies, otherwise the peer's address.
    pub client: IpAddr,
    /// The host that the client asked a trusted proxy for, if the proxy reports it.
    pub host: Option<HeaderValue>,
    pub listener: Arc<str>,
    /// "http/1.0", "http/1.1" or "h2".
    pub protocol: &'static str,
    /// What the TLS handshake revealed about the peer.
    pub tls: Option<Arc<tls::Peer>>,
}

/// What an exchange keeps of its route.
#[derive(Default)]
pub struct RouteFacts {
    pub name: Arc<str>,
    /// The upstreams that `set-upstream` may choose from.
    pub upstreams: Vec<Arc<str>>,
    pub metrics: Option<Arc<RouteMetrics>>,
}

/// A version of an API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Index among the route's versions.
    pub index: usize,
    pub name: Arc<str>,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub subject: String,
    /// A JSON object.
    pub claims: String,
}

/// How far an exchange has got. Each step ends the changes to the part before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The request has not been sent on yet; its head may be changed.
    Request,
    /// The request has been sent on.
    Upstream,
    /// The response head may be changed.
    Response,
    /// The response head has been sent to the client.
    Sent,
}

impl Exchange {
    /// Starts an exchange; `observer` is told of its start, and gets the record at its end.
    pub fn start(
        request: RequestHead,
        source: Source,
        id: HeaderValue,
        now: Instant,
        observer: Arc<dyn Observer>,
    ) -> Self {
        observer.started();
        Exchange(Some(Box::new(Parts {
            received: request.received(),
            request,
            response: ResponseHead::default(),
            trailers: Trailers::default(),
            phase: Phase::Request,
            source,
            id,
            started: now,
            route: None,
            template: None,
            version: None,
            identity: None,
            attributes: Vec::new(),
            upstream_choice: None,
            upgrade: None,
            run: Run::default(),
            outcome: Outcome::default(),
            observer,
        })))
    }

    /// Takes the parts out, to lend them.
    pub fn take(&mut self) -> Exchange {
        Exchange(self.0.take())
    }

    /// Whether the parts are lent out.
    pub fn is_lent(&self) -> bool {
        self.0.is_none()
    }
}

impl Source {
    /// The host that `request` is for, as the client knows it, with the port if there is one.
    pub fn authority<'a>(&'a self, request: &'a RequestHead) -> &'a str {
        request.authority_told(self.host.as_ref())
    }
}

impl Parts {
    /// A fact, by the name that plugins and placeholders use; `None` if it is not known (yet).
    ///
    /// Names: `source.address`, `source.peer`, `listener.name`, `connection.protocol`, `connection.tls.*` (see
    /// [`tls::Peer::attribute`]), `request.id`, `route.name`, `route.version`, `route.path.<parameter>` (as the client
    /// wrote it, even if plugins changed the path), `identity.subject`, `upstream.name`, `upstream.endpoint`,
    /// `request.duration-us`, and `plugin.<plugin>.<name>`.
    pub fn attribute(&self, name: &str) -> Option<String> {
        let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match name {
            "source.address" => Some(self.source.client.to_string()),
            "source.peer" => Some(self.source.peer.to_string()),
            "listener.name" => known(&self.source.listener),
            "connection.protocol" => known(self.source.protocol),
            "request.id" => known(self.id()),
            "request.duration-us" => Some(self.started.elapsed().as_micros().to_string()),
            "identity.subject" => self.identity.as_ref().and_then(|caller| known(&caller.subject)),
            "route.name" => self.route.as_ref().and_then(|route| known(&route.name)),
            "route.version" => self.version.as_ref().and_then(|version| known(&version.name)),
            "upstream.name" => self.outcome.upstream.as_deref().and_then(known),
            "upstream.endpoint" => self.outcome.endpoint.as_deref().and_then(known),
            _ => {
                if let Some(name) = name.strip_prefix("connection.tls.") {
                    return self.source.tls.as_ref()?.attribute(name);
                }
                if let Some(name) = name.strip_prefix("route.path.") {
                    return self.template.as_ref()?.param(self.received.target.path(), name).map(str::to_owned);
                }
                self.attributes.iter().find(|(key, _)| **key == *name).map(|(_, value)| value.to_string())
            }
        }
    }

    /// The request's id as text.
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        let observer = Arc::clone(&self.observer);
        observer.ended(self);
    }
}

#[allow(clippy::expect_used)] // an invariant of our own: see the type
impl Deref for Exchange {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        self.0.as_deref().expect("the exchange is lent to a hook, which puts it back before it returns")
    }
}

#[allow(clippy::expect_used)] // an invariant of our own: see the type
impl DerefMut for Exchange {
    fn deref_mut(&mut self) -> &mut Parts {
        self.0.as_deref_mut().expect("the exchange is lent to a hook, which puts it back before it returns")
    }
}
