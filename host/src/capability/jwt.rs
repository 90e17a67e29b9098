//! `jwt`: signed tokens, checked natively with key sets that the operator wrote down.
//!
//! [`KeySets`] belongs to one plugin configuration. Its sets are declared while an instance is configured and never
//! change afterwards; `verify` is a plain function: it looks the set up, asks the cache of verified tokens, and else
//! checks the signature with keys that were parsed when they were loaded. It never waits. Keys behind an address are
//! fetched by [`Documents`] on the control thread; a document is shared by all who declare the same address, so it
//! survives a reload and is fetched once however many routes use it.
//!
//! The rules are those of RFC 8725: an allow-list of algorithms, of which symmetric and asymmetric never mix; a key
//! fits an algorithm by its own type, size, curve, `use` and `alg`; `none` does not exist; a token's header chooses
//! among known keys by `kid` and brings none along; names that are there twice are refused; `exp` must be there.
//!
//! Signatures are aws-lc's. The `jsonwebtoken` crate is the independent other side in the tests and not used here: it
//! parses the key again for each token (RS256 19.9 µs against 15.6, ES256 45.7 against 41.7, HS256 4.0 against 2.8),
//! has no ES512, takes headers with duplicate names, and leaves all rules about keys to its caller.
//!
//! A token that was verified before costs its hash and a lookup, 0.25 to 0.4 µs, until it expires or the keys change.

mod algorithm;
mod cache;
mod definition;
mod discovery;
mod fetch;
mod jwk;
mod key;
mod keyset;
mod schedule;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;

pub use algorithm::{Algorithm, Algorithms};
pub use definition::is_loopback;
pub use fetch::{Documents, Fetch, FetchFuture, Fetched};
pub use key::Key;
pub use schedule::Timing;
pub use verify::{MAX_TOKEN_BYTES, MAX_TRIED_KEYS, Signed, verify_signature};

use definition::Definition;
use keyset::KeySet;

/// The key sets of one plugin configuration, by the names that the plugin gives them.
pub struct KeySets {
    documents: Arc<Documents>,
    /// The upstreams that `discovery`, and the host of an address, may name.
    upstreams: Arc<BTreeSet<Arc<str>>>,
    sets: ArcSwap<HashMap<String, Arc<KeySet>>>,
    declaring: Mutex<()>,
}

/// Why a token was not accepted. The gateway is at fault only for [`VerifyError::KeysUnavailable`] (503); everything
/// else is the caller's (401).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyError {
    /// Not a token in JWS compact form, or a header or claim of the wrong type or there twice.
    Malformed,
    /// No key of the set can be meant.
    UnknownKey,
    BadSignature,
    Expired,
    NotYetValid,
    WrongIssuer,
    WrongAudience,
    /// Not in the set's list, or not what the key that the token names is for.
    AlgorithmNotAllowed,
    /// The key set's document was never loaded, or is too old to be trusted.
    KeysUnavailable,
    Other(String),
}

impl KeySets {
    /// `documents` is the one of the whole gateway.
    pub fn new(documents: Arc<Documents>) -> KeySets {
        KeySets { documents, upstreams: Arc::default(), sets: ArcSwap::default(), declaring: Mutex::new(()) }
    }

    /// The same with upstreams that `discovery`, and the host of an address, may name.
    pub fn with_upstreams(self, upstreams: Arc<BTreeSet<Arc<str>>>) -> KeySets {
        KeySets { upstreams, ..self }
    }

