//! How key sets are fetched: through an upstream where the address names one as its host, else directly.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use tokio::sync::watch;

use super::Shared;
use crate::capability::jwt::{Fetch, FetchFuture, Fetched};
use crate::snapshot::Snapshot;
use crate::telemetry::{self, Level};
use crate::upstream::{Address, Server, Settings, Upstream};

/// Fetches documents from addresses that the operator wrote down. Nothing that a request carries comes here.
///
/// Key sets are declared while a snapshot is built, and may name an upstream that only this snapshot has. So a fetch
/// waits until the build is over, and then sees the upstreams of the snapshot that is about to run.
pub(super) struct Fetcher {
    shared: OnceLock<Weak<Shared>>,
    next: Mutex<Option<Arc<Snapshot>>>,
    is_settled: watch::Sender<bool>,
}

impl Default for Fetcher {
    fn default() -> Fetcher {
        Fetcher { shared: OnceLock::new(), next: Mutex::default(), is_settled: watch::Sender::new(false) }
    }
}

impl Fetcher {
    /// Tells where the upstreams of the running snapshot are.
    pub fn attach(&self, shared: &Arc<Shared>) {
        let _ = self.shared.set(Arc::downgrade(shared));
        self.is_settled.send_replace(true);
    }

    /// A snapshot is being built: fetches wait.
    pub fn hold(&self) {
        self.is_settled.send_replace(false);
    }

    /// The build is over: fetches go on, with the upstreams of the new snapshot if there is one.
    pub fn release(&self, next: Option<Arc<Snapshot>>) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
        self.is_settled.send_replace(true);
    }

    fn upstream(&self, name: &str) -> Option<Arc<Upstream>> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let snapshot = next.or_else(|| Some(self.shared.get()?.upgrade()?.current()))?;
        snapshot.upstream(name).cloned()
    }

    async fn get(&self, address: &str) -> Result<Fetched, String> {
        let uri: Uri = address.parse().map_err(|_| "the address is not a valid URL".to_owned())?;
        let host = uri.host().ok_or("the address has no host")?;
        // The sender is this fetcher's own, so it is there.
        let _ = self.is_settled.subscribe().wait_for(|is_settled| *is_settled).await;
        let upstream = match self.upstream(host) {
            Some(upstream) => upstream,
            None => direct(&uri, host)?,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path)
            .header(header::HOST, uri.authority().map_or(host, |authority| authority.as_str()))
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let response = upstream.call(request, TIME, BYTES).await.map_err(|error| error.to_string())?;
        read(response)
    }
}

impl Fetch for Fetcher {
    fn fetch<'a>(&'a self, address: &'a str) -> FetchFuture<'a> {
        Box::pin(self.get(address))
    }

    fn warn(&self, message: &str) {
        telemetry::log_as("key set", Level::Warn, message, &[]);
    }
}

/// An upstream for one address that no upstream of the configuration stands for.
fn direct(uri: &Uri, host: &str) -> Result<Arc<Upstream>, String> {
    if uri.scheme_str() != Some("http") {
        return Err(format!(
            "no upstream is named {host:?}, and addresses beyond the configured upstreams are reached over plain http \
             only in this version; declare an upstream and use its name as the host"
        ));
    }
    let address: Address =
        format!("{host}:{}", uri.port_u16().unwrap_or(80)).parse().map_err(|error| format!("{host}: {error}"))?;
    Ok(Upstream::new(Settings::new(host, vec![Server::from(address)]), None))
}

fn read(response: Response<Bytes>) -> Result<Fetched, String> {
    if response.status() != StatusCode::OK {
        return Err(format!("the answer was {}", response.status()));
    }
    let max_age = max_age(response.headers());
    Ok(Fetched { body: response.into_body(), max_age })
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let control = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok())?;
    Some(Duration::from_secs(seconds))
}

/// For the whole answer.
const TIME: Duration = Duration::from_secs(10);
/// The largest key set.
const BYTES: usize = 256 << 10;
