//! Why a file is neither a plugin nor a service that can run here, in words for its author.

use std::fmt;

use super::artifact::VERSION;
use super::engine::COMPONENT_BYTES;

/// What is wrong with the file.
#[derive(Debug)]
pub enum LoadError {
    TooLarge(usize),
    /// Neither a component nor a core module.
    NotWasm,
    /// A core module that was not turned into a component.
    CoreModule,
    /// wasmtime rejected it; the text says where.
    Invalid(String),
    MissingExport(&'static str),
    /// A component of none of the contract's worlds; lists its exports.
    OtherWorld(Vec<String>),
    /// A component that is not a service; lists its exports.
    NoService(Vec<String>),
    WrongVersion(String),
    UnknownImport(String),
    /// `describe` failed, or its answer is not a manifest.
    Manifest(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::TooLarge(size) => {
                write!(f, "the component has {size} bytes; at most {COMPONENT_BYTES} are accepted")
            }
            LoadError::NotWasm => f.write_str("this is not WebAssembly"),
            LoadError::CoreModule => f.write_str(
                "this is a core WebAssembly module, not a component; build it for wasm32-wasip2, \
                 or turn it into a component first",
            ),
            LoadError::Invalid(reason) => write!(f, "the component is not valid: {reason}"),
            LoadError::MissingExport(name) => write!(f, "the component does not export {name}"),
            LoadError::OtherWorld(exports) => write!(
                f,
                "the component does not export lifecycle.describe, as every plugin does; it was built for another world: \
                 it exports {}",
                exports.join(", ")
            ),
            LoadError::NoService(exports) => write!(
                f,
                "the component does not export wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3, as services do; \
                 it exports {}",
                if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
            ),
            LoadError::WrongVersion(name) => {
                write!(f, "the component was built for {name}; this gateway speaks version {VERSION} of the contract")
            }
            LoadError::UnknownImport(name) => write!(f, "the component imports {name}, which no plugin is lent"),
            LoadError::Manifest(reason) => write!(f, "the component's describe failed: {reason}"),
        }
    }
}

impl std::error::Error for LoadError {}
