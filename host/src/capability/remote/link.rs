//! The connections to one server: one for each core, maintained by a task on that core.
//!
//! The task connects, pings the server every second, and reconnects after an error of the connection, after
//! [`TIMEOUTS`] decisions in a row that timed out, or after a ping without an answer. Between attempts decisions fail
//! at once. So a server that is down costs a request nothing, one that hangs costs a few requests one time-out each,
//! and one that comes back is used again within half a second.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisError};
use thread_local::ThreadLocal;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::{Away, Settings};

/// The connections of all cores.
pub(super) struct Links {
    settings: Arc<Settings>,
    cores: ThreadLocal<Link>,
    news: Arc<News>,
}

/// Called when the server goes or comes back, with the reason: once for all cores.
pub type Notice = Box<dyn Fn(bool, &str) + Send + Sync>;

/// The counted events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Answered,
    Down,
    Busy,
    TimedOut,
    Failed,
    /// Decisions that were made without the server.
    FellBack,
}

impl Count {
    pub const ALL: [Count; 6] =
        [Count::Answered, Count::Down, Count::Busy, Count::TimedOut, Count::Failed, Count::FellBack];
}

/// One core's connection.
struct Link {
    state: watch::Receiver<State>,
    in_flight: AtomicUsize,
    counts: [AtomicU64; Count::ALL.len()],
}

#[derive(Clone)]
enum State {
    /// For the first time: decisions wait for it.
    Connecting,
    Up(Connection),
    Down,
}

#[derive(Clone)]
struct Connection {
    redis: MultiplexedConnection,
    /// Decisions in a row that timed out.
    timeouts: Arc<AtomicU32>,
    /// Asks the task for a new connection.
    lost: Arc<Notify>,
}

struct News {
    notice: Notice,
    is_up: AtomicBool,
}

impl Links {
    pub fn new(settings: &Settings, notice: Notice) -> Links {
        let news = Arc::new(News { notice, is_up: AtomicBool::new(true) });
        Links { settings: Arc::new(settings.clone()), cores: ThreadLocal::new(), news }
    }

    /// Sends a query to the server over this core's connection.
    ///
    /// # Errors
    /// The server did not decide.
    pub async fn ask<T, F>(&self, question: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Away>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let link = self.link();
        let answer = link.ask(&self.settings, question).await;
        link.add(match &answer {
            Ok(_) => Count::Answered,
            Err(Away::Down) => Count::Down,
            Err(Away::Busy) => Count::Busy,
            Err(Away::TimedOut) => Count::TimedOut,
            Err(Away::Failed(_)) => Count::Failed,
        });
        answer
    }

    pub fn add(&self, what: Count) {
        self.link().add(what);
    }

    pub fn count(&self, what: Count) -> u64 {
        self.cores.iter().map(|link| link.counts[what as usize].load(Relaxed)).sum()
    }

    pub fn up(&self) -> usize {
        self.cores.iter().filter(|link| matches!(*link.state.borrow(), State::Up(_))).count()
    }

    /// This core's connection; its task starts with the first decision.
    fn link(&self) -> &Link {
        self.cores.get_or(|| {
            let (sender, state) = watch::channel(State::Connecting);
            tokio::spawn(keep(self.settings.clone(), sender, self.news.clone()));
            Link { state, in_flight: AtomicUsize::new(0), counts: Default::default() }
        })
    }
}

