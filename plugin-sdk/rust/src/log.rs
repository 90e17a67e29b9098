//! Lines in the gateway's log. The gateway adds the plugin, the route and the request, escapes characters that would
//! break a line, and drops lines over its limits.

use crate::MutateError;
use crate::host::log as host;

/// How much a line matters. The operator chooses which levels are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// Details that help to find a mistake.
    Debug,
    /// Normal events.
    Info,
    /// Something to look into eventually.
    Warn,
    /// Something to look into now.
    Error,
}

/// Whether a line of this level would be kept. Worth asking if the line is costly to make.
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

/// Logs a line of [`Level::Error`] if the gateway refused a change that the plugin can do without.
pub fn noted(changed: Result<(), MutateError>) {
    if let Err(refused) = changed {
        error("the message was not changed as it should be", &[("why", &refused.to_string())]);
    }
}
