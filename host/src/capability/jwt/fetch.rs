//! JWKS documents: key sets at an address or in a file, kept fresh off the request path.
//!
//! There is one [`Documents`] in a gateway and one [`Document`] per address, issuer or path, held weakly here: it lives while a
//! key set uses it. A reload finds it by its address before the old snapshot goes, so keys survive, and ten routes with
//! one issuer cause one fetch. Each document has one task, which is the single flight: nothing else fetches. A token
//! with an unknown key only rings its bell, and the task answers the bell at most once per [`Timing::pause`].
//!
//! Any failure, also a document without a usable key, leaves the last good keys in place, for an address up to
//! [`Timing::stale`]. A document that comes back unchanged does not start a new generation, so verified tokens stay
//! in their caches.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest;
use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::discovery::{self, Discovered};
use super::jwk;
use super::key::Key;
use super::schedule::{Schedule, Timing};
use crate::regular_file;

/// What the gateway lends to this room: a way to the network and a place for warnings.
pub trait Fetch: Send + Sync + 'static {
    /// Gets the document at an address that an operator wrote down, or at one that was found by discovery: then through the
    /// upstream of this name, and in no other way. `Err` says why in words for the operator; a status other than 200 is one.
    /// The body may be bounded to 256 KiB, the time is bounded here.
    fn fetch<'a>(&'a self, address: &'a str, through: Option<&'a str>) -> FetchFuture<'a>;

    /// Takes a line for the operator: a failed fetch, a key that cannot be used.
    fn warn(&self, message: &str);
}

/// The boxed future of [`Fetch::fetch`].
pub type FetchFuture<'a> = Pin<Box<dyn Future<Output = Result<Fetched, String>> + Send + 'a>>;

/// A document as it came.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub body: Bytes,
    /// From `cache-control: max-age`, if it was there.
    pub max_age: Option<Duration>,
}

/// Every JWKS document in use.
pub struct Documents {
    fetch: Arc<dyn Fetch>,
    timing: Timing,
    by_origin: Mutex<HashMap<Origin, Weak<Document>>>,
    /// Documents whose task is still to be started.
    added: Mutex<Vec<Weak<Document>>>,
    bell: Notify,
}

impl Documents {
    pub fn new(fetch: Arc<dyn Fetch>, timing: Timing) -> Arc<Documents> {
        Arc::new(Documents { fetch, timing, by_origin: Mutex::default(), added: Mutex::default(), bell: Notify::new() })
    }

