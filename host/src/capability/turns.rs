//! `single-flight`: if many hooks need the same thing at once, one of them does it for all.
//!
//! A key has a turn as long as a hook is working on it; nothing is kept afterwards. A turn that is dropped without an
//! answer, because its hook failed or its client disconnected, wakes those who wait, and one of them takes the next
//! turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The current turns of one plugin's configuration. The answer of a turn is an `A`.
#[derive(Debug)]
pub struct Turns<A = Bytes> {
    taken: Mutex<HashMap<Arc<str>, Other<A>>>,
}

/// The result of asking for a turn.
#[derive(Debug)]
pub enum Taken<A = Bytes> {
    Own(Turn<A>),
    /// Another caller had the turn, and this is its answer.
    Done(A),
    TimedOut,
}

/// A turn. When it is dropped, the next caller gets it.
#[derive(Debug)]
pub struct Turn<A = Bytes> {
    turns: Arc<Turns<A>>,
    key: Arc<str>,
    answer: watch::Sender<Option<A>>,
    /// Whether others know of it.
    is_known: bool,
}

/// Another caller's turn: `None` while it is running, then the answer; closed without one if it was given up.
type Other<A> = watch::Receiver<Option<A>>;

impl<A: Clone> Turns<A> {
    /// Takes the turn for a key, or waits this long for the answer of another caller.
    pub async fn take(self: &Arc<Turns<A>>, key: &str, wait: Duration) -> Taken<A> {
        let until = Instant::now() + wait;
        loop {
            let mut other = match self.join(key) {
                Ok(turn) => return Taken::Own(turn),
                Err(other) => other,
            };
            let end = timeout_at(until, other.wait_for(Option::is_some)).await;
            match end.map(|end| end.ok().and_then(|answer| answer.clone())) {
                Ok(Some(answer)) => return Taken::Done(answer),
                Ok(None) => {}
                Err(_) => return Taken::TimedOut,
            }
        }
    }

    fn join(self: &Arc<Turns<A>>, key: &str) -> Result<Turn<A>, Other<A>> {
        let mut taken = self.taken();
        if let Some(other) = taken.get(key) {
            return Err(other.clone());
        }
        let (answer, other) = watch::channel(None);
        let (key, is_known) = (Arc::<str>::from(key), taken.len() < MOST_KEYS);
        if is_known {
            taken.insert(key.clone(), other);
        }
        Ok(Turn { turns: self.clone(), key, answer, is_known })
    }
}

impl<A> Turns<A> {
    fn taken(&self) -> MutexGuard<'_, HashMap<Arc<str>, Other<A>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A> Default for Turns<A> {
    fn default() -> Turns<A> {
        Turns { taken: Mutex::default() }
    }
}

impl<A> Turn<A> {
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Gives the answer to all who wait.
    pub fn done(self, answer: A) {
        self.answer.send_replace(Some(answer));
    }
}

impl<A> Drop for Turn<A> {
    fn drop(&mut self) {
        // Before the sender is dropped, which wakes those who wait: none of them must find the key still taken.
        if self.is_known {
            self.turns.taken().remove(&*self.key);
        }
    }
}

/// Each turn is a running hook, so this is more than there are instances.
const MOST_KEYS: usize = 10_000;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn own(turns: &Arc<Turns>, key: &str) -> Turn {
        match turns.take(key, Duration::ZERO).await {
            Taken::Own(turn) => turn,
            other => panic!("{key}: {other:?}"),
        }
    }

    /// This many callers waiting for a key.
    async fn waiting(turns: &Arc<Turns>, key: &'static str, count: usize) -> JoinSet<Taken> {
        let mut all = JoinSet::new();
        for _ in 0..count {
            let turns = turns.clone();
            all.spawn(async move { turns.take(key, LONG).await });
        }
        // On one thread all of them have asked once those who were spawned have run for the first time.
        for _ in 0..count {
            tokio::task::yield_now().await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn one_is_at_it_and_all_who_wait_get_what_comes_of_it() {
        let turns = Arc::new(Turns::default());
        let turn = own(&turns, "a").await;
        assert_eq!(turn.key(), "a");
        drop(own(&turns, "b").await);
        let all = waiting(&turns, "a", 100).await;
        turn.done(Bytes::from_static(b"x"));
        for taken in all.join_all().await {
            assert!(matches!(&taken, Taken::Done(answer) if &answer[..] == b"x"), "{taken:?}");
        }
        // Nothing is kept of it.
        drop(own(&turns, "a").await);
        assert!(turns.taken().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_given_up_is_the_next_one_s() {
        let turns = Arc::new(Turns::default());
        let turn = own(&turns, "a").await;
        let mut all = waiting(&turns, "a", 3).await;
        drop(turn);
        for left in [2, 1, 0] {
            let Taken::Own(turn) = all.join_next().await.unwrap().unwrap() else { panic!("nobody has it") };
            assert_eq!(all.len(), left);
            drop(turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_he_wants_to() {
        let turns = Arc::new(Turns::default());
        let _turn = own(&turns, "a").await;
        let began = Instant::now();
        let taken = turns.take("a", Duration::from_secs(5)).await;
        assert!(matches!(taken, Taken::TimedOut) && began.elapsed() == Duration::from_secs(5), "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_bounded_and_beyond_that_nobody_waits() {
        let turns = Arc::new(Turns::default());
        let mut all = Vec::new();
        for key in 0..MOST_KEYS {
            all.push(own(&turns, &key.to_string()).await);
        }
        let (one, two) = (own(&turns, "more").await, own(&turns, "more").await);
        assert_eq!(turns.taken().len(), MOST_KEYS);
        // These end without a trace, too.
        drop((one, two));
        all.clear();
        assert!(turns.taken().is_empty());
    }
}
