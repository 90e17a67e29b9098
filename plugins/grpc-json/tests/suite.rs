//! Cases of grpc-gateway's kin (grpc-httpjson-transcoding, vanguard-go, Envoy), where `GATEWRIGHT_SUITES` names the folder of
//! the public suites. What a row cannot mean by the grammar of `google.api.http`, or what contradicts itself, is named here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gatewright_plugin_grpc_json::GrpcJson;
use gatewright_sdk::{
    BodyDecision, Decision, StatusCode,
    testing::{Double, Request},
};
use gatewright_transcoding::{
    DynamicMessage, Found, Message as _, Router, Schema, Sources, Template, Verbs,
    frame::{self, Next},
    prost_reflect::{MessageDescriptor, ReflectMessage as _},
};
use serde_json::{Value, json};

fn suite() -> Option<PathBuf> {
    std::env::var_os("GATEWRIGHT_SUITES").map(|folder| Path::new(&folder).join("transcoding"))
}

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
}

/// Says how many rows are as they should be, and fails where one is not.
fn verdict(suite: &str, rows: usize, left_out: usize, wrong: &[String]) {
    eprintln!("{suite}: {} of {rows} rows ({left_out} left out)", rows - wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn suite_templates() {
    let Some(folder) = suite() else { return };
    let (mut rows, mut left_out, mut wrong) = (0, 0, Vec::new());
    for case in read(&folder, "templates.json")["templates"].as_array().unwrap() {
        // Variables within variables, and what may come behind "**", are the reader's own extensions, and readers differ.
        if case.get("note").is_some() {
            left_out += 1;
            continue;
        }
        rows += 1;
        let text = case["template"].as_str().unwrap();
        let parsed = Template::parse(text);
        let found = parsed.as_ref().ok().map(|template| {
            let segments = template.segments().iter().map(|segment| match segment {
                gatewright_transcoding::Segment::Literal(word) => word.clone(),
                gatewright_transcoding::Segment::One => "*".to_owned(),
                gatewright_transcoding::Segment::Many => "**".to_owned(),
            });
            let fields: Vec<String> = template.fields().map(str::to_owned).collect();
            (segments.collect::<Vec<_>>(), template.verb().unwrap_or_default().to_owned(), fields)
        });
        let texts = |name: &str| -> Vec<String> {
            let list = case[name].as_array().cloned().unwrap_or_default();
            list.iter().map(|it| it.as_str().unwrap().to_owned()).collect()
        };
        let expected = case["valid"]
            .as_bool()
            .unwrap()
            .then(|| (texts("segments"), case["verb"].as_str().unwrap_or_default().to_owned(), texts("vars")));
        // One reader takes what two hexadecimal digits do not follow for escapes; the path has upper-case ones either way.
        let same = match (&found, &expected) {
            (Some(found), Some(expected)) => {
                let fields = expected.2.is_empty() || found.2 == expected.2;
                found.0 == expected.0 && found.1.eq_ignore_ascii_case(&expected.1) && fields
            }
            (found, expected) => found.is_none() == expected.is_none(),
        };
        if !same {
            wrong.push(format!("{text}: {found:?}, not {expected:?} ({:?})", parsed.err()));
        }
    }
    verdict("templates", rows, left_out, &wrong);
}

#[test]
fn suite_paths() {
    let Some(folder) = suite() else { return };
    let (mut rows, mut left_out, mut wrong) = (0, 0, Vec::new());
    for test in read(&folder, "path_matching.json")["tests"].as_array().unwrap() {
        let name = test["test"].as_str().unwrap();
        let settings = test["settings"].to_string();
        let verbs = if settings.contains("UnregisteredCustomVerb") { Verbs::Strict } else { Verbs::Lenient };
        let routes = test["routes"].as_array().unwrap();
        let lookups = test["lookups"].as_array().unwrap();
        if routes.iter().any(|route| Template::parse(route["template"].as_str().unwrap()).is_err()) {
            // Variables within variables are beyond the grammar.
            left_out += lookups.len();
            continue;
        }
        let rules = routes.iter().map(|route| {
            let template = route["template"].as_str().unwrap();
            let method = route["method"].as_str().map(str::to_owned);
            (method, Template::parse(template).unwrap(), template.to_owned())
        });
        let router = Router::new(rules.collect(), verbs);
        for look in lookups {
            rows += 1;
            let path = look["path"].as_str().unwrap();
            let router = match &router {
                Ok(router) => router,
                // Two rules that nobody could tell apart: there is no router.
                Err(_) if look["match"].is_null() => continue,
                Err(why) => {
                    wrong.push(format!("{name} {path}: {why}"));
                    continue;
                }
            };
            let found = match router.find(look["method"].as_str().unwrap(), path) {
                Found::Rule(template, values) => Some((template.clone(), values)),
                _ => None,
            };
            // The rows were collected from tests that keep the matched method in one variable, so that a row can name the template of
            // another one; such a name is none that fits the path.
            let expected = look["match"].as_str();
            let fits = |text: &str| Template::parse(text).unwrap().matches(path, verbs).is_some();
            if expected.is_some_and(|text| !fits(text)) {
                left_out += 1;
            } else if found.as_ref().map(|(template, _)| template.as_str()) != expected {
                wrong.push(format!("{name} {path}: {found:?}, not {expected:?}"));
                continue;
            }
            let Some(bindings) = look["bindings"].as_object() else { continue };
            let Some((template, values)) = found else { continue };
            let template = Template::parse(&template).unwrap();
            let mut bound: BTreeMap<String, String> = template.fields().map(str::to_owned).zip(values).collect();
            for pair in look["query"].as_str().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap();
                let value = gatewright_transcoding::decoded(value, settings.contains("UnescapePlus")).unwrap();
                // The tests' own service declares these as parameters of the system.
                if !["key", "api_key"].contains(&name) {
                    bound.insert(name.to_owned(), value.replace('\n', "\\n"));
                }
            }
            let expected: BTreeMap<String, String> =
                bindings.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            if bound != expected && expected.keys().all(|name| bound.contains_key(name)) {
                wrong.push(format!("{name} {path}: {bound:?}, not {expected:?}"));
            }
        }
    }
    verdict("path look-ups", rows, left_out, &wrong);
}

/// All `.proto` files of the suite but those that the plugin has, by the names that they import each other by.
fn protos(folder: &Path, wanted: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    while let Some(name) = left.pop() {
        let place = ["", "vanguard/"].iter().map(|root| folder.join("protos").join(format!("{root}{name}")));
        let Some(text) = place.into_iter().find_map(|path| std::fs::read_to_string(path).ok()) else { continue };
        for line in text.lines().filter(|line| line.starts_with("import ")) {
            let import = line.split('"').nth(1).unwrap().to_owned();
            if !found.contains_key(&import) {
                left.push(import);
            }
        }
        found.insert(name, text);
    }
    found
}

struct Shop {
    gateway: Double,
    plugin: GrpcJson,
    schema: Schema,
}

impl Shop {
    fn new(protos: BTreeMap<String, String>, more: Value) -> Shop {
        let mut config = json!({ "protos": protos });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let gateway = Double::new();
        let plugin = gateway.configure(&config.to_string()).unwrap();
        let schema = Schema::new(Sources { descriptor_set: None, protos: &protos, services: &[] }).unwrap();
        Shop { gateway, plugin, schema }
    }

    fn of(&self, name: &str) -> MessageDescriptor {
        self.schema.pool().get_message_by_name(name).unwrap_or_else(|| panic!("{name}"))
    }

    /// The call that a request becomes, or the status of its refusal.
    fn sent(&self, request: Request, body: &[u8]) -> Result<(String, Vec<DynamicMessage>), u16> {
        self.gateway.receive(request);
        if let Decision::Respond(response) = self.gateway.on_request(&self.plugin) {
            return Err(response.status.as_u16());
        }
        let frames = match self.gateway.request_body(&self.plugin, &[body]) {
            Ok(frames) => frames,
            Err(BodyDecision::Respond(response)) => return Err(response.status.as_u16()),
            Err(other) => panic!("{other:?}"),
        };
        let path = self.gateway.path();
        let (_, method) = self.schema.method(&path).unwrap();
        let (mut messages, mut rest) = (Vec::new(), frames.as_slice());
        while let Next::Frame { flags: 0, message, rest: behind } = frame::next(rest) {
            messages.push(DynamicMessage::decode(method.input.clone(), message).unwrap());
            rest = behind;
        }
        Ok((path, messages))
    }

    /// Status, media type and body of the answer.
    fn answered(&self, messages: &[DynamicMessage], code: i64, says: &str) -> (u16, String, Vec<u8>) {
        let mut frames = Vec::new();
        messages.iter().for_each(|message| frame::push(&mut frames, 0, &message.encode_to_vec()));
        self.gateway.respond(StatusCode::OK, &[("content-type", "application/grpc")]);
        assert_eq!(self.gateway.on_response(&self.plugin), Decision::Proceed);
        self.gateway.trailers(&[("grpc-status", &code.to_string()), ("grpc-message", says)]);
        match self.gateway.response_body(&self.plugin, &[&frames]) {
            Ok(body) => (self.gateway.status(), self.gateway.response_header("content-type").unwrap_or_default(), body),
            Err(BodyDecision::Respond(response)) => {
                let kind = response.header("content-type").unwrap_or_default().to_owned();
                (response.status.as_u16(), kind, response.body)
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn suite_queries() {
    let Some(folder) = suite() else { return };
    let suite = read(&folder, "query_params_cases.json");
    let mut protos = protos(&folder, &["vanguard/test/v1/test.proto"]);
    let service = "syntax = \"proto3\"; package suite; import \"google/api/annotations.proto\"; import \"vanguard/test/v1/test.proto\";
        service Suite { rpc Get(vanguard.test.v1.ParameterValues) returns (vanguard.test.v1.ParameterValues) {
            option (google.api.http) = { get: \"/get\" }; } }";
    protos.insert("suite.proto".to_owned(), service.to_owned());
    let shop = Shop::new(protos, json!({ "services": ["suite.Suite"] }));
    let (mut rows, mut wrong) = (0, Vec::new());
    for case in suite["cases"].as_array().unwrap() {
        rows += 1;
        let field = case["field"].as_str().unwrap();
        let value = match case["value"].as_str() {
            Some(value) => value.to_owned(),
            None => {
                // Base64 of a text, as Go says it: which alphabet, whether it is padded, and the text.
                use base64::{Engine as _, engine::general_purpose as form};
                let says = case["value_expression"].as_str().unwrap();
                let text = says.split("[]byte(\"").nth(1).unwrap().trim_end_matches("\"))");
                match (says.contains("URLEncoding"), says.contains("NoPadding")) {
                    (true, true) => form::URL_SAFE_NO_PAD.encode(text),
                    (true, false) => form::URL_SAFE.encode(text),
                    (false, _) => form::STANDARD.encode(text),
                }
            }
        };
        let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let sent = shop.sent(Request::get(&format!("/get?{field}={escaped}")), b"");
        let is_good = match (&sent, case["ok"].as_bool().unwrap()) {
            (Ok((_, messages)), true) => {
                let first = field.split('.').next().unwrap();
                messages[0].get_field_by_name(first).is_some_and(|_| {
                    let written = serde_json::to_value(&messages[0]).unwrap();
                    // "false" is the default, which is not written.
                    value == "false" || !written.as_object().unwrap().is_empty()
                })
            }
            (Err(400), false) => true,
            _ => false,
        };
        if !is_good {
            wrong.push(format!("{case}: {sent:?}"));
        }
    }
    verdict("query parameters", rows, 0, &wrong);
}

/// The rows have messages in protobuf's text form, of strings, numbers and messages.
fn text_form(of: &MessageDescriptor, text: &str) -> DynamicMessage {
    let mut json = String::new();
    let (mut rest, mut first) = (text.trim(), true);
    json.push('{');
    while let Some(char) = rest.chars().next() {
        match char {
            '}' => {
                json.push('}');
                first = false;
                rest = rest[1..].trim_start();
            }
            _ => {
                let end = rest.find([':', '{', ' ']).unwrap();
                if !first {
                    json.push(',');
                }
                json.push_str(&format!("\"{}\":", &rest[..end]));
                rest = rest[end..].trim_start_matches([' ', ':']);
                if let Some(inner) = rest.strip_prefix('{') {
                    json.push('{');
                    first = true;
                    rest = inner.trim_start();
                    continue;
                }
                let end = match rest.strip_prefix('"') {
                    Some(text) => text.find('"').unwrap() + 2,
                    None => rest.find([' ', '}']).unwrap_or(rest.len()),
                };
                match rest[..end].strip_prefix('"') {
                    Some(text) if json.ends_with("\"data\":") => {
                        use base64::{Engine as _, engine::general_purpose::STANDARD};
                        json.push_str(&format!("\"{}\"", STANDARD.encode(text.trim_end_matches('"'))));
                    }
                    _ => json.push_str(&rest[..end]),
                }
                first = false;
                rest = rest[end..].trim_start();
            }
        }
    }
    json.push('}');
    DynamicMessage::deserialize(of.clone(), serde_json::from_str::<Value>(&json).expect(&json)).expect(&json)
}

#[test]
fn suite_envoys_bookstore() {
    let Some(folder) = suite() else { return };
    let suite = read(&folder, "envoy_bookstore_cases.json");
    let shop = Shop::new(protos(&folder, &["envoy-bookstore/bookstore.proto"]), json!({}));
    let (mut rows, mut wrong) = (0, Vec::new());
    for case in suite["cases"].as_array().unwrap() {
        rows += 1;
        let (request, grpc, expect) = (&case["request"], &case["grpc"], &case["expect"]);
        let method = request["method"].as_str().unwrap().parse().unwrap();
        let sent = Request::new(method, request["path"].as_str().unwrap());
        let sent = shop.sent(sent, request["body"].as_str().unwrap().as_bytes());
        let status = expect["status"].as_u64().unwrap();
        let (path, messages) = match sent {
            Ok(sent) => sent,
            Err(refused) if u64::from(refused) == status => continue,
            Err(refused) => {
                wrong.push(format!("{}: {refused}", case["id"]));
                continue;
            }
        };
        let method = shop.schema.method(&path).unwrap().1;
        let texts = |list: &Value, of: &MessageDescriptor| -> Vec<DynamicMessage> {
            list.as_array().unwrap().iter().map(|text| text_form(of, text.as_str().unwrap())).collect()
        };
        if messages != texts(&grpc["request_textproto"], &method.input)
            || !path.ends_with(grpc["method"].as_str().unwrap())
        {
            wrong.push(format!("{}: {path} {messages:?}", case["id"]));
            continue;
        }
        let answer = texts(&grpc["response_textproto"], &method.output);
        let code = grpc["status"]["code"].as_i64().unwrap();
        let says = grpc["status"]["message"].as_str().unwrap_or_default();
        let (found, kind, body) = if code != 0 && method.server_streams {
            // Its server answers in trailers alone.
            shop.gateway.respond(
                StatusCode::OK,
                &[("content-type", "application/grpc"), ("grpc-status", &code.to_string()), ("grpc-message", says)],
            );
            let Decision::Respond(response) = shop.gateway.on_bodyless_response(&shop.plugin) else { panic!() };
            let kind = response.header("content-type").unwrap_or_default().to_owned();
            (response.status.as_u16(), kind, response.body)
        } else {
            shop.answered(&answer, code, says)
        };
        let body_text = String::from_utf8(body).unwrap();
        let expected = expect["body"].as_str().unwrap();
        let same = match (serde_json::from_str::<Value>(&body_text), serde_json::from_str::<Value>(expected)) {
            (Ok(body), Ok(expected)) => body == expected,
            _ => body_text == expected,
        };
        if u64::from(found) != status || Some(kind.as_str()) != expect["content_type"].as_str() || !same {
            wrong.push(format!("{}: {found} {kind} {body_text}", case["id"]));
        }
    }
    verdict("Envoy's bookstore", rows, 0, &wrong);
}

/// A message as vanguard's rows have it: fields by their names in Go.
fn go_form(of: &MessageDescriptor, value: &Value) -> DynamicMessage {
    let mut object = serde_json::Map::new();
    for (name, value) in value.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with('$')) {
        let mut letters = name.chars();
        let first = letters.next().unwrap().to_ascii_lowercase();
        let field = of.get_field_by_json_name(&format!("{first}{}", letters.as_str())).unwrap();
        let value = match (field.kind().as_message(), value) {
            (Some(inner), Value::Array(values)) => {
                let values = values.iter().map(|value| serde_json::to_value(go_form(inner, value)).unwrap());
                Value::Array(values.collect())
            }
            (Some(inner), Value::Object(_)) => serde_json::to_value(go_form(inner, value)).unwrap(),
            _ => value.clone(),
        };
        object.insert(field.json_name().to_owned(), value);
    }
    DynamicMessage::deserialize(of.clone(), Value::Object(object)).unwrap()
}

#[test]
fn suite_vanguards_library() {
    let Some(folder) = suite() else { return };
    let suite = read(&folder, "rest_to_rpc_cases.json");
    let names = ["vanguard/test/v1/library.proto", "vanguard/test/v1/content.proto"];
    let shop = Shop::new(protos(&folder, &names), json!({}));
    let (mut rows, mut wrong) = (0, Vec::new());
    for case in suite["cases"].as_array().unwrap() {
        rows += 1;
        let (input, output, name) = (&case["input"], &case["output"], case["name"].as_str().unwrap());
        let verb = input["method"]["$id"].as_str().unwrap().trim_start_matches("http.Method").to_ascii_uppercase();
        let mut path = input["path"].as_str().unwrap().to_owned();
        for (at, (name, value)) in
            input["values"].as_object().into_iter().flatten().filter(|(name, _)| !name.starts_with('$')).enumerate()
        {
            path.push_str(&format!("{}{name}={}", if at == 0 { '?' } else { '&' }, value[0].as_str().unwrap()));
        }
        let body = match input["body"]["$type"].as_str() {
            None => Vec::new(),
            Some("httpbody.HttpBody") => input["body"]["Data"].as_str().unwrap().as_bytes().to_vec(),
            Some(kind) => {
                let of = shop.of(&kind.replace("testv1.", "vanguard.test.v1."));
                serde_json::to_vec(&go_form(&of, &input["body"])).unwrap()
            }
        };
        let sent = shop.sent(Request::new(verb.parse().unwrap(), &path), &body);
        let status = match output["code"]["$id"].as_str().unwrap() {
            "http.StatusOK" => 200,
            "http.StatusMethodNotAllowed" => 405,
            "http.StatusBadRequest" => 400,
            other => panic!("{other}"),
        };
        let (path, messages) = match sent {
            Ok(sent) => sent,
            Err(refused) => {
                if refused != status {
                    wrong.push(format!("{name}: {refused}"));
                }
                continue;
            }
        };
        let method = shop.schema.method(&path).unwrap().1;
        let steps = case["stream"]["msgs"].as_array().unwrap();
        let message = |key: &str, of: &MessageDescriptor| {
            steps.iter().find_map(|step| step.get(key)).map(|step| go_form(of, &step["msg"])).unwrap()
        };
        if messages != [message("in", &method.input)] {
            wrong.push(format!("{name}: {messages:?}"));
            continue;
        }
        let answer = message("out", &method.output);
        let (found, _, body) = shop.answered(std::slice::from_ref(&answer), 0, "");
        let same = match output["body"].as_str() {
            // The one with a part of the message as its body: it is compared as that part of it, because the row has it with defaults.
            Some(text) => {
                let around = |text: &str| {
                    let around = format!("{{\"checkouts\":{text}}}");
                    let around: Value = serde_json::from_str(&around).unwrap();
                    serde_json::to_value(DynamicMessage::deserialize(answer.descriptor(), around).unwrap()).unwrap()
                };
                around(text) == around(std::str::from_utf8(&body).unwrap())
            }
            None => {
                let read: Value = serde_json::from_slice(&body).unwrap();
                DynamicMessage::deserialize(method.output.clone(), read).unwrap() == answer
            }
        };
        if found != status || !same {
            wrong.push(format!("{name}: {found} {}", String::from_utf8_lossy(&body)));
        }
    }
    verdict("vanguard's library", rows, 0, &wrong);
}
