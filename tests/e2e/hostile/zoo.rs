//! A gateway with a plugin in a cage of its own for each misdeed, and a healthy route beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatewright_tests::{Answer, Client, Server, TestGateway};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{HOOKS, file};

/// A gateway with a route for each deed, hook and `on_error`, and a healthy one.
pub(super) struct Zoo {
    pub(super) gateway: TestGateway,
    pub(super) server: Server,
}

impl Zoo {
    pub(super) async fn open(deeds: &[(&str, u64)], on_errors: &[&str]) -> Zoo {
        let server = Server::named("behind").await;
        let mut plugins = json!({ "healthy": { "source": file("guest-noop-both") } });
        let mut routes = vec![json!({ "match": { "path": "/healthy" }, "plugins": ["healthy"], "to": "behind" })];
        for (what, count) in deeds {
            // A loop is to be over soon; everything else may take what it takes on a busy machine.
            let time = if what.starts_with("loop") { "20ms" } else { "10s" };
            for hook in HOOKS {
                for on_error in on_errors {
                    let name = name(what, *count, hook, on_error);
                    plugins[&name] = json!({
                        "source": file("guest-hostile"), "on_error": on_error,
                        "limits": { "time": time, "host_calls": 3000 },
                        "breaker": { "failures": 0 },
                    });
                    let mut config = json!({ "do": what, "in": hook });
                    if *count > 0 {
                        config["count"] = json!(count);
                    }
                    routes.push(json!({
                        "name": name, "match": { "path": format!("/{name}") }, "plugins": [{ name: config }], "to": "behind",
                    }));
                }
            }
        }
        let gateway = TestGateway::start(json!({
            "upstreams": { "behind": [server.text()] }, "plugins": plugins, "routes": routes,
        }));
        Zoo { gateway, server }
    }

    /// Tells the plugin of a route to misbehave; nothing where no whole answer came.
    pub(super) async fn provoke(&self, name: &str) -> Option<Answer> {
        let mut client = Client::http1(self.gateway.address()).await;
        client.send("POST", &format!("/{name}"), &[("x-misbehave", "1")], "a body").await.ok()
    }

    /// The next request through the same plugin is served.
    pub(super) async fn assert_serves_on(&self, name: &str) {
        let answer = self.gateway.post(&format!("/{name}"), &[], "a body").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "behind"), "{name}");
    }
}

/// Asks the healthy route again and again, on connections that reach all cores, until it is stopped.
pub(super) struct Healthy {
    tasks: Vec<JoinHandle<()>>,
    stop: tokio::sync::watch::Sender<bool>,
    answered: Arc<AtomicU32>,
}

impl Healthy {
    pub(super) fn start(gateway: &TestGateway) -> Healthy {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let answered = Arc::new(AtomicU32::new(0));
        let task = |_| {
            let (address, stopped, answered) = (gateway.address(), stopped.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = Client::http1(address).await;
                while !*stopped.borrow() {
                    let answer = client.send("GET", "/healthy", &[], "").await.unwrap();
                    assert_eq!((answer.status, answer.text().as_str()), (200, "behind"));
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            })
        };
        Healthy { tasks: (0..4).map(task).collect(), stop, answered }
    }

    /// Fails where any request did.
    pub(super) async fn stop(self) {
        self.stop.send(true).unwrap();
        for task in self.tasks {
            task.await.unwrap();
        }
        assert!(self.answered.load(Ordering::Relaxed) > 100);
    }
}

pub(super) fn name(what: &str, count: u64, hook: &str, on_error: &str) -> String {
    format!("{what}-{count}-{hook}-{on_error}")
}