impl Link {
    async fn ask<T, F>(&self, settings: &Settings, question: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, Away>
    where
        F: Future<Output = Result<T, RedisError>>,
    {
        let connection = self.connection(settings).await?;
        let _place = Place::take(&self.in_flight, settings.max_in_flight).ok_or(Away::Busy)?;
        match timeout(settings.timeout, question(connection.redis.clone())).await {
            Ok(Ok(answer)) => {
                connection.timeouts.store(0, Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if error.is_unrecoverable_error() || error.is_io_error() {
                    connection.lost.notify_one();
                    return Err(Away::Down);
                }
                Err(Away::Failed(error.to_string()))
            }
            Err(_) => {
                if connection.timeouts.fetch_add(1, Relaxed) + 1 >= TIMEOUTS {
                    connection.lost.notify_one();
                }
                Err(Away::TimedOut)
            }
        }
    }

    async fn connection(&self, settings: &Settings) -> Result<Connection, Away> {
        match &*self.state.borrow() {
            State::Up(connection) => return Ok(connection.clone()),
            State::Down => return Err(Away::Down),
            State::Connecting => {}
        }
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting));
        match timeout(settings.connect_timeout, settled).await {
            Ok(Ok(state)) => match &*state {
                State::Up(connection) => Ok(connection.clone()),
                _ => Err(Away::Down),
            },
            Ok(Err(_)) => Err(Away::Down),
            Err(_) => Err(Away::TimedOut),
        }
    }

    fn add(&self, what: Count) {
        self.counts[what as usize].fetch_add(1, Relaxed);
    }
}

/// Maintains one connection until its link is gone.
async fn keep(settings: Arc<Settings>, state: watch::Sender<State>, news: Arc<News>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let why = match timeout(settings.connect_timeout, connect(&settings)).await {
            Ok(Ok(connection)) => {
                pause = FIRST_PAUSE;
                news.tell(true, "");
                state.send_replace(State::Up(connection.clone()));
                tokio::select! {
                    why = ends(&connection, &settings) => why,
                    () = state.closed() => return,
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        state.send_replace(State::Down);
        news.tell(false, &why);
        tokio::select! {
            () = sleep(pause) => {}
            () = state.closed() => return,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(settings: &Settings) -> Result<Connection, RedisError> {
    let mut login = RedisConnectionInfo::default().set_db(settings.database.into());
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password);
    }
    let stream = TcpStream::connect((&*settings.host, settings.port)).await?;
    stream.set_nodelay(true)?;
    let mut redis = match &settings.tls {
        None => begin(&login, stream).await?,
        Some(tls) => {
            let stream = tls.connect(&settings.host, None, stream).await.map_err(std::io::Error::other)?;
            begin(&login, stream).await?
        }
    };
    // A hanging server still accepts connections.
    ping(&mut redis).await?;
    Ok(Connection { redis, timeouts: Arc::default(), lost: Arc::default() })
}

/// Logs in. From then on a task of its own reads and writes, until the connection is dropped.
async fn begin<S>(login: &RedisConnectionInfo, stream: S) -> Result<MultiplexedConnection, RedisError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Timeouts are handled here.
    let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let (redis, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    tokio::spawn(driver);
    Ok(redis)
}

/// Waits until the connection is unusable, and returns the reason.
async fn ends(connection: &Connection, settings: &Settings) -> String {
    let mut redis = connection.redis.clone();
    loop {
        tokio::select! {
            () = connection.lost.notified() => return "the connection is lost, or nobody answers".to_owned(),
            () = sleep(PROBE) => {}
        }
        match timeout(settings.connect_timeout, ping(&mut redis)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "it did not answer in time".to_owned(),
        }
    }
}

async fn ping(redis: &mut MultiplexedConnection) -> Result<(), RedisError> {
    redis::cmd("PING").query_async::<()>(redis).await
}

impl News {
    fn tell(&self, is_up: bool, why: &str) {
        if self.is_up.swap(is_up, Relaxed) != is_up {
            (self.notice)(is_up, why);
        }
    }
}

/// One decision in progress.
struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn take(in_flight: &AtomicUsize, most: usize) -> Option<Place<'_>> {
        let taken = in_flight.try_update(Relaxed, Relaxed, |now| (now < most).then_some(now + 1));
        taken.ok().map(|_| Place(in_flight))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// After this many decisions in a row without an answer the connection is given up.
const TIMEOUTS: u32 = 3;
/// How often a connection is checked that may be unused.
const PROBE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);
