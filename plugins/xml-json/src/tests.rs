#![allow(clippy::unwrap_used)]

use gatewright_sdk::{
    manifest,
    serde_json::{self, json},
    testing::{Double, Request},
};
use proptest::prelude::*;

use super::*;

fn plugin(config: &str) -> (Double, XmlJson) {
    let gateway = Double::new();
    let plugin = gateway.configure(config).unwrap_or_else(|why| panic!("{config}: {why}"));
    (gateway, plugin)
}

fn shown(response: &Response) -> String {
    let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    format!("{} {}", response.status.as_u16(), body["detail"].as_str().unwrap_or_default())
}

/// The body for the upstream, or the status and detail of the response to the client.
fn ask(gateway: &Double, plugin: &XmlJson, request: Request, body: &str) -> String {
    gateway.receive(request);
    let decided = match gateway.on_request(plugin) {
        Decision::Proceed => gateway.request_body(plugin, &[body.as_bytes()]),
        Decision::Respond(response) => return shown(&response),
        Decision::Abort => panic!("aborted"),
    };
    match decided {
        Ok(sent) => String::from_utf8(sent).unwrap(),
        Err(BodyDecision::Respond(response)) => shown(&response),
        Err(other) => panic!("{other:?}"),
    }
}

/// The client's view of an upstream's response.
fn answer(config: &str, status: u16, kind: &str, body: &[u8]) -> String {
    let (gateway, plugin) = plugin(config);
    gateway.receive(Request::get("/"));
    gateway.respond(StatusCode::from_u16(status).unwrap(), &[("content-type", kind), ("etag", "\"x\"")]);
    match gateway.on_response(&plugin) {
        Decision::Proceed => {}
        Decision::Respond(response) => return shown(&response),
        Decision::Abort => panic!("aborted"),
    }
    match gateway.response_body(&plugin, &[body]) {
        Ok(body) => String::from_utf8(body).unwrap(),
        Err(BodyDecision::Respond(response)) => shown(&response),
        Err(other) => panic!("{other:?}"),
    }
}

