//! Documents that appear, change, fail and disappear.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::signers::{base64, signer};
use super::*;
use crate::capability::jwt::fetch::FetchFuture;

const ADDRESS: &str = "https://id.example/jwks.json";

/// An issuer whose responses the test controls.
#[derive(Default)]
pub(super) struct Issuer {
    answer: Mutex<Option<Result<String, String>>>,
    /// Used instead, by the end of the address.
    documents: Mutex<Vec<(&'static str, String)>>,
    asked: Mutex<Vec<(String, Option<String>)>>,
    fetches: AtomicUsize,
    warnings: Mutex<Vec<String>>,
}

impl Issuer {
    fn publish(&self, keys: &[(&Signer, &str)]) {
        self.answer(Ok(key_set(keys)));
    }

    fn serve(&self, end: &'static str, document: String) {
        let mut documents = self.documents.lock().unwrap();
        documents.retain(|(known, _)| *known != end);
        documents.push((end, document));
    }

    fn answer(&self, answer: Result<String, String>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn warned(&self, part: &str) -> bool {
        self.warnings.lock().unwrap().iter().any(|warning| warning.contains(part))
    }
}

impl Fetch for Issuer {
    fn fetch<'a>(&'a self, address: &'a str, through: Option<&'a str>) -> FetchFuture<'a> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        self.asked.lock().unwrap().push((address.to_owned(), through.map(str::to_owned)));
        let documents = self.documents.lock().unwrap();
        let document = documents.iter().find(|(end, _)| address.ends_with(end)).map(|(_, text)| Ok(text.clone()));
        let answer = document.or_else(|| self.answer.lock().unwrap().clone());
        Box::pin(async move {
            match answer {
                Some(answer) => answer.map(|body| Fetched { body: body.into(), max_age: None }),
                None => std::future::pending().await,
            }
        })
    }

    fn warn(&self, message: &str) {
        self.warnings.lock().unwrap().push(message.to_owned());
    }
}

fn key_set(keys: &[(&Signer, &str)]) -> String {
    let jwk = |(signer, kid): &(&Signer, &str)| {
        let mut jwk = signer.jwk.clone();
        jwk["kid"] = (*kid).into();
        jwk
    };
    json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string()
}

/// Everything is immediate except the refresh, which only a token can cause.
fn quick() -> Timing {
    let milliseconds = Duration::from_millis;
    Timing {
        retry: (milliseconds(1), milliseconds(2)),
        pause: milliseconds(1),
        poll: milliseconds(1),
        ..Timing::default()
    }
}

/// A gateway's documents, running, and a key set "k" of this definition.
fn start(issuer: &Arc<Issuer>, timing: Timing, definition: &Value) -> (Arc<Documents>, KeySets) {
    let documents = Documents::new(issuer.clone(), timing);
    tokio::spawn(documents.clone().run(std::future::pending()));
    let sets = KeySets::new(documents.clone()).with_upstreams(upstreams());
    sets.declare("k", &definition.to_string(), &|place| definition.to_string().contains(place)).unwrap();
    (documents, sets)
}

fn upstreams() -> Arc<BTreeSet<Arc<str>>> {
    Arc::new(BTreeSet::from(["provider".into()]))
}

fn by_address(algorithm: &str) -> Value {
    json!({ "algorithms": [algorithm], "jwks": ADDRESS })
}

/// Waits for a state, and fails if it does not come.
async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !state() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn es256_token(kid: &str, signer: &Signer) -> String {
    token(&json!({ "alg": "ES256", "kid": kid }), CLAIMS, signer)
}

#[tokio::test]
async fn keys_come_rotate_and_take_cached_tokens_with_them() {
    let issuer = Arc::new(Issuer::default());
    let [old, new] = [0, 1].map(|_| Signer::elliptic("ES256"));
    let (_documents, sets) = start(&issuer, quick(), &by_address("ES256"));
    let verify = |token: &str| sets.verify("k", token, NOW).map(drop);
    let (old_token, new_token) = (es256_token("old", &old), es256_token("new", &new));

    assert_eq!(verify(&old_token), Err(VerifyError::KeysUnavailable));
    issuer.publish(&[(&old, "old")]);
    // That fetch hangs until its timeout. Another gateway fetches at once.
    drop(sets);
    let (_documents, sets) = start(&issuer, quick(), &by_address("ES256"));
    let verify = |token: &str| sets.verify("k", token, NOW).map(drop);
    sets.attempted().await;
    assert_eq!(verify(&old_token), Ok(()));

    issuer.publish(&[(&new, "new")]);
    until("the unknown key causes a fetch", || verify(&new_token) == Ok(())).await;
    assert_eq!(verify(&old_token), Err(VerifyError::UnknownKey), "also where it was verified before");
}

