//! An exchange that two tasks use in turns.
//!
//! A request body that is streamed through hooks is read in a separate task while the request path waits for the
//! upstream, and often still when the response is on its way. Hooks of both need the exchange, one at a time.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::exchange::Exchange;

/// An exchange that is lent to whoever has the turn. Empty once it was taken for good, at the end of the exchange.
#[derive(Clone)]
pub struct Loan(Arc<Mutex<Exchange>>);

/// The turn: while this exists, nobody else has access to the exchange.
pub struct Turn(OwnedMutexGuard<Exchange>);

impl Loan {
    pub fn new(exchange: Exchange) -> Loan {
        Loan(Arc::new(Mutex::new(exchange)))
    }

    /// Waits for a turn, until the hook that has it now is done.
    pub async fn turn(&self) -> Turn {
        Turn(self.0.clone().lock_owned().await)
    }
}

impl Turn {
    /// Whether nobody else is waiting for the exchange: only this turn and one loan are left.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(OwnedMutexGuard::mutex(&self.0)) <= 2
    }
}

impl Deref for Turn {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.0
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Exchange {
        &mut self.0
    }
}
