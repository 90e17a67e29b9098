//! Protocols through the proxy: what is more than a request with its response.

mod broken;
mod events;
mod grpc;
mod h2c;
mod http2;
mod resting;
mod upgrades;
mod websocket;