    /// Declares the key set `name`. The definition is JSON as `wit/plugin.wit` describes it at `jwt.declare`; `allowed`
    /// says whether the operator wrote this address or path into the plugin's configuration.
    ///
    /// Every instance of a plugin declares its sets anew, so the same definition again is fine and cheap, and another
    /// one under the same name is an error. A key file is read at once, an address is fetched soon
    /// ([`KeySets::attempted`]). At most [`MAX_KEY_SETS`] sets.
    ///
    /// # Errors
    /// What is wrong, for the operator. Over http, keys come only from this machine and through upstreams: whoever
    /// replaces them on the way signs valid tokens.
    pub fn declare(&self, name: &str, definition: &str, allowed: &dyn Fn(&str) -> bool) -> Result<(), String> {
        // The digest, and not the text: a definition may hold secrets.
        let digest = digest::digest(&digest::SHA256, definition.as_bytes());
        let is_declared = |sets: &HashMap<String, Arc<KeySet>>| match sets.get(name) {
            Some(set) if set.is_from(digest.as_ref()) => Ok(true),
            Some(_) => Err(format!("key set {name:?} is declared already, with another definition")),
            None => Ok(false),
        };
        if is_declared(&self.sets.load())? {
            return Ok(());
        }
        let _declaring = self.declaring.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = self.sets.load_full();
        if is_declared(&sets)? {
            return Ok(());
        }
        if sets.len() >= MAX_KEY_SETS {
            return Err(format!("more than {MAX_KEY_SETS} key sets are declared"));
        }
        let in_set = |problem: String| format!("key set {name:?}: {problem}");
        let definition = Definition::parse(definition).map_err(in_set)?;
        if let Some(host) = definition.host_in_the_clear()
            && !is_loopback(host)
            && !self.upstreams.contains(host)
        {
            let problem = "jwks: over http, keys can be replaced on the way; write https, or as the host the name of an \
                           upstream";
            return Err(in_set(problem.to_owned()));
        }
        if let Some(upstream) = &definition.discovery
            && !self.upstreams.contains(upstream.as_str())
        {
            return Err(in_set(format!("discovery: there is no upstream {upstream:?}")));
        }
        let set = KeySet::new(digest.as_ref(), definition, &self.documents, allowed).map_err(in_set)?;
        let mut sets = HashMap::clone(&sets);
        sets.insert(name.to_owned(), Arc::new(set));
        self.sets.store(Arc::new(sets));
        Ok(())
    }

    /// The claims of a good token, as the JSON text that was signed. `now_s` is Unix time. Never waits.
    pub fn verify(&self, name: &str, token: &str, now_s: u64) -> Result<Arc<str>, VerifyError> {
        match self.sets.load().get(name) {
            Some(set) => set.verify(token, now_s),
            None => Err(VerifyError::Other(format!("no key set {name:?} is declared"))),
        }
    }

    /// Checks the signature of any bytes. Never waits.
    pub fn verify_message(&self, name: &str, signed: &Signed<'_>) -> Result<(), VerifyError> {
        match self.sets.load().get(name) {
            Some(set) => set.verify_message(signed),
            None => Err(VerifyError::Other(format!("no key set {name:?} is declared"))),
        }
    }

    /// The discovery document of a key set that was declared with one; none while there is none. Never waits.
    pub fn discovered(&self, name: &str) -> Option<Arc<str>> {
        self.sets.load().get(name)?.discovered()
    }

    /// Waits until every address declared so far was tried once, whatever came of it. For whoever swaps snapshots: with
    /// a timeout around it, so that a new key set does not begin with 503s where its issuer is well.
    pub async fn attempted(&self) {
        let sets = self.sets.load_full();
        for set in sets.values() {
            set.attempted().await;
        }
    }
}

impl fmt::Debug for KeySets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("KeySets").field(&self.sets.load().keys()).finish()
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            VerifyError::Malformed => "the token is malformed",
            VerifyError::UnknownKey => "no known key can have signed the token",
            VerifyError::BadSignature => "the signature is wrong",
            VerifyError::Expired => "the token has expired",
            VerifyError::NotYetValid => "the token is not valid yet",
            VerifyError::WrongIssuer => "the token is from another issuer",
            VerifyError::WrongAudience => "the token is for another audience",
            VerifyError::AlgorithmNotAllowed => "the algorithm is not allowed",
            VerifyError::KeysUnavailable => "the keys are not available",
            VerifyError::Other(problem) => problem,
        })
    }
}

impl std::error::Error for VerifyError {}

/// Per plugin configuration.
pub const MAX_KEY_SETS: usize = 16;
