//! The idle connections of one core, watched by one task for all of them.
//!
//! A separate task would cost a connection more than a kilobyte, most of it for its timer, its wait for the drain and
//! its registration with the runtime's reactor. Here it is an entry in a table, one in the order of deadlines, and its
//! socket in a poll of this set. There are as many of them as there are clients, so their state is kept small.

use std::collections::BTreeSet;
use std::io;
use std::net;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::drain::Asked;

/// A handle to the idle connections of one core. Cheap to clone. The connections are closed with the runtime.
#[derive(Clone)]
pub struct IdleConnections {
    news: mpsc::UnboundedSender<News>,
}

/// Called when the client has sent something or has gone, or the drain was asked for. The second argument is when the
/// connection would have been closed.
pub type Wake = Box<dyn FnOnce(TcpStream, Instant) + Send>;

enum News {
    Idle(Idle),
    Drained,
}

struct Idle {
    stream: net::TcpStream,
    /// When it will be closed.
    until: Instant,
    asked: Asked,
    wake: Wake,
}

/// An idle connection that is watched.
struct Entry {
    stream: net::TcpStream,
    /// In the time of [`Watch::clock`].
    until_ms: u64,
    asked: Asked,
    wake: Wake,
}

impl IdleConnections {
    /// Starts watching, on the runtime that this is called on.
    ///
    /// # Errors
    /// The system cannot create a poll.
    pub fn start() -> io::Result<IdleConnections> {
        let (news, received) = mpsc::unbounded_channel();
        let watch =
            Watch { poll: watched(Poll::new()?)?, began: Instant::now(), entries: Slab::new(), ends: BTreeSet::new() };
        tokio::spawn(watch.run(received));
        Ok(IdleConnections { news })
    }

    /// Adds a connection. It is closed at `until`, and woken when its drain is asked for and
    /// [`IdleConnections::drained`] is called.
    ///
    /// # Errors
    /// The runtime cannot release the socket.
    pub fn add(&self, stream: TcpStream, until: Instant, asked: Asked, wake: Wake) -> io::Result<()> {
        let idle = Idle { stream: stream.into_std()?, until, asked, wake };
        // Fails only if the runtime ends, and the connection with it.
        let _ = self.news.send(News::Idle(idle));
        Ok(())
    }

    /// Announces that a drain was asked for. Connections added later are checked individually.
    pub fn drained(&self) {
        let _ = self.news.send(News::Drained);
    }
}

/// Registers the poll with the runtime: it is readable when one of its sockets is.
#[allow(unsafe_code)]
fn watched(poll: Poll) -> io::Result<AsyncFd<Poll>> {
    // SAFETY: a poll owns its descriptor: it stays open and unchanged until the poll is dropped, and the registration,
    // which owns the poll, ends before that.
    unsafe { AsyncFd::register_with_interest(poll, tokio::io::Interest::READABLE) }.map_err(io::Error::from)
}

struct Watch {
    poll: AsyncFd<Poll>,
    began: Instant,
    entries: Slab<Entry>,
    /// When each connection is closed, with the key of its entry.
    ends: BTreeSet<(u64, usize)>,
}

impl Watch {
    async fn run(mut self, mut received: mpsc::UnboundedReceiver<News>) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let next_end = self.ends.first().map(|(until_ms, _)| self.instant(*until_ms));
            tokio::select! {
                biased;
                news = received.recv() => match news {
                    Some(News::Idle(idle)) => self.insert(idle),
                    Some(News::Drained) => self.wake_drained(),
                    None => return,
                },
                stirred = self.poll.readable_mut() => {
                    // An error would be one of the runtime itself.
                    let Ok(mut guard) = stirred else { return };
                    // Before the poll is emptied: whatever happens after that makes it readable again.
                    guard.clear_ready();
                    self.wake_stirred(&mut events);
                },
                () = tokio::time::sleep_until(next_end.unwrap_or_else(Instant::now)), if next_end.is_some() => {
                    self.close_until(Instant::now());
                },
            }
        }
    }

    fn insert(&mut self, idle: Idle) {
        let Idle { stream, until, asked, wake } = idle;
        let (fd, until_ms, is_drained) = (stream.as_raw_fd(), self.clock(until), asked.is_asked());
        let entry = self.entries.insert(Entry { stream, until_ms, asked, wake });
        self.ends.insert((until_ms, entry));
        // What the client has already sent is reported at once.
        let registered = self.poll.get_ref().registry().register(&mut SourceFd(&fd), Token(entry), Interest::READABLE);
        if is_drained || registered.is_err() {
            self.wake(entry);
        }
    }

    /// Wakes all connections whose client has sent something or has gone.
    fn wake_stirred(&mut self, events: &mut Events) {
        while self.poll.get_mut().poll(events, Some(Duration::ZERO)).is_ok() && !events.is_empty() {
            events.iter().for_each(|event| self.wake(event.token().0));
        }
    }

    fn wake(&mut self, entry: usize) {
        let Some(Entry { stream, until_ms, wake, .. }) = self.take(entry) else { return };
        if let Ok(stream) = TcpStream::from_std(stream) {
            wake(stream, self.instant(until_ms));
        }
    }

    fn close_until(&mut self, now: Instant) {
        while let Some((until_ms, entry)) = self.ends.first().copied()
            && self.instant(until_ms) <= now
        {
            drop(self.take(entry));
        }
    }

    /// Wakes all connections whose drain was asked for: what the client may have sent is answered before they are
    /// closed.
    fn wake_drained(&mut self) {
        let drained = self.entries.iter().filter(|(_, idle)| idle.asked.is_asked()).map(|(entry, _)| entry);
        drained.collect::<Vec<_>>().into_iter().for_each(|entry| self.wake(entry));
    }

    fn take(&mut self, entry: usize) -> Option<Entry> {
        let idle = self.entries.try_remove(entry)?;
        self.ends.remove(&(idle.until_ms, entry));
        // Fails only if it was never registered.
        let _ = self.poll.get_ref().registry().deregister(&mut SourceFd(&idle.stream.as_raw_fd()));
        Some(idle)
    }

    /// A moment in milliseconds since the beginning, rounded up: half the size of an [`Instant`], and nothing is closed
    /// too early.
    fn clock(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began).as_nanos().div_ceil(1_000_000);
        u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn instant(&self, since_ms: u64) -> Instant {
        self.began + Duration::from_millis(since_ms)
    }
}

