//! One endpoint of four goes wrong under load, and no client sees it.

use std::sync::Arc;

use gatewright_tests::{Client, TestGateway};
use serde_json::json;
use tokio::net::TcpListener;

use super::{Act, Actor, FAILED, OK, nobody};

const CLIENTS: usize = 8;
const EACH: usize = 40;

/// What is wrong with the fourth endpoint.
enum Fourth {
    /// Accepts and plays this.
    Plays(Actor),
    /// Accepts no connection: its queue is never emptied.
    Hung(TcpListener),
    Nobody(String),
}

impl Fourth {
    fn text(&self) -> String {
        match self {
            Fourth::Plays(actor) => actor.text(),
            Fourth::Hung(listener) => listener.local_addr().unwrap().to_string(),
            Fourth::Nobody(address) => address.clone(),
        }
    }
}

#[tokio::test]
async fn one_of_four_endpoints_fails_and_no_request_does() {
    for (name, fourth) in [
        ("refuses", Fourth::Nobody(nobody().await)),
        ("hangs", Fourth::Plays(Actor::playing(&[Act::Hang]).await)),
        ("never accepts", Fourth::Hung(TcpListener::bind("127.0.0.1:0").await.unwrap())),
        ("answers 500", Fourth::Plays(Actor::playing(&[FAILED]).await)),
        ("closes", Fourth::Plays(Actor::playing(&[Act::Close]).await)),
        ("closes within the head", Fourth::Plays(Actor::playing(&[Act::Last("HTTP/1.1 200 O")]).await)),
        ("closes after some answers", Fourth::Plays(Actor::playing(&[OK, OK, OK, OK, Act::Close]).await)),
    ] {
        let good = [Actor::playing(&[OK]).await, Actor::playing(&[OK]).await, Actor::playing(&[OK]).await];
        let mut endpoints: Vec<String> = good.iter().map(Actor::text).collect();
        endpoints.push(fourth.text());
        let gateway = Arc::new(TestGateway::start(json!({
            "upstreams": { "four": endpoints },
            "routes": [{
                "match": {}, "to": "four", "timeouts": { "attempt": "500ms" },
                "retries": { "on": ["reset", "timeout", "bad-response", "5xx"] },
            }],
        })));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let gateway = gateway.clone();
                tokio::spawn(async move {
                    let mut client = Client::http1(gateway.address()).await;
                    for _ in 0..EACH {
                        let answer = client.send("GET", "/", &[], "").await.unwrap();
                        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{name}");
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        let again = gateway.metric("gatewright_upstream_retries_total", &["\"four\""]).await;
        assert!(again >= 1.0, "{name}: nothing went wrong");
    }
}
