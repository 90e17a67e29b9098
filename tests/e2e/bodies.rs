//! Bodies through chains: what streams and what waits, what plugins make of them, and how they end.

mod early;

use gatewright_tests::{Client, Scripted, Server, TestGateway, Wire, eventually, guest};
use http_body_util::Full;
use serde_json::{Value, json};

fn file(guest_name: &str) -> String {
    format!("file:{}", guest(guest_name))
}

/// The chains that bodies go through here, by the path of their route.
fn chains() -> [(&'static str, Value); 6] {
    [
        ("no-plugin", json!([])),
        ("no-body-hook", json!(["noop"])),
        ("pass", json!([{ "chunks": { "do": "pass" } }])),
        ("upper", json!([{ "chunks": { "do": "upper" } }])),
        ("pass-and-upper", json!([{ "chunks": { "do": "pass" } }, "noop", { "chunks": { "do": "upper" } }])),
        ("whole", json!([{ "whole": {} }])),
    ]
}

/// Everything in one gateway: a route for each chain, to `upstream`.
fn gateway(upstream: &str, chains: &[(&str, Value)]) -> TestGateway {
    let route = |(name, chain): &(&str, Value)| json!({ "name": name, "match": { "path": format!("/{name}") }, "plugins": chain, "to": "behind" });
    TestGateway::start(json!({
        "upstreams": { "behind": [upstream] },
        // The clients of HTTP/2 are in this thread, so nothing can wait for them to say goodbye.
        "shutdown": { "drain_timeout": "50ms" },
        "plugins": {
            "noop": { "source": file("guest-noop-both") },
            "chunks": { "source": file("guest-chunks"), "limits": { "body": "1KiB" } },
            "whole": { "source": file("guest-whole"), "limits": { "body": "1KiB" } },
        },
        "routes": chains.iter().map(route).collect::<Vec<_>>(),
    }))
}

/// Answers with the body that it got.
async fn mirror() -> Server {
    Server::start(|received| http::Response::new(Full::new(received.body.clone()))).await
}

#[tokio::test]
async fn a_chain_that_does_not_want_bodies_whole_streams_them_in_both_directions() {
    // The server tells what it has read, and sends when it is told to.
    let (read, mut has_read) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, gate) = tokio::sync::watch::channel(0);
    let server = Scripted::start(move |stream| {
        let (read, mut gate) = (read.clone(), gate.clone());
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.read_to("\r\n").await;
            read.send(wire.read_to("\r\n").await).unwrap();
            wire.read_to("0\r\n\r\n").await;
            wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            wire.send_chunk("first").await;
            gate.changed().await.unwrap();
            wire.send_chunk("second").await;
            wire.send("0\r\n\r\n").await;
            read.send("done".to_owned()).unwrap();
        }
    })
    .await;
    let gateway = gateway(&server.text(), &chains());
    for (name, _) in chains().into_iter().filter(|(name, _)| *name != "whole") {
        let [first, second] = if name.contains("upper") { ["FIRST", "SECOND"] } else { ["first", "second"] };
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("POST /{name} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        wire.send_chunk("first").await;
        assert_eq!(has_read.recv().await.unwrap().trim_end(), first, "{name}: before the last byte is sent");
        wire.send_chunk("second").await;
        wire.send("0\r\n\r\n").await;
        wire.read_to(first).await;
        go_on.send_modify(|count| *count += 1);
        wire.read_to(second).await;
        assert_eq!(wire.read_to("0\r\n\r\n").await, "\r\n0\r\n\r\n", "{name}");
        assert_eq!(has_read.recv().await.unwrap(), "done");
    }
}

#[tokio::test]
async fn chunks_are_passed_replaced_dropped_and_held_in_both_directions_over_both_protocols() {
    let server = mirror().await;
    let deeds = ["pass", "upper", "double", "swallow", "hold"];
    let chain = |what: &&'static str, request: bool, response: bool| json!([{ "chunks": { "do": *what, "request": request, "response": response } }]);
    let names: Vec<(String, Value)> = deeds
        .iter()
        .flat_map(|what| {
            [
                (format!("{what}-request"), chain(what, true, false)),
                (format!("{what}-response"), chain(what, false, true)),
                (format!("{what}-both"), chain(what, true, true)),
            ]
        })
        .collect();
    let named: Vec<(&str, Value)> = names.iter().map(|(name, chain)| (name.as_str(), chain.clone())).collect();
    let gateway = gateway(&server.text(), &named);
    for (name, _) in &names {
        let (what, direction) = name.split_once('-').unwrap();
        let once = |body: &str| match what {
            "upper" => body.to_uppercase(),
            "double" => body.repeat(2),
            "swallow" => String::new(),
            _ => body.to_owned(),
        };
        let sent = if direction == "response" { "body".to_owned() } else { once("body") };
        let answered = if direction == "request" { sent.clone() } else { once(&sent) };
        let mut clients = [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await];
        for client in &mut clients {
            let answer = client.send("POST", &format!("/{name}"), &[], "body").await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, answered.clone()), "{name}");
            let received = server.received().pop().unwrap();
            assert_eq!(received.body, sent, "{name}");
            // What nobody can know any more is not announced; what was left alone still is.
            let is_request_changed = direction != "response";
            assert_eq!(received.header("content-length"), (!is_request_changed).then_some("4"), "{name}");
        }
    }
}

