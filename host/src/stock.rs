//! The stock bundle: the components of `plugins/`, embedded by `build.rs`. They have no privilege over a user's own.

include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// The names of all stock plugins, sorted.
pub fn names() -> impl Iterator<Item = &'static str> {
    STOCK.iter().map(|(name, _)| *name)
}

/// The component of a stock plugin.
pub fn component(name: &str) -> Option<&'static [u8]> {
    STOCK.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}
