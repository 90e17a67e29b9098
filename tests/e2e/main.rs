//! End to end: a real gateway, real servers, real clients. Each file is one area; each test says what a user sees.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

mod admin;
mod first_steps;
mod records;
mod reload;
mod routing;
