//! `echo` answers requests itself: with what it received, as JSON, or with a fixed response.
//!
//! It serves routes that need no server: a first look at a fresh gateway, a health page, a "we will be back".
//! Credentials in its report are masked, so they show neither in a browser nor in a screenshot.

use std::collections::BTreeMap;

use gatewright_sdk::{Decision, Exchange, Plugin, Response, StatusCode, config, plugin, rules};

mod report;

use report::{Headers, Report};

/// Answers with a report of the request, or with `respond`.
#[config]
#[derive(Debug)]
pub struct Config {
    /// The response to every request. Default: a report of the request.
    respond: Option<Fixed>,
    /// Headers whose values the report masks, besides `authorization`, `proxy-authorization`, `cookie`, `x-api-key` and
    /// `x-auth-token`.
    #[serde(default)]
    mask: Vec<String>,
}

/// A fixed response.
#[config]
#[derive(Debug)]
pub struct Fixed {
    /// The status, from 200 to 599.
    #[serde(default = "ok")]
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// Headers to add. `content-type` is `text/plain; charset=utf-8` unless given here.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    body: String,
}

const fn ok() -> u16 {
    200
}

/// The plugin.
#[derive(Debug)]
pub struct Echo {
    fixed: Option<Response>,
    masked: Vec<String>,
}

#[plugin]
impl Plugin for Echo {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        let mask = config.mask.iter().map(|name| name.to_ascii_lowercase());
        Ok(Self {
            fixed: config.respond.map(fixed_response).transpose()?,
            masked: CREDENTIALS.iter().map(|&name| name.to_owned()).chain(mask).collect(),
        })
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        if let Some(response) = &self.fixed {
            return Decision::Respond(response.clone());
        }
        match Response::json(StatusCode::OK, &self.report(exchange)) {
            Ok(response) => Decision::Respond(
                response.with_header("cache-control", "no-store").with_header("x-content-type-options", "nosniff"),
            ),
            Err(_) => Decision::problem(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "no report"),
        }
    }
}

impl Echo {
    fn report(&self, exchange: &Exchange) -> Report {
        Report {
            method: exchange.method().to_string(),
            path: exchange.path(),
            host: exchange.authority(),
            headers: Headers::masked(exchange.request_headers().all(), &self.masked),
            client: exchange.attribute("source.address"),
            request_id: exchange.attribute("request.id"),
        }
    }
}

fn fixed_response(fixed: Fixed) -> Result<Response, String> {
    let status = StatusCode::from_u16(fixed.status).ok().filter(|status| (200..=599).contains(&status.as_u16()));
    let status = status.ok_or_else(|| format!("respond.status: {} is not from 200 to 599", fixed.status))?;
    let mut response = Response::new(status);
    for (name, value) in &fixed.headers {
        rules::check_name(name).map_err(|why| format!("respond.headers: {name:?} {why}"))?;
        rules::check_value(value).map_err(|why| format!("respond.headers: the value of {name:?} {why}"))?;
        response = response.with_header(name.to_ascii_lowercase(), value);
    }
    if !fixed.body.is_empty() {
        if response.header("content-type").is_none() {
            response = response.with_header("content-type", "text/plain; charset=utf-8");
        }
        response.body = fixed.body.into_bytes();
    }
    Ok(response)
}

/// Headers that carry a credential on most sites.
const CREDENTIALS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use gatewright_sdk::{
        serde_json::{Value, json},
        testing::{Double, Request},
    };

    use super::*;

    fn answer(config: &str, request: Request) -> Response {
        let gateway = Double::new();
        let echo: Echo = gateway.configure(config).unwrap();
        gateway.receive(request);
        match gateway.on_request(&echo) {
            Decision::Respond(response) => response,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_reported() {
        let request = Request::get("/a?b=c")
            .authority("example.org:8080")
            .header("Accept", "text/html")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .attribute("source.address", "203.0.113.9")
            .attribute("request.id", "abc");
        let response = answer("{}", request);
        assert_eq!((response.status, response.header("content-type")), (StatusCode::OK, Some("application/json")));
        assert_eq!(
            String::from_utf8(response.body).unwrap(),
            concat!(
                r#"{"method":"GET","path":"/a?b=c","host":"example.org:8080","#,
                r#""headers":{"accept":"text/html","x-twice":"1, 2"},"client":"203.0.113.9","request_id":"abc"}"#
            )
        );
    }

    #[test]
    fn credentials_are_masked() {
        let request = CREDENTIALS.iter().fold(Request::get("/"), |request, name| request.header(name, "s3cret"));
        let request = request.header("cookie", "more=s3cret").header("x-mine", "s3cret").header("x-open", "shown");
        let body = answer(r#"{ "mask": ["X-Mine"] }"#, request).body;
        let body = String::from_utf8(body).unwrap();
        assert!(!body.contains("s3cret"), "{body}");
        assert!(body.contains("shown") && body.contains(r#""cookie":"***, ***""#), "{body}");
    }

    #[test]
    fn whatever_comes_the_report_is_json() {
        let request =
            Request::get("/\"<script>\\").header_bytes("x-bytes", b"\xff\xfe\"").header_bytes("x-control", b"a\tb\x01");
        let report: Value = gatewright_sdk::serde_json::from_slice(&answer("{}", request).body).unwrap();
        assert_eq!(report["path"], json!("/\"<script>\\"));
        assert_eq!(report["headers"]["x-bytes"], json!("\u{fffd}\u{fffd}\""));
        assert_eq!(report.get("client"), None);
    }

    #[test]
    fn a_fixed_response_is_given() {
        let config = r#"{ "respond": { "status": 503, "headers": { "Retry-After": "60" }, "body": "back soon" } }"#;
        let response = answer(config, Request::get("/"));
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.header("retry-after"), Some("60"));
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.body, b"back soon");

        let response = answer(r#"{ "respond": { "status": 204 } }"#, Request::get("/"));
        assert_eq!((response.status, response.headers.len(), response.body.len()), (StatusCode::NO_CONTENT, 0, 0));

        let config = r#"{ "respond": { "headers": { "content-type": "text/html" }, "body": "<p>" } }"#;
        let response = answer(config, Request::get("/"));
        assert_eq!((response.header("content-type"), response.headers.len()), (Some("text/html"), 1));
    }

    #[test]
    fn bad_configurations_are_refused_by_name() {
        for (config, named) in [
            (r#"{ "respond": { "status": 99 } }"#, "99"),
            (r#"{ "respond": { "status": 100 } }"#, "100"),
            (r#"{ "respond": { "status": 600 } }"#, "600"),
            (r#"{ "respond": { "headers": { "x y": "1" } } }"#, "x y"),
            (r#"{ "respond": { "headers": { "content-length": "1" } } }"#, "content-length"),
            (r#"{ "respond": { "headers": { "x-a": "1\r\nx-b: 2" } } }"#, "x-a"),
            (r#"{ "respnd": {} }"#, "respnd"),
            (r#"{ "respond": { "stats": 1 } }"#, "stats"),
            ("[]", "invalid"),
            ("{", "EOF"),
        ] {
            let refused = Double::new().configure::<Echo>(config).unwrap_err();
            assert!(refused.contains(named), "{config}: {refused}");
        }
    }
}
