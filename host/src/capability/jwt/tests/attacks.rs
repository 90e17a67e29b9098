//! Tokens that must never pass, each against a key set that accepts the honest token.

use super::signers::{base64, raw_token, signer};
use super::*;
use VerifyError::{AlgorithmNotAllowed, BadSignature, Malformed, UnknownKey};

fn set_of(algorithm: &str) -> Value {
    json!({ "algorithms": [algorithm], "keys": [{ "jwk": signer(algorithm).jwk, "kid": "k1", "alg": algorithm }] })
}

fn check(definition: &Value, token: &str, expected: VerifyError) {
    assert_eq!(accepts(definition, token), Err(expected), "{token}");
}

#[test]
fn unsigned_tokens() {
    for algorithm in ["RS256", "ES256", "HS256", "EdDSA"] {
        let set = set_of(algorithm);
        for none in ["none", "None", "NONE", "nOnE", "", " none", "none\0"] {
            for header in [json!({ "alg": none }), json!({ "alg": none, "kid": "k1" })] {
                check(&set, &raw_token(&header.to_string(), CLAIMS, |_| vec![]), AlgorithmNotAllowed);
                check(&set, &token(&header, CLAIMS, signer(algorithm)), AlgorithmNotAllowed);
            }
        }
        check(
            &set,
            &raw_token(&json!({ "alg": algorithm, "kid": "k1" }).to_string(), CLAIMS, |_| vec![]),
            BadSignature,
        );
        for header in [json!({ "kid": "k1" }), json!({ "alg": null }), json!({ "alg": [algorithm] })] {
            check(&set, &token(&header, CLAIMS, signer(algorithm)), Malformed);
        }
    }
}

#[test]
fn a_public_key_as_the_secret() {
    let rsa = signer("RS256");
    let pem = rsa.pem.as_ref().unwrap();
    let modulus = rsa.jwk["n"].as_str().unwrap();
    for secret in [pem.as_str(), pem.trim(), &pem.replace('\n', "\r\n"), modulus, &rsa.jwk.to_string()] {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        for header in [json!({ "alg": "HS256", "kid": "k1" }), json!({ "alg": "HS256" })] {
            let sign = |message: &[u8]| aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec();
            check(&set_of("RS256"), &raw_token(&header.to_string(), CLAIMS, sign), AlgorithmNotAllowed);
        }
    }
    let definition = json!({ "algorithms": ["HS256"], "keys": [{ "secret": pem }] });
    assert!(declared(&definition).unwrap_err().contains("is no secret"));
}

#[test]
fn names_of_keys_are_only_names() {
    let empty = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"");
    for kid in ["../../../../dev/null", "x' UNION SELECT 'k' -- ", "/etc/passwd", "http://127.0.0.1/", "K1", "k1\0"] {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        let sign = |message: &[u8]| aws_lc_rs::hmac::sign(&empty, message).as_ref().to_vec();
        check(&set_of("HS256"), &raw_token(&header, CLAIMS, sign), UnknownKey);
    }
    for kid in [json!(1), json!(null), json!(["k1"]), json!({ "k1": 1 })] {
        check(&set_of("HS256"), &token(&json!({ "alg": "HS256", "kid": kid }), CLAIMS, signer("HS256")), Malformed);
    }
}

#[test]
fn keys_that_a_token_brings_along() {
    let attacker = Signer::elliptic("ES256");
    for kid in [Some("k1"), None] {
        for (name, value) in [
            ("jwk", attacker.jwk.clone()),
            ("jku", json!("https://attacker.example/jwks.json")),
            ("x5u", json!("https://attacker.example/cert.pem")),
            ("x5c", json!([attacker.pem.as_ref().unwrap()])),
        ] {
            let mut header = json!({ "alg": "ES256", name: value });
            if let Some(kid) = kid {
                header["kid"] = kid.into();
            }
            check(&set_of("ES256"), &token(&header, CLAIMS, &attacker), BadSignature);
            assert_eq!(accepts(&set_of("ES256"), &token(&header, CLAIMS, signer("ES256"))), Ok(()), "just ignored");
        }
    }
}