#[tokio::test]
async fn held_chunks_come_together_and_the_head_does_not_wait_for_them() {
    let (arrived, mut head) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let arrived = arrived.clone();
        async move {
            let mut wire = Wire::from(stream);
            arrived.send(wire.read_to("\r\n\r\n").await).unwrap();
            let body = wire.read_to("0\r\n\r\n").await;
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            arrived.send(body).unwrap();
        }
    })
    .await;
    let gateway = gateway(&server.text(), &[("hold", json!([{ "chunks": { "do": "hold" } }]))]);
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST /hold HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send_chunk("one,").await;
    assert!(head.recv().await.unwrap().starts_with("POST /hold HTTP/1.1\r\n"));
    wire.send_chunk("two,").await;
    wire.send_chunk("three").await;
    wire.send("0\r\n\r\n").await;
    assert_eq!(head.recv().await.unwrap().to_lowercase(), "d\r\none,two,three\r\n0\r\n\r\n");
    assert!(wire.read_to("\r\n\r\n").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn what_a_plugin_is_shown_grows_with_the_body_and_not_with_its_chunks() {
    let server = mirror().await;
    let gateway = TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" },
        "upstreams": { "behind": [server.text()] },
        "plugins": { "chunks": { "source": file("guest-chunks"), "limits": { "body": "1MiB" } } },
        "routes": [{ "match": {}, "plugins": [{ "chunks": { "do": "count", "response": false } }], "to": "behind" }],
    }));
    let bytes = 50_000;
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send(format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(bytes))).await;
    let answer = wire.read_to_end().await;
    let counts = answer.rsplit("\r\n\r\n").next().unwrap().split_once(' ').unwrap();
    let (calls, seen): (usize, usize) = (counts.0.parse().unwrap(), counts.1.parse().unwrap());
    assert!(calls < 3_000, "{calls} calls");
    assert!(seen <= 33 * bytes + (1 << 20) + bytes, "{seen} bytes, and {bytes} came");
}

#[tokio::test]
async fn a_whole_body_waits_for_its_end_up_to_the_limit() {
    let server = mirror().await;
    let chains = [
        ("request", json!([{ "whole": { "response": false } }])),
        ("response", json!([{ "whole": { "request": false } }])),
        ("both", json!([{ "whole": {} }])),
        ("with-chunks", json!([{ "chunks": { "do": "double" } }, { "whole": {} }, "noop"])),
    ];
    let gateway = gateway(&server.text(), &chains);
    for (name, _) in &chains {
        let mut clients = [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await];
        for client in &mut clients {
            let answer = client.send("POST", &format!("/{name}"), &[], "body").await.unwrap();
            let received = server.received().pop().unwrap();
            let doubled = *name == "with-chunks";
            // Doubled once on the way there, and once on the way back, after the whole was seen.
            let (sent, answered) = match *name {
                "response" => ("body", "BODY"),
                "with-chunks" => ("BODYBODY", "BODYBODYBODYBODY"),
                _ => ("BODY", "BODY"),
            };
            assert_eq!((received.body.as_ref(), answer.text().as_str()), (sent.as_bytes(), answered), "{name}");
            let length = answered.len().to_string();
            assert_eq!(answer.header("content-length"), Some(length.as_str()), "{name}");
            assert_eq!(received.header("content-length"), Some(sent.len().to_string().as_str()), "{name}");
            // The head waited for the body: the hook could still write into it.
            let seen = if doubled { "8" } else { "4" };
            assert_eq!(received.headers.get("x-whole").is_some(), *name != "response", "{name}");
            assert_eq!(answer.header("x-whole"), (*name != "request").then_some(seen), "{name}");
        }
    }
    for (name, length, status) in [
        ("request", 1024, 200),
        ("request", 1025, 413),
        ("request", 100_000, 413),
        ("response", 1024, 200),
        ("response", 1025, 502),
        ("response", 100_000, 502),
    ] {
        let before = server.received().len();
        let answer = gateway.post(&format!("/{name}"), &[], &"x".repeat(length)).await;
        assert_eq!(answer.status, status, "{name} {length}");
        match status {
            200 => assert_eq!(answer.text(), "X".repeat(length)),
            _ => drop(answer.problem(status)),
        }
        let reached = server.received().len() - before;
        assert_eq!(reached, usize::from(status != 413), "{name} {length}");
    }
    // However often clients send too much, the plugin is not taken out for it.
    for _ in 0..10 {
        gateway.post("/request", &[], &"x".repeat(2000)).await.problem(413);
    }
    assert_eq!(gateway.post("/request", &[], "fine").await.text(), "FINE");
    assert_eq!(gateway.metric("gatewright_plugin_breaker_opened_total", &["\"whole\""]).await, 0.0);
}

