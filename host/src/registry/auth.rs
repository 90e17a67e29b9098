//! Authentication with a registry: credentials as stored by `docker login`, and the two ways in which registries ask
//! for them (RFC 7617, and the token protocol of the distribution specification).

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

/// Credentials by host. `Debug` never shows them.
#[derive(Clone, Default)]
pub struct Credentials {
    by_host: BTreeMap<String, Login>,
}

/// The credentials for one host.
#[derive(Clone)]
enum Login {
    Password {
        /// The value of `Authorization`, with user and password.
        basic: HeaderValue,
    },
    /// Another program has the credentials.
    Elsewhere { helper: String },
}

impl Credentials {
    /// Reads docker's configuration: the named file, otherwise the one at docker's own location, if it exists.
    ///
    /// # Errors
    /// The named file does not exist, or a file is not valid.
    pub fn read(named: Option<&Path>) -> Result<Credentials, String> {
        let found = || {
            let folder = std::env::var_os("DOCKER_CONFIG").map(Into::into);
            let home = || Some(Path::new(&std::env::var_os("HOME")?).join(".docker"));
            folder.or_else(home).map(|folder: std::path::PathBuf| folder.join("config.json"))
        };
        let Some(path) = named.map(Path::to_owned).or_else(found) else { return Ok(Credentials::default()) };
        match std::fs::read(&path) {
            Ok(text) => Credentials::parse(&text).map_err(|reason| format!("{}: {reason}", path.display())),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Credentials::default()),
            Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// Parses docker's `config.json`.
    pub fn parse(text: &[u8]) -> Result<Credentials, String> {
        // serde's error messages quote none of the values.
        let value: Value = serde_json::from_slice(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let members = |name: &str| value.get(name).and_then(Value::as_object).into_iter().flatten();
        let mut by_host = BTreeMap::new();
        for (host, entry) in members("auths") {
            let basic = basic(entry).map_err(|reason| format!("the credentials of {host:?}: {reason}"))?;
            let store = value.get("credsStore").and_then(Value::as_str);
            let login = match (basic, store) {
                (Some(basic), _) => Login::Password { basic },
                (None, Some(helper)) => Login::Elsewhere { helper: helper.to_owned() },
                (None, None) => continue,
            };
            by_host.insert(key(host), login);
        }
        for (host, helper) in members("credHelpers") {
            let helper = helper.as_str().unwrap_or_default().to_owned();
            by_host.entry(key(host)).or_insert(Login::Elsewhere { helper });
        }
        Ok(Credentials { by_host })
    }

    /// The value of `Authorization` for a host; `None` if there is none.
    pub(super) fn basic(&self, host: &str) -> Option<HeaderValue> {
        match self.by_host.get(host)? {
            Login::Password { basic } => Some(basic.clone()),
            Login::Elsewhere { .. } => None,
        }
    }

    /// The program that has the credentials of a host; the gateway does not run it.
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        match self.by_host.get(host)? {
            Login::Password { .. } => None,
            Login::Elsewhere { helper } => Some(helper),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.by_host.keys()).finish()
    }
}

/// How a registry asks for credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The first supported challenge (RFC 9110, section 11.6.1).
    pub fn of(headers: &HeaderMap) -> Option<Challenge> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        values.filter_map(Challenge::parse).next()
    }

    fn parse(text: &str) -> Option<Challenge> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters: BTreeMap<String, String> = parameters(rest).collect();
        let get = |name: &str| parameters.get(name).cloned();
        Some(Challenge::Bearer { realm: get("realm")?, service: get("service"), scope: get("scope") })
    }
}

/// Parses `name=value` and `name="value"`, separated by commas; values must not contain commas.
fn parameters(text: &str) -> impl Iterator<Item = (String, String)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        rest = after;
        Some((name, value.trim().to_owned()))
    })
}

/// `auth` is user and password in base64; some files have them separately.
fn basic(entry: &Value) -> Result<Option<HeaderValue>, &'static str> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let auth = match (text("auth"), text("username"), text("password")) {
        (Some(auth), ..) => {
            let decoded = STANDARD.decode(auth).map_err(|_| "\"auth\" is not in base64")?;
            if !decoded.contains(&b':') {
                return Err("\"auth\" is not user and password");
            }
            auth.to_owned()
        }
        (None, Some(user), Some(password)) => STANDARD.encode(format!("{user}:{password}")),
        _ => return Ok(None),
    };
    let mut value = HeaderValue::try_from(format!("Basic {auth}")).map_err(|_| "\"auth\" is not in base64")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A host as written, or the host of the address that docker once used.
fn key(written: &str) -> String {
    let host = written.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
    if host == "index.docker.io" { super::client::DOCKER_HUB.to_owned() } else { host }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_host_and_never_shown() {
        let text = r#"{ "credsStore": "desktop",
            "auths": { "ghcr.io": { "auth": "dXNlcjpzZWNyZXQ=" }, "https://index.docker.io/v1/": { "auth": "YTpi" },
                       "10.0.0.1:5000": { "username": "a", "password": "b" }, "quay.io": {} },
            "credHelpers": { "gcr.io": "gcloud", "ghcr.io": "other" } }"#;
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        for (host, basic, helper) in [
            ("ghcr.io", Some("Basic dXNlcjpzZWNyZXQ="), None),
            ("docker.io", Some("Basic YTpi"), None),
            ("10.0.0.1:5000", Some("Basic YTpi"), None),
            ("10.0.0.1", None, None),
            ("quay.io", None, Some("desktop")),
            ("gcr.io", None, Some("gcloud")),
            ("example.test", None, None),
        ] {
            let found = credentials.basic(host);
            assert_eq!(found.as_ref().map(|value| value.to_str().unwrap()), basic, "{host}");
            assert_eq!(credentials.helper(host), helper, "{host}");
        }
        let shown = format!("{credentials:?} {:?}", credentials.basic("ghcr.io"));
        assert!(!shown.contains("dXNlcjpz") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_is_not_docker_s_configuration() {
        for (text, words) in [
            ("", "no JSON"),
            (r#"{ "auths": { "a.test": { "auth": "!" } } }"#, "base64"),
            (r#"{ "auths": { "a.test": { "auth": "dXNlcg==" } } }"#, "user and password"),
        ] {
            let reason = Credentials::parse(text.as_bytes()).unwrap_err();
            assert!(reason.contains(words), "{reason}");
        }
        assert!(Credentials::read(Some(Path::new("/no/such/config.json"))).unwrap_err().contains("cannot be read"));
    }

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Some(Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) })
        };
        let scope = "repository:a/b:pull,push";
        for (text, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            ("Digest realm=\"x\"", None),
            ("", None),
            ("Bearer", None),
            ("Bearer realm=\"https://a.test/token\"", bearer("https://a.test/token", None, None)),
            (
                "Bearer realm=\"https://a.test/token\",service=\"a.test\", scope=\"repository:a/b:pull,push\"",
                bearer("https://a.test/token", Some("a.test"), Some(scope)),
            ),
            ("BEARER Realm=https://a.test/t, Service=a", bearer("https://a.test/t", Some("a"), None)),
            ("Bearer realm=\"never ends", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::WWW_AUTHENTICATE, text.parse().unwrap());
            assert_eq!(Challenge::of(&headers), expected, "{text}");
        }
    }
}
