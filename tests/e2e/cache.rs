//! Remembered responses, with real clients and a real server: what is answered from memory, what is asked for, and what
//! nobody may make the cache give to others.

mod flights;
mod forgetting;
mod hits;
mod keys;
mod staleness;
mod storing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use gatewright_tests::{Answer, Received, Server, TestGateway};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

/// Answers with these fields, and with how many requests it has answered as the body.
pub(crate) async fn counting(fields: &'static [(&'static str, &'static str)]) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |received: &Received| {
        let count = count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut response = Response::builder();
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let etag = fields.iter().find(|(name, _)| *name == "etag").map(|(_, value)| *value);
        if etag.is_some() && received.header("if-none-match") == etag {
            return response.status(304).body(Full::default()).unwrap();
        }
        response.body(Full::new(Bytes::from(format!("answer {count}")))).unwrap()
    })
    .await
}

fn gateway(server: &str, cache: Value) -> TestGateway {
    TestGateway::start(json!({
        "upstreams": { "behind": [server] },
        "routes": [{ "match": {}, "cache": cache, "to": "behind" }],
    }))
}

const MAX_AGE: [(&str, &str); 1] = [("cache-control", "max-age=100")];

fn status(answer: &Answer) -> String {
    let told = answer.header("cache-status").unwrap_or_else(|| panic!("{answer:?}"));
    told.strip_prefix("gatewright; ").unwrap_or_else(|| panic!("{told}")).to_owned()
}