#[test]
fn texts_that_are_not_quite_a_token() {
    let header = json!({ "alg": "HS256", "kid": "k1" });
    let good = token(&header, CLAIMS, signer("HS256"));
    let set = set_of("HS256");
    assert_eq!(accepts(&set, &good), Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    let [head, body, signature] = parts[..] else { panic!("three parts") };
    for bad in [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        format!(".{good}"),
        format!("{good}."),
        format!("{good}.x"),
        format!("{head}..{body}.{signature}"),
        format!("{head}.{body}"),
        format!(".{body}.{signature}"),
        format!(" {good}"),
        format!("{good} "),
        format!("{good}\n"),
        format!("{good}="),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{head}.{body}\0.{signature}"),
        format!("{head}.{}é.{signature}", body),
        good.replace('.', "%2e"),
        json!({ "payload": body, "protected": head, "signature": signature }).to_string(),
        "a".repeat(MAX_TOKEN_BYTES + 1),
        ".".repeat(MAX_TOKEN_BYTES),
        format!("{head}.{}.{signature}", "A".repeat(1 << 20)),
    ] {
        assert!(matches!(accepts(&set, &bad), Err(Malformed)), "{:.200}", bad);
    }
    // Other last characters decode to the same bytes if the unused bits are ignored.
    let (rest, last) = signature.split_at(signature.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/";
    for other in alphabet.chars().filter(|other| !last.contains(*other)) {
        assert!(accepts(&set, &format!("{head}.{body}.{rest}{other}")).is_err(), "{other}");
    }
}

#[test]
fn headers_and_claims_that_mean_two_things() {
    let hs256 = signer("HS256");
    let set = set_of("HS256");
    for header in [
        r#"{"alg":"none","alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"k2","kid":"k1"}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":"exp"}"#,
        "\u{feff}{\"alg\":\"HS256\"}",
        r#"["alg","HS256"]"#,
        r#"{"alg":"HS256"}{"alg":"HS256"}"#,
        "",
    ] {
        check(&set, &raw_token(header, CLAIMS, |message| hs256.sign(message)), Malformed);
    }
    let honest = json!({ "alg": "HS256" });
    for claims in [
        r#"{"exp":2000,"sub":"a","sub":"b"}"#,
        r#"{"exp":1,"exp":2000}"#,
        r#"{"exp":2000,"roles":{"a":1,"a":2}}"#,
        r#"{"exp":"2000"}"#,
        r#"{"exp":true}"#,
        r#"{"exp":2000,"nbf":"1"}"#,
        r#"[{"exp":2000}]"#,
        r#""exp""#,
        "",
        "{\"exp\":2000,}",
    ] {
        check(&set, &token(&honest, claims, hs256), Malformed);
    }
    let deep = format!("{{\"exp\":2000,\"a\":{}{}}}", "[".repeat(2_500), "]".repeat(2_500));
    check(&set, &token(&honest, &deep, hs256), Malformed);
    check(&set, &token(&honest, r#"{"exp":1000}"#, hs256), VerifyError::Expired);
    check(&set, &token(&honest, r#"{"exp":2000,"nbf":1001}"#, hs256), VerifyError::NotYetValid);
    check(&set, &token(&honest, r#"{"sub":"a"}"#, hs256), VerifyError::Other("the token has no exp".to_owned()));
}

#[test]
fn signatures_of_the_wrong_kind() {
    let es256 = signer("ES256");
    let header = json!({ "alg": "ES256", "kid": "k1" });
    let honest = token(&header, CLAIMS, es256);
    let message = honest.rsplit_once('.').unwrap().0;
    let raw = es256.sign(message.as_bytes());
    let (r, s) = raw.split_at(32);
    let der = |number: &[u8]| [&[2, 33, 0], number].concat();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    for signature in [
        vec![0; 64],
        vec![0; 96],
        vec![0xff; 64],
        [&order[..], &order[..]].concat(),
        [r, &[0; 32]].concat(),
        [&[0; 32], s].concat(),
        [&[0], r, &[0], s].concat(),
        [&[0x30, 70][..], &der(r), &der(s)].concat(),
        raw[..63].to_vec(),
        [&raw[..], &[0]].concat(),
        Signer::elliptic("ES384").sign(message.as_bytes()),
    ] {
        check(&set_of("ES256"), &format!("{message}.{}", base64(&signature)), BadSignature);
    }

    // The right key with another of its algorithms: the key's `alg` decides even if the set allows both.
    let both = json!({ "algorithms": ["RS256", "PS256", "ES256", "ES384"], "keys": [
        { "jwk": signer("RS256").jwk, "kid": "r", "alg": "RS256" }, { "jwk": es256.jwk, "kid": "e" } ] });
    let check_both = |algorithm: &str, kid: &str, by: &str, expected| {
        let header = json!({ "alg": algorithm, "kid": kid });
        assert_eq!(accepts(&both, &token(&header, CLAIMS, signer(by))), expected, "{header} by {by}");
    };
    check_both("RS256", "r", "RS256", Ok(()));
    check_both("PS256", "r", "PS256", Err(AlgorithmNotAllowed));
    check_both("RS384", "r", "RS384", Err(AlgorithmNotAllowed));
    check_both("ES384", "e", "ES384", Err(AlgorithmNotAllowed));
    check_both("ES256", "e", "ES256", Ok(()));
    check_both("ES256", "e", "ES384", Err(BadSignature));
    check_both("ES256", "r", "RS256", Err(AlgorithmNotAllowed));
}

#[test]
fn keys_that_must_not_be_used() {
    let [rsa, es256] = [signer("RS256"), signer("ES256")].map(|signer| signer.jwk.clone());
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk
    };
    let small = base64(&[0xff; 128]);
    // 1 modulo every prime up to 167, as 65537^0 is: the product of the primes, shifted, plus 1.
    let primes = (3..168u32).filter(|n| (2..*n).all(|divisor| n % divisor != 0));
    let product = primes.fold(vec![1u8], |number, prime| {
        let mut carry = 0;
        let mut product: Vec<u8> = number.iter().map(|digit| multiply(*digit, prime, &mut carry)).collect();
        product.push(carry as u8);
        product
    });
    let mut roca: Vec<u8> = product.into_iter().rev().skip_while(|digit| *digit == 0).collect();
    roca.resize(257, 0);
    roca[256] = 1;
    for (jwk, expected) in [
        (with(&rsa, "use", "enc".into()), "not for signatures"),
        (with(&rsa, "key_ops", json!(["encrypt"])), "not for signatures"),
        (with(&rsa, "key_ops", json!("verify")), "not a list"),
        (with(&rsa, "alg", "RSA-OAEP".into()), "not known"),
        (with(&rsa, "alg", "ES256".into()), "does not fit"),
        (with(&rsa, "alg", "HS256".into()), "does not fit"),
        (with(&rsa, "n", small.into()), "1024 bits"),
        (with(&rsa, "n", base64(&[0xff; 1_025]).into()), "8200 bits"),
        (with(&rsa, "n", base64(&roca).into()), "ROCA"),
        (with(&rsa, "e", "AQ".into()), "unusable"),
        (with(&rsa, "e", "AA".into()), "unusable"),
        (with(&rsa, "e", "AQAA".into()), "unusable"),
        (with(&rsa, "n", "A+/=".into()), "base64url"),
        (with(&rsa, "d", "AQAB".into()), "private key"),
        (with(&es256, "crv", "P-384".into()), "coordinate"),
        (with(&es256, "crv", "secp256k1".into()), "not one of"),
        (with(&es256, "x", base64(&[1; 32]).into()), "no point"),
        (with(&es256, "x", base64(&[0; 32]).into()), "no point"),
        (with(&es256, "x", base64(&[0; 33]).into()), "coordinate"),
        (with(&es256, "kty", "RSA".into()), "n is missing"),
        (json!({ "kty": "OKP", "crv": "X25519", "x": base64(&[9; 32]) }), "not Ed25519"),
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(&[9; 31]) }), "Ed25519"),
        (json!({ "kty": "oct", "k": "" }), "0 bytes"),
        (json!({ "kty": "oct", "k": base64(&[7; 31]) }), "31 bytes"),
        (json!({ "kty": "dilithium" }), "not one of"),
        (json!({ "k": "x" }), "no kty"),
    ] {
        let algorithms = json!(["RS256", "ES256", "EdDSA"]);
        let problem = declared(&json!({ "algorithms": algorithms, "keys": [{ "jwk": jwk }] })).unwrap_err();
        assert!(problem.contains(expected), "{jwk}\n  gave {problem:?}\n  not {expected:?}");
    }
    for (pem, expected) in [
        (signer("RS256").pem.as_ref().unwrap().replace("PUBLIC KEY", "PRIVATE KEY"), "private key"),
        (signer("RS256").pem.as_ref().unwrap().replace("PUBLIC KEY", "CERTIFICATE"), "out of the certificate"),
        (signer("RS256").pem.as_ref().unwrap().replace("BEGIN", "END"), "no PEM block"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----".to_owned(), "no RSA, P-256"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----".to_owned(), "no PEM block"),
    ] {
        let problem = declared(&json!({ "algorithms": ["RS256"], "keys": [{ "pem": pem }] })).unwrap_err();
        assert!(problem.contains(expected), "{pem}\n  gave {problem:?}");
    }
}

/// One digit of a number in base 256, least significant first, times a small number.
fn multiply(digit: u8, by: u32, carry: &mut u32) -> u8 {
    *carry += u32::from(digit) * by;
    let digit = *carry as u8;
    *carry >>= 8;
    digit
}
