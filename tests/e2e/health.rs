//! The health of endpoints: what probes find out, what requests run into, what becomes of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::SeqCst};

use bytes::Bytes;
use gatewright_tests::{Received, Server, TestGateway, eventually, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

mod ejection;
mod faults;
mod grpc;
mod http_probes;
mod reload;
mod shown;
mod tcp;

/// A server that answers with a status that the test can change, and with its own address.
struct Moody {
    server: Server,
    status: Arc<AtomicU16>,
}

impl Moody {
    async fn start(status: u16) -> Moody {
        let status = Arc::new(AtomicU16::new(status));
        let now = status.clone();
        let server = Server::start(move |received| {
            let text = if is_probe(received) { "all is well" } else { "an answer" };
            let response = Response::builder().status(now.load(SeqCst));
            response.body(Full::new(Bytes::from(text))).unwrap()
        })
        .await;
        Moody { server, status }
    }

    fn text(&self) -> String {
        self.server.text()
    }

    fn answer(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    /// Requests that came, probes left out.
    fn requests(&self) -> usize {
        self.server.received().iter().filter(|received| !is_probe(received)).count()
    }

    fn probes(&self) -> usize {
        self.server.received().len() - self.requests()
    }
}

fn is_probe(received: &Received) -> bool {
    received.header("user-agent") == Some("gatewright-health")
}

/// A gateway with one route to one upstream of these endpoints.
fn gateway(upstream: Value) -> TestGateway {
    TestGateway::start(config(upstream))
}

fn config(upstream: Value) -> Value {
    json!({ "upstreams": { "orders": upstream }, "routes": [{ "match": {}, "to": "orders" }] })
}

/// Probes that come often, so that a test is over soon; a busy machine needs as long as that for one.
fn often(mut health: Value) -> Value {
    let fields = health.as_object_mut().unwrap();
    fields.entry("interval").or_insert(json!("250ms"));
    health
}

/// What the admin API says of an endpoint.
async fn endpoint(gateway: &TestGateway, address: &str) -> Value {
    let upstreams = send(gateway.admin(), "GET", "/upstreams", &[], "").await.json();
    let endpoints = upstreams.as_array().unwrap().iter().flat_map(|upstream| upstream["endpoints"].as_array().unwrap());
    endpoints.clone().find(|endpoint| endpoint["address"] == address).unwrap_or_else(|| panic!("{upstreams:#}")).clone()
}

async fn until(gateway: &TestGateway, address: &str, state: &str) -> Value {
    eventually(&format!("{address} is {state}"), async || {
        let endpoint = endpoint(gateway, address).await;
        (endpoint["state"] == state).then_some(endpoint)
    })
    .await
}

/// Waits for probes that come after now.
async fn until_probed_again(gateway: &TestGateway, address: &str) -> Value {
    let count =
        |endpoint: &Value| endpoint["probes_passed"].as_u64().unwrap() + endpoint["probes_failed"].as_u64().unwrap();
    let before = count(&endpoint(gateway, address).await);
    eventually("it is probed again", async || {
        let endpoint = endpoint(gateway, address).await;
        (count(&endpoint) >= before + 2).then_some(endpoint)
    })
    .await
}
