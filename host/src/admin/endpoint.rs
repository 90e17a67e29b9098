//! The endpoints, and the response to each request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::task::{JoinError, spawn_blocking};

use super::problem::{Problem, json_response, text_response};
use super::{Applied, Control, IfMatch, Purge, Settings, body, guard};
use crate::telemetry::{Level, log};

/// The state that all connections share.
pub(super) struct Api {
    pub(super) settings: Settings,
    pub(super) control: Arc<dyn Control>,
}

enum Endpoint {
    Index,
    Live,
    Ready,
    Metrics,
    Config,
    Plugins,
    Upstreams,
    Cache,
    /// A name that [`Control`] has yet to check.
    Plugin(String),
}

impl Api {
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, mut incoming) = request.into_parts();
        let answer = self.answer(&head, &mut incoming).await;
        let mut response = answer.unwrap_or_else(Problem::into_response);
        if !body::discard(&mut incoming, &head.headers).await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn answer(
        &self,
        head: &http::request::Parts,
        incoming: &mut Incoming,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        guard::check_host(&self.settings, head)?;
        let access = self.control.access();
        guard::check_open(&self.settings, &access)?;
        let endpoint = Endpoint::find(head.uri.path());
        if !matches!(endpoint, Some(Endpoint::Live | Endpoint::Ready)) {
            guard::check_token(&access, &head.headers)?;
        }
        let endpoint = endpoint.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "GET / lists what there is."))?;
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        match endpoint {
            Endpoint::Index if reads => Ok(json_response(StatusCode::OK, &index())),
            Endpoint::Live if reads => Ok(state("alive", true)),
            Endpoint::Ready if reads => Ok(state("ready", self.control.ready())),
            Endpoint::Metrics if reads => self.metrics().await,
            Endpoint::Config if reads => Ok(self.config()),
            Endpoint::Config if head.method == Method::PUT => self.put_config(&head.headers, incoming).await,
            Endpoint::Plugins if reads => Ok(json_response(StatusCode::OK, &self.control.plugins())),
            Endpoint::Upstreams if reads => Ok(json_response(StatusCode::OK, &self.control.upstreams())),
            Endpoint::Cache if head.method == Method::DELETE => self.purge(head.uri.query().unwrap_or_default()).await,
            Endpoint::Plugin(name) if head.method == Method::PUT => self.put_plugin(name, incoming).await,
            other => {
                Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "See the Allow header for what can be done here.")
                    .with_header(header::ALLOW, other.methods()))
            }
        }
    }

    /// Runs on a thread of its own: the page for ten thousand routes takes a tenth of a second, and this runtime has
    /// health checks to run.
    async fn metrics(&self) -> Result<Response<Full<Bytes>>, Problem> {
        let control = Arc::clone(&self.control);
        let page = spawn_blocking(move || control.metrics()).await.map_err(fault)?;
        Ok(text_response(StatusCode::OK, crate::telemetry::exposition::CONTENT_TYPE, page))
    }

    async fn purge(&self, query: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let wrong = || {
            Problem::new(StatusCode::BAD_REQUEST, "Name what is to go by url=ADDRESS or tag=TAG, or nothing for all.")
        };
        let decoded =
            |value: &str| percent_decode_str(value).decode_utf8().map(|value| value.into_owned()).map_err(|_| wrong());
        let what = match query.split_once('=') {
            None if query.is_empty() => Purge::All,
            Some(("url", url)) => Purge::Url(decoded(url)?),
            Some(("tag", tag)) if !tag.is_empty() => Purge::Tag(decoded(tag)?),
            _ => return Err(wrong()),
        };
        if let Purge::Url(url) = &what
            && !url.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.authority().is_some())
        {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "The address begins with http:// or https:// and a host.",
            ));
        }
        let control = Arc::clone(&self.control);
        let purged = spawn_blocking(move || control.purge(what)).await.map_err(fault)?;
        Ok(json_response(StatusCode::OK, &json!({ "purged": purged })))
    }

    /// As plain text, because gateway.json may have comments, which JSON does not allow.
    fn config(&self) -> Response<Full<Bytes>> {
        let config = self.control.config();
        let response = text_response(StatusCode::OK, "text/plain; charset=utf-8", config.text.to_string());
        with_etag(response, &config.digest)
    }

    async fn put_config(&self, headers: &HeaderMap, incoming: &mut Incoming) -> Result<Response<Full<Bytes>>, Problem> {
        let if_match = if_match(headers)?;
        // Checked here only to avoid reading the body in vain; the check in apply_config decides.
        let current = self.control.config().digest;
        if !if_match.matches(&current) {
            return Err(super::Refused::Stale { current }.into());
        }
        let bytes = body::read(incoming, self.settings.config_limit_bytes, self.settings.body_time).await?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The configuration is not UTF-8."))?;
        let control = Arc::clone(&self.control);
        let applied = to_its_end(async move { control.apply_config(text, if_match).await }).await??;
        Ok(applied_response(applied))
    }

    async fn put_plugin(&self, name: String, incoming: &mut Incoming) -> Result<Response<Full<Bytes>>, Problem> {
        let component = body::read(incoming, self.settings.plugin_limit_bytes, self.settings.body_time).await?;
        let control = Arc::clone(&self.control);
        let applied = to_its_end(async move { control.put_plugin(&name, component).await }).await??;
        Ok(applied_response(applied))
    }
}

