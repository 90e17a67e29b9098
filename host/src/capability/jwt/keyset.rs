//! One key set: where its keys come from, which algorithms it allows, and its rules for claims.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::unique_json;
use super::VerifyError;
use super::algorithm::Algorithms;
use super::cache::Cache;
use super::definition::Definition;
use super::fetch::{Document, Documents};
use super::key::Key;
use super::verify::{Rules, Signed, Token};

/// A declared key set. It does not change; the documents behind it do.
pub(super) struct KeySet {
    definition_digest: Box<[u8]>,
    algorithms: Algorithms,
    /// Written in the definition itself.
    keys: Vec<Key>,
    /// At most a file, and an address or a discovery document.
    documents: SmallVec<[Arc<Document>; 2]>,
    rules: Rules,
    cache: Cache,
}

impl KeySet {
    pub(super) fn new(
        definition_digest: &[u8],
        definition: Definition,
        documents: &Documents,
        allowed: &dyn Fn(&str) -> bool,
    ) -> Result<KeySet, String> {
        let places = [("jwks", &definition.jwks), ("jwks_file", &definition.jwks_file)];
        if let Some((member, place)) = places.iter().find(|(_, place)| place.as_deref().is_some_and(|p| !allowed(p))) {
            let place = place.as_deref().unwrap_or_default();
            return Err(format!("{member}: {place:?} does not stand in the plugin's configuration"));
        }
        if let Some(upstream) = &definition.discovery
            && let Some(made_up) =
                [Some(upstream), definition.rules.issuer.as_ref()].into_iter().flatten().find(|text| !allowed(text))
        {
            return Err(format!("discovery: {made_up:?} does not stand in the plugin's configuration"));
        }
        let discovery = definition.discovery.zip(definition.rules.issuer.as_ref());
        let discovery = discovery.map(|(upstream, issuer)| documents.discovery(issuer, &upstream));
        let file = definition.jwks_file.map(|path| documents.file(&path)).transpose()?;
        let address = definition.jwks.map(|address| documents.address(&address));
        Ok(KeySet {
            definition_digest: definition_digest.into(),
            algorithms: definition.algorithms,
            keys: definition.keys,
            documents: file.into_iter().chain(address).chain(discovery).collect(),
            rules: definition.rules,
            cache: Cache::new(),
        })
    }

    pub(super) fn is_from(&self, definition_digest: &[u8]) -> bool {
        *self.definition_digest == *definition_digest
    }

    pub(super) fn verify(&self, token: &str, now_s: u64) -> Result<Arc<str>, VerifyError> {
        // One consistent view of the keys. Generations only grow, so their sum identifies a view.
        let loaded: SmallVec<[_; 2]> = self.documents.iter().map(|document| document.loaded()).collect();
        let generation: u64 = loaded.iter().map(|loaded| loaded.generation).sum();
        let digest = Cache::digest(token);
        if let Some(claims) = digest.as_ref().and_then(|digest| self.cache.claims(digest, generation, now_s)) {
            return Ok(claims);
        }

        let token = Token::parse(token)?;
        let keys = self.keys.iter().chain(loaded.iter().flat_map(|loaded| &loaded.keys));
        if let Err(error) = token.verify(keys, self.algorithms) {
            return Err(self.explain(error, token.names_its_key(), loaded.iter().any(|loaded| loaded.keys.is_empty())));
        }
        let text = String::from_utf8(token.payload).map_err(|_| VerifyError::Malformed)?;
        let claims = unique_json::object(text.as_bytes()).map_err(|_| VerifyError::Malformed)?;
        let validity = self.rules.check(&claims)?;
        validity.check(now_s)?;
        let claims: Arc<str> = text.into();
        if let Some(digest) = digest {
            self.cache.keep(digest, generation, validity, Arc::clone(&claims));
        }
        Ok(claims)
    }

    /// Not cached: unlike a token, a signed message is not sent again and again.
    pub(super) fn verify_message(&self, signed: &Signed<'_>) -> Result<(), VerifyError> {
        let loaded: SmallVec<[_; 2]> = self.documents.iter().map(|document| document.loaded()).collect();
        let keys = self.keys.iter().chain(loaded.iter().flat_map(|loaded| &loaded.keys));
        let verified = signed.verify(keys, self.algorithms);
        let is_one_missing = loaded.iter().any(|loaded| loaded.keys.is_empty());
        verified.map_err(|error| self.explain(error, signed.kid.is_some(), is_one_missing))
    }

    pub(super) fn discovered(&self) -> Option<Arc<str>> {
        self.documents.iter().find_map(|document| document.loaded().discovered.clone())
    }

    pub(super) async fn attempted(&self) {
        for document in &self.documents {
            document.attempted().await;
        }
    }

    /// If the right key may exist elsewhere, the documents are asked for it: a document that was never loaded makes the
    /// error the gateway's fault, and loaded ones are fetched again.
    fn explain(&self, error: VerifyError, names_its_key: bool, is_one_missing: bool) -> VerifyError {
        let may_exist = match error {
            VerifyError::UnknownKey => true,
            VerifyError::BadSignature => !names_its_key,
            _ => false,
        };
        if !may_exist {
            return error;
        }
        if is_one_missing {
            return VerifyError::KeysUnavailable;
        }
        self.documents.iter().for_each(|document| document.want());
        error
    }
}
