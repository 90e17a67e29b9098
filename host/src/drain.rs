//! Graceful shutdown: everything that has work to finish holds a [`Drain`], is told when to finish it, and is waited
//! for.
//!
//! A `Drain` is registered as long as it lives; there is nothing to give back, so a task that panics or is dropped is
//! counted out as well.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Creates the two halves: one asks for the drain, the other hears of it.
pub fn channel() -> (Drainer, Drain) {
    let (sender, receiver) = watch::channel(());
    let asked = Asked::default();
    (Drainer { asked: asked.clone(), sender }, Drain { asked, receiver })
}

/// The half that asks the others to finish. If it has asked, its drop tells them that their time is over.
#[derive(Debug)]
pub struct Drainer {
    asked: Asked,
    sender: watch::Sender<()>,
}

/// The half of somebody with work in progress. Each clone is waited for; dropping it means "done".
#[derive(Clone, Debug)]
pub struct Drain {
    asked: Asked,
    receiver: watch::Receiver<()>,
}

impl Drainer {
    /// Asks everybody to finish, and waits until all have, at most for `deadline`. Returns whether they have.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.ask();
        tokio::time::timeout(deadline, self.sender.closed()).await.is_ok()
    }

    /// Asks everybody to finish, without waiting.
    pub fn ask(&self) {
        self.asked.0.asked.store(true, Ordering::Release);
        // Fails only if nobody listens any more.
        let _ = self.sender.send(());
    }
}

impl Drop for Drainer {
    fn drop(&mut self) {
        // Before the sender is dropped, so that whoever hears of the end also reads it here.
        self.asked.0.over.store(self.asked.is_asked(), Ordering::Release);
    }
}

/// Tells whether a drain was asked for, without being waited for.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<Stages>);

#[derive(Debug, Default)]
struct Stages {
    asked: AtomicBool,
    over: AtomicBool,
}

impl Asked {
    pub fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }

    /// Whether the drain time has passed as well.
    pub fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }
}

impl Drain {
    /// The same information for somebody who is not waited for.
    pub fn flag(&self) -> Asked {
        self.asked.clone()
    }

    /// Whether a drain was asked for. A single atomic load, so cheap enough to call often.
    pub fn is_asked(&self) -> bool {
        self.asked.is_asked()
    }

    /// Waits until a drain is asked for. The future itself counts as work in progress. If the `Drainer` is dropped
    /// without having asked, it waits forever.
    pub fn asked(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut own = self.clone();
        async move {
            if !own.is_asked() && own.receiver.changed().await.is_err() && !own.is_asked() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the drain time has passed as well, that is, until the `Drainer` is dropped. Work that has not ended
    /// is cut then. The future also wakes its task when the drain is asked for; it counts as work in progress itself.
    pub fn over(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut own = self.clone();
        async move {
            while own.receiver.changed().await.is_ok() {}
            if !own.is_asked() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_all_who_have_a_part() {
        let (drainer, drain) = channel();
        let one = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.asked().await;
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        assert!(!drain.is_asked());
        drop(drain);
        assert!(drainer.drain(Duration::from_secs(10)).await);
        assert!(one.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_the_deadline_and_is_over_when_it_is_dropped() {
        let (drainer, drain) = channel();
        let other = drain.clone();
        assert!(!drainer.drain(Duration::from_secs(1)).await);
        assert!(drain.is_asked() && other.is_asked());
        other.asked().await;
        assert!(!drain.flag().is_over());
        drop(drainer);
        assert!(drain.flag().is_over() && other.flag().is_over());
    }

    #[tokio::test]
    async fn a_panic_counts_as_done() {
        let (drainer, drain) = channel();
        let task = tokio::spawn(async move {
            let _held = drain;
            panic!("on purpose");
        });
        assert!(task.await.is_err());
        assert!(drainer.drain(Duration::from_secs(60)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_finish_hears_when_the_time_is_over() {
        let (drainer, drain) = channel();
        let endless = tokio::spawn({
            let drain = drain.clone();
            async move {
                drain.over().await;
                tokio::time::Instant::now()
            }
        });
        drop(drain);
        let start = tokio::time::Instant::now();
        assert!(!drainer.drain(Duration::from_secs(7)).await);
        drop(drainer);
        assert_eq!(endless.await.ok(), Some(start + Duration::from_secs(7)));

        // Nobody asked: nothing is cut.
        let (drainer, drain) = channel();
        drop(drainer);
        assert!(!drain.flag().is_over());
        assert!(tokio::time::timeout(Duration::from_secs(60), drain.over()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_hears_it_too() {
        let (drainer, drain) = channel();
        drainer.ask();
        let late = drain.clone();
        drop(drain);
        late.asked().await;
    }
}