    /// Keeps all documents fresh until `drain` ends. To be spawned once, on the control thread: it owns the tasks of the
    /// documents, and they end with it.
    pub async fn run(self: Arc<Documents>, drain: impl Future<Output = ()>) {
        let mut drain = std::pin::pin!(drain);
        let mut tasks = JoinSet::new();
        loop {
            let added = std::mem::take(&mut *self.added.lock().unwrap_or_else(PoisonError::into_inner));
            for document in added.iter().filter_map(Weak::upgrade) {
                tasks.spawn(follow(Arc::downgrade(&document), document.bell.clone(), self.fetch.clone(), self.timing));
            }
            tokio::select! {
                () = &mut drain => return,
                () = self.bell.notified() => {}
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    pub(super) fn address(&self, address: &str) -> Arc<Document> {
        self.document(Origin::Address(address.into()))
    }

    /// The keys of an issuer, by what it says of itself through this upstream.
    pub(super) fn discovery(&self, issuer: &str, upstream: &str) -> Arc<Document> {
        self.document(Origin::Discovery { issuer: issuer.into(), upstream: upstream.into() })
    }

    /// The document in a file, which is read at once: a key file that cannot be used is a mistake in the configuration.
    pub(super) fn file(&self, path: &str) -> Result<Arc<Document>, String> {
        let origin = Origin::File(Path::new(path).into());
        if let Some(document) = find(&self.by_origin.lock().unwrap_or_else(PoisonError::into_inner), &origin) {
            return Ok(document);
        }
        let in_file = |problem: String| format!("jwks_file {path:?}: {problem}");
        let text = read_file(Path::new(path)).map_err(|error| in_file(error.to_string()))?;
        let document = self.document(origin);
        document.install(&text, None, &*self.fetch).map_err(in_file)?;
        Ok(document)
    }

    /// The document of this origin, new and waiting for its task where nobody uses it yet.
    fn document(&self, origin: Origin) -> Arc<Document> {
        let mut by_origin = self.by_origin.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = find(&by_origin, &origin) {
            return document;
        }
        by_origin.retain(|_, document| document.strong_count() > 0);
        let document = Arc::new(Document {
            origin: origin.clone(),
            loaded: ArcSwap::default(),
            bell: Arc::default(),
            attempted: watch::Sender::new(false),
        });
        by_origin.insert(origin, Arc::downgrade(&document));
        self.added.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&document));
        self.bell.notify_one();
        document
    }
}

fn find(by_origin: &HashMap<Origin, Weak<Document>>, origin: &Origin) -> Option<Arc<Document>> {
    by_origin.get(origin).and_then(Weak::upgrade)
}

/// One key set at an address or in a file.
pub(super) struct Document {
    origin: Origin,
    loaded: ArcSwap<Loaded>,
    /// Rung for an unknown key, and at the end so that the task sees it.
    bell: Arc<Notify>,
    attempted: watch::Sender<bool>,
}

/// What a document holds at one time.
#[derive(Default)]
pub(super) struct Loaded {
    /// 0 before the first load, and one more with each change.
    pub(super) generation: u64,
    /// Empty where nothing was loaded yet or what was is too old.
    pub(super) keys: Vec<Key>,
    /// What the issuer said of itself, where it was asked for that.
    pub(super) discovered: Option<Arc<str>>,
    digest: Option<digest::Digest>,
}

impl Document {
    pub(super) fn loaded(&self) -> Guard<Arc<Loaded>> {
        self.loaded.load()
    }

    /// Asks for a fetch because a token named a key that is not here. Cheap, and often in vain.
    pub(super) fn want(&self) {
        if !matches!(self.origin, Origin::File(_)) {
            self.bell.notify_one();
        }
    }

    pub(super) async fn attempted(&self) {
        if !matches!(self.origin, Origin::File(_)) {
            // The sender lives in `self`, so this cannot fail.
            let _ = self.attempted.subscribe().wait_for(|attempted| *attempted).await;
        }
    }

    fn install(&self, text: &[u8], discovered: Option<Arc<str>>, fetch: &dyn Fetch) -> Result<(), String> {
        let digest = digest::digest(&digest::SHA256, text);
        let before = self.loaded.load();
        let is_same = before.digest.as_ref().is_some_and(|before| before.as_ref() == digest.as_ref());
        if is_same && before.discovered == discovered {
            return Ok(());
        }
        let list = jwk::key_set(text)?;
        list.warnings.iter().for_each(|warning| fetch.warn(&format!("{}: {}", self.origin, shown(warning))));
        let generation = before.generation + 1;
        self.loaded.store(Arc::new(Loaded { generation, keys: list.keys, discovered, digest: Some(digest) }));
        Ok(())
    }

    fn forget(&self) {
        let generation = self.loaded.load().generation + 1;
        self.loaded.store(Arc::new(Loaded { generation, ..Loaded::default() }));
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Origin {
    Address(Box<str>),
    Discovery { issuer: Box<str>, upstream: Box<str> },
    File(Box<Path>),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Address(address) => write!(out, "jwks {address}"),
            Origin::Discovery { issuer, upstream } => write!(out, "issuer {issuer} through the upstream {upstream:?}"),
            Origin::File(path) => write!(out, "jwks_file {}", path.display()),
        }
    }
}

/// The task of one document. It holds the document only while it works on it, and ends when nobody else does.
async fn follow(document: Weak<Document>, bell: Arc<Notify>, fetch: Arc<dyn Fetch>, timing: Timing) {
    let mut schedule = Schedule::new(timing);
    let mut seen = None;
    while let Some(current) = document.upgrade() {
        let (wait, may_be_rung) = match &current.origin {
            Origin::Address(_) | Origin::Discovery { .. } => {
                (refresh(&current, &*fetch, &mut schedule, timing).await, true)
            }
            Origin::File(path) => {
                reread(&current, path, &*fetch, &mut seen).await;
                (timing.poll, false)
            }
        };
        let origin_rests_until = tokio::time::Instant::now() + timing.pause;
        drop(current);
        let due = tokio::time::Instant::now() + wait;
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = bell.notified() => {
                if may_be_rung && document.strong_count() > 0 {
                    tokio::time::sleep_until(due.min(origin_rests_until)).await;
                }
            }
        }
    }
}

