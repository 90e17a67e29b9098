//! `rest-graphql`: REST in front of a real GraphQL server, and of what only says it is one.

use gatewright_tests::{Client, GraphqlServer, Scripted, Server, TestGateway, compress};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

fn route(path: &str, config: Value) -> Value {
    json!({ "match": { "path": path }, "plugins": [{ "rest-graphql": config }], "to": "graphql" })
}

fn gateway(upstream: &str, routes: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" }, "upstreams": { "graphql": [upstream] }, "routes": routes,
    }))
}

fn user() -> Value {
    json!({
        "path": "/users/{id}",
        "query": "query User($id: ID!, $first: Int, $only: [String!]) { user(id: $id) { name tags(first: $first, only: $only) } }",
        "variables": { "id": "$(path.id)", "first": "$(query.first)", "only": "$(query.only)" },
        "result": "/user",
    })
}

#[tokio::test]
async fn rest_in_front_of_a_real_server() {
    let server = GraphqlServer::start();
    let create = json!({
        "query": "mutation Create($user: NewUser!, $notify: Boolean = true) { create(user: $user, notify: $notify) { id name } }",
        "variables": { "user": { "name": "$(body/name)", "role": "$(body/role)" }, "notify": "$(query.notify)" },
        "result": "/create", "status": 201,
    });
    let me = json!({ "query": "{ me { id } }", "result": "/me/id" });
    let refuse = json!({
        "path": "/refuse/{code}", "query": "query($code: String!) { refuse(code: $code) { id } }",
        "variables": { "code": "$(path.code)" }, "errors": { "CONFLICT": 409 },
    });
    let partly = |partial: &str, fields: &str| {
        let query = format!("{{ user(id: 7) {{ name {fields} }} }}");
        json!({ "query": query, "result": "/user", "partial": partial, "messages": true })
    };
    let gateway = gateway(
        &server.text(),
        json!([
            route("/users/*", user()),
            route("/users", create),
            route("/me", me),
            route("/refuse/*", refuse),
            route("/partly/pass", partly("pass", "broken")),
            route("/partly/fail", partly("fail", "broken")),
            route("/partly/null", partly("pass", "secret")),
            route("/wrong", json!({ "query": "{ nobody }" })),
        ]),
    );
    for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
        let mut get = async |path: &str, headers: &[(&str, &str)]| client.send("GET", path, headers, "").await.unwrap();
        for (path, status, expected) in [
            ("/users/7", 200, r#"{"name":"Ada","tags":["math","music"]}"#),
            ("/users/7?first=1", 200, r#"{"name":"Ada","tags":["math"]}"#),
            ("/users/7?only=music,other", 200, r#"{"name":"Ada","tags":["music"]}"#),
            ("/users/a%20b", 200, r#"{"name":"Eve","tags":[]}"#),
            ("/partly/pass", 200, r#"{"name":"Ada","broken":null}"#),
        ] {
            let answer = get(path, &[]).await;
            assert_eq!((answer.status, answer.text().as_str()), (status, expected), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        for (path, status, detail) in [
            ("/users/8", 404, "There is nothing here."),
            ("/users/7?first=ten", 400, "The value of \"first\" has to be a whole number of 32 bits."),
            ("/users/7/", 404, "There is nothing at this path."),
            ("/me", 401, "The query was refused."),
            ("/refuse/FORBIDDEN", 403, "The query was refused."),
            ("/refuse/CONFLICT", 409, "The query was refused."),
            ("/refuse/OTHER", 502, "The query failed."),
            ("/partly/fail", 502, "The query failed."),
            ("/partly/null", 403, "a secret about FORBIDDEN"),
            ("/wrong", 502, "The query failed."),
        ] {
            assert_eq!(get(path, &[]).await.problem(status)["detail"], detail, "{path}");
        }
        assert_eq!(get("/me", &[("x-user", "7"), ("accept-encoding", "gzip")]).await.text(), "\"7\"");
    }
    let json = ("content-type", "application/json");
    let created = gateway.post("/users?notify=false", &[json], r#"{"name":"Bob","role":"ADMIN"}"#).await;
    assert_eq!((created.status, created.text().as_str()), (201, r#"{"id":"new","name":"Bob ADMIN false"}"#));
    let created = gateway.post("/users", &[json], r#"{"name":"Bo\"b } { x","role":null}"#).await;
    assert_eq!(created.json()["name"], "Bo\"b } { x none true");
    gateway.post("/users", &[json], r#"{"role":"ADMIN"}"#).await.problem(502);
    gateway.post("/users?notify=2", &[json], r#"{"name":"Bob"}"#).await.problem(400);
    gateway.post("/users", &[json], r#"{"name":"#).await.problem(400);
    gateway.post("/users", &[("content-type", "text/plain")], "name=Bob").await.problem(415);
}

#[tokio::test]
async fn what_is_no_answer_of_graphql_is_a_problem() {
    let compressed = compress("gzip", br#"{"data":{"user":{"name":"Ada"}}}"#);
    let coded = Server::start(move |_| {
        let answer = Response::builder().header("content-type", "application/graphql-response+json");
        answer.header("content-encoding", "gzip").body(Full::new(compressed.clone().into())).unwrap()
    })
    .await;
    let answer = gateway(&coded.text(), json!([route("/users/*", user())])).get("/users/7").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"name":"Ada"}"#));
    assert_eq!(answer.header("content-encoding"), None);
    let asked = coded.only();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/graphql"));
    assert_eq!(serde_json::from_slice::<Value>(&asked.body).unwrap()["variables"], json!({ "id": "7" }));

    for (bytes, status) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n{\"data\":"[..], 502),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\nsecret", 502),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 502),
        (b"HTTP/1.1 500 Oops\r\ncontent-type: text/plain\r\ncontent-length: 6\r\n\r\nsecret", 502),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"data\":{\"user\":{", 502),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: x\r\ncontent-length: 2\r\n\r\n{}",
            502,
        ),
        (b"nonsense", 502),
    ] {
        let server = Scripted::answering(bytes).await;
        let answer = gateway(&server.text(), json!([route("/users/*", user())])).get("/users/7").await;
        answer.problem(status);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let away = gateway("127.0.0.1:9", json!([route("/users/*", user())])).get("/users/7").await;
    assert!(away.status == 502 || away.status == 503, "{away:?}");

    let wrong = |config| {
        TestGateway::try_start(json!({ "upstreams": { "graphql": ["127.0.0.1:9"] }, "routes": [route("/", config)] }))
    };
    let refused = wrong(json!({ "query": "{ a" })).err().unwrap().to_string();
    assert!(refused.contains("query: at byte") && refused.contains("gateway.json:"), "{refused}");
}
