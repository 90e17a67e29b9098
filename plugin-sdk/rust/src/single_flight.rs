//! One at a time: what many requests want at once, one of them does for all.
//!
//! ```no_run
//! # use gatewright_sdk::{shared_store, single_flight::{self, Turn}};
//! # fn ask() -> Vec<u8> { Vec::new() }
//! # let key = "k";
//! let answer = match shared_store::get(key) {
//!     Some(kept) => Some(kept.value),
//!     None => match single_flight::take(key, None) {
//!         Turn::Mine => {
//!             // Another may have had its turn between the look and this one.
//!             let answer = shared_store::get(key).map(|kept| kept.value).unwrap_or_else(|| {
//!                 let answer = ask();
//!                 let _ = shared_store::set(key, &answer, None);
//!                 answer
//!             });
//!             single_flight::done(key, &answer);
//!             Some(answer)
//!         }
//!         Turn::Done(answer) => Some(answer),
//!         Turn::TimedOut => None,
//!     },
//! };
//! ```

use std::time::Duration;

use crate::host::single_flight as host;

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller's, until it calls [`done`] or its hook is over, however that ends. Others wait for that.
    Mine,
    /// Another's is over, and this came of it.
    Done(Vec<u8>),
    /// Another's is not over in the time.
    TimedOut,
}

/// The turn under a key, or what comes of another's within so long; `None` is as long as a callout may take, which is also the
/// most. Counts as a callout. In a hook only, and not under a key whose turn the hook has.
#[must_use]
pub fn take(key: &str, wait: Option<Duration>) -> Turn {
    host::take(key, wait)
}

/// Ends the own turn under a key: all who wait get these bytes.
pub fn done(key: &str, answer: &[u8]) {
    host::done(key, answer);
}
