//! Good and bad tokens against whole key sets: every algorithm, attacks, and documents that appear, change and
//! disappear.

#![allow(clippy::unwrap_used)]

mod attacks;
mod conformance;
mod documents;
mod messages;
mod signers;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use documents::Issuer;
use signers::{Signer, signers, token};

const NOW: u64 = 1_000;
const CLAIMS: &str = r#"{"sub":"alice","exp":2000}"#;

/// A key set named "k" of this definition.
fn declared(definition: &Value) -> Result<KeySets, String> {
    let sets = KeySets::new(Documents::new(Arc::new(Issuer::default()), Timing::default()));
    sets.declare("k", &definition.to_string(), &|_| true)?;
    Ok(sets)
}

fn accepts(definition: &Value, token: &str) -> Result<(), VerifyError> {
    let sets = declared(definition).unwrap();
    let first = sets.verify("k", token, NOW);
    assert_eq!(sets.verify("k", token, NOW), first, "a token means the same the second time");
    first.map(|claims| assert_eq!(&*claims, CLAIMS))
}

#[test]
fn over_http_keys_come_only_from_this_machine_and_through_upstreams() {
    for (jwks, is_fine) in [
        ("https://id.example/keys", true),
        ("http://id.example/keys", false),
        ("http://127.0.0.1:9/keys", true),
        ("http://id/keys", true),
        ("http://id@id.example/keys", false),
    ] {
        let sets = KeySets::new(Documents::new(Arc::new(Issuer::default()), Timing::default()));
        let sets = sets.with_upstreams(Arc::new(BTreeSet::from(["id".into()])));
        let definition = json!({ "algorithms": ["RS256"], "issuer": "me", "jwks": jwks }).to_string();
        let declared = sets.declare("k", &definition, &|_| true);
        assert_eq!(declared.is_ok(), is_fine, "{jwks}: {declared:?}");
        assert!(declared.is_ok() || declared.is_err_and(|why| why.contains("replaced on the way")), "{jwks}");
    }
}

#[test]
fn every_algorithm_in_every_form_of_key() {
    for signer in signers() {
        let good = token(&json!({ "alg": signer.algorithm, "kid": "k1" }), CLAIMS, signer);
        let mut forms = vec![json!({ "jwk": signer.jwk, "kid": "k1" }), json!({ "jwk": signer.jwk })];
        forms.extend(signer.pem.as_ref().map(|pem| json!({ "pem": pem, "kid": "k1", "alg": signer.algorithm })));
        forms.extend(signer.pem.as_ref().map(|pem| json!({ "pem": format!("a comment\r\n{pem}\r\n") })));
        for key in forms {
            let definition = json!({ "algorithms": [signer.algorithm], "keys": [key] });
            assert_eq!(accepts(&definition, &good), Ok(()), "{definition}");
            // Any changed byte invalidates it.
            for at in (0..good.len()).step_by(7) {
                let mut bad = good.clone().into_bytes();
                bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
                assert!(accepts(&definition, std::str::from_utf8(&bad).unwrap()).is_err(), "{definition} {at}");
            }
        }
        let others: Vec<_> = signers().iter().filter(|other| other.thumbprint() != signer.thumbprint()).collect();
        for other in others {
            let forged = token(&json!({ "alg": signer.algorithm, "kid": "k1" }), CLAIMS, other);
            let definition = json!({ "algorithms": [signer.algorithm], "keys": [{ "jwk": signer.jwk, "kid": "k1" }] });
            assert_eq!(accepts(&definition, &forged), Err(VerifyError::BadSignature), "by {}", other.algorithm);
        }
    }
}

#[test]
fn tokens_of_another_implementation() {
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    let claims: Value = serde_json::from_str(CLAIMS).unwrap();
    let mut checked = 0;
    for signer in signers() {
        let Ok(algorithm) = signer.algorithm.parse::<Algorithm>() else { continue };
        let private = signer.private.as_slice();
        let key = match signer.algorithm.get(..2).unwrap() {
            "HS" => EncodingKey::from_secret(private),
            "ES" => EncodingKey::from_ec_der(private),
            "Ed" => EncodingKey::from_ed_der(private),
            _ => EncodingKey::from_rsa_der(private),
        };
        let theirs = encode(&Header::new(algorithm), &claims, &key).unwrap();
        let definition = json!({ "algorithms": [signer.algorithm], "keys": [{ "jwk": signer.jwk }] });
        assert_eq!(accepts(&definition, &theirs), Ok(()), "{}", signer.algorithm);
        checked += 1;
    }
    assert_eq!(checked, 12, "all but ES512, which that implementation does not have");
}