/// Maximum events per poll.
const EVENTS: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use crate::drain::{self, Drain, Drainer};

    struct Setup {
        idle: IdleConnections,
        listener: TcpListener,
        drainer: Drainer,
        drain: Drain,
        woken: (mpsc::UnboundedSender<TcpStream>, mpsc::UnboundedReceiver<TcpStream>),
    }

    impl Setup {
        async fn new() -> Setup {
            let (drainer, drain) = drain::channel();
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let (idle, woken) = (IdleConnections::start().unwrap(), mpsc::unbounded_channel());
            Setup { idle, listener, drainer, drain, woken }
        }

        /// A client whose connection may be idle for this long.
        async fn client(&self, length: Duration) -> TcpStream {
            let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = self.listener.accept().await.unwrap();
            let woken = self.woken.0.clone();
            let wake = Box::new(move |stream, _| drop(woken.send(stream)));
            self.idle.add(server, Instant::now() + length, self.drain.flag(), wake).unwrap();
            client
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn whoever_speaks_or_goes_is_woken_and_nobody_else() {
        let mut setup = Setup::new().await;
        let mut clients = Vec::new();
        // More than fit into one poll.
        for _ in 0..EVENTS + 20 {
            clients.push(setup.client(LONG).await);
        }
        for client in &mut clients[10..] {
            client.write_all(b"!").await.unwrap();
        }
        for _ in 10..clients.len() {
            let mut woken = setup.woken.1.recv().await.unwrap();
            assert_eq!(woken.read_u8().await.unwrap(), b'!');
        }
        drop(clients.remove(0));
        let mut gone = setup.woken.1.recv().await.unwrap();
        assert_eq!(gone.read(&mut [0]).await.unwrap(), 0);
        assert!(setup.woken.1.try_recv().is_err());
        clients[0].write_all(b"?").await.unwrap();
        assert_eq!(setup.woken.1.recv().await.unwrap().read_u8().await.unwrap(), b'?');
    }

    #[tokio::test]
    async fn what_was_said_before_wakes_as_well() {
        let mut setup = Setup::new().await;
        let mut client = TcpStream::connect(setup.listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = setup.listener.accept().await.unwrap();
        client.write_all(b"!").await.unwrap();
        server.readable().await.unwrap();
        let woken = setup.woken.0.clone();
        let wake = Box::new(move |stream, _| drop(woken.send(stream)));
        setup.idle.add(server, Instant::now() + LONG, setup.drain.flag(), wake).unwrap();
        assert_eq!(setup.woken.1.recv().await.unwrap().read_u8().await.unwrap(), b'!');
    }

    #[tokio::test]
    async fn time_closes_and_the_drain_wakes() {
        let mut setup = Setup::new().await;
        let _long = setup.client(LONG).await;
        let mut short = setup.client(Duration::from_millis(20)).await;
        assert_eq!(short.read(&mut [0]).await.unwrap(), 0, "closed by its time");
        assert!(setup.woken.1.try_recv().is_err());

        let other = Setup { idle: setup.idle.clone(), ..Setup::new().await };
        let mut stays = other.client(LONG).await;
        setup.drainer.ask();
        setup.idle.drained();
        assert!(setup.woken.1.recv().await.is_some(), "woken by the drain");
        let _late = setup.client(LONG).await;
        assert!(setup.woken.1.recv().await.is_some(), "whoever comes after the drain is woken at once");
        assert!(setup.woken.1.try_recv().is_err());

        let mut of_other = other.woken.1;
        assert!(of_other.try_recv().is_err(), "another's drain is not asked for");
        stays.write_all(b"!").await.unwrap();
        assert_eq!(of_other.recv().await.unwrap().read_u8().await.unwrap(), b'!');
    }
}
