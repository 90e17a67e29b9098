//! `plugin push`, `pull`, `sign` and `verify`: components in OCI registries.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::scratch::Scratch;
use super::{Error, Stage, toolchain};
use crate::config::{OciDigest, OciReference, Registries};
use crate::plugin::Artifact;
use crate::registry::{
    self, Client, Credentials, Keys, Settings, SigningKey, Store, Target, Wanted, digest_of, read_keys,
};
use crate::tls::Trust;

/// How the command line talks to the registry of a reference.
pub struct Options {
    /// Without TLS, wherever the registry is.
    pub plain_http: bool,
    /// Time limit for everything that one command does there.
    pub timeout: Duration,
    /// Docker's configuration. Default: docker's own location.
    pub credentials: Option<PathBuf>,
    /// PEM files with authorities in addition to the system's.
    pub authorities: Vec<PathBuf>,
}

/// A plugin that came from a registry.
pub struct Pulled {
    /// The digest of the artifact.
    pub digest: OciDigest,
    pub component: Vec<u8>,
}

/// Pushes the component in a file, and returns the digest of the artifact.
///
/// # Errors
/// The file contains no plugin that this gateway would load, or the registry refuses it.
pub fn push(file: &Path, reference: &OciReference, options: &Options) -> Result<OciDigest, Error> {
    if reference.digest.is_some() {
        return Err(Error::told("what is pushed has the digest that it has; give the reference a tag and no digest"));
    }
    // Read once, so that the bytes that were checked are pushed.
    let bytes = Artifact::read(file).map_err(|error| toolchain::unusable(file, &error))?;
    let stage = Stage::of(&bytes, &file.display().to_string())?;
    let artifact = stage.artifact();
    let target = Target { exports: artifact.exported(), imports: artifact.imported() };
    at(reference, options, async |client| client.push(&bytes, &target).await)
}

/// Pulls a component, and checks everything that can be checked. If there are keys, one of them must have signed it.
///
/// # Errors
/// It does not exist, does not match its digest, is not signed, or is not a plugin that this gateway would load.
pub fn pull(reference: &OciReference, keys: &[PathBuf], options: &Options) -> Result<Pulled, Error> {
    let keys = if keys.is_empty() { None } else { Some(Arc::new(accepted(keys)?)) };
    let folder = Scratch::new("pull")?;
    let store = Store::new(folder.path.clone());
    let wanted = at(reference, options, async |client| {
        let digest = client.resolve().await?;
        let wanted = Wanted { reference: reference.clone(), digest, keys: keys.clone() };
        client.fetch(&wanted, &store).await.map(|()| wanted)
    })?;
    let component = store.component(&wanted).map_err(|_| Error::told("what was pulled cannot be read again"))?;
    Stage::of(&component, &reference.to_string())?;
    Ok(Pulled { digest: wanted.digest, component })
}

/// Signs an artifact, and returns its digest.
///
/// # Errors
/// The key cannot be used, or the artifact does not exist.
pub fn sign(reference: &OciReference, key: &Path, options: &Options) -> Result<OciDigest, Error> {
    let wrong = |reason| Error::told(format!("{}: {reason}", key.display()));
    let signer = SigningKey::parse(&read(key)?).map_err(wrong)?;
    at(reference, options, async |client| {
        let digest = client.resolve().await?;
        client.sign(&digest, &signer).await.map(|()| digest)
    })
}

/// Checks that the component in a file is that of an artifact, which is checked as in [`pull`].
///
/// # Errors
/// It is a different one, or the artifact is not valid.
pub fn verify_file(
    file: &Path,
    reference: &OciReference,
    keys: &[PathBuf],
    options: &Options,
) -> Result<OciDigest, Error> {
    let bytes = read(file)?;
    let pulled = pull(reference, keys, options)?;
    if bytes != pulled.component {
        return Err(Error::told(format!(
            "{} is not the component of {reference}: its digest is {}, and that of the artifact's component is {}",
            file.display(),
            digest_of(&bytes),
            digest_of(&pulled.component),
        )));
    }
    Ok(pulled.digest)
}

/// Runs a request to the registry of a reference.
fn at<T>(
    reference: &OciReference,
    options: &Options,
    ask: impl AsyncFnOnce(&Client) -> Result<T, registry::Error>,
) -> Result<T, Error> {
    let defaults = Registries::default();
    let mut plain_http = defaults.plain_http;
    if options.plain_http {
        let host = reference.host.parse().map_err(Error::Told)?;
        plain_http.push(host);
    }
    let trust = Trust::load(&options.authorities).map_err(|found| {
        Error::told(found.iter().map(|(_, mistake)| mistake.to_string()).collect::<Vec<_>>().join("; "))
    })?;
    let settings = Settings {
        plain_http,
        trust: Arc::new(trust),
        credentials: Credentials::read(options.credentials.as_deref()).map_err(Error::Told)?,
        connect_timeout: defaults.connect_timeout.into(),
        timeout: options.timeout,
        largest_bytes: defaults.max_size.as_usize(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::told(format!("no runtime: {error}")))?;
    let answer = Client::new(Arc::new(settings), reference.clone())
        .and_then(|client| runtime.block_on(async { ask(&client).await }));
    // Does not wait for a running name lookup.
    runtime.shutdown_background();
    answer.map_err(|error| Error::told(format!("{reference}: {error}")))
}

fn accepted(files: &[PathBuf]) -> Result<Keys, Error> {
    read_keys(files.iter().map(PathBuf::as_path)).map_err(|(_, reason)| Error::Told(reason))
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| toolchain::unusable(file, &error))
}
