//! The datagrams of one listener on one core, top to bottom.
//!
//! The kernel gives the datagrams of a client always to the same core. Its first one begins a session: a socket of its
//! own to one endpoint, on which what comes back is the client's. The session ends when for the idle timeout nothing was
//! sent either way, or when the endpoint says that nobody listens there; the client's next datagram begins another.
//!
//! What does not fit is dropped, as on any network: nothing is queued here but what arrives while a session opens.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::datagram::{Buffer, Local, Socket};
use super::record::Record;
use super::{Ends, Forward, Route, relay};
use crate::drain::Drain;
use crate::telemetry::metrics::{Dropped, ListenerMetrics};
use crate::telemetry::{self, AccessLog, Level, Outcome};
use crate::upstream::{Place, Upstream};

/// What a listener needs to forward datagrams.
pub struct Service<R> {
    /// Returns the current rules for this client; `None` if it is not allowed, or the listener is gone.
    pub rules: R,
    pub metrics: Arc<ListenerMetrics>,
    pub access_log: Arc<AccessLog>,
    /// A permit for each session of this core; its connections use the same.
    pub places: Arc<Semaphore>,
}

/// The client, and which of our addresses it uses.
type Key = (SocketAddr, Option<Local>);

/// Forwards datagrams until the drain is asked for, and then those of existing sessions until they are quiet.
///
/// `rules` returns the target, and the maximum number of sessions; it is called when a session begins.
///
/// # Errors
/// The socket cannot be used.
pub async fn serve<R>(socket: std::net::UdpSocket, service: Service<R>, drain: Drain) -> io::Result<()>
where
    R: Fn(IpAddr) -> Option<(Arc<Forward>, u64)>,
{
    let local = socket.local_addr()?;
    let socket = Arc::new(Socket::new(socket)?);
    let mut sessions: HashMap<Key, Arc<Session>> = HashMap::new();
    let mut tasks = JoinSet::new();
    let mut buffer = Buffer::new();
    let mut asked = pin!(drain.asked());
    let mut draining = false;
    while !(draining && sessions.is_empty()) {
        let (length, peer, to) = tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                match ended {
                    Ok(key) => drop(sessions.remove(&key)),
                    Err(_) => sessions.retain(|_, session| !session.ended.load(Relaxed)),
                }
                continue;
            }
            () = &mut asked, if !draining => {
                draining = true;
                continue;
            }
            received = socket.receive(&mut buffer) => match received {
                Ok(received) => received,
                Err(error) => {
                    telemetry::log(Level::Warn, "a datagram cannot be read", &[("error", &error)]);
                    // The kernel reports each error once; a pause keeps a permanent one from occupying the core.
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            },
        };
        let datagram = buffer.bytes(length);
        let key = (peer, to);
        if let Some(session) = sessions.get(&key).filter(|session| !session.ended.load(Relaxed)) {
            session.take(datagram);
            continue;
        }
        let Some((forward, limit)) = (service.rules)(peer.ip()) else { continue };
        if draining {
            forward.metrics.dropped(Dropped::Draining);
            continue;
        }
        let place = Arc::clone(&service.places).try_acquire_owned().ok().filter(|_| service.metrics.open() < limit);
        let Some(place) = place else {
            service.metrics.refused();
            forward.metrics.dropped(Dropped::Sessions);
            continue;
        };
        let session = Arc::new(Session::new(forward.clone()));
        session.take(datagram);
        sessions.insert(key, session.clone());
        let ends = Ends { peer, client: peer, local };
        let open = Open::count(service.metrics.clone(), session.clone(), place);
        let record = Record::begin(service.access_log.clone(), forward, "udp", ends);
        let (socket, drain) = (socket.clone(), drain.clone());
        tasks.spawn(async move {
            session.run(record, &socket, key, &drain).await;
            drop(open);
            key
        });
    }
    Ok(())
}

/// The session of one client.
struct Session {
    forward: Arc<Forward>,
    /// The socket to the endpoint, once there is one.
    server: OnceLock<UdpSocket>,
    /// Datagrams that arrived before that.
    early: Mutex<Vec<Box<[u8]>>>,
    /// Bytes from the client.
    received: AtomicU64,
    started: Instant,
    /// When something was last sent, in milliseconds since the start.
    last: AtomicU64,
    /// Notified when sending to the endpoint failed.
    refused: Notify,
    ended: AtomicBool,
}

impl Session {
    fn new(forward: Arc<Forward>) -> Self {
        Session {
            forward,
            server: OnceLock::new(),
            early: Mutex::default(),
            received: AtomicU64::new(0),
            started: Instant::now(),
            last: AtomicU64::new(0),
            refused: Notify::new(),
            ended: AtomicBool::new(false),
        }
    }

    /// Sends a datagram of the client to the endpoint.
    fn take(&self, datagram: &[u8]) {
        self.received.fetch_add(datagram.len() as u64, Relaxed);
        self.forward.metrics.moved(datagram.len() as u64, 0);
        match self.server.get() {
            Some(server) => self.pass_on(server, datagram),
            None => {
                let mut early = self.early.lock().unwrap_or_else(PoisonError::into_inner);
                if early.len() < MOST_EARLY {
                    early.push(datagram.into());
                } else {
                    self.forward.metrics.dropped(Dropped::Full);
                }
            }
        }
    }

