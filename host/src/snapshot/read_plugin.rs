//! Why the component of a plugin cannot be had.

use std::fmt;
use std::path::PathBuf;

use crate::plugin::LoadError;
use crate::registry::Absent;
use crate::stock;

/// A component that could not be read or loaded.
#[derive(Debug)]
pub enum ReadPlugin {
    File(PathBuf, std::io::Error),
    UnknownStock(String),
    /// Why the store does not have it.
    Absent(Absent),
    Load(LoadError),
}

impl fmt::Display for ReadPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadPlugin::File(path, error) => write!(f, "{} cannot be read: {error}", path.display()),
            ReadPlugin::UnknownStock(name) => {
                let names: Vec<_> = stock::names().collect();
                write!(f, "there is no stock plugin {name:?}; there are {}", names.join(", "))
            }
            ReadPlugin::Absent(Absent::Missing) => f.write_str("it is not in the store of plugins, or not in full"),
            ReadPlugin::Absent(Absent::Unsigned(reason)) => {
                write!(f, "it is not signed as \"registries\" demands: {reason}")
            }
            ReadPlugin::Absent(Absent::NoPlugin(reason)) => write!(f, "the artifact is no plugin: {reason}"),
            ReadPlugin::Load(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReadPlugin {}
