//! Gatewright: an API gateway and load balancer whose every policy is a WebAssembly plugin.
//!
//! ARCHITECTURE.md is the map. [`proxy`] is the life of a request, from top to bottom; [`gateway`] puts together what
//! runs.

pub mod admin;
pub mod admission;
pub mod api_versions;
pub mod author;
pub mod balance;
pub mod body;
pub mod cache;
pub mod capability;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod drain;
pub mod exchange;
pub mod gateway;
pub mod headers;
pub mod health;
pub mod http;
mod intake;
pub mod l4;
pub mod listener;
pub mod mirror;
pub mod networks;
mod outgoing;
pub mod plugin;
pub mod problem;
pub mod proxy;
pub mod proxy_protocol;
pub mod registry;
mod regular_file;
pub mod retry;
pub mod rewrite;
pub mod router;
pub mod snapshot;
pub mod stock;
pub mod telemetry;
pub mod thread_priority;
pub mod tls;
pub mod tunnel;
pub mod upstream;
pub mod watch;
