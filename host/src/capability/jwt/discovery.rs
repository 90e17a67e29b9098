//! Discovery documents (OpenID Connect Discovery 1.0): an issuer's description of itself, and where its keys are.
//!
//! A document is fetched through an upstream that the operator named, and so is the key set that it names, which
//! therefore must be at the host of the issuer. Whatever a document says, nothing is sent anywhere else.

use std::sync::Arc;

use serde_json::Value;

use super::super::unique_json;

/// A document of the right issuer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Discovered {
    pub(super) document: Arc<str>,
    /// The address of its keys, at the host of the issuer.
    pub(super) jwks: String,
}

/// The address of an issuer's document (section 4).
///
/// # Errors
/// The issuer is not an address, or has more than a host and a path.
pub(super) fn address(issuer: &str) -> Result<String, String> {
    let fits =
        origin(issuer).is_some() && issuer.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte));
    match fits {
        true => Ok(format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))),
        false => Err(format!("issuer: {issuer:?} is no address of an issuer, such as \"https://id.example\"")),
    }
}

/// Parses a document, whose issuer must match exactly (section 4.3).
///
/// # Errors
/// Why it cannot be used, for the operator.
pub(super) fn read(issuer: &str, body: &[u8]) -> Result<Discovered, String> {
    let members = unique_json::object(body).map_err(|why| format!("the discovery document cannot be read: {why}"))?;
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(match text("issuer") {
            Some(other) => format!("the discovery document is of the issuer {other:?}, not of {issuer:?}"),
            None => "the discovery document names no issuer".to_owned(),
        });
    }
    let jwks = text("jwks_uri").ok_or("the discovery document names no \"jwks_uri\"")?;
    let is_plain = jwks.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || origin(jwks).is_none() || origin(jwks) != origin(issuer) {
        return Err(format!(
            "the \"jwks_uri\" {jwks:?} of the discovery document is not at the host of the issuer; write it as \"jwks\" in the \
             place of discovery"
        ));
    }
    let document = std::str::from_utf8(body).map_err(|_| "the discovery document is no text")?.into();
    Ok(Discovered { document, jwks: jwks.to_owned() })
}

/// The origin of an address: `https://id.example:1` for `https://id.example:1/a`.
fn origin(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let host = rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())?;
    address.get(..address.len() - rest.len() + host.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn where_the_document_of_an_issuer_is() {
        for (issuer, expected) in [
            ("https://id.example", Some("https://id.example/.well-known/openid-configuration")),
            ("https://id.example/", Some("https://id.example/.well-known/openid-configuration")),
            ("http://id.example:8/a/b", Some("http://id.example:8/a/b/.well-known/openid-configuration")),
            ("id.example", None),
            ("ftp://id.example", None),
            ("https://", None),
            ("https:///a", None),
            ("https://id.example?a=b", None),
            ("https://id.example#a", None),
            ("https://ada@id.example", None),
            ("https://id.example\r\nhost: a", None),
        ] {
            assert_eq!(address(issuer).ok().as_deref(), expected, "{issuer}");
        }
    }

    #[test]
    fn only_the_issuer_s_own_document_with_keys_at_its_own_host_is_taken() {
        let issuer = "https://id.example/a";
        let document = |issuer: Value, jwks: &str| json!({ "issuer": issuer, "jwks_uri": jwks }).to_string();
        let good = document(json!(issuer), "https://id.example/keys?v=1");
        let read = |body: &str| super::read(issuer, body.as_bytes());
        let found = read(&good).unwrap();
        assert_eq!((&*found.document, found.jwks.as_str()), (good.as_str(), "https://id.example/keys?v=1"));
        for (body, words) in [
            ("<html>".to_owned(), "cannot be read"),
            ("[]".to_owned(), "not a JSON object"),
            (format!("{{ \"issuer\": \"https://evil.example\", {}", &good[1..]), "twice"),
            (document(json!("https://id.example/a/"), "https://id.example/keys"), "of the issuer"),
            (document(json!("https://ID.example/a"), "https://id.example/keys"), "of the issuer"),
            (document(json!(7), "https://id.example/keys"), "no issuer"),
            (json!({ "issuer": issuer }).to_string(), "jwks_uri"),
            (document(json!(issuer), "https://keys.example/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "http://id.example/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "https://id.example:444/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "https://id.example.evil/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "https://id.example@evil/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "/keys"), "not at the host of the issuer"),
            (document(json!(issuer), "https://id.example/ke ys"), "not at the host of the issuer"),
        ] {
            let why = read(&body).unwrap_err();
            assert!(why.contains(words), "{body}: {why}");
        }
    }
}
