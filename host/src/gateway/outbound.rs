//! The gateway's own requests to URLs that the operator wrote down: through an upstream if the URL's host names one,
//! else directly, over http only to this machine. A URL never comes from a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use tokio::sync::watch;

use super::Shared;
use crate::capability::jwt::is_loopback;
use crate::health::Ejection;
use crate::snapshot::Snapshot;
use crate::tls::{Connector, Outgoing, Trust};
use crate::upstream::{Address, Server, Settings, Upstream};

/// See the module.
///
/// Addresses are declared while a snapshot is built, and may name an upstream that only this snapshot has. So requests
/// wait until the build is over, and then see the upstreams of the snapshot that is about to run.
pub(super) struct Outbound {
    shared: OnceLock<Weak<Shared>>,
    next: Mutex<Option<Arc<Snapshot>>>,
    is_settled: watch::Sender<bool>,
    direct: Mutex<Direct>,
}

/// A request, and the bounds of its answer.
pub(super) struct Call {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Time limit for the whole answer.
    pub time: Duration,
    /// The longest body of the answer.
    pub bytes: usize,
}

/// Upstreams for hosts that the configuration has no upstream for, with their connections, for as long as the trusted
/// authorities stay the same.
#[derive(Default)]
struct Direct {
    /// For https; `None` before its first use.
    connector: Option<Arc<Connector>>,
    hosts: BTreeMap<String, Arc<Upstream>>,
}

impl Default for Outbound {
    fn default() -> Outbound {
        let (shared, next, direct) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Outbound { shared, next, is_settled: watch::Sender::new(false), direct }
    }
}

impl Outbound {
    /// Sets the gateway whose running snapshot has the upstreams.
    pub fn attach(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
        self.is_settled.send_replace(true);
    }

    /// A snapshot is being built: requests wait.
    pub fn hold(&self) {
        self.is_settled.send_replace(false);
    }

    /// The build is over: requests continue, with the upstreams of the new snapshot if there is one.
    pub fn release(&self, next: Option<Arc<Snapshot>>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.is_settled.send_replace(true);
    }

    /// Sends a request to an address and collects the answer. With `through`, it goes through the upstream of this
    /// name, whatever the host in the address: the operator configures in the upstream how that host is reached.
    ///
    /// # Errors
    /// There is no answer; the text says why, for the operator.
    pub async fn call(&self, address: &str, through: Option<&str>, call: Call) -> Result<Response<Bytes>, String> {
        let uri: Uri = address.parse().map_err(|_| "the address is not a valid URL".to_owned())?;
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return Err("the address has no host".to_owned());
        };
        // The sender is a field of `self`, so it exists.
        let _ = self.is_settled.subscribe().wait_for(|is_settled| *is_settled).await;
        let snapshot = self.snapshot().ok_or("the gateway is ending")?;
        let upstream = match (through, snapshot.upstream(authority.host())) {
            (Some(name), _) => {
                snapshot.upstream(name).cloned().ok_or_else(|| format!("there is no upstream {name:?}"))?
            }
            (None, Some(upstream)) => named(upstream, scheme)?,
            (None, None) => self.direct(&snapshot, scheme, authority.host(), authority.port_u16())?,
        };
        let mut request = Request::new(call.body);
        *request.method_mut() = call.method;
        *request.uri_mut() = uri.path_and_query().map_or("/", |path| path.as_str()).parse().unwrap_or_default();
        *request.headers_mut() = call.headers;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::HOST, host);
        upstream.call(request, call.time, call.bytes).await.map_err(|error| error.to_string())
    }

    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).clone();
        next.or_else(|| Some(self.shared.get()?.upgrade()?.current()))
    }

    /// An upstream for a host that has none in the configuration.
    fn direct(
        &self,
        snapshot: &Snapshot,
        scheme: &Scheme,
        host: &str,
        port: Option<u16>,
    ) -> Result<Arc<Upstream>, String> {
        let (is_secure, default_port) = match scheme.as_str() {
            "https" => (true, 443),
            "http" if is_loopback(host) => (false, 80),
            "http" => {
                let problem = "over http, the answer can be replaced on the way; write https, or as the host the name of \
                               an upstream";
                return Err(problem.to_owned());
            }
            other => return Err(format!("an address begins with https or http, not {other:?}")),
        };
        let address = format!("{host}:{}", port.unwrap_or(default_port));
        let address: Address = address.parse().map_err(|error| format!("{host}: {error}"))?;
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = if is_secure { Some(direct.connector(snapshot.trust())?) } else { None };
        let key = format!("{scheme}://{address}");
        if let Some(known) = direct.hosts.get(&key) {
            return Ok(known.clone());
        }
        if direct.hosts.len() >= MOST_HOSTS {
            direct.hosts.clear();
        }
        let mut settings = Settings::new(host, vec![Server::from(address)]);
        settings.transport.tls = connector;
        // No other endpoint could take its requests, and the reason of a failure is more useful than an ejection.
        settings.ejection = Ejection { on: Vec::new(), ..Ejection::default() };
        let upstream = Upstream::new(settings, None);
        direct.hosts.insert(key, upstream.clone());
        Ok(upstream)
    }
}

/// Naming an upstream does not disable the TLS that the address requires.
fn named(upstream: &Arc<Upstream>, scheme: &Scheme) -> Result<Arc<Upstream>, String> {
    if *scheme == Scheme::HTTPS && upstream.settings().transport.tls.is_none() {
        return Err(format!(
            "the address begins with https, and the upstream {:?} speaks no TLS; give it \"tls\", or write http",
            upstream.name()
        ));
    }
    Ok(upstream.clone())
}

impl Direct {
    /// The connector for https. If the trusted authorities have changed, no connections are kept.
    fn connector(&mut self, trust: &Trust) -> Result<Arc<Connector>, String> {
        let settings = Outgoing { tls12: true, ..Outgoing::default() };
        let connector = Connector::load(settings, trust, self.connector.as_ref(), SystemTime::now());
        let connector = connector
            .map_err(|found| found.iter().map(|(_, mistake)| mistake.to_string()).collect::<Vec<_>>().join("; "))?;
        if self.connector.as_ref() != Some(&connector) {
            self.hosts.clear();
            self.connector = Some(connector.clone());
        }
        Ok(connector)
    }
}

/// Hosts whose connections are kept: more than a configuration has addresses.
const MOST_HOSTS: usize = 256;
