//! The definition of a key set, as a plugin declares it: JSON parsed into checked values.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::super::unique_json;
use super::algorithm::{Algorithm, Algorithms};
use super::jwk::{self, Unfit};
use super::key::Key;
use super::verify::Rules;

/// A parsed and checked definition. Whether its addresses and paths are allowed has not been checked yet.
pub(super) struct Definition {
    pub(super) algorithms: Algorithms,
    pub(super) keys: Vec<Key>,
    /// An `http` or `https` address.
    pub(super) jwks: Option<String>,
    pub(super) jwks_file: Option<String>,
    /// The upstream through which the issuer's discovery document is fetched. It requires an issuer.
    pub(super) discovery: Option<String>,
    pub(super) rules: Rules,
}

impl Definition {
    pub(super) fn parse(definition: &str) -> Result<Definition, String> {
        if definition.len() > MAX_DEFINITION_BYTES {
            return Err(format!("the definition is longer than {MAX_DEFINITION_BYTES} bytes"));
        }
        let members = unique_json::object(definition.as_bytes())?;
        let known = ["algorithms", "keys", "jwks", "jwks_file", "discovery", "issuer", "audience", "leeway"];
        expect_only(&members, &known)?;

        let algorithms = Algorithms::allow(texts(&members, "algorithms")?)?;
        let definition = Definition {
            algorithms,
            keys: keys(&members, algorithms)?,
            jwks: text(&members, "jwks")?.map(address).transpose()?,
            jwks_file: text(&members, "jwks_file")?.map(str::to_owned),
            discovery: text(&members, "discovery")?.map(str::to_owned),
            rules: Rules {
                issuer: text(&members, "issuer")?.map(str::to_owned),
                audience: audience(&members)?,
                leeway_s: leeway(&members)?,
            },
        };
        let Definition { keys, jwks, jwks_file, discovery, rules, .. } = &definition;
        if keys.is_empty() && jwks.is_none() && jwks_file.is_none() && discovery.is_none() {
            return Err("one of keys, jwks, jwks_file and discovery is needed".to_owned());
        }
        match (discovery, &rules.issuer) {
            (None, _) => {}
            (Some(_), _) if jwks.is_some() => return Err("discovery names the key set, so jwks does not".to_owned()),
            (Some(_), None) => return Err("discovery wants the issuer whose document it is".to_owned()),
            (Some(_), Some(issuer)) => drop(super::discovery::address(issuer)?),
        }
        Ok(definition)
    }

    /// The host of the address of the keys, if it is an http address.
    pub(super) fn host_in_the_clear(&self) -> Option<&str> {
        let authority = self.jwks.as_deref()?.strip_prefix("http://")?.split(['/', '?', '#']).next()?;
        let place = authority.rsplit('@').next()?;
        match place.strip_prefix('[') {
            Some(address) => address.split(']').next(),
            None => place.split(':').next(),
        }
    }
}

/// Whether a host is this machine, so that nobody on the way can replace what it answers.
pub fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn keys(members: &Map<String, Value>, algorithms: Algorithms) -> Result<Vec<Key>, String> {
    let list = match members.get("keys") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_KEYS => list,
        Some(_) => return Err(format!("keys must be a list of at most {MAX_KEYS}")),
    };
    let read =
        |(at, value): (usize, &Value)| key(value, algorithms).map_err(|problem| format!("keys[{at}]: {problem}"));
    let keys = list.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    match keys.iter().find(|key| keys.iter().any(|other| key.is_ambiguous_with(other))) {
        Some(key) => Err(format!("keys: two of them have the kid {:?}", key.kid().unwrap_or_default())),
        None => Ok(keys),
    }
}

