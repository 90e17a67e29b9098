//! The admin API of a real gateway.

use gatewright_tests::{Client, TestGateway, eventually, guest, send};
use serde_json::{Value, json};

fn answering(gateway: &TestGateway, text: &str) -> String {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config_path()).unwrap()).unwrap();
    config["routes"] = json!([{ "match": {}, "plugins": [{ "echo": { "respond": { "body": text } } }] }]);
    config.to_string()
}

fn start() -> TestGateway {
    TestGateway::start(
        json!({ "routes": [{ "match": {}, "plugins": [{ "echo": { "respond": { "body": "one" } } }] }] }),
    )
}

#[tokio::test]
async fn a_configuration_is_put_with_the_tag_of_the_one_it_replaces() {
    let gateway = start();
    let admin = gateway.admin();
    let current = send(admin, "GET", "/config", &[], "").await;
    let tag = current.header("etag").unwrap().to_owned();
    assert_eq!(current.text(), std::fs::read_to_string(gateway.config_path()).unwrap());

    send(admin, "PUT", "/config", &[], answering(&gateway, "two")).await.problem(428);
    send(admin, "PUT", "/config", &[("if-match", "\"other\"")], answering(&gateway, "two")).await.problem(412);
    assert_eq!(gateway.get("/").await.text(), "one");
    let put = send(admin, "PUT", "/config", &[("if-match", &tag)], answering(&gateway, "two")).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(gateway.get("/").await.text(), "two");
    send(admin, "PUT", "/config", &[("if-match", &tag)], answering(&gateway, "three")).await.problem(412);
}

#[tokio::test]
async fn a_bad_configuration_is_answered_with_its_places() {
    let gateway = start();
    let tag = send(gateway.admin(), "GET", "/config", &[], "").await.header("etag").unwrap().to_owned();
    let bad = "{\n  \"listeners\": [\"127.0.0.1:0\"],\n  \"routes\": [{ \"match\": {}, \"too\": \"x\" }]\n}";
    let problem = send(gateway.admin(), "PUT", "/config", &[("if-match", &tag)], bad).await.problem(422);
    let error = &problem["errors"][0];
    assert_eq!(error["line"], 3, "{problem}");
    assert!(error["message"].as_str().unwrap().contains("too"), "{problem}");
    assert!(error["pointer"].as_str().unwrap().starts_with("/routes/0"), "{problem}");
    assert_eq!(gateway.get("/").await.text(), "one");
}

#[tokio::test]
async fn a_plugin_is_put_while_traffic_flows() {
    let gateway = start();
    let address = gateway.address();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic = tokio::spawn(async move {
        let mut client = Client::http1(address).await;
        let mut count = 0;
        while !*stopped.borrow() {
            let answer = client.send("GET", "/", &[], "").await.unwrap();
            assert!(answer.status == 200 || answer.status == 404, "{}", answer.text());
            count += 1;
        }
        count
    });
    let refused = send(gateway.admin(), "PUT", "/plugins/echo", &[], "not a component").await;
    assert!(refused.problem(422)["detail"].is_string());
    assert_eq!(gateway.get("/").await.text(), "one");
    let unknown = send(gateway.admin(), "PUT", "/plugins/nobody", &[], "x").await.problem(404);
    let detail = "No plugin is named \"nobody\": the configuration has to name it first.";
    assert_eq!(unknown["detail"], detail);

    // Another component in the place of `echo`: the stock one again, told apart by nothing but its digest.
    let component = gatewright::stock::component("echo").unwrap();
    let put = send(gateway.admin(), "PUT", "/plugins/echo", &[], component).await;
    assert_eq!(put.status, 200, "{}", put.text());
    assert_eq!(gateway.get("/").await.text(), "one");
    stop.send(true).unwrap();
    assert!(traffic.await.unwrap() > 0);
}

#[tokio::test]
async fn a_changed_component_file_is_swapped_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.wasm");
    std::fs::copy(guest("guest-noop"), &file).unwrap();
    let server = gatewright_tests::Server::named("behind").await;
    let gateway = TestGateway::start(json!({
        "upstreams": { "behind": [server.text()] },
        "plugins": { "mine": { "source": format!("file:{}", file.display()) } },
        "routes": [{ "match": {}, "plugins": ["mine"], "to": "behind" }],
    }));
    let digest = async || send(gateway.admin(), "GET", "/plugins", &[], "").await.json()[0]["digest"].clone();
    let before = digest().await;
    assert_eq!(gateway.get("/").await.status, 200);
    let beside = folder.path().join("mine.wasm.new");
    std::fs::copy(guest("guest-noop-both"), &beside).unwrap();
    std::fs::rename(&beside, &file).unwrap();
    eventually("the new component runs", async || (digest().await != before).then_some(())).await;
    assert_eq!(gateway.get("/").await.status, 200);
    // A broken one is refused, and the good one stays.
    let good = digest().await;
    std::fs::write(&file, b"\0asm broken").unwrap();
    gateway.reload().unwrap_err();
    assert_eq!(digest().await, good);
    assert_eq!(gateway.get("/").await.status, 200);
}

