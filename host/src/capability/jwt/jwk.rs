//! Keys as JSON: one JWK (RFC 7517 section 4) and JWK Sets (section 5).

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use serde_json::{Map, Value};

use super::super::unique_json;
use super::algorithm::Algorithm;
use super::key::Key;

/// The usable keys of a JWK Set, and a line for each unusable one.
#[derive(Debug, Default)]
pub(super) struct KeyList {
    pub(super) keys: Vec<Key>,
    pub(super) warnings: Vec<String>,
}

/// Parses a JWK Set. An unusable key is left out with a warning and does not affect the others, because issuers add
/// types of keys as they please (section 5); a key that is not for signatures is left out without one. A set without a
/// single usable key is an error: it is more likely a mistake than a wish to lock everybody out.
pub(super) fn key_set(text: &[u8]) -> Result<KeyList, String> {
    if text.len() > MAX_SET_BYTES {
        return Err(format!("the key set is longer than {MAX_SET_BYTES} bytes"));
    }
    let set = unique_json::object(text)?;
    let Some(Value::Array(jwks)) = set.get("keys") else {
        return Err("no list \"keys\" in the key set".to_owned());
    };
    let mut list = KeyList::default();
    for (at, jwk) in jwks.iter().enumerate() {
        if list.keys.len() == MAX_SET_KEYS {
            list.warnings.push(format!("keys after the first {MAX_SET_KEYS} are ignored"));
            break;
        }
        match jwk.as_object().ok_or(Unfit::Unusable("not an object".to_owned())).and_then(key) {
            Ok(key) => list.keys.push(key),
            Err(Unfit::NotForSignatures) => {}
            Err(Unfit::Unusable(why)) => list.warnings.push(format!("keys[{at}] is ignored: {why}")),
        }
    }
    drop_ambiguous(&mut list);
    if list.keys.is_empty() {
        let why = list.warnings.first().map_or("it has no key for signatures", String::as_str);
        return Err(format!("no usable key in the key set: {why}"));
    }
    Ok(list)
}

/// Why a JWK does not result in a [`Key`].
#[derive(Debug, PartialEq)]
pub(super) enum Unfit {
    /// Its `use` or `key_ops` say that it is for something else.
    NotForSignatures,
    Unusable(String),
}

/// Parses one JWK. Only the description of the key is used: certificates and addresses in it (`x5c`, `x5u`) are
/// ignored.
pub(super) fn key(jwk: &Map<String, Value>) -> Result<Key, Unfit> {
    let kind = text(jwk, "kty")?.ok_or(Unfit::Unusable("no kty".to_owned()))?;
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Unfit::NotForSignatures);
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(Value::Array(_)) => return Err(Unfit::NotForSignatures),
        Some(_) => return Err(Unfit::Unusable("key_ops is not a list".to_owned())),
    }
    if kind != "oct" && jwk.contains_key("d") {
        return Err(Unfit::Unusable("it shows the private key and has to be replaced".to_owned()));
    }
    let key = match kind {
        "oct" => Key::secret(&bytes(jwk, "k")?),
        "RSA" => Key::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?),
        "EC" => Key::elliptic(text(jwk, "crv")?.unwrap_or_default(), &bytes(jwk, "x")?, &bytes(jwk, "y")?),
        "OKP" if text(jwk, "crv")? == Some("Ed25519") => Key::ed25519(&bytes(jwk, "x")?),
        "OKP" => Err("its curve is not Ed25519".to_owned()),
        _ => Err(format!("kty {kind:?} is not one of oct, RSA, EC, OKP")),
    };
    let key = key.map_err(Unfit::Unusable)?;
    let key = match text(jwk, "alg")? {
        None => key,
        Some(name) => {
            let algorithm = Algorithm::named(name).ok_or_else(|| format!("algorithm {name:?} is not known"));
            algorithm.and_then(|algorithm| key.only_for(algorithm)).map_err(Unfit::Unusable)?
        }
    };
    Ok(match text(jwk, "kid")? {
        Some(kid) => key.with_kid(kid),
        None => key,
    })
}

/// If different keys share a name and an algorithm (against RFC 7517 section 4.5), all of them are left out.
fn drop_ambiguous(list: &mut KeyList) {
    let ambiguous: Vec<bool> =
        list.keys.iter().map(|key| list.keys.iter().any(|other| key.is_ambiguous_with(other))).collect();
    let mut ambiguous = ambiguous.into_iter();
    let warnings = &mut list.warnings;
    list.keys.retain(|key| {
        let drop = ambiguous.next().unwrap_or(false);
        if drop {
            warnings.push(format!("a key is ignored: another one has its kid {:?} too", key.kid().unwrap_or_default()));
        }
        !drop
    });
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Unfit> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::Unusable(format!("{name} is not a text"))),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, Unfit> {
    let problem = || Unfit::Unusable(format!("{name} is missing or not base64url"));
    NUMBERS.decode(text(jwk, name)?.ok_or_else(problem)?).map_err(|_| problem())
}

/// Without padding, and with any unused last bits: unlike a token, a key set comes from a trusted source, and different
/// keys of one name are still told apart.
const NUMBERS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// A key set of 100 RSA keys with certificates has some 250 KiB.
pub(super) const MAX_SET_BYTES: usize = 256 << 10;
const MAX_SET_KEYS: usize = 100;