fn key(value: &Value, algorithms: Algorithms) -> Result<Key, String> {
    let members = value.as_object().ok_or("must be an object")?;
    expect_only(members, &["pem", "secret", "jwk", "kid", "alg"])?;
    let mut key = match (text(members, "pem")?, text(members, "secret")?, members.get("jwk")) {
        (Some(pem), None, None) => Key::pem(pem)?,
        (None, Some(secret), None) => Key::secret(secret.as_bytes())?,
        (None, None, Some(Value::Object(jwk))) => jwk::key(jwk).map_err(|unfit| match unfit {
            Unfit::NotForSignatures => "its use or key_ops say that it is not for signatures".to_owned(),
            Unfit::Unusable(why) => why,
        })?,
        (None, None, Some(_)) => return Err("jwk must be an object".to_owned()),
        _ => return Err("exactly one of pem, secret and jwk is needed".to_owned()),
    };
    if let Some(name) = text(members, "alg")? {
        key = key.only_for(Algorithm::named(name).ok_or_else(|| format!("alg {name:?} is not known"))?)?;
    }
    if let Some(kid) = text(members, "kid")? {
        key = key.with_kid(kid);
    }
    if !key.fits_one_of(algorithms) {
        return Err("it fits none of the algorithms of this key set".to_owned());
    }
    Ok(key)
}

fn audience(members: &Map<String, Value>) -> Result<Vec<String>, String> {
    match members.get("audience") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        // An empty list would look like a check but check nothing.
        Some(Value::Array(list)) if list.is_empty() => Err("audience is an empty list".to_owned()),
        Some(_) => Ok(texts(members, "audience")?.map(str::to_owned).collect()),
    }
}

fn leeway(members: &Map<String, Value>) -> Result<u64, String> {
    let Some(value) = members.get("leeway") else { return Ok(0) };
    let seconds = value.as_u64().filter(|seconds| *seconds <= MAX_LEEWAY_S);
    seconds.ok_or_else(|| format!("leeway must be a whole number of seconds from 0 to {MAX_LEEWAY_S}"))
}

fn address(address: &str) -> Result<String, String> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    let is_plain = address.len() <= MAX_ADDRESS_BYTES && address.bytes().all(|byte| byte.is_ascii_graphic());
    let fits = is_plain && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    fits.then(|| address.to_owned()).ok_or_else(|| format!("jwks: {address:?} is not an http or https address"))
}

fn expect_only(members: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("{name:?} is not one of {}", known.join(", "))),
        None => Ok(()),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text and not empty")),
    }
}

fn texts<'a>(members: &'a Map<String, Value>, name: &str) -> Result<impl Iterator<Item = &'a str>, String> {
    match members.get(name) {
        Some(Value::Array(list)) if list.len() <= MAX_KEYS && list.iter().all(Value::is_string) => {
            Ok(list.iter().filter_map(Value::as_str))
        }
        _ => Err(format!("{name} must be a list of texts")),
    }
}

