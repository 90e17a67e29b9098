//! Published vectors: Wycheproof's JOSE rows (the signature layer), attack tokens, Envoy's and Istio's samples. They
//! are not part of this repository: the tests run where `GATEWRIGHT_SUITES` names the folder that holds them.

use std::path::PathBuf;

use super::*;

fn suite(file: &str) -> Option<String> {
    let folder = PathBuf::from(std::env::var_os("GATEWRIGHT_SUITES")?).join("jwt");
    Some(std::fs::read_to_string(folder.join(file)).unwrap())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

/// The verdict on a row with all algorithms that its keys name, as in a gateway set up for them.
fn verdict(row: &Value) -> Result<(), VerifyError> {
    let refused = |problem: String| VerifyError::Other(problem);
    let jwks = if row["jwks"]["keys"].is_array() { row["jwks"].clone() } else { json!({ "keys": [row["jwks"]] }) };
    let keys = jwk::key_set(jwks.to_string().as_bytes()).map_err(refused)?.keys;
    let named: Vec<_> = jwks["keys"].as_array().unwrap().iter().filter_map(|key| key["alg"].as_str()).collect();
    let known = named.iter().copied().filter(|name| Algorithm::named(name).is_some());
    let algorithms = Algorithms::allow(known).map_err(refused)?;
    verify_signature(row["token"].as_str().unwrap(), &keys, algorithms).map(drop)
}

/// Valid rows that are refused on purpose, and why.
fn is_refused_on_purpose(row: &Value) -> bool {
    let token = row["token"].as_str().unwrap();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !token.bytes().all(is_plain) {
        return true; // The row has a character in it that base64url does not have.
    }
    use base64::Engine;
    let header = token.split('.').next().unwrap();
    let header =
        json(std::str::from_utf8(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap());
    // The key names another algorithm than the token ("ES521", or PS256 for PS384).
    row["jwks"]["keys"].as_array().unwrap().iter().all(|key| key["alg"].is_string() && key["alg"] != header["alg"])
}

#[test]
fn wycheproof() {
    let Some(text) = suite("wycheproof_flat.jsonl") else { return };
    let rows: Vec<Value> = text.lines().map(json).collect();
    let is_valid = |row: &Value| row["expect"] == "valid";
    let (mut right, mut wrong, mut on_purpose) = (0, Vec::new(), 0);
    for row in &rows {
        let verdict = verdict(row);
        // Some rows lost the padding that made them invalid and are now identical to a valid row.
        let same = |other: &&Value| is_valid(other) && other["token"] == row["token"] && other["jwks"] == row["jwks"];
        let expected = is_valid(row) || rows.iter().any(|other| same(&other));
        match verdict.is_ok() {
            accepted if accepted == expected => right += 1,
            false if is_refused_on_purpose(row) => on_purpose += 1,
            _ => wrong.push(format!("{} {} {} got {verdict:?}", row["id"], row["group"], row["comment"])),
        }
    }
    println!("wycheproof: {right} right, {on_purpose} refused on purpose, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(right > 450 && on_purpose < 10);
}

#[test]
fn attack_tokens() {
    let Some(text) = suite("derived_attack_tokens.json") else { return };
    let suite = json(&text);
    let folder = tempfile::tempdir().unwrap();
    let mut right = 0;
    for case in suite["cases"].as_array().unwrap() {
        let config = suite["configs"].as_array().unwrap().iter().find(|config| config["id"] == case["config"]).unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, config["jwks"].to_string()).unwrap();
        // One key set for shared secrets and one for public keys, as a plugin declares if both are allowed.
        let (symmetric, others): (Vec<_>, Vec<_>) =
            texts(&config["allowed_algs"]).into_iter().partition(|name| name.starts_with("HS"));
        let accepted = [symmetric, others].iter().filter(|algorithms| !algorithms.is_empty()).any(|algorithms| {
            let sets = declared(&json!({ "algorithms": algorithms, "jwks_file": path, "issuer": config["issuer"],
                "audience": config["audiences"], "leeway": 60 }));
            sets.is_ok_and(|sets| sets.verify("k", case["token"].as_str().unwrap(), 1_750_000_000).is_ok())
        });
        match case["expect"].as_u64() {
            Some(status) => assert_eq!(accepted, status == 200, "{case}"),
            None => println!("{}: {} accepted: {accepted}", case["id"], case["expect"]),
        }
        right += 1;
    }
    println!("attack tokens: {right} right");
}

#[test]
fn samples_of_other_gateways() {
    let Some(text) = suite("envoy_jwt_cases.json") else { return };
    let suite_of_envoy = json(&text);
    let config = &suite_of_envoy["config"];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, config["jwks"].to_string()).unwrap();
    let envoy = declared(&json!({ "algorithms": config["allowed_algs"], "jwks_file": path, "issuer": config["issuer"],
        "audience": config["audiences"] }))
    .unwrap();
    for case in suite_of_envoy["cases"].as_array().unwrap() {
        let verdict = envoy.verify("k", case["token"].as_str().unwrap(), 1_750_000_000);
        assert_eq!(verdict.is_ok(), case["expect"] == 200, "{case} {verdict:?}");
    }

    std::fs::write(&path, suite("istio-samples/jwks.json").unwrap()).unwrap();
    let istio = declared(&json!({ "algorithms": ["RS256"], "jwks_file": path, "issuer": "testing@secure.istio.io" }));
    let istio = istio.unwrap();
    for file in ["demo.jwt", "groups-scope.jwt"] {
        let token = suite(&format!("istio-samples/{file}")).unwrap();
        assert!(istio.verify("k", token.trim(), 1_750_000_000).is_ok(), "{file}");
    }
}