#[tokio::test]
async fn trailers_survive_every_chain() {
    let (got, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let got = got.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.read_to("0\r\n").await;
            got.send(wire.read_to("\r\n\r\n").await).unwrap();
            wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-answered\r\n\r\n").await;
            wire.send_chunk("answer").await;
            wire.send("0\r\nx-answered: yes\r\n\r\n").await;
        }
    })
    .await;
    let gateway = gateway(&server.text(), &chains());
    for (name, _) in chains() {
        let mut wire = Wire::connect(gateway.address()).await;
        let head = format!(
            "POST /{name} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\ntrailer: x-asked\r\n\r\n"
        );
        wire.send(head).await;
        wire.send_chunk("question").await;
        wire.send("0\r\nx-asked: yes\r\n\r\n").await;
        assert_eq!(requests.recv().await.unwrap(), "x-asked: yes\r\n\r\n", "{name}");
        let head = wire.read_to("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {head}");
        wire.read_to("0\r\n").await;
        assert_eq!(wire.read_to("\r\n\r\n").await, "x-answered: yes\r\n\r\n", "{name}");
    }
}

#[tokio::test]
async fn trailers_reach_a_client_of_http2_that_announces_nothing() {
    let server = Scripted::answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nanswer\r\n0\r\nx-answered: yes\r\n\r\n",
    )
    .await;
    let gateway = gateway(&server.text(), &chains());
    for (name, _) in chains() {
        let mut client = Client::http2(gateway.address()).await;
        let answer = client.send("GET", &format!("/{name}"), &[], "").await.unwrap();
        assert_eq!(answer.text().to_lowercase(), "answer", "{name}");
        assert_eq!(answer.trailers.unwrap_or_else(|| panic!("{name}")).get("x-answered").unwrap(), "yes", "{name}");
    }
}