const MAX_DEFINITION_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 100;
const MAX_ADDRESS_BYTES: usize = 2 << 10;
/// No honest clock is off by more than five minutes.
const MAX_LEEWAY_S: u64 = 300;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn problem(definition: &str) -> String {
        Definition::parse(&definition.replace("SECRET", SECRET)).err().unwrap_or_default()
    }

    #[test]
    fn hosts_of_http_addresses() {
        for (jwks, host, is_here) in [
            ("https://id.example/keys", None, false),
            ("http://id.example/keys", Some("id.example"), false),
            ("http://id.example:80?a", Some("id.example"), false),
            ("http://127.0.0.1@id.example/", Some("id.example"), false),
            ("http://127.0.0.1.example", Some("127.0.0.1.example"), false),
            ("http://[2001:db8::1]:80/", Some("2001:db8::1"), false),
            ("http://10.0.0.1/", Some("10.0.0.1"), false),
            ("http://127.0.0.1:9/keys", Some("127.0.0.1"), true),
            ("http://[::1]:9/keys", Some("::1"), true),
            ("http://Localhost:9", Some("Localhost"), true),
        ] {
            let text = format!(r#"{{ "algorithms": ["RS256"], "issuer": "me", "jwks": "{jwks}" }}"#);
            let definition = Definition::parse(&text).unwrap();
            assert_eq!(definition.host_in_the_clear(), host, "{jwks}");
            assert_eq!(host.is_some_and(is_loopback), is_here, "{jwks}");
        }
        assert!(is_loopback("[::1]") && !is_loopback("[::2]"));
    }

    #[test]
    fn definitions_are_read_and_mistakes_are_named() {
        let fine = r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "SECRET", "kid": "a", "alg": "HS256" }],
            "issuer": "https://id.example/", "audience": ["a", "b"], "leeway": 300 }"#;
        let definition = Definition::parse(&fine.replace("SECRET", SECRET)).unwrap();
        assert_eq!(definition.keys[0].kid(), Some("a"));
        assert_eq!((definition.rules.audience, definition.rules.leeway_s), (vec!["a".into(), "b".into()], 300));

        for (definition, expected) in [
            ("[]", "not a JSON object"),
            (r#"{ "algorithms": ["RS256"], "algorithms": ["HS256"] }"#, "twice"),
            (r#"{ "keys": [{ "secret": "SECRET" }] }"#, "algorithms must be a list"),
            (r#"{ "algorithms": "HS256" }"#, "algorithms must be a list"),
            (r#"{ "algorithms": [] }"#, "at least one"),
            (r#"{ "algorithms": ["none"] }"#, "\"none\" is not one of"),
            (r#"{ "algorithms": ["HS256", "RS256"] }"#, "a key set for each"),
            (r#"{ "algorithms": ["HS256"] }"#, "one of keys, jwks, jwks_file and discovery"),
            (r#"{ "algorithms": ["HS256"], "keys": [] }"#, "one of keys, jwks, jwks_file and discovery"),
            (r#"{ "algorithms": ["RS256"], "discovery": "id" }"#, "wants the issuer"),
            (
                r#"{ "algorithms": ["RS256"], "discovery": "id", "issuer": "https://a", "jwks": "https://a/" }"#,
                "jwks does not",
            ),
            (r#"{ "algorithms": ["RS256"], "discovery": "id", "issuer": "https://a/?b" }"#, "no address of an issuer"),
            (r#"{ "algorithms": ["RS256"], "discovery": "id", "issuer": "id.example" }"#, "no address of an issuer"),
            (r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "short" }] }"#, "keys[0]: the secret has 5 bytes"),
            (r#"{ "algorithms": ["HS512"], "keys": [{ "secret": "SECRET" }] }"#, "none of the algorithms"),
            (r#"{ "algorithms": ["RS256"], "keys": [{ "secret": "SECRET" }] }"#, "none of the algorithms"),
            (r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "SECRET", "alg": "RS256" }] }"#, "does not fit"),
            (r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "SECRET", "pem": "x" }] }"#, "exactly one of"),
            (r#"{ "algorithms": ["HS256"], "keys": [{ "pem": "x" }] }"#, "no PEM block"),
            (r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "-----BEGIN PUBLIC KEY-----" }] }"#, "is no secret"),
            (
                r#"{ "algorithms": ["HS256"], "keys": [{ "secret": "SECRET", "kid": "a" }, { "secret": "xSECRET", "kid": "a" }] }"#,
                "two of them have the kid \"a\"",
            ),
            (r#"{ "algorithms": ["RS256"], "jwks": "file:///etc/passwd" }"#, "not an http or https address"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https:///x" }"#, "not an http or https address"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a\r\nb" }"#, "not an http or https address"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "leeway": 301 }"#, "0 to 300"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "leeway": -1 }"#, "0 to 300"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "audience": [] }"#, "empty list"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "audience": [1] }"#, "audience must be"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "issuer": "" }"#, "issuer must be"),
            (r#"{ "algorithms": ["RS256"], "jwks": "https://a/", "jwks_url": "x" }"#, "\"jwks_url\" is not one of"),
        ] {
            let problem = problem(definition);
            assert!(problem.contains(expected), "{definition}\n  gave {problem:?}\n  not {expected:?}");
            assert!(!problem.contains(SECRET));
        }
    }
}
