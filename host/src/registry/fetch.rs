//! Fetches from a registry into the store.

use super::client::{Client, PAUSES, matches};
use super::manifest::{Layer, Manifest};
use super::signature::Signature;
use super::store::{PAYLOAD_BYTES, Store};
use super::{Error, MANIFEST_BYTES, Wanted};
use crate::config::OciDigest;

impl Client {
    /// Fetches what the store lacks of a plugin. If an artifact is not signed as required, nothing is kept.
    ///
    /// # Errors
    /// The store may then have a few more blobs, which nobody uses.
    pub async fn fetch(&self, wanted: &Wanted, store: &Store) -> Result<(), Error> {
        self.within(async {
            let mut pauses = PAUSES.iter();
            loop {
                match (self.try_fetch(wanted, store).await, pauses.next()) {
                    (Err(error), Some(pause)) if error.may_pass() => tokio::time::sleep(*pause).await,
                    (fetched, _) => return fetched,
                }
            }
        })
        .await
    }

    async fn try_fetch(&self, wanted: &Wanted, store: &Store) -> Result<(), Error> {
        let kept = store.read(&wanted.digest, MANIFEST_BYTES as u64);
        let bytes = match kept {
            Some(bytes) => bytes,
            None => self.manifest_of(&wanted.digest).await?,
        };
        let manifest = Manifest::parse(&bytes).map_err(Error::NoPlugin)?;
        let layer = manifest.component().map_err(Error::NoPlugin)?;
        if let Some(keys) = &wanted.keys
            && keys.accept(&store.signatures(&wanted.digest), &wanted.digest).is_err()
        {
            let signatures = self.fetch_signatures(&wanted.digest, Some(store)).await?;
            keys.accept(&signatures, &wanted.digest).map_err(Error::Unsigned)?;
        }
        if !store.has(layer) {
            self.fetch_layer(layer, store).await?;
        }
        store.put(&bytes)
    }

    /// The signatures of an artifact; if there are any, they are put into the store.
    pub(super) async fn fetch_signatures(
        &self,
        artifact: &OciDigest,
        store: Option<&Store>,
    ) -> Result<Vec<Signature>, Error> {
        let Some((manifest, bytes)) = self.signatures_of(artifact).await? else { return Ok(Vec::new()) };
        let mut signatures = Vec::new();
        for layer in manifest.layers.iter().filter(|layer| layer.signature.is_some()) {
            let answer = self.blob(&layer.digest).await?;
            let payload = answer.collect("the payload of a signature", PAYLOAD_BYTES as usize).await?;
            matches("the payload of a signature", &layer.digest, super::digest_of(&payload))?;
            if let Some(store) = store {
                store.put(&payload)?;
            }
            signatures.extend(Signature::of(layer, payload));
        }
        if let Some(store) = store {
            store.put_signatures(artifact, &bytes)?;
        }
        Ok(signatures)
    }

    /// Fetches the component, hashes it as it arrives, and only keeps it if the digest matches.
    async fn fetch_layer(&self, layer: &Layer, store: &Store) -> Result<(), Error> {
        let limit = self.settings.largest_bytes;
        let too_large = || Error::TooLarge { what: "the component".to_owned(), limit };
        // Before requesting it.
        let bytes = usize::try_from(layer.bytes).ok().filter(|bytes| *bytes <= limit).ok_or_else(too_large)?;
        let answer = self.blob(&layer.digest).await?;
        let host = answer.host.clone();
        let mut incoming = store.write(&layer.digest)?;
        let streamed = answer.stream("the component", bytes, |data| incoming.append(data)).await;
        streamed.map_err(|error| match error {
            Error::TooLarge { limit, .. } => Error::Strange {
                host: host.clone(),
                what: format!("more bytes than the {limit} that the manifest says the component has"),
            },
            other => other,
        })?;
        matches("the component", &layer.digest, incoming.digest())?;
        incoming.keep()
    }
}
