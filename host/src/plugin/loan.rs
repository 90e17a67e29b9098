//! An exchange that two tasks use in turns.
//!
//! A request body that is streamed through hooks is read in a separate task while the request path waits for the
//! upstream, and often still when the response is on its way. Hooks of both need the exchange, one at a time.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::exchange::Exchange;

/// An exchange that is lent to whoever has the turn. It is empty once it was taken for good, because it is over.
#[derive(Clone)]
pub struct Loan(Arc<Mutex<Exchange>>);

/// While this lives nobody else has the exchange.
pub struct Turn(OwnedMutexGuard<Exchange>);

impl Loan {
    pub fn new(exchange: Exchange) -> Loan {
        Loan(Arc::new(Mutex::new(exchange)))
    }

    /// Waits for one's turn: as long as the hook runs that has it now.
    pub async fn turn(&self) -> Turn {
        Turn(self.0.clone().lock_owned().await)
    }
}

impl Turn {
    /// Whether nobody waits for the exchange any more but who has this turn and holds one loan.
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