fn post(kind: &str) -> Request {
    Request::post("/users/7").header("content-type", kind)
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
const UNREADABLE: &str = "502 The upstream's answer could not be read.";

#[test]
fn xml_becomes_json_by_the_rule() {
    let config = r#"{ "namespaces": { "s": "urn:shop", "": "urn:main" }, "lists": ["item", "s:one"],
        "types": { "n": "number", "s:ok": "boolean" } }"#;
    for (xml, json) in [
        ("<a/>", r#"{"a":null}"#),
        ("<a>  \n </a>", r#"{"a":null}"#),
        ("<a> x </a>", r#"{"a":" x "}"#),
        ("<a>\u{a0}</a>", "{\"a\":\"\u{a0}\"}"),
        ("<a><b>1</b><c>2</c><b>3</b></a>", r#"{"a":{"b":["1","3"],"c":"2"}}"#),
        ("<a x='1' y=\"&lt;&#65;\">t</a>", r##"{"a":{"@x":"1","@y":"<A","#text":"t"}}"##),
        ("<a>p<b/>q<!-- - --><?pi x?></a>", r##"{"a":{"b":null,"#text":"pq"}}"##),
        ("<a><![CDATA[<b>&amp;]]>&amp;&#x41;</a>", r#"{"a":"<b>&amp;&A"}"#),
        ("<a><item>1</item></a>", r#"{"a":{"item":["1"]}}"#),
        ("<a><item><b/></item><item/></a>", r#"{"a":{"item":[{"b":null},null]}}"#),
        (
            "<p:a xmlns:p='urn:shop' p:x='1' y='2'><p:one>1</p:one></p:a>",
            r#"{"s:a":{"@s:x":"1","@y":"2","s:one":["1"]}}"#,
        ),
        ("<a xmlns='urn:shop'><b xmlns='urn:main'/><c xmlns='urn:none'/></a>", r#"{"s:a":{"b":null,"c":null}}"#),
        (
            "<a xml:lang='de'><n>12345678901234567890.10</n></a>",
            r#"{"a":{"@xml:lang":"de","n":12345678901234567890.10}}"#,
        ),
        ("<a><n>1e5</n><n>01</n><n>x</n><n> 7 </n></a>", r#"{"a":{"n":[1e5,"01","x",7]}}"#),
        (
            "<a xmlns:q='urn:shop'><q:ok>1</q:ok><q:ok>false</q:ok><q:ok>no</q:ok></a>",
            r#"{"a":{"s:ok":[true,false,"no"]}}"#,
        ),
        (
            "<a xmlns:i='http://www.w3.org/2001/XMLSchema-instance'><b i:nil='true'/><c i:type='x'>1</c></a>",
            r#"{"a":{"b":null,"c":"1"}}"#,
        ),
        ("\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<a>\r\n1\r2</a>\n<!-- end -->", "{\"a\":\"\\n1\\n2\"}"),
    ] {
        assert_eq!(answer(config, 200, "application/xml", xml.as_bytes()), json, "{xml}");
    }
}

#[test]
fn what_is_no_xml_is_a_problem() {
    let small = r#"{ "max_depth": 3, "max_elements": 5, "max_attributes": 2, "max_size": "200B" }"#;
    let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>";
    for xml in [
        "",
        " ",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "x<a/>",
        "<a/>&amp;",
        "<a b='1' b='2'/>",
        "<a b=1/>",
        "<a b='<'/>",
        "<a>&unknown;</a>",
        "<a b='&unknown;'/>",
        "<a>&#0;</a>",
        "<a>&#xFFFFFFFF;</a>",
        "<a>&#xD800;</a>",
        "<a>& b</a>",
        "<a>\u{1}</a>",
        "<p:a/>",
        "<a p:b='1'/>",
        "<!DOCTYPE a><a/>",
        "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>",
        bomb,
        "<?xml version='1.0' encoding='iso-8859-1'?><a/>",
        "<a/><?xml version='1.0'?>",
        "<a><b><c><d/></c></b></a>",
        "<a><b/><b/><b/><b/><b/></a>",
        "<a x='1' y='2' z='3'/>",
        "<a x='1' xmlns:p='p' xmlns:q='q'/>",
        &format!("<a>{}</a>", "x".repeat(200)),
    ] {
        assert_eq!(answer(small, 200, "text/xml", xml.as_bytes()), UNREADABLE, "{xml}");
    }
    assert_eq!(answer(small, 200, "text/xml", b"<a>\xff</a>"), UNREADABLE);
    assert_eq!(answer(small, 200, "text/xml", b"\xff\xfe<\0a\0/\0>\0"), UNREADABLE);
    assert_eq!(answer(small, 200, "text/xml; charset=utf-16", b"<a/>"), UNREADABLE);
    assert_eq!(answer(small, 200, "text/html", b"<a/>"), UNREADABLE);
    assert_eq!(answer(small, 206, "text/xml", b"<a/>"), UNREADABLE);
    assert_eq!(answer("{}", 404, "application/problem+json", b"{}"), "{}", "a problem stays one");
    assert_eq!(answer("{}", 404, "text/xml", b"<e>no</e>"), r#"{"e":"no"}"#, "errors in XML are told");
}

#[test]
fn json_becomes_xml_by_the_rule() {
    let config = r#"{ "namespaces": { "s": "urn:shop", "": "urn:main" } }"#;
    let (gateway, plugin) = plugin(config);
    for (json, xml) in [
        (r#"{"a":null}"#, "<a*/>"),
        (r#"{"a":""}"#, "<a*/>"),
        (
            r#"{"a":{"b":[1.10,true,"<&>\"'",null,{"c":"x"}]}}"#,
            "<a*><b>1.10</b><b>true</b><b>&lt;&amp;&gt;&quot;&apos;</b><b/><b><c>x</c></b></a>",
        ),
        (
            r##"{"s:a":{"@s:x":"1\n<\"","@y":2,"@z":null,"#text":"t","b":[]}}"##,
            "<s:a* s:x=\"1&#10;&lt;&quot;\" y=\"2\">t</s:a>",
        ),
        (r#"{"a":{"@xml:lang":"de","ä":"\r"}}"#, "<a* xml:lang=\"de\"><ä>&#13;</ä></a>"),
    ] {
        let xml = format!("{HEAD}{}", xml.replacen('*', " xmlns=\"urn:main\" xmlns:s=\"urn:shop\"", 1));
        assert_eq!(ask(&gateway, &plugin, post("application/json"), json), xml, "{json}");
    }
    assert_eq!(gateway.request_header("content-type").as_deref(), Some("application/xml; charset=utf-8"));
    for (json, why) in [
        ("{}", "no object with one member"),
        (r#"{"a":1,"b":2}"#, "no object with one member"),
        (r#"{"a":[1]}"#, "no object with one member"),
        ("[1]", "no object with one member"),
        (r#"{"a b":1}"#, "\"a b\" is no name"),
        (r#"{"a><b":1}"#, "is no name"),
        (r#"{"1a":1}"#, "is no name"),
        (r#"{"a":{"":1}}"#, "is no name"),
        (r#"{"t:a":1}"#, "\"t:a\" is no name"),
        (r#"{"soap:a":1}"#, "is no name"),
        (r#"{"a":{"@b c":1}}"#, "is no name"),
        (r#"{"a":{"@xmlns":"urn:evil"}}"#, "is no name"),
        (r#"{"a":{"@xmlns:s":"urn:evil"}}"#, "is no name"),
        (r#"{"a":{"@b":1,"@b":2}}"#, "is no name"),
        (r#"{"a":{"@b":{}}}"#, "cannot be XML"),
        (r##"{"a":{"#text":[]}}"##, "cannot be XML"),
        (r#"{"a":{"b":[[1]]}}"#, "cannot be XML"),
        (r#"{"a":"\u0000"}"#, "a character that XML does not allow"),
        (r#"{"a":"\ufffe"}"#, "a character that XML does not allow"),
        ("{", "The body cannot be read: it is not JSON"),
    ] {
        let refused = ask(&gateway, &plugin, post("application/json"), json);
        assert!(refused.starts_with("400 ") && refused.contains(why), "{json}: {refused}");
    }
    for kind in ["text/plain", "application/xml", "application/json; charset=utf-16"] {
        assert!(ask(&gateway, &plugin, post(kind), "{}").starts_with("415 "), "{kind}");
    }
    let long = format!(r#"{{"a":{{"{}":[{}1]}}}}"#, "n".repeat(1000), "1,".repeat(2000));
    assert!(ask(&gateway, &plugin, post("application/json"), &long).contains("it is too long"));
}

fn soap(version: &str, more: &str) -> String {
    format!(
        r##"{{ "namespaces": {{ "s": "urn:shop" }}, "path": "/users/{{id}}", "endpoint": "/soap", {more}
            "request": {{ "s:orders": {{ "s:customer": "$(path.id)", "s:count": "$(query.n:-2)" }} }},
            "soap": {{ "version": "{version}", "action": "urn:shop#orders", "header": {{ "s:key": {{ "@s:k": "1", "#text": "key" }} }},
                      "faults": {{ "Client.NotFound": 404, "NotFound": 404 }} }} }}"##
    )
}

#[test]
fn a_request_becomes_an_envelope() {
    let around = |address: &str| {
        format!(
            "{HEAD}<soap:Envelope xmlns:soap=\"{address}\"><soap:Header><s:key xmlns:s=\"urn:shop\" s:k=\"1\">key</s:key></soap:Header>\
             <soap:Body><s:orders xmlns:s=\"urn:shop\"><s:customer>7 &lt;/&gt;</s:customer><s:count>2</s:count></s:orders></soap:Body>\
             </soap:Envelope>"
        )
    };
    for (version, address, kind, action) in [
        ("1.1", names::SOAP_1_1, "text/xml; charset=utf-8", Some("\"urn:shop#orders\"")),
        ("1.2", names::SOAP_1_2, "application/soap+xml; charset=utf-8; action=\"urn:shop#orders\"", None),
    ] {
        let (gateway, plugin) = plugin(&soap(version, ""));
        assert_eq!(ask(&gateway, &plugin, Request::get("/users/7%20%3C%2F%3E"), ""), around(address), "{version}");
        assert_eq!((gateway.method().as_str(), gateway.path().as_str()), ("POST", "/soap"));
        let header = |name| gateway.request_header(name);
        assert_eq!((header("content-type").as_deref(), header("soapaction").as_deref()), (Some(kind), action));
        assert!(ask(&gateway, &plugin, Request::get("/users"), "").starts_with("404 "));
    }
    let (gateway, plugin) = plugin(r#"{ "soap": {}, "root": "a" }"#);
    assert!(
        ask(&gateway, &plugin, post("application/json"), r#"{"b":1}"#)
            .contains("<soap:Body><a><b>1</b></a></soap:Body>")
    );
    assert!(ask(&gateway, &plugin, Request::get("/"), "").starts_with("400 "));
}

#[test]
fn an_envelope_is_opened_and_a_fault_is_a_problem() {
    let kind = "text/xml";
    let envelope = |address: &str, body: &str| {
        format!("<x:Envelope xmlns:x='{address}'><x:Header/><x:Body>{body}</x:Body></x:Envelope>")
    };
    let result = r#""result": "/s:ordersResponse/s:order","#;
    let good = "<o:ordersResponse xmlns:o='urn:shop'><o:order><o:id>1</o:id></o:order></o:ordersResponse>";
    let fault_1 =
        |code: &str| format!("<x:Fault><faultcode>{code}</faultcode><faultstring>secret</faultstring></x:Fault>");
    let fault_2 = |code: &str, subcode: &str| {
        let subcode = if subcode.is_empty() {
            String::new()
        } else {
            format!("<x:Subcode><x:Value>{subcode}</x:Value></x:Subcode>")
        };
        format!(
            "<x:Fault><x:Code><x:Value>x:{code}</x:Value>{subcode}</x:Code>\
             <x:Reason><x:Text xml:lang='en'>secret</x:Text><x:Text xml:lang='de'>geheim</x:Text></x:Reason></x:Fault>"
        )
    };
    let told =
        |config: &str, status, address, body: &str| answer(config, status, kind, envelope(address, body).as_bytes());
    for address in [names::SOAP_1_1, names::SOAP_1_2] {
        assert_eq!(told(&soap("1.1", result), 200, address, good), r#"{"s:id":"1"}"#);
        assert_eq!(told(&soap("1.1", ""), 200, address, good), r#"{"s:ordersResponse":{"s:order":{"s:id":"1"}}}"#);
        assert_eq!(
            told(&soap("1.1", r#""root": "s:ordersResponse","#), 200, address, good),
            r#"{"s:order":{"s:id":"1"}}"#
        );
        assert_eq!(told(&soap("1.1", ""), 200, address, ""), "null");
        assert_eq!(told(&soap("1.1", ""), 500, address, good), UNREADABLE);
        assert_eq!(told(&soap("1.1", r#""root": "s:other","#), 200, address, good), UNREADABLE);
    }
    let refused = |status: u16| format!("{status} The upstream refused the request.");
    for (body, status) in [
        (fault_1("x:Client"), 400),
        (fault_1("x:Client.NotFound.Here"), 404),
        (fault_1("x:Client.Other"), 400),
        (fault_1("Server"), 502),
        (fault_1("x:MustUnderstand"), 502),
        (fault_1(""), 502),
    ] {
        assert_eq!(told(&soap("1.1", ""), 500, names::SOAP_1_1, &body), refused(status), "{body}");
    }
    for (code, subcode, status) in
        [("Sender", "", 400), ("Sender", "y:NotFound", 404), ("Sender", "y:Other", 400), ("Receiver", "", 502)]
    {
        assert_eq!(
            told(&soap("1.2", ""), 500, names::SOAP_1_2, &fault_2(code, subcode)),
            refused(status),
            "{code} {subcode}"
        );
    }
    let tells = soap("1.2", "").replace("\"faults\"", "\"messages\": true, \"faults\"");
    assert_eq!(told(&tells, 500, names::SOAP_1_2, &fault_2("Sender", "")), "400 secret");
    assert_eq!(
        told(&tells, 500, names::SOAP_1_2, &fault_2("Receiver", "")),
        refused(502),
        "only where a code has a status"
    );
    for body in [
        "<a/>",
        "<Envelope xmlns='urn:other'><Body/></Envelope>",
        "<x:Envelope xmlns:x='http://www.w3.org/2003/05/soap-envelope'/>",
    ] {
        assert_eq!(answer(&soap("1.1", ""), 200, kind, body.as_bytes()), UNREADABLE, "{body}");
    }
}

#[test]
fn a_client_that_speaks_xml() {
    let config = r#"{ "upstream": "json", "root": "order", "lists": ["item"], "types": { "n": "number" } }"#;
    let (gateway, plugin) = plugin(config);
    let sent = ask(&gateway, &plugin, post("application/xml"), "<order id='1'><item>a</item><n>1.10</n></order>");
    assert_eq!(sent, r#"{"@id":"1","item":["a"],"n":1.10}"#);
    assert_eq!(gateway.request_header("content-type").as_deref(), Some("application/json"));
    for (kind, body, status) in [
        ("application/json", "{}", "415 "),
        ("application/xml; charset=latin1", "<order/>", "415 "),
        ("application/xml", "<other/>", "400 "),
        ("application/xml", "<order>", "400 "),
        (
            "application/xml",
            "<!DOCTYPE a [<!ENTITY b 'x'>]><order>&b;</order>",
            "400 The body cannot be read: it has a document type.",
        ),
    ] {
        assert!(ask(&gateway, &plugin, post(kind), body).starts_with(status), "{body}");
    }
    assert_eq!(
        answer(config, 201, "application/json", br#"{"item":["a","b"]}"#),
        format!("{HEAD}<order><item>a</item><item>b</item></order>")
    );
    assert_eq!(answer(config, 200, "application/json", br#"{"a b":1}"#), UNREADABLE);
    assert_eq!(answer(config, 200, "text/xml", b"<a/>"), UNREADABLE);
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (config, named) in [
        (r#"{ "namespaces": { "soap": "urn:x" } }"#, "namespaces: \"soap\""),
        (r#"{ "namespaces": { "a b": "urn:x" } }"#, "namespaces: \"a b\" is not a prefix"),
        (r#"{ "namespaces": { "a": "" } }"#, "namespaces: \"a\""),
        (r#"{ "namespaces": { "a": "urn:x", "b": "urn:x" } }"#, "are the same namespace"),
        (r#"{ "namespaces": { "a": "http://www.w3.org/2003/05/soap-envelope" } }"#, "namespaces: \"a\""),
        (r#"{ "path": "x" }"#, "path: "),
        (r#"{ "request": { "a": "$(path.id)" } }"#, "request: /a: $(path.id)"),
        (r#"{ "root": "s:a" }"#, "root: \"s:a\""),
        (r#"{ "endpoint": "/$(query.a)" }"#, "endpoint: it is no template"),
        (r#"{ "method": "CONNECT" }"#, "method: "),
        (r#"{ "result": "a" }"#, "result: "),
        (r#"{ "result": "/*" }"#, "more than one place"),
        (r#"{ "max_depth": 0 }"#, "max_depth: 0"),
        (r#"{ "max_elements": 100001 }"#, "max_elements: 100001"),
        (r#"{ "upstream": "json", "soap": {} }"#, "soap: "),
        (r#"{ "soap": { "version": "1.0" } }"#, "1.0"),
        (r#"{ "soap": { "action": "a\"b" } }"#, "soap.action"),
        (r#"{ "soap": { "header": [] } }"#, "soap.header"),
        (r#"{ "soap": { "header": { "s:a": 1 } } }"#, "soap.header: \"s:a\""),
        (r#"{ "soap": { "header": { "a": "$(body/x)" } } }"#, "soap.header: /a: $(body/x)"),
        (r#"{ "soap": { "faults": { "X": 200 } } }"#, "soap.faults.X: 200"),
        (r#"{ "types": { "a": "date" } }"#, "date"),
        (r#"{ "wsdl": "x" }"#, "wsdl"),
    ] {
        let refused =
            Double::new().configure::<XmlJson>(config).err().unwrap_or_else(|| panic!("{config} is accepted"));
        assert!(refused.contains(named), "{config}: {refused}");
    }
}

#[test]
fn the_schema_has_safe_defaults() {
    let manifest: serde_json::Value = serde_json::from_str(&manifest::<XmlJson>()).unwrap();
    let properties = &manifest["config-schema"]["properties"];
    for (key, value) in [
        ("max_depth", json!(64)),
        ("max_elements", json!(10_000)),
        ("max_attributes", json!(64)),
        ("max_size", json!("1MiB")),
    ] {
        assert_eq!(properties[key]["default"], value, "{key}");
    }
    assert_eq!(manifest["config-schema"].get("required"), None);
}

/// Documents that the rule preserves: no empty lists and no lists of one, and no texts of white space only.
fn documents() -> impl Strategy<Value = Value> {
    let name = "[a-z][a-z0-9]{0,3}";
    let text = "[!-~\u{a0}-\u{d7ff}]{1,8}".prop_map(Value::String);
    let inner = prop_oneof![Just(Value::Null), text].prop_recursive(4, 40, 4, move |inner| {
        let list = prop::collection::vec(inner.clone(), 2..4).prop_map(Value::Array);
        prop::collection::btree_map(name, prop_oneof![3 => inner, 1 => list], 1..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    });
    let without_lists_in_lists = inner.prop_filter("a list is a member", |value| !matches!(value, Value::Array(_)));
    (name, without_lists_in_lists).prop_map(|(name, value)| Value::Object(vec![(name, value)]))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(document in documents()) {
        let (_, plugin) = plugin("{}");
        let xml = plugin.document(&document).unwrap();
        let read = plugin.reading.read(&plugin.names, &xml).unwrap();
        prop_assert_eq!(read, document);
    }

    #[test]
    fn nothing_that_comes_in_ends_the_plugin(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[<>/a&;#x0-9\"'= !\\[\\]?-]{0,60}") {
        let (_, plugin) = plugin("{}");
        let _ = plugin.reading.read(&plugin.names, &bytes);
        let _ = plugin.reading.read(&plugin.names, text.as_bytes());
    }
}