#[tokio::test]
async fn bad_tokens_cause_at_most_one_fetch_per_pause() {
    let issuer = Arc::new(Issuer::default());
    issuer.publish(&[(signer("ES256"), "k1")]);
    let pause = Duration::from_millis(100);
    let begin = Instant::now();
    let (_documents, sets) = start(&issuer, Timing { pause, ..quick() }, &by_address("ES256"));
    sets.attempted().await;
    let attacker = Signer::elliptic("ES256");
    until("three more fetches", || {
        let kid = fastrand::u64(..).to_string();
        assert_eq!(sets.verify("k", &es256_token(&kid, &attacker), NOW), Err(VerifyError::UnknownKey));
        issuer.fetches() >= 4
    })
    .await;
    assert!(begin.elapsed() >= 3 * pause, "{:?}", begin.elapsed());

    // Other errors do not ring the bell.
    let fetches = issuer.fetches();
    let algorithm = token(&json!({ "alg": "RS256", "kid": "new" }), CLAIMS, signer("RS256"));
    for (bad, expected) in [
        (es256_token("k1", &attacker), VerifyError::BadSignature),
        (algorithm, VerifyError::AlgorithmNotAllowed),
        ("a.b.c".to_owned(), VerifyError::Malformed),
    ] {
        assert_eq!(sets.verify("k", &bad, NOW), Err(expected));
    }
    assert!(issuer.fetches() <= fetches + 1, "at most the one that was rung for above");
}

