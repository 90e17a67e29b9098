//! `gatewright plugin` as an author uses it: the real binary, in a folder of its own, with the real tools of each
//! language. The installed tools stay in the home directory for the next run.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

#[path = "author/cases.rs"]
mod cases;
#[path = "author/folder.rs"]
mod folder;
#[path = "author/languages.rs"]
mod languages;
#[path = "author/mistakes.rs"]
mod mistakes;
#[path = "author/serving.rs"]
mod serving;
