//! What the end-to-end tests are written with: a real gateway on free ports, real servers behind it, real clients.
//!
//! A test says what it configures, what it sends and what it expects; everything in between is here. Nothing sleeps:
//! whatever has to happen first is waited for.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::missing_panics_doc)] // a test fails by panicking

mod browser;
mod client;
mod codings;
mod companion;
mod dns;
mod gateway;
mod graphql;
mod grpc;
mod grpc_peers;
mod guests;
mod late_end;
mod openid;
mod redis;
mod registry;
mod server;
mod slow;
mod soap;
mod tls;
mod tls_server;
mod token;
mod toolchains;
mod wait;
mod websocket;
mod wire;

pub use browser::Browser;
pub use client::{Answer, Client, raw, send};
pub use codings::{Inflating, compress, decompress};
pub use dns::{Dns, Mood, Record};
pub use gateway::TestGateway;
pub use graphql::GraphqlServer;
pub use grpc::{BytesCodec, GrpcClient, GrpcServer, Note};
pub use grpc_peers::{GrpcPeer, call_by_npm};
pub use guests::guest;
pub use late_end::LateEnd;
pub use openid::OpenIdProvider;
pub use redis::Redis;
pub use registry::{Registry, key_pair};
pub use server::{Received, Scripted, Server, read_head};
pub use slow::Slow;
pub use soap::SoapServer;
pub use tls::{Authority, Issued, TlsClient, TlsSettings};
pub use tls_server::{Handshake, ServerTls, TlsFront};
pub use token::Signer;
pub use toolchains::made_of;
pub use wait::eventually;
pub use websocket::{Socket, WebSockets};
pub use wire::Wire;

/// The repository's folder. Asked for when the test runs: a binary of a shared target directory may have been compiled
/// from another clone.
pub fn repository() -> std::path::PathBuf {
    std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo and nextest set it")).join("..")
}