/// One fetch; gives the time until the next.
async fn refresh(document: &Document, fetch: &dyn Fetch, schedule: &mut Schedule, timing: Timing) -> Duration {
    let fetched = tokio::time::timeout(timing.timeout, keys_of(&document.origin, fetch)).await;
    let installed = match fetched {
        Ok(Ok((fetched, discovered))) => document.install(&fetched.body, discovered, fetch).map(|()| fetched.max_age),
        Ok(Err(problem)) => Err(problem),
        Err(_) => Err(format!("no answer within {:?}", timing.timeout)),
    };
    let now = Instant::now();
    let wait = match installed {
        Ok(max_age) => schedule.succeeded(max_age, now),
        Err(problem) => {
            let wait = schedule.failed(fastrand::f64());
            let has_keys = !document.loaded.load().keys.is_empty();
            let consequence = match (has_keys, schedule.is_fresh(now)) {
                (false, _) => "there are no keys",
                (true, true) => "the last good keys work on",
                (true, false) => "the last good keys are too old and no longer used",
            };
            if has_keys && !schedule.is_fresh(now) {
                document.forget();
            }
            let problem = shown(&problem);
            fetch.warn(&format!("{}: {problem}; {consequence}, next try in {wait:.0?}", document.origin));
            wait
        }
    };
    document.attempted.send_replace(true);
    wait
}

/// The key set of an origin, with what its issuer says of itself where that leads to it.
async fn keys_of(origin: &Origin, fetch: &dyn Fetch) -> Result<(Fetched, Option<Arc<str>>), String> {
    match origin {
        Origin::Address(address) => Ok((fetch.fetch(address, None).await?, None)),
        Origin::Discovery { issuer, upstream } => {
            let document = fetch.fetch(&discovery::address(issuer)?, Some(upstream)).await;
            let document = document.map_err(|problem| format!("the discovery document: {problem}"))?;
            let Discovered { document, jwks } = discovery::read(issuer, &document.body)?;
            Ok((fetch.fetch(&jwks, Some(upstream)).await?, Some(document)))
        }
        Origin::File(path) => Err(format!("{} is a file", path.display())),
    }
}

/// As much of a problem as belongs in a line of the log: it may repeat what a document says.
fn shown(problem: &str) -> &str {
    problem.get(..problem.floor_char_boundary(MOST_SHOWN)).unwrap_or(problem)
}

/// Bytes.
const MOST_SHOWN: usize = 1024;

/// What tells that a file was written or replaced.
#[derive(Debug, Clone, PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// Reads the file again if it looks changed since the last time. What is wrong with it is said once per change. `seen`
/// is what it looked like: nothing before the first look, `Some(None)` where it was missing.
async fn reread(document: &Document, path: &Path, fetch: &dyn Fetch, seen: &mut Option<Option<Stamp>>) {
    let stamp = tokio::fs::metadata(path).await.ok();
    let stamp = stamp.map(|metadata| Stamp { modified: metadata.modified().ok(), length: metadata.len() });
    if seen.as_ref() == Some(&stamp) {
        return;
    }
    *seen = Some(stamp);
    let path = path.to_owned();
    let text = tokio::task::spawn_blocking(move || read_file(&path)).await.map_err(std::io::Error::other).flatten();
    let installed = match text {
        Ok(text) => document.install(&text, None, fetch),
        Err(error) => Err(error.to_string()),
    };
    if let Err(problem) = installed {
        fetch.warn(&format!("{}: {}; the last good keys work on", document.origin, shown(&problem)));
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    regular_file::read(path, jwk::MAX_SET_BYTES as u64)
}