    fn pass_on(&self, server: &UdpSocket, datagram: &[u8]) {
        self.touch();
        match server.try_send(datagram) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.forward.metrics.dropped(Dropped::Full),
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.forward.metrics.dropped(Dropped::Size),
            // A send reports that an earlier datagram was refused.
            Err(_) => self.refused.notify_one(),
        }
    }

    async fn run(&self, mut record: Record, client: &Socket, key: Key, drain: &Drain) {
        tokio::select! {
            biased;
            () = self.carry(&mut record, client, key, drain) => {}
            () = super::patience_ends(drain, self.forward.drain_timeout) => record.ended(Outcome::ShutDown),
        }
        record.received(self.received.load(Relaxed));
    }

    async fn carry(&self, record: &mut Record, client: &Socket, key: Key, drain: &Drain) {
        let Some((upstream, place)) = self.open(record).await else { return };
        let Some(server) = self.server.get() else { return };
        let mut asked = pin!(drain.asked());
        let mut draining = false;
        loop {
            let idle = if draining { DRAIN_IDLE } else { self.forward.idle_timeout };
            let deadline = self.started + Duration::from_millis(self.last.load(Relaxed)) + idle;
            tokio::select! {
                biased;
                () = self.refused.notified() => {
                    upstream.refused(&place);
                    return record.failed(Outcome::UpstreamFailed, "the endpoint refused a datagram".to_owned());
                }
                ready = server.ready(Interest::READABLE | Interest::ERROR) => {
                    let error = match ready {
                        Ok(ready) => self
                            .bring_back(server, client, key, record)
                            .or_else(|| if ready.is_error() { pending_error(server) } else { None }),
                        Err(error) => Some(error),
                    };
                    if let Some(error) = error {
                        upstream.refused(&place);
                        return record.failed(Outcome::UpstreamFailed, error.to_string());
                    }
                }
                () = sleep_until(deadline) => {
                    if self.idle_for() >= idle {
                        // The ordinary end: UDP has no other.
                        return record.ended(Outcome::Complete);
                    }
                }
                () = &mut asked, if !draining => draining = true,
            }
        }
    }

    async fn open(&self, record: &mut Record) -> Option<(&Arc<Upstream>, Place)> {
        let Route::To(targets) = &self.forward.route else { return None };
        let upstream = targets.pick()?;
        record.upstream = Some(upstream.name().clone());
        match upstream.connect_udp(&upstream.ask_of_connection(record.ends().client.ip()), &mut record.facts).await {
            Ok((server, place)) => {
                // Until the runtime has polled a new socket, it considers it not writable.
                let _ = server.writable().await;
                let early = std::mem::take(&mut *self.early.lock().unwrap_or_else(PoisonError::into_inner));
                early.iter().for_each(|datagram| self.pass_on(&server, datagram));
                let _ = self.server.set(server);
                Some((upstream, place))
            }
            Err(error) => {
                self.forward.metrics.dropped(Dropped::NoEndpoint);
                let fields: telemetry::Fields<'_> = &[("listener", &self.forward.listener), ("error", &error)];
                telemetry::log(Level::Warn, "a datagram could not be forwarded", fields);
                record.failed(Outcome::UpstreamFailed, error.to_string());
                None
            }
        }
    }

    /// Sends the client what the endpoint has sent; returns the error, if there is one.
    fn bring_back(
        &self,
        server: &UdpSocket,
        client: &Socket,
        (peer, to): Key,
        record: &mut Record,
    ) -> Option<io::Error> {
        relay::CHUNK.with_borrow_mut(|chunk| {
            for _ in 0..ROUNDS {
                let length = match server.try_recv(chunk) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                    Err(error) => return Some(error),
                };
                let datagram = chunk.get(..length).unwrap_or_default();
                self.touch();
                match client.try_send(datagram, peer, to) {
                    Ok(()) => record.moved(0, datagram.len() as u64),
                    Err(_) => self.forward.metrics.dropped(Dropped::Full),
                }
            }
            None
        })
    }

    fn touch(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Relaxed);
    }

    fn idle_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last.load(Relaxed)))
    }
}

/// Counts a session as open until dropped.
struct Open {
    metrics: Arc<ListenerMetrics>,
    session: Arc<Session>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn count(metrics: Arc<ListenerMetrics>, session: Arc<Session>, place: OwnedSemaphorePermit) -> Self {
        metrics.accepted();
        Open { metrics, session, _place: place }
    }
}

/// The socket's pending error, unless the last send already reported it. Either way the socket has no error any more.
fn pending_error(server: &UdpSocket) -> Option<io::Error> {
    let _ = server.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    server.take_error().ok().flatten()
}

impl Drop for Open {
    fn drop(&mut self) {
        self.session.ended.store(true, Relaxed);
        self.metrics.closed();
    }
}

/// Maximum datagrams that wait while a session opens, which takes noticeable time only if a name has to be resolved.
const MOST_EARLY: usize = 16;

/// Datagrams of one session before the others get their turn.
const ROUNDS: usize = 32;

/// How long a session may be quiet once the gateway drains the listener.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

const ERROR_PAUSE: Duration = Duration::from_millis(10);
