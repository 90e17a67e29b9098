//! The commands for plugin authors: new, build, test, bench, run, inspect.
//!
//! A [`Project`] is a folder with a `plugin.json`. It is created from a template in the author's language
//! ([`template`]) and built with that language's own tools ([`build`]). A [`Stage`] runs a component in the real
//! engine, without any network: for tests ([`trial`]) and measurements ([`bench`]). [`serve`] is the whole gateway with
//! only this plugin.

pub mod bench;
pub mod build;
mod cases;
mod compare;
mod diff;
pub mod distribution;
mod fixtures;
pub mod inspect;
mod outcome;
mod project;
mod scratch;
pub mod serve;
mod stage;
pub mod template;
mod toolchain;
pub mod trial;
mod walk;

use std::fmt;

pub use build::Profile;
pub use cases::Cases;
pub use project::{Language, Project};
pub use stage::Stage;

use crate::config::Report;
use crate::gateway;

/// Why a command failed.
#[derive(Debug)]
pub enum Error {
    /// A file is wrong; each mistake has its place.
    File(Box<Report>),
    /// A gateway did not start.
    Gateway(gateway::Error),
    /// What went wrong and what to do about it.
    Told(String),
}

impl Error {
    fn told(text: impl Into<String>) -> Error {
        Error::Told(text.into())
    }
}

impl From<Report> for Error {
    fn from(report: Report) -> Self {
        Error::File(Box::new(report))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File(report) => f.write_str(report.render(false).trim_end()),
            Error::Gateway(error) => error.fmt(f),
            Error::Told(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}
