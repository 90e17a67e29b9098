//! The guests of `tests/guests`, compiled by the build script.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The path of a guest's component, by its package name.
pub fn guest(name: &str) -> &'static str {
    let found = GUESTS.iter().find(|(package, _)| *package == name);
    found.map(|(_, path)| *path).unwrap_or_else(|| panic!("there is no guest {name}"))
}
