//! End to end: a real gateway, real servers, real clients. Each file is one area; each test says what a user sees.

#![allow(clippy::expect_used, clippy::unwrap_used)] // a test fails by panicking

mod addresses;
mod admin;
mod balancing;
mod bodies;
mod cache;
mod capabilities;
mod discovery;
mod docs;
mod failures;
mod first_steps;
mod floods;
mod forwarding;
mod health;
mod hostile;
mod invariants;
mod l4;
mod never_drop;
mod plugins;
mod protocols;
mod records;
mod registries;
mod reload;
mod routes;
mod routing;
mod services;
mod stock;
mod stores;
mod suites;
mod tls;
