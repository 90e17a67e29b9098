//! `xml-json`: REST in front of a real SOAP server, XML clients in front of JSON, and messages that are made to do harm.

use gatewright_tests::{Client, Received, Scripted, Server, SoapServer, TestGateway, compress, send};
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

fn route(path: &str, config: Value) -> Value {
    json!({ "match": { "path": path }, "plugins": [{ "xml-json": config }], "to": "behind" })
}

fn gateway(upstream: &str, routes: Value) -> TestGateway {
    TestGateway::start(json!({
        "shutdown": { "drain_timeout": "50ms" }, "upstreams": { "behind": [upstream] }, "routes": routes,
    }))
}

fn orders(version: &str, endpoint: &str) -> Value {
    json!({
        "path": format!("{endpoint}/customers/{{id}}/orders"), "endpoint": endpoint,
        "namespaces": { "": "urn:shop" },
        "request": { "orders": { "customer": "$(path.id)", "count": "$(query.limit:-2)" } },
        "soap": { "version": version, "action": "orders", "faults": { "Client.NotFound": 404, "NotFound": 404 }, "messages": true },
        "result": "/ordersResponse/ordersResult/Order", "lists": ["Order"], "types": { "id": "number", "total": "number" },
    })
}

#[tokio::test]
async fn rest_in_front_of_a_real_server_of_soap() {
    let server = SoapServer::start();
    let echo = |version: &str, endpoint: &str| {
        json!({ "endpoint": endpoint, "namespaces": { "t": "urn:shop" }, "soap": { "version": version, "action": "echo" },
                "result": "/t:echoResponse/t:echoResult" })
    };
    let gateway = gateway(
        &server.text(),
        json!([
            route("/11/*", orders("1.1", "/11")),
            route("/12/*", orders("1.2", "/12")),
            route("/echo/11", echo("1.1", "/11")),
            route("/echo/12", echo("1.2", "/12")),
        ]),
    );
    for version in ["11", "12"] {
        for mut client in [Client::http1(gateway.address()).await, Client::http2(gateway.address()).await] {
            let mut get = async |path: &str| client.send("GET", &format!("/{version}{path}"), &[], "").await.unwrap();
            let answer = get("/customers/ada%20%3C%26/orders").await;
            let expected = r#"[{"id":1,"total":1.5,"note":"ada <&"},{"id":2,"total":2.5,"note":"ada <&"}]"#;
            assert_eq!((answer.status, answer.text().as_str()), (200, expected));
            assert_eq!(answer.header("content-type"), Some("application/json"));
            assert_eq!(get("/customers/ada/orders?limit=1").await.text(), r#"[{"id":1,"total":1.5,"note":"ada"}]"#);
            assert_eq!(get("/customers/nobody/orders").await.problem(404)["detail"], "a secret about nobody");
            assert_eq!(
                get("/customers/broken/orders").await.problem(502)["detail"],
                "The upstream refused the request."
            );
            // Its own schema refuses it; in SOAP 1.2 this server falls over then, and says so in plain text.
            let refused = if version == "11" { 400 } else { 502 };
            get("/customers/ada/orders?limit=many").await.problem(refused);
            get("/customers/ada").await.problem(404);
        }
        for text in ["plain", "<a>&amp;]]></a>\n\ttab", "\u{1f600} ä", "${jndi:x}"] {
            let body = json!({ "t:echo": { "t:text": text } }).to_string();
            let answer =
                gateway.post(&format!("/echo/{version}"), &[("content-type", "application/json")], &body).await;
            assert_eq!((answer.status, answer.json()), (200, json!(text)), "{}", answer.text());
        }
        for (body, status) in
            [(r#"{"t:echo":{"t:text":"\u0000"}}"#, 400), (r#"{"u:echo":{}}"#, 400), (r#"{"t:echo":"#, 400), ("", 400)]
        {
            gateway
                .post(&format!("/echo/{version}"), &[("content-type", "application/json")], body)
                .await
                .problem(status);
        }
    }
}

#[tokio::test]
async fn xml_of_an_upstream_that_is_made_to_do_harm() {
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let wide = format!("<a>{}</a>", "<b/>".repeat(20_000));
    let attributes: String = (0..5000).map(|index| format!(" a{index}='1'")).collect();
    let laughs: String = (1..30).map(|n| format!("<!ENTITY l{n} \"&l{};&l{};\">", n - 1, n - 1)).collect();
    let quadratic = format!("<!DOCTYPE a [<!ENTITY b \"{}\">]><a>{}</a>", "b".repeat(50_000), "&b;".repeat(10_000));
    let bodies: Vec<Vec<u8>> = vec![
        deep.into_bytes(),
        wide.into_bytes(),
        format!("<a{attributes}/>").into_bytes(),
        format!("<!DOCTYPE a [<!ENTITY l0 \"lol\">{laughs}]><a>&l29;</a>").into_bytes(),
        quadratic.into_bytes(),
        b"<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>".to_vec(),
        b"<!DOCTYPE a SYSTEM \"http://127.0.0.1:9/a.dtd\"><a/>".to_vec(),
        b"<a>&secret;</a>".to_vec(),
        b"<a>\xe4</a>".to_vec(),
        b"<?xml version='1.0' encoding='utf-16'?><a/>".to_vec(),
        "<?xml version='1.0' encoding='utf-16'?><a/>".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        b"<a>secret".to_vec(),
        b"{\"secret\":1}".to_vec(),
        b"<a/><a/>".to_vec(),
        b"<s:a/>".to_vec(),
        Vec::new(),
    ];
    for (index, body) in bodies.into_iter().enumerate() {
        let server = Server::start(move |_| {
            let answer = Response::builder().header("content-type", "text/xml");
            answer.body(Full::new(body.clone().into())).unwrap()
        })
        .await;
        let soap = index == 15;
        let config = if soap { json!({ "soap": {}, "request": { "a": 1 } }) } else { json!({}) };
        let answer = gateway(&server.text(), json!([route("/", config)])).get("/").await;
        assert_eq!(answer.problem(502)["detail"], "The upstream's answer could not be read.", "{index}");
        assert!(!answer.text().contains("secret"), "{index}");
    }
    let cut =
        Scripted::answering(b"HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: 99\r\n\r\n<a>secret").await;
    gateway(&cut.text(), json!([route("/", json!({}))])).get("/").await.problem(502);
    let away = gateway("127.0.0.1:9", json!([route("/", json!({}))])).get("/").await;
    away.problem(away.status);
    assert!((502..=503).contains(&away.status));
}

#[tokio::test]
async fn a_client_that_speaks_xml_and_an_upstream_that_speaks_json() {
    let server = Server::start(|received: &Received| {
        let told =
            json!({ "got": received.body.iter().map(|byte| char::from(*byte)).collect::<String>(), "n": [1, 2.50] });
        Response::builder()
            .status(201)
            .header("content-type", "application/json")
            .body(Full::new(told.to_string().into()))
            .unwrap()
    })
    .await;
    let config = json!({ "upstream": "json", "root": "order", "lists": ["item"], "types": { "n": "number" } });
    let gateway = gateway(&server.text(), json!([route("/*", config)]));
    let xml = ("content-type", "application/xml");
    let answer = gateway.post("/orders", &[xml], "<order id='7'><item>a</item><n>1.10</n></order>").await;
    let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><order>\
                    <got>{&quot;@id&quot;:&quot;7&quot;,&quot;item&quot;:[&quot;a&quot;],&quot;n&quot;:1.10}</got><n>1</n><n>2.5</n></order>";
    assert_eq!((answer.status, answer.text().as_str()), (201, expected));
    assert_eq!(answer.header("content-type"), Some("application/xml; charset=utf-8"));
    let asked = server.only();
    assert_eq!((asked.method.as_str(), asked.header("content-type")), ("POST", Some("application/json")));
    assert_eq!(gateway.get("/orders").await.status, 201);
    server.forget();
    let deep = format!("<order>{}{}</order>", "<a>".repeat(50_000), "</a>".repeat(50_000));
    for (kind, body, status) in [
        ("application/json", "{}", 415),
        ("application/xml; charset=iso-8859-1", "<order/>", 415),
        ("application/xml", "<order>", 400),
        ("application/xml", "<!DOCTYPE o [<!ENTITY a 'b'>]><order>&a;</order>", 400),
        ("application/xml", deep.as_str(), 400),
        ("application/xml", &format!("<order>{}</order>", "x".repeat(2 << 20)), 413),
    ] {
        gateway.post("/orders", &[("content-type", kind)], body).await.problem(status);
    }
    let latin = send(gateway.address(), "POST", "/orders", &[xml], &b"<order>\xe4</order>"[..]).await;
    assert_eq!(latin.problem(400)["detail"], "The body cannot be read: it is not UTF-8.");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn xml_that_is_compressed() {
    let body = compress("gzip", b"<a><b>1</b></a>");
    let server = Server::start(move |_| {
        let answer = Response::builder().header("content-type", "application/xml").header("content-encoding", "gzip");
        answer.header("etag", "\"x\"").body(Full::new(body.clone().into())).unwrap()
    })
    .await;
    let gateway = gateway(&server.text(), json!([route("/", json!({ "root": "a" }))]));
    let answer = gateway.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"b":"1"}"#));
    assert_eq!((answer.header("content-encoding"), answer.header("etag")), (None, None));
    let asked = server.only();
    assert_eq!(
        (asked.method.as_str(), asked.header("accept-encoding"), asked.header("content-type")),
        ("GET", Some("identity"), None)
    );

    let wrong = json!({ "upstreams": { "behind": ["127.0.0.1:9"] }, "routes": [route("/", json!({ "root": "s:a" }))] });
    let refused = TestGateway::try_start(wrong).err().unwrap().to_string();
    assert!(refused.contains("root: \"s:a\"") && refused.contains("gateway.json:"), "{refused}");
}