#[tokio::test]
async fn request_body_hooks_go_on_while_the_response_streams() {
    // A conversation: the server answers each chunk before it gets the next.
    let server = Scripted::start(|stream| async move {
        let mut wire = Wire::from(stream);
        wire.read_to("\r\n\r\n").await;
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for _ in 0..3 {
            wire.read_to("\r\n").await;
            let question = wire.read_to("\r\n").await;
            wire.send_chunk(&format!("re: {}", question.trim_end())).await;
        }
        wire.read_to("0\r\n\r\n").await;
        wire.send("0\r\n\r\n").await;
    })
    .await;
    let chains = [
        ("request", json!([{ "chunks": { "do": "upper", "response": false } }])),
        ("response", json!([{ "chunks": { "do": "upper", "request": false } }])),
        ("both", json!([{ "chunks": { "do": "upper" } }, "noop"])),
    ];
    let gateway = gateway(&server.text(), &chains);
    for (seen, (name, _)) in chains.iter().enumerate() {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("POST /{name} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        let head = wire.read_to("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{name}: {head}");
        for question in ["one", "two", "three"] {
            wire.send_chunk(question).await;
            let expected = match *name {
                "request" => format!("re: {}", question.to_uppercase()),
                "response" => format!("RE: {}", question.to_uppercase()),
                _ => format!("RE: {}", question.to_uppercase()),
            };
            wire.read_to(&expected).await;
        }
        wire.send("0\r\n\r\n").await;
        wire.read_to("0\r\n\r\n").await;
        let record = gateway.wait_for_records(seen + 1).await.pop().unwrap();
        assert_eq!((record["status"].as_u64(), record["outcome"].as_str()), (Some(200), Some("complete")), "{record}");
    }
}

#[tokio::test]
async fn a_request_body_hook_can_still_answer_and_abort() {
    let server = mirror().await;
    let chains = [
        ("respond", json!([{ "chunks": { "do": "respond", "response": false } }])),
        ("abort", json!([{ "chunks": { "do": "abort", "response": false } }])),
        ("respond-late", json!([{ "chunks": { "do": "respond", "request": false } }])),
    ];
    let gateway = gateway(&server.text(), &chains);
    let answer = gateway.post("/respond", &[], "body").await;
    assert_eq!((answer.status, answer.text().as_str()), (422, "not this body"));
    let record = gateway.wait_for_records(1).await.pop().unwrap();
    assert_eq!((record["status"].as_u64(), record["outcome"].as_str()), (Some(422), Some("complete")), "{record}");
    assert_eq!(record["plugin"], "chunks", "{record}");
    // The others end the connection, since there is nothing good to say any more.
    for (seen, name, status) in [(2, "abort", Value::Null), (3, "respond-late", json!(200))] {
        let broken = Client::http1(gateway.address()).await.send("POST", &format!("/{name}"), &[], "body").await;
        assert!(broken.is_err(), "{name}: {broken:?}");
        let record = gateway.wait_for_records(seen).await.pop().unwrap();
        assert_eq!(record["outcome"], "plugin-failed", "{name}: {record}");
        if !status.is_null() {
            assert_eq!(record["status"], status, "what the client saw: {record}");
        }
    }
    assert!(server.received().iter().all(|request| request.target == "/respond-late"), "no cut request counts as one");
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_ends_everything() {
    let (seen, mut events) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |stream| {
        let seen = seen.clone();
        async move {
            let mut wire = Wire::from(stream);
            wire.read_to("\r\n\r\n").await;
            wire.read_to("\r\n").await;
            seen.send(wire.read_to("\r\n").await).unwrap();
            // The connection is closed without the end of the body.
            let rest = wire.read_to_end().await;
            assert!(!rest.contains("0\r\n\r\n"), "{rest}");
            seen.send("closed".to_owned()).unwrap();
        }
    })
    .await;
    let gateway = gateway(&server.text(), &chains());
    for (index, (name, _)) in chains().into_iter().enumerate() {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("POST /{name} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        wire.send_chunk("first").await;
        if name == "whole" {
            // It never comes to the server, so wait for it here: the request is accepted.
            eventually("the request is accepted", async || {
                (gateway.metric("gatewright_plugin_calls_total", &["\"whole\"", "hook=\"request\""]).await == 1.0)
                    .then_some(())
            })
            .await;
            wire.reset();
        } else {
            assert_eq!(events.recv().await.unwrap().trim_end().to_lowercase(), "first", "{name}");
            wire.reset();
            assert_eq!(events.recv().await.unwrap(), "closed", "{name}");
        }
        let record = gateway.wait_for_records(index + 1).await.pop().unwrap();
        assert_eq!((&record["outcome"], &record["status"]), (&json!("client-left"), &Value::Null), "{name}: {record}");
    }
}

#[tokio::test]
async fn empty_bodies_stay_empty_and_have_no_hooks_but_for_who_wants_a_request_whole() {
    let server = mirror().await;
    let gateway = gateway(&server.text(), &chains());
    for (name, _) in chains() {
        for method in ["GET", "HEAD", "DELETE", "POST"] {
            let mut clients = [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await];
            for client in &mut clients {
                let answer = client.send(method, &format!("/{name}"), &[], "").await.unwrap();
                assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{method} {name}");
                let received = server.received().pop().unwrap();
                assert_eq!((received.method.as_str(), received.body.len()), (method, 0), "{name}");
                assert!(!received.headers.contains_key("transfer-encoding"), "{method} {name}");
            }
        }
    }
    // It could give the request a body.
    let calls = async |labels: &[&str]| gateway.metric("gatewright_plugin_calls_total", labels).await;
    assert_eq!(calls(&["\"whole\"", "hook=\"request-body\""]).await, 8.0);
    assert_eq!(calls(&["hook=\"request-body\""]).await, 8.0);
    assert_eq!(calls(&["hook=\"response-body\""]).await, 0.0);
}

#[tokio::test]
async fn a_head_request_keeps_the_length_that_the_server_announced() {
    let server = Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    let gateway = gateway(&server.text(), &chains());
    for (name, _) in chains() {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("HEAD /{name} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")).await;
        let answer = wire.read_to_end().await;
        assert!(answer.to_lowercase().contains("content-length: 1234\r\n"), "{name}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{name}: {answer}");
    }
}
