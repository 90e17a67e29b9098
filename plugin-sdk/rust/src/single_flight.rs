//! One at a time: if many requests need the same thing at once, one of them gets it for all.
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

/// Who has the turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The caller has it, until it calls [`done`] or its hook ends in any way. Others wait for that.
    Mine,
    /// Another caller's turn is over; these are the bytes it passed to [`done`].
    Done(Vec<u8>),
    /// Another caller's turn did not end within the wait.
    TimedOut,
}

/// Takes the turn for a key, or waits that long for the result of another's; `None` is as long as a callout may take,
/// which is also the longest. Counts as a callout. In a hook only, and not for a key whose turn the hook has.
#[must_use]
pub fn take(key: &str, wait: Option<Duration>) -> Turn {
    host::take(key, wait)
}

/// Ends the caller's own turn for a key: all who wait get these bytes.
pub fn done(key: &str, answer: &[u8]) {
    host::done(key, answer);
}
