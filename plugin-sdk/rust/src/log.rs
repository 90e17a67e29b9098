//! Lines in the gateway's log. The gateway adds the plugin, the route and the request, escapes what would break a
//! line, and drops what is over its limits.

use crate::MutateError;
use crate::host::log as host;

/// How much a line matters. Which are kept is the operator's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What happened.
    Info,
    /// What somebody should look at some day.
    Warn,
    /// What somebody should look at now.
    Error,
}

/// Whether a line of this level would be kept. Worth asking where the line is costly to make.
#[must_use]
pub fn enabled(level: Level) -> bool {
    host::enabled(level)
}

/// Writes a line. Never put a secret into it.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    host::write(level, message, fields);
}

/// A line of [`Level::Debug`].
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    write(Level::Debug, message, fields);
}

/// A line of [`Level::Info`].
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write(Level::Info, message, fields);
}

/// A line of [`Level::Warn`].
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write(Level::Warn, message, fields);
}

/// A line of [`Level::Error`].
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write(Level::Error, message, fields);
}

/// A line of [`Level::Error`] where the gateway refused a change that the plugin goes on without.
pub fn noted(changed: Result<(), MutateError>) {
    if let Err(refused) = changed {
        error("the message was not changed as it should be", &[("why", &refused.to_string())]);
    }
}
