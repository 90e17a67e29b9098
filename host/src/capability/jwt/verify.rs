//! One token: its parts, its signature, its claims. Pure; keys and time are arguments.
//!
//! The order makes it safe and cheap: the text's form, then the algorithm against the allow-list, then a key that fits,
//! then the signature, and only a signed payload is parsed as claims. The header is untrusted until then, and only its
//! `alg`, `kid` and `crit` are read: keys and addresses of keys in it (`jwk`, `jku`, `x5c`, `x5u`) are never used (RFC
//! 8725 section 3.10).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::super::unique_json;
use super::VerifyError;
use super::algorithm::{Algorithm, Algorithms};
use super::key::Key;

/// Checks the signature of a token in JWS compact form (RFC 7515 section 7.1) and returns the signed payload. Claims
/// are not checked: this is the layer below [`KeySets::verify`](super::KeySets::verify).
pub fn verify_signature(token: &str, keys: &[Key], algorithms: Algorithms) -> Result<Vec<u8>, VerifyError> {
    let token = Token::parse(token)?;
    token.verify(keys.iter(), algorithms)?;
    Ok(token.payload)
}

/// A token split into its parts, nothing of it verified.
pub(super) struct Token<'a> {
    /// `None` if this gateway does not know the name.
    algorithm: Option<Algorithm>,
    kid: Option<String>,
    /// Header and payload as they were signed.
    message: &'a str,
    pub(super) payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Three parts in base64url without padding, the header a JSON object. Any `crit` is refused, since no extension is
    /// supported here (RFC 7515 section 4.1.11).
    pub(super) fn parse(token: &'a str) -> Result<Token<'a>, VerifyError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(VerifyError::Malformed);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyError::Malformed);
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| VerifyError::Malformed);
        let message = token.get(..header.len() + 1 + payload.len()).ok_or(VerifyError::Malformed)?;
        let header = unique_json::object(&decode(header)?).map_err(|_| VerifyError::Malformed)?;
        let kid = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return Err(VerifyError::Malformed),
        };
        let (Some(Value::String(algorithm)), None) = (header.get("alg"), header.get("crit")) else {
            return Err(VerifyError::Malformed);
        };
        Ok(Token {
            algorithm: Algorithm::named(algorithm),
            kid,
            message,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    pub(super) fn names_its_key(&self) -> bool {
        self.kid.is_some()
    }

    /// See [`Signed::verify`].
    pub(super) fn verify<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key> + Clone,
        algorithms: Algorithms,
    ) -> Result<(), VerifyError> {
        let algorithm = self.algorithm.map_or("", Algorithm::name);
        let (message, signature) = (self.message.as_bytes(), &*self.signature);
        Signed { kid: self.kid.as_deref(), algorithm, message, signature }.verify(keys, algorithms)
    }
}

/// Bytes and their signature, not verified.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The name of the key, if known.
    pub kid: Option<&'a str>,
    /// By its name in tokens.
    pub algorithm: &'a str,
    pub message: &'a [u8],
    /// In the form that it has in a token.
    pub signature: &'a [u8],
}

impl Signed<'_> {
    /// If a key is named, the keys with this name are tried, or otherwise those without a name; if none is named, every
    /// key. In each case only keys that fit, and at most [`MAX_TRIED_KEYS`].
    pub(super) fn verify<'k>(
        &self,
        keys: impl Iterator<Item = &'k Key> + Clone,
        algorithms: Algorithms,
    ) -> Result<(), VerifyError> {
        let allowed = Algorithm::named(self.algorithm).filter(|algorithm| algorithms.contains(*algorithm));
        let algorithm = allowed.ok_or(VerifyError::AlgorithmNotAllowed)?;
        if self.signature.is_empty() {
            return Err(VerifyError::BadSignature);
        }
        let named = |key: &&Key| self.kid.is_some() && key.kid() == self.kid;
        let is_known = keys.clone().any(|key| named(&key));
        let candidates =
            keys.filter(|key| if is_known { named(key) } else { self.kid.is_none() || key.kid().is_none() });

        let mut tried = 0;
        for key in candidates.filter(|key| key.fits(algorithm)).take(MAX_TRIED_KEYS) {
            if key.verify(algorithm, self.message, self.signature) {
                return Ok(());
            }
            tried += 1;
        }
        match (tried, is_known) {
            (0, true) => Err(VerifyError::AlgorithmNotAllowed),
            (0, false) => Err(VerifyError::UnknownKey),
            // A key set that was rotated since looks the same as a forged token.
            (_, false) if self.kid.is_some() => Err(VerifyError::UnknownKey),
            _ => Err(VerifyError::BadSignature),
        }
    }
}

/// A key set's rules for claims, besides an `exp`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    /// Any one of them must match; empty for no check.
    pub(super) audience: Vec<String>,
    pub(super) leeway_s: u64,
}

/// The seconds of Unix time in which a token is valid: `from <= now < until`, leeway included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Validity {
    pub(super) from_s: u64,
    pub(super) until_s: u64,
}