/// As a listener's address does.
#[tokio::test]
async fn an_address_that_is_only_a_port_is_every_address() {
    let config = json!({
        "secrets": { "admin": { "file": "token" } },
        "admin": { "address": ":0", "token": "admin" },
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    });
    let gateway = TestGateway::start_beside(config, |folder| std::fs::write(folder.join("token"), "hush").unwrap());
    let has_ipv6 = std::net::UdpSocket::bind("[::1]:0").is_ok();
    for ip in ["127.0.0.1", "[::1]"].into_iter().take(if has_ipv6 { 2 } else { 1 }) {
        let address = format!("{ip}:{}", gateway.admin().port()).parse().unwrap();
        assert_eq!(send(address, "GET", "/livez", &[], "").await.status, 200, "{address}");
        send(address, "GET", "/config", &[], "").await.problem(401);
    }
}

#[tokio::test]
async fn the_token_is_that_of_the_configuration_that_runs() {
    let with = |admin: Value| {
        let mut config = json!({
            "workers": 1,
            "secrets": { "old": { "file": "old" }, "new": { "file": "new" } },
            "routes": [{ "match": {}, "plugins": ["echo"] }],
        });
        config["admin"] = admin;
        config
    };
    let token = |name: &str| json!({ "address": "127.0.0.1:0", "token": name });
    let gateway = TestGateway::start_beside(with(token("old")), |directory| {
        for name in ["old", "new"] {
            std::fs::write(directory.join(name), format!("{name}-token")).unwrap();
        }
    });
    let admin = gateway.admin();
    let status = async |name: &str| {
        let token = format!("Bearer {name}-token");
        send(admin, "GET", "/config", &[("authorization", &token)], "").await.status
    };
    assert_eq!((status("old").await, status("new").await), (200, 401));
    gateway.write_config(with(token("new")));
    gateway.reload().unwrap();
    assert_eq!((status("old").await, status("new").await), (401, 200));
    // Taken out, it is closed to everybody; back again, it is as before.
    let mut without: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config_path()).unwrap()).unwrap();
    without.as_object_mut().unwrap().remove("admin");
    std::fs::write(gateway.config_path(), without.to_string()).unwrap();
    gateway.reload().unwrap();
    assert_eq!((status("old").await, status("new").await), (403, 403));
    assert_eq!(send(admin, "GET", "/readyz", &[], "").await.status, 403);
    gateway.write_config(with(token("old")));
    gateway.reload().unwrap();
    assert_eq!((status("old").await, status("new").await), (200, 401));
}

#[tokio::test]
async fn a_token_that_nobody_could_show_is_refused() {
    let config = json!({
        "workers": 1,
        "secrets": { "admin": { "file": "token" } },
        "admin": { "address": "127.0.0.1:0", "token": "admin" },
        "routes": [{ "match": {}, "plugins": ["echo"] }],
    });
    let gateway = TestGateway::start_beside(config, |folder| std::fs::write(folder.join("token"), "hush\n").unwrap());
    let file = gateway.config_path().with_file_name("token");
    for (token, words) in [(" \n", "is empty"), ("hüsh", "no request can carry"), ("a\nb", "no request can carry")] {
        std::fs::write(&file, token).unwrap();
        let error = gateway.reload().unwrap_err().to_string();
        assert!(error.contains("the secret \"admin\"") && error.contains(words), "{token:?}: {error}");
        let config = send(gateway.admin(), "GET", "/config", &[("authorization", "Bearer hush")], "").await;
        assert_eq!(config.status, 200, "{token:?}");
    }
}

#[tokio::test]
async fn what_waits_for_the_next_start_is_said() {
    let gateway = start();
    let put = async |change: fn(&mut Value)| {
        let mut config: Value = serde_json::from_str(&answering(&gateway, "two")).unwrap();
        change(&mut config);
        let put = send(gateway.admin(), "PUT", "/config", &[("if-match", "*")], config.to_string()).await;
        assert_eq!(put.status, 200, "{}", put.text());
        put.json()["at_next_start"].clone()
    };
    assert_eq!(put(|_| {}).await, Value::Null);
    let waiting = put(|config| {
        config["workers"] = json!(1);
        config["limits"] = json!({ "connections": 10 });
        config["access_log"] = json!("off");
        config["compile_cache"] = json!({ "directory": "compiled" });
        config["admin"] = json!({ "address": "127.0.0.2:0" });
    })
    .await;
    assert_eq!(waiting, json!(["workers", "limits.connections", "access_log", "compile_cache", "admin.address"]));
    assert_eq!(gateway.get("/").await.text(), "two");
    assert_eq!(put(|_| {}).await, Value::Null, "what runs is what is asked for again");
}

#[tokio::test]
async fn liveness_readiness_and_metrics() {
    let gateway = start();
    for path in ["/livez", "/readyz"] {
        assert_eq!(send(gateway.admin(), "GET", path, &[], "").await.status, 200, "{path}");
    }
    gateway.get("/").await;
    gateway.wait_for_records(1).await;
    assert_eq!(gateway.metric("http_server_request_duration_seconds_count", &["route-0", "200"]).await, 1.0);
    assert_eq!(gateway.metric("gatewright_plugin_calls_total", &["plugin=\"echo\"", "hook=\"request\""]).await, 1.0);
}
