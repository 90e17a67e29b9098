//! Signatures of bytes that are not a token, with the keys and the signatures of RFC 9421, appendix B.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

const REQUEST_LINES: &str = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n";
const SHARED: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ";
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----
";
const ECDSA: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
";

/// Key, algorithm, message, signature.
fn vectors() -> Vec<(Value, &'static str, String, &'static str)> {
    let digest = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
    let answer = "sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:";
    vec![
        (
            json!({ "pem": RSA }),
            "PS512",
            format!(
                "{REQUEST_LINES}\"@method\": POST\n\"@path\": /foo\n\"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\
                 \"content-type\": application/json\n\"content-digest\": {digest}\n\"content-length\": 18\n\
                 \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \
                 \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\""
            ),
            "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O\
             0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvf\
             rs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
        ),
        (
            json!({ "pem": ECDSA }),
            "ES256",
            format!(
                "\"@status\": 200\n\"content-type\": application/json\n\"content-digest\": {answer}\n\"content-length\": 23\n\
                 \"@signature-params\": (\"@status\" \"content-type\" \"content-digest\" \"content-length\")\
                 ;created=1618884473;keyid=\"test-key-ecc-p256\""
            ),
            "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==",
        ),
        (
            json!({ "jwk": { "kty": "oct", "k": SHARED.replace('+', "-").replace('/', "_") } }),
            "HS256",
            format!(
                "{REQUEST_LINES}\"@authority\": example.com\n\"content-type\": application/json\n\
                 \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
            ),
            "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
        ),
        (
            json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs" } }),
            "EdDSA",
            format!(
                "{REQUEST_LINES}\"@method\": POST\n\"@path\": /foo\n\"@authority\": example.com\n\"content-type\": application/json\n\
                 \"content-length\": 18\n\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \
                 \"content-length\");created=1618884473;keyid=\"test-key-ed25519\""
            ),
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
        ),
    ]
}

#[test]
fn signatures_of_the_rfc() {
    for (key, algorithm, message, signature) in vectors() {
        let mut key = key.clone();
        key["kid"] = json!("k1");
        let sets = declared(&json!({ "algorithms": [algorithm], "keys": [key] })).unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        let verify = |kid: Option<&str>, algorithm: &str, message: &[u8], signature: &[u8]| {
            sets.verify_message("k", &Signed { kid, algorithm, message, signature })
        };
        let message = message.as_bytes();
        for kid in [Some("k1"), None] {
            assert_eq!(verify(kid, algorithm, message, &signature), Ok(()), "{algorithm}");
        }
        assert_eq!(verify(Some("k2"), algorithm, message, &signature), Err(VerifyError::UnknownKey));
        assert_eq!(verify(Some("k1"), "none", message, &signature), Err(VerifyError::AlgorithmNotAllowed));
        assert_eq!(verify(Some("k1"), "HS384", message, &signature), Err(VerifyError::AlgorithmNotAllowed));
        for (message, signature) in [
            (message, signature.get(1..).unwrap()),
            (message, b"".as_slice()),
            (message.get(1..).unwrap(), signature.as_slice()),
            (b"", signature.as_slice()),
        ] {
            assert_eq!(
                verify(Some("k1"), algorithm, message, signature),
                Err(VerifyError::BadSignature),
                "{algorithm}"
            );
        }
    }
}