impl Rules {
    /// Checks the claims (RFC 7519 section 4.1) except for the time, and returns the time in which they are valid.
    pub(super) fn check(&self, claims: &Map<String, Value>) -> Result<Validity, VerifyError> {
        let leeway = self.leeway_s as f64;
        let expires = date(claims, "exp")?.ok_or_else(|| VerifyError::Other("the token has no exp".to_owned()))?;
        let starts = date(claims, "nbf")?.unwrap_or(0.0).max(date(claims, "iat")?.unwrap_or(0.0));
        // A cast of a float stops at the ends of the range. Rounded up, a whole second compares as the fraction would.
        let validity = Validity { from_s: (starts - leeway).ceil() as u64, until_s: (expires + leeway).ceil() as u64 };

        let issuer = match claims.get("iss") {
            None => None,
            Some(Value::String(issuer)) => Some(issuer),
            Some(_) => return Err(VerifyError::Malformed),
        };
        if self.issuer.is_some() && self.issuer.as_ref() != issuer {
            return Err(VerifyError::WrongIssuer);
        }
        let is_meant = |audience: &Value| self.audience.iter().any(|ours| audience == ours);
        let is_for_us = match claims.get("aud") {
            None => false,
            Some(one @ Value::String(_)) => is_meant(one),
            Some(Value::Array(list)) if list.iter().all(Value::is_string) => list.iter().any(is_meant),
            Some(_) => return Err(VerifyError::Malformed),
        };
        if !self.audience.is_empty() && !is_for_us {
            return Err(VerifyError::WrongAudience);
        }
        Ok(validity)
    }
}

impl Validity {
    pub(super) fn check(self, now_s: u64) -> Result<(), VerifyError> {
        if now_s >= self.until_s {
            Err(VerifyError::Expired)
        } else if now_s < self.from_s {
            Err(VerifyError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// A NumericDate (RFC 7519 section 2): seconds, fractions allowed.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, VerifyError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(VerifyError::Malformed),
    }
}

/// Longer tokens are refused without a look. A header line with a longer one would be too long anyway.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Limits the work that one token without `kid` can cause.
pub const MAX_TRIED_KEYS: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(rules: &Rules, claims: &str, now_s: u64) -> Result<(), VerifyError> {
        rules.check(&unique_json::object(claims.as_bytes()).unwrap())?.check(now_s)
    }

    #[test]
    fn times() {
        use VerifyError::{Expired, Malformed, NotYetValid};
        let no_exp = || Err(VerifyError::Other("the token has no exp".to_owned()));
        for (claims, leeway_s, now_s, expected) in [
            (r#"{"exp":100}"#, 0, 99, Ok(())),
            (r#"{"exp":100}"#, 0, 100, Err(Expired)),
            (r#"{"exp":100.5}"#, 0, 100, Ok(())),
            (r#"{"exp":100.5}"#, 0, 101, Err(Expired)),
            (r#"{"exp":100}"#, 60, 159, Ok(())),
            (r#"{"exp":100}"#, 60, 160, Err(Expired)),
            (r#"{"exp":9223372036854775807}"#, 300, 99, Ok(())),
            (r#"{"exp":1e300}"#, 300, u64::MAX - 1, Ok(())),
            (r#"{"exp":-1}"#, 0, 0, Err(Expired)),
            (r#"{"exp":"100"}"#, 0, 1, Err(Malformed)),
            (r#"{"exp":null}"#, 0, 1, Err(Malformed)),
            (r#"{"exp":[100]}"#, 0, 1, Err(Malformed)),
            ("{}", 0, 1, no_exp()),
            (r#"{"exp":100,"nbf":50}"#, 0, 50, Ok(())),
            (r#"{"exp":100,"nbf":50}"#, 0, 49, Err(NotYetValid)),
            (r#"{"exp":100,"nbf":50.5}"#, 0, 50, Err(NotYetValid)),
            (r#"{"exp":100,"nbf":50}"#, 10, 40, Ok(())),
            (r#"{"exp":100,"nbf":"1"}"#, 0, 50, Err(Malformed)),
            (r#"{"exp":100,"iat":51}"#, 0, 50, Err(NotYetValid)),
            (r#"{"exp":100,"iat":51,"nbf":1}"#, 1, 50, Ok(())),
            (r#"{"exp":100,"iat":true}"#, 0, 50, Err(Malformed)),
        ] {
            let rules = Rules { leeway_s, ..Rules::default() };
            assert_eq!(check(&rules, claims, now_s), expected, "{claims} at {now_s}");
        }
    }

    #[test]
    fn issuer_and_audience() {
        use VerifyError::{Malformed, WrongAudience, WrongIssuer};
        let rules = Rules { issuer: Some("i".into()), audience: vec!["a".into(), "b".into()], leeway_s: 0 };
        for (claims, expected) in [
            (r#""iss":"i","aud":"a""#, Ok(())),
            (r#""iss":"i","aud":["x","b"]"#, Ok(())),
            (r#""iss":"i/","aud":"a""#, Err(WrongIssuer)),
            (r#""aud":"a""#, Err(WrongIssuer)),
            (r#""iss":["i"],"aud":"a""#, Err(Malformed)),
            (r#""iss":"i""#, Err(WrongAudience)),
            (r#""iss":"i","aud":[]"#, Err(WrongAudience)),
            (r#""iss":"i","aud":"ab""#, Err(WrongAudience)),
            (r#""iss":"i","aud":["a",1]"#, Err(Malformed)),
            (r#""iss":"i","aud":{"a":1}"#, Err(Malformed)),
        ] {
            assert_eq!(check(&rules, &format!("{{\"exp\":9,{claims}}}"), 1), expected, "{claims}");
        }
        assert_eq!(check(&Rules::default(), r#"{"exp":9,"iss":"any","aud":"any"}"#, 1), Ok(()));
    }
}