#[test]
fn a_token_finds_its_key() {
    let [one, two] = [0, 1].map(|_| Signer::hmac("HS256"));
    let keys = |first: Option<&str>, second: Option<&str>| {
        let key = |signer: &Signer, kid: Option<&str>| match kid {
            Some(kid) => json!({ "jwk": signer.jwk, "kid": kid }),
            None => json!({ "jwk": signer.jwk }),
        };
        json!({ "algorithms": ["HS256", "HS384"], "keys": [key(&one, first), key(&two, second)] })
    };
    let by_two = |header: Value| token(&header, CLAIMS, &two);
    let check = |definition: Value, header: Value, expected| {
        assert_eq!(accepts(&definition, &by_two(header.clone())), expected, "{definition} {header}");
    };
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS256", "kid": "2" }), Ok(()));
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS256", "kid": "1" }), Err(VerifyError::BadSignature));
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS256", "kid": "3" }), Err(VerifyError::UnknownKey));
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS256", "kid": "" }), Err(VerifyError::UnknownKey));
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS256" }), Ok(()));
    check(keys(None, None), json!({ "alg": "HS256", "kid": "any" }), Ok(()));
    check(keys(Some("1"), None), json!({ "alg": "HS256", "kid": "2" }), Ok(()));
    check(keys(None, Some("2")), json!({ "alg": "HS256", "kid": "2" }), Ok(()));
    check(keys(Some("2"), None), json!({ "alg": "HS256", "kid": "2" }), Err(VerifyError::BadSignature));
    // HS384 is allowed, but the keys are too short for it.
    check(keys(None, None), json!({ "alg": "HS384" }), Err(VerifyError::UnknownKey));
    check(keys(Some("1"), Some("2")), json!({ "alg": "HS384", "kid": "2" }), Err(VerifyError::AlgorithmNotAllowed));
}

#[test]
fn a_token_without_a_kid_tries_a_bounded_number_of_keys() {
    let last = Signer::hmac("HS256");
    let good = token(&json!({ "alg": "HS256" }), CLAIMS, &last);
    for (others, expected) in [(MAX_TRIED_KEYS - 1, Ok(())), (MAX_TRIED_KEYS, Err(VerifyError::BadSignature))] {
        let mut keys: Vec<_> = (0..others).map(|_| json!({ "jwk": Signer::hmac("HS256").jwk })).collect();
        keys.push(json!({ "jwk": last.jwk }));
        assert_eq!(accepts(&json!({ "algorithms": ["HS256"], "keys": keys }), &good), expected);
    }
}

#[test]
fn a_verified_token_ends_with_its_time() {
    let signer = Signer::hmac("HS256");
    let definition = json!({ "algorithms": ["HS256"], "keys": [{ "jwk": signer.jwk }], "leeway": 5 });
    let sets = declared(&definition).unwrap();
    let good = token(&json!({ "alg": "HS256" }), r#"{"exp":2000,"nbf":1000}"#, &signer);
    for (now_s, expected) in [
        (1_500, Ok(())),
        (2_004, Ok(())),
        (2_005, Err(VerifyError::Expired)),
        (994, Err(VerifyError::NotYetValid)),
        (995, Ok(())),
    ] {
        assert_eq!(sets.verify("k", &good, now_s).map(drop), expected, "{now_s}");
    }
}

#[test]
fn declarations() {
    let signer = Signer::hmac("HS256");
    let definition = json!({ "algorithms": ["HS256"], "keys": [{ "jwk": signer.jwk }] }).to_string();
    let sets = declared(&serde_json::from_str(&definition).unwrap()).unwrap();
    assert_eq!(sets.declare("k", &definition, &|_| false), Ok(()), "the same again is fine");
    let other = definition.replace("HS256", "HS384");
    assert!(sets.declare("k", &other, &|_| true).unwrap_err().contains("declared already"));
    assert!(matches!(sets.verify("other", "a.b.c", NOW), Err(VerifyError::Other(_))));
    for n in 1..MAX_KEY_SETS {
        sets.declare(&n.to_string(), &definition, &|_| true).unwrap();
    }
    assert!(sets.declare("one more", &definition, &|_| true).unwrap_err().contains("16"));
    assert!(!format!("{sets:?}").contains(signer.jwk["k"].as_str().unwrap()));
    for place in ["jwks", "jwks_file"] {
        let definition = json!({ "algorithms": ["RS256"], place: "https://id.example/jwks" }).to_string();
        let sets = KeySets::new(Documents::new(Arc::new(Issuer::default()), Timing::default()));
        let problem = sets.declare("k", &definition, &|_| false).unwrap_err();
        assert!(problem.contains(place) && problem.contains("does not stand in"), "{problem}");
    }
}
