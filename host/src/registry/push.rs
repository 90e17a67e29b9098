//! Pushes to a registry: components, and their signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::client::Client;
use super::manifest::{self, MANIFEST, SIGNATURE, Target, of_component};
use super::signature::{PAYLOAD, SigningKey, tag_of};
use super::{Error, digest_of};
use crate::config::OciDigest;

impl Client {
    /// Pushes a component under the tag of the reference. Returns the digest of the artifact's manifest, which a
    /// configuration names.
    ///
    /// # Errors
    /// The registry refuses it; it may then have a few more blobs, which nothing names.
    pub async fn push(&self, component: &[u8], target: &Target) -> Result<OciDigest, Error> {
        self.within(async {
            let (config, manifest) = of_component(component, target);
            self.put_blob(component).await?;
            self.put_blob(&config).await?;
            let digest = digest_of(&manifest);
            let name = self.reference.tag.clone().unwrap_or_else(|| digest.to_string());
            self.put_manifest(&name, manifest).await?;
            Ok(digest)
        })
        .await
    }

    /// Signs the artifact with this digest, in addition to its existing signatures. A second signature by the same key
    /// is not made.
    ///
    /// # Errors
    /// The artifact does not exist, the key cannot sign, or the registry refuses the signature.
    pub async fn sign(&self, artifact: &OciDigest, key: &SigningKey) -> Result<(), Error> {
        self.within(async {
            // The artifact must exist, and match its digest.
            self.manifest_of(artifact).await?;
            let ours = key.public().map_err(Error::Unsigned)?;
            if ours.accept(&self.fetch_signatures(artifact, None).await?, artifact).is_ok() {
                return Ok(());
            }
            let signature = key.sign(&self.reference, artifact).map_err(Error::Unsigned)?;
            self.put_blob(&signature.payload).await?;
            let mut layers = self.layers_of_signatures(artifact).await?;
            layers.push(json!({
                "mediaType": PAYLOAD,
                "digest": digest_of(&signature.payload).to_string(),
                "size": signature.payload.len(),
                "annotations": { SIGNATURE: STANDARD.encode(&signature.signature) },
            }));
            let payloads: Vec<&Value> = layers.iter().filter_map(|layer| layer.get("digest")).collect();
            let config = json!({
                "architecture": "", "created": "0001-01-01T00:00:00Z", "history": [], "os": "", "config": {},
                "rootfs": { "type": "layers", "diff_ids": payloads },
            });
            let config = config.to_string().into_bytes();
            self.put_blob(&config).await?;
            let manifest = manifest::manifest("application/vnd.oci.image.config.v1+json", &config, layers);
            self.put_manifest(&tag_of(artifact), manifest).await
        })
        .await
    }

    /// The existing signatures as written: a layer may contain more than is understood here.
    async fn layers_of_signatures(&self, artifact: &OciDigest) -> Result<Vec<Value>, Error> {
        let Some((_, manifest)) = self.signatures_of(artifact).await? else { return Ok(Vec::new()) };
        let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
        Ok(manifest.get("layers").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// Uploads a blob in one piece, unless the registry has it already.
    async fn put_blob(&self, bytes: &[u8]) -> Result<(), Error> {
        let digest = digest_of(bytes);
        let there = self.send(&self.request(Method::HEAD, self.address(&format!("blobs/{digest}"))?)).await?;
        if there.head.status == StatusCode::OK {
            return Ok(());
        }
        let begun = self.send(&self.request(Method::POST, self.address("blobs/uploads/")?)).await?;
        let location = begun.head.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        let (StatusCode::ACCEPTED, Some(location)) = (begun.head.status, location.map(str::to_owned)) else {
            return Err(self.refusal(begun).await);
        };
        let uri = self.continuation(&location)?;
        let separator = if uri.query().is_some() { '&' } else { '?' };
        let uri: Uri = format!("{uri}{separator}digest={digest}").parse().unwrap_or(uri);
        let octets = HeaderValue::from_static("application/octet-stream");
        self.put(uri, octets, bytes.to_vec()).await
    }

    async fn put_manifest(&self, name: &str, manifest: Vec<u8>) -> Result<(), Error> {
        let uri = self.address(&format!("manifests/{name}"))?;
        self.put(uri, HeaderValue::from_static(MANIFEST), manifest).await
    }

    async fn put(&self, uri: Uri, content_type: HeaderValue, body: Vec<u8>) -> Result<(), Error> {
        let mut request = self.request(Method::PUT, uri).map(|_| Full::new(Bytes::from(body)));
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
        let answer = self.send(&request).await?;
        if answer.head.status == StatusCode::CREATED { Ok(()) } else { Err(self.refusal(answer).await) }
    }

    fn request(&self, method: Method, uri: Uri) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
    }
}