#[tokio::test]
async fn a_document_that_fails_leaves_the_last_good_keys() {
    let issuer = Arc::new(Issuer::default());
    issuer.publish(&[(signer("ES256"), "k1")]);
    let (_documents, sets) = start(&issuer, quick(), &by_address("ES256"));
    sets.attempted().await;
    let good = es256_token("k1", signer("ES256"));
    assert_eq!(sets.verify("k", &good, NOW).map(drop), Ok(()));
    let use_enc = json!({ "keys": [{ "kty": "oct", "k": base64(&[1; 32]), "use": "enc" }] }).to_string();
    for (answer, expected) in [
        (Err("status 500".to_owned()), "status 500; the last good keys work on"),
        (Ok("<html>".to_owned()), "expected value"),
        (Ok("{}".to_owned()), "no list \"keys\""),
        (Ok(r#"{"keys":[]}"#.to_owned()), "no key for signatures"),
        (Ok(use_enc), "no key for signatures"),
        (Ok(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#.to_owned()), "17 bits"),
        (Ok(" ".repeat(300_000)), "longer than"),
    ] {
        issuer.answer(answer);
        let unknown = es256_token("unknown", signer("ES256"));
        until(expected, || {
            assert_eq!(sets.verify("k", &unknown, NOW), Err(VerifyError::UnknownKey));
            issuer.warned(expected)
        })
        .await;
        assert_eq!(sets.verify("k", &good, NOW).map(drop), Ok(()));
    }
}

#[tokio::test]
async fn keys_that_are_too_old_are_no_longer_used() {
    let issuer = Arc::new(Issuer::default());
    issuer.publish(&[(signer("ES256"), "k1")]);
    let timing = Timing { stale: Duration::from_millis(50), refresh: Duration::from_millis(10), ..quick() };
    let (_documents, sets) = start(&issuer, timing, &by_address("ES256"));
    sets.attempted().await;
    let good = es256_token("k1", signer("ES256"));
    until("verified and cached", || sets.verify("k", &good, NOW).is_ok()).await;
    issuer.answer(Err("gone".to_owned()));
    until("stale", || sets.verify("k", &good, NOW) == Err(VerifyError::KeysUnavailable)).await;
    assert!(issuer.warned("too old"));
    issuer.publish(&[(signer("ES256"), "k1")]);
    until("back", || sets.verify("k", &good, NOW).is_ok()).await;
}

#[tokio::test]
async fn one_address_is_one_document_while_it_is_used() {
    let issuer = Arc::new(Issuer::default());
    issuer.publish(&[(signer("ES256"), "k1")]);
    let (documents, sets) = start(&issuer, Timing::default(), &by_address("ES256"));
    sets.attempted().await;
    // After a reload with other rules the keys are still there.
    let reloaded = KeySets::new(documents);
    let stricter = json!({ "algorithms": ["ES256"], "jwks": ADDRESS, "audience": "us" });
    reloaded.declare("k", &stricter.to_string(), &|_| true).unwrap();
    drop(sets);
    let good = es256_token("k1", signer("ES256"));
    assert_eq!(reloaded.verify("k", &good, NOW), Err(VerifyError::WrongAudience));
    assert_eq!(issuer.fetches(), 1);
    drop(reloaded);
    until("the task ends with the last user", || Arc::strong_count(&issuer) == 2).await;
}

#[tokio::test]
async fn an_issuer_that_is_down_is_attempted_too() {
    let issuer = Arc::new(Issuer::default());
    issuer.answer(Err("connection refused".to_owned()));
    let definition =
        json!({ "algorithms": ["ES256"], "jwks": ADDRESS, "keys": [{ "jwk": signer("ES256").jwk, "kid": "own" }] });
    let (_documents, sets) = start(&issuer, quick(), &definition);
    sets.attempted().await;
    assert!(issuer.warned("connection refused; there are no keys"));
    assert_eq!(sets.verify("k", &es256_token("own", signer("ES256")), NOW).map(drop), Ok(()));
    let other = es256_token("other", &Signer::elliptic("ES256"));
    assert_eq!(sets.verify("k", &other, NOW), Err(VerifyError::KeysUnavailable));
}

#[tokio::test]
async fn a_key_file_is_read_at_once_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let [old, new] = [0, 1].map(|_| Signer::elliptic("ES256"));
    std::fs::write(&path, key_set(&[(&old, "old"), (signer("RS256"), "other")])).unwrap();
    let issuer = Arc::new(Issuer::default());
    let definition = json!({ "algorithms": ["ES256"], "jwks_file": path });
    let (_documents, sets) = start(&issuer, quick(), &definition);
    let verify = |token: &str| sets.verify("k", token, NOW).map(drop);
    let (old_token, new_token) = (es256_token("old", &old), es256_token("new", &new));
    assert_eq!(verify(&old_token), Ok(()));

    std::fs::remove_file(&path).unwrap();
    until("the missing file is noticed", || issuer.warned("No such file")).await;
    assert_eq!(verify(&old_token), Ok(()));

    let fresh = folder.path().join("fresh.json");
    std::fs::write(&fresh, key_set(&[(&new, "new")])).unwrap();
    std::fs::rename(&fresh, &path).unwrap();
    until("the new file is read", || verify(&new_token) == Ok(())).await;
    assert_eq!(verify(&old_token), Err(VerifyError::UnknownKey));

    for (content, expected) in [("{}", "no list"), ("", "EOF"), (r#"{"keys":[{}]}"#, "no usable key")] {
        let path = folder.path().join("bad.json");
        std::fs::write(&path, content).unwrap();
        let definition = json!({ "algorithms": ["ES256"], "jwks_file": path }).to_string();
        let problem = sets.declare("bad", &definition, &|_| true).unwrap_err();
        assert!(problem.contains(expected) && problem.contains("bad.json"), "{problem}");
    }
    let missing = json!({ "algorithms": ["ES256"], "jwks_file": folder.path() }).to_string();
    assert!(sets.declare("folder", &missing, &|_| true).unwrap_err().contains("not a regular file"));
}

#[test]
fn a_set_uses_what_it_can_and_names_the_rest() {
    let [one, two] = [0, 1].map(|_| Signer::elliptic("ES256"));
    let mut set: Value =
        serde_json::from_str(&key_set(&[(&one, "a"), (&two, "b"), (&one, "twice"), (&two, "twice")])).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    keys.push(json!({ "kty": "EC", "crv": "secp256k1" }));
    keys.push(json!("text"));
    keys.push(json!({ "kty": "RSA", "use": "enc" }));
    let list = jwk::key_set(set.to_string().as_bytes()).unwrap();
    let kids: Vec<_> = list.keys.iter().filter_map(Key::kid).collect();
    assert_eq!(kids, ["a", "b"]);
    assert_eq!(list.warnings.len(), 4, "{:?}", list.warnings);
}

#[tokio::test]
async fn an_issuer_says_itself_where_its_keys_are() {
    let issuer = Arc::new(Issuer::default());
    let [old, new] = [0, 1].map(|_| Signer::elliptic("ES256"));
    let about = |id: &str, jwks: &str| json!({ "issuer": id, "jwks_uri": jwks, "token_endpoint": "x" }).to_string();
    let id = "https://id.example/tenant";
    let well_known = "/tenant/.well-known/openid-configuration";
    issuer.serve(well_known, about(id, "https://id.example/keys"));
    issuer.serve("/keys", key_set(&[(&old, "old")]));
    let definition = json!({ "algorithms": ["ES256"], "issuer": id, "discovery": "provider" });
    let (documents, sets) = start(&issuer, quick(), &definition);
    sets.attempted().await;
    let claims = json!({ "sub": "alice", "exp": 2000, "iss": id }).to_string();
    let token_of = |kid: &str, signer: &Signer| token(&json!({ "alg": "ES256", "kid": kid }), &claims, signer);
    let verify = |token: &str| sets.verify("k", token, NOW).map(drop);
    assert_eq!(verify(&token_of("old", &old)), Ok(()));
    assert_eq!(sets.discovered("k").as_deref(), Some(about(id, "https://id.example/keys").as_str()));
    assert_eq!(
        verify(&es256_token("old", &old)),
        Err(VerifyError::WrongIssuer),
        "the issuer is checked in tokens, too"
    );
    let through = Some("provider".to_owned());
    let asked = issuer.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [(format!("https://id.example{well_known}"), through.clone()), ("https://id.example/keys".to_owned(), through)]
    );

    // The keys move, and a token with a new one causes the document to be fetched as well.
    issuer.serve(well_known, about(id, "https://id.example/moved"));
    issuer.serve("/moved", key_set(&[(&new, "new")]));
    until("the new keys", || verify(&token_of("new", &new)) == Ok(())).await;
    assert!(sets.discovered("k").unwrap().contains("/moved"));

    // A document of another issuer, or about another host, changes nothing; the last good keys stay valid.
    for (bad, words) in [
        (about("https://id.example/other", "https://id.example/keys"), "of the issuer"),
        (about(id, "https://elsewhere.example/keys"), "not at the host of the issuer"),
        ("<html>".to_owned(), "discovery document cannot be read"),
        (about(&format!("https://id.example/{}", "long".repeat(50_000)), "https://id.example/keys"), "longlong"),
    ] {
        issuer.serve(well_known, bad);
        until(words, || {
            let _ = verify(&token_of("unknown", &old));
            issuer.warned(words)
        })
        .await;
        assert_eq!(verify(&token_of("new", &new)), Ok(()), "{words}");
        assert!(sets.discovered("k").unwrap().contains("/moved"), "{words}");
    }
    assert!(issuer.warnings.lock().unwrap().iter().all(|warning| warning.len() < 1_500), "a line of the log is a line");
    let asked = issuer.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|(address, _)| address.starts_with("https://id.example/")), "{asked:?}");

    // A plugin may invent neither the upstream nor the issuer.
    for missing in ["provider", id] {
        let sets = KeySets::new(documents.clone()).with_upstreams(upstreams());
        let refused = sets.declare("k", &definition.to_string(), &|text| text != missing).unwrap_err();
        assert!(refused.contains(missing), "{refused}");
    }
    let refused = KeySets::new(documents).declare("k", &definition.to_string(), &|_| true).unwrap_err();
    assert!(refused.contains("there is no upstream \"provider\""), "{refused}");
    assert_eq!(declared(&json!({ "algorithms": ["RS256"], "jwks": ADDRESS })).unwrap().discovered("k"), None);
}