impl Endpoint {
    fn find(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Endpoint::Index),
            "/livez" => Some(Endpoint::Live),
            "/readyz" => Some(Endpoint::Ready),
            "/metrics" => Some(Endpoint::Metrics),
            "/config" => Some(Endpoint::Config),
            "/plugins" => Some(Endpoint::Plugins),
            "/upstreams" => Some(Endpoint::Upstreams),
            "/cache" => Some(Endpoint::Cache),
            _ => path
                .strip_prefix("/plugins/")
                .filter(|name| is_name(name))
                .map(|name| Endpoint::Plugin(name.to_owned())),
        }
    }

    fn methods(&self) -> &'static str {
        match self {
            Endpoint::Config => "GET, HEAD, PUT",
            Endpoint::Plugin(_) => "PUT",
            Endpoint::Cache => "DELETE",
            _ => "GET, HEAD",
        }
    }
}

/// The list of endpoints.
fn index() -> Value {
    json!({
        "name": "gatewright",
        "version": env!("CARGO_PKG_VERSION"),
        "endpoints": {
            "GET /livez": "200 while the process answers",
            "GET /readyz": "200 while the gateway takes traffic, else 503",
            "GET /metrics": "metrics in Prometheus' text format",
            "GET /config": "gateway.json as written; its digest is the ETag",
            "PUT /config": "a new gateway.json; If-Match with that ETag is required",
            "GET /plugins": "the plugins that run",
            "GET /upstreams": "the upstreams and the health of their endpoints",
            "PUT /plugins/NAME": "a new component (.wasm) for a plugin",
            "DELETE /cache": "forgets remembered responses: ?url=ADDRESS, ?tag=TAG, or all",
        },
    })
}

fn state(name: &str, holds: bool) -> Response<Full<Bytes>> {
    let (status, text) = if holds { (StatusCode::OK, "") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ") };
    text_response(status, "text/plain; charset=utf-8", format!("{text}{name}\n"))
}

/// `If-Match` is required, so that nobody overwrites a configuration that they have not seen (RFC 6585, section 3).
fn if_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    if values.peek().is_none() {
        let detail = "Send If-Match with the ETag of the configuration that this one replaces, or with *.";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
    }
    let lines: Option<Vec<_>> = values.map(|value| value.to_str().ok()).collect();
    lines
        .and_then(|lines| IfMatch::parse(&lines.join(",")))
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "If-Match is neither * nor a list of quoted entity tags."))
}

/// Runs a change in a task of its own, so that it is completed or refused even if the client disconnects.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    tokio::spawn(change).await.map_err(fault)
}

fn fault(error: JoinError) -> Problem {
    log(Level::Error, "an admin request failed", &[("error", &error)]);
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "A fault of the gateway; its log says more.")
}

fn applied_response(applied: Applied) -> Response<Full<Bytes>> {
    let Applied { digest, mut details } = applied;
    details.insert("digest".into(), digest.as_str().into());
    with_etag(json_response(StatusCode::OK, &Value::Object(details)), &digest)
}

fn with_etag(mut response: Response<Full<Bytes>>, digest: &str) -> Response<Full<Bytes>> {
    const ETAG: HeaderName = header::ETAG;
    // A digest is hexadecimal, so it is always a valid value.
    if let Ok(etag) = HeaderValue::try_from(format!("\"{digest}\"")) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Names of plugins are kebab-case; this allows slightly more, but no character with a meaning in a path.
fn is_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with('.')
}

const MAX_NAME_BYTES: usize = 128;
