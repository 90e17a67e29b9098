//! Places of a concurrency limit counted in the server.
//!
//! A place is a lease: it expires, and a task on the core of its exchange renews it long before. When the exchange ends
//! the task gives it back; when the whole gateway is gone nobody renews it, and it is free when it expires.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::script::ENTER;
use super::{Away, Remote, Share};

/// One place, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    _held: oneshot::Sender<()>,
}

impl Share {
    /// Takes one of `limit` places under `key`; `None` if all are taken. The number is how many are then taken.
    ///
    /// # Errors
    /// The server did not decide.
    pub async fn enter(&self, key: &str, limit: u32) -> Result<(Option<Lease>, u32), Away> {
        let place = Place {
            key: self.own_key(key, "places"),
            name: format!("{:032x}", fastrand::u128(..)),
            remote: self.remote.clone(),
        };
        match place.enter(limit.into()).await {
            Ok((true, taken)) => {
                let (held, given_back) = oneshot::channel();
                tokio::spawn(place.hold(given_back));
                Ok((Some(Lease { _held: held }), taken))
            }
            Ok((false, taken)) => Ok((None, taken)),
            Err(away) => {
                // It may have been counted anyway, and nobody would give it back.
                if away == Away::TimedOut {
                    tokio::spawn(async move { place.leave().await });
                }
                Err(away)
            }
        }
    }
}

struct Place {
    key: String,
    name: String,
    remote: Arc<Remote>,
}

impl Place {
    async fn enter(&self, limit: i64) -> Result<(bool, u32), Away> {
        let lease = u64::try_from(self.lease().as_millis()).unwrap_or(u64::MAX);
        let mut call = ENTER.prepare_invoke();
        call.key(&self.key).arg(&self.name).arg(limit).arg(lease);
        self.remote.links.ask(|mut redis| async move { call.invoke_async(&mut redis).await }).await
    }

    /// Renews the lease until the exchange ends.
    async fn hold(self, mut given_back: oneshot::Receiver<()>) {
        loop {
            tokio::select! {
                _ = &mut given_back => break self.leave().await,
                // A failure needs no other action: the next attempt comes before the expiry.
                () = sleep(self.lease() / 4) => drop(self.enter(HELD).await),
            }
        }
    }

    async fn leave(&self) {
        for _ in 0..LEAVE_ATTEMPTS {
            let mut call = redis::cmd("ZREM");
            call.arg(&self.key).arg(&self.name);
            let left = self.remote.links.ask(|mut redis| async move { call.query_async::<u32>(&mut redis).await });
            if left.await.is_ok() {
                return;
            }
            sleep(LEAVE_PAUSE).await;
        }
    }

    fn lease(&self) -> Duration {
        self.remote.settings().slot_ttl
    }
}

/// Instead of a limit: the place is held already.
const HELD: i64 = -1;
/// After this many failed attempts to give it back, the lease is left to expire.
const LEAVE_ATTEMPTS: u32 = 5;
const LEAVE_PAUSE: Duration = Duration::from_millis(200);
