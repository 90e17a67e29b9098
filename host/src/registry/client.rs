//! Requests to a registry, by the OCI distribution specification 1.1.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::Scheme;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::auth::Challenge;
use super::manifest::{ACCEPTED, Manifest};
use super::wire::{self, Answer};
use super::{Error, MANIFEST_BYTES, Settings, digest_of};
use crate::config::{OciDigest, OciReference};
use crate::tls::{Connector, Outgoing};

/// Talks to the registry of one reference. The authorization is kept for as long as the client lives.
pub struct Client {
    pub(super) settings: Arc<Settings>,
    pub(super) reference: OciReference,
    scheme: Scheme,
    connector: Option<Arc<Connector>>,
    /// The last successful authorization.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Client {
    /// # Errors
    /// The system has no authorities that could vouch for the registry.
    pub fn new(settings: Arc<Settings>, reference: OciReference) -> Result<Client, Error> {
        let is_plain = settings.plain_http.iter().any(|host| host.is(&reference.host));
        let connector = if is_plain { None } else { Some(connector(&settings, &reference)?) };
        let scheme = if is_plain { Scheme::HTTP } else { Scheme::HTTPS };
        Ok(Client { settings, reference, scheme, connector, authorization: Mutex::default() })
    }

    /// The digest of a reference: its own, or that of its tag at this moment.
    ///
    /// # Errors
    /// The registry does not know the tag.
    pub async fn resolve(&self) -> Result<OciDigest, Error> {
        match (&self.reference.digest, &self.reference.tag) {
            (Some(digest), _) => Ok(digest.clone()),
            (None, tag) => {
                let manifest = self.within(self.manifest(tag.as_deref().unwrap_or("latest"))).await?;
                Ok(digest_of(&manifest))
            }
        }
    }

    /// The manifest with this tag or digest. The caller must check it against a digest.
    pub(super) async fn manifest(&self, name: &str) -> Result<Vec<u8>, Error> {
        let accept = HeaderValue::from_static(ACCEPTED);
        let answer = self.get(&format!("manifests/{name}"), accept).await?;
        if answer.content_type() == "text/html" {
            return Err(Error::Strange { host: answer.host, what: "a page of HTML".to_owned() });
        }
        let host = answer.host.clone();
        let manifest = answer.collect("its manifest", MANIFEST_BYTES).await?;
        // The page of a proxy or a portal is not a bad artifact, it does not come from a registry.
        if serde_json::from_slice::<serde::de::IgnoredAny>(&manifest).is_err() {
            return Err(Error::Strange { host, what: "something that is no manifest".to_owned() });
        }
        Ok(manifest)
    }

    /// The manifest with this digest.
    pub(super) async fn manifest_of(&self, digest: &OciDigest) -> Result<Vec<u8>, Error> {
        let manifest = self.manifest(&digest.to_string()).await?;
        matches("its manifest", digest, digest_of(&manifest))?;
        Ok(manifest)
    }

    /// The manifest of an artifact's signatures, parsed and as received; `None` if there is none.
    pub(super) async fn signatures_of(&self, artifact: &OciDigest) -> Result<Option<(Manifest, Vec<u8>)>, Error> {
        match self.manifest(&super::signature::tag_of(artifact)).await {
            Ok(bytes) => {
                let wrong = |reason| Error::Unsigned(format!("what should have its signatures: {reason}"));
                Ok(Some((Manifest::parse(&bytes).map_err(wrong)?, bytes)))
            }
            Err(Error::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The blob with this digest; its body is still to be read.
    pub(super) async fn blob(&self, digest: &OciDigest) -> Result<Answer, Error> {
        self.get(&format!("blobs/{digest}"), HeaderValue::from_static("*/*")).await
    }

    async fn get(&self, what: &str, accept: HeaderValue) -> Result<Answer, Error> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.address(what)?;
        request.headers_mut().insert(header::ACCEPT, accept.clone());
        let mut answer = self.send(&request).await?;
        for _ in 0..MOST_REDIRECTS {
            let Some(target) = self.redirect(&answer)? else { break };
            // The actual location of a blob has a signed address, and must not get our credentials.
            let mut request = Request::new(Full::default());
            *request.uri_mut() = target;
            request.headers_mut().insert(header::ACCEPT, accept.clone());
            answer = wire::send(&self.settings, self.connector.as_deref(), request).await?;
        }
        if answer.head.status == StatusCode::OK { Ok(answer) } else { Err(self.refusal(answer).await) }
    }

    /// The target of a redirect: never with another scheme, and plain HTTP only if that is allowed.
    fn redirect(&self, answer: &Answer) -> Result<Option<Uri>, Error> {
        if !matches!(answer.head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let strange = |what: &str| Error::Strange { host: answer.host.clone(), what: what.to_owned() };
        let location = answer.head.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| strange("a redirect to nowhere"))?;
        let target: Uri = if location.starts_with('/') && !location.starts_with("//") {
            wire::address(&self.scheme, &answer.host, location)?
        } else {
            location.parse().map_err(|_| strange("a redirect to an address that is none"))?
        };
        let host = target.authority().map(|host| host.as_str()).filter(|host| !host.contains('@'));
        let Some(host) = host else { return Err(strange("a redirect to an address without a host")) };
        if target.scheme() != Some(&self.scheme) {
            return Err(strange("a redirect to another scheme"));
        }
        if self.scheme == Scheme::HTTP && !self.may_be_plain(host) {
            return Err(strange("a redirect to a host that is not spoken with in plain HTTP"));
        }
        Ok(Some(target))
    }

    /// Sends a request with the authorization that the registry asks for.
    pub(super) async fn send(&self, request: &Request<Full<Bytes>>) -> Result<Answer, Error> {
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.send_as(request, authorization).await?;
        if answer.head.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = Challenge::of(&answer.head.headers) else { return Err(self.refusal(answer).await) };
        let authorization = match challenge {
            Challenge::Basic => self.settings.credentials.basic(&self.reference.host),
            Challenge::Bearer { realm, service, scope } => Some(self.token(&realm, service, scope).await?),
        };
        let Some(authorization) = authorization else { return Err(self.refusal(answer).await) };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(authorization.clone());
        self.send_as(request, Some(authorization)).await
    }

    async fn send_as(&self, request: &Request<Full<Bytes>>, who: Option<HeaderValue>) -> Result<Answer, Error> {
        let mut request = request.clone();
        if let Some(who) = who {
            request.headers_mut().insert(header::AUTHORIZATION, who);
        }
        wire::send(&self.settings, self.connector.as_deref(), request).await
    }

    /// Gets a token from the address that the registry names.
    async fn token(&self, realm: &str, service: Option<String>, scope: Option<String>) -> Result<HeaderValue, Error> {
        let strange = |what: &str| Error::Strange { host: self.reference.host.clone(), what: what.to_owned() };
        let uri: Uri = realm.parse().map_err(|_| strange("a token service at an address that is none"))?;
        let host = uri.authority().map(|host| host.as_str()).filter(|host| !host.contains('@'));
        let Some(host) = host else { return Err(strange("a token service at an address without a host")) };
        // Credentials go there, so the same rules apply as for the registry itself.
        if uri.scheme() != Some(&self.scheme) || (self.scheme == Scheme::HTTP && !self.may_be_plain(host)) {
            return Err(strange("a token service that is not spoken with over TLS"));
        }
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull,push", self.reference.name));
        let mut query = format!("scope={}", encode(&scope));
        if let Some(service) = service {
            query = format!("service={}&{query}", encode(&service));
        }
        let separator = if uri.query().is_some() { '&' } else { '?' };
        let path = format!("{}{separator}{query}", uri.path_and_query().map_or("/", |path| path.as_str()));
        let mut request = Request::new(Full::default());
        *request.uri_mut() = wire::address(&self.scheme, host, &path)?;
        if let Some(basic) = self.settings.credentials.basic(&self.reference.host) {
            request.headers_mut().insert(header::AUTHORIZATION, basic);
        }
        let answer = wire::send(&self.settings, self.connector.as_deref(), request).await?;
        if answer.head.status != StatusCode::OK {
            return Err(self.refusal(answer).await);
        }
        let body = answer.collect("the token", TOKEN_BYTES).await?;
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = ["token", "access_token"].iter().find_map(|name| value.get(name)?.as_str());
        let token = token.ok_or_else(|| strange("a token service that gives no token"))?;
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| strange("a token that no request can carry"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Why the registry refuses, and how to solve it if the reason is on our side.
    pub(super) async fn refusal(&self, answer: Answer) -> Error {
        let error = answer.refusal().await;
        let Error::Refused { host, status: status @ (401 | 403), reason } = error else { return error };
        let credentials = &self.settings.credentials;
        let reason = match (credentials.helper(&self.reference.host), credentials.basic(&self.reference.host)) {
            (Some(helper), _) => format!(
                "{reason} (the credentials are with docker-credential-{helper}, which is not asked; give them in a \
                 file of their own)"
            ),
            (None, None) => format!("{reason} (there are no credentials for it; see `docker login`)"),
            (None, Some(_)) => reason,
        };
        Error::Refused { host, status, reason }
    }

    pub(super) fn address(&self, what: &str) -> Result<Uri, Error> {
        let name = match (&*self.reference.host, self.reference.name.contains('/')) {
            // Docker's own images have no owner in their names.
            (DOCKER_HUB, false) => format!("library/{}", self.reference.name),
            _ => self.reference.name.clone(),
        };
        wire::address(&self.scheme, self.api(), &format!("/v2/{name}/{what}"))
    }

    /// The address that a registry gave for the next step; it must be the registry's own.
    pub(super) fn continuation(&self, location: &str) -> Result<Uri, Error> {
        let strange = |what: &str| Error::Strange { host: self.reference.host.clone(), what: what.to_owned() };
        if location.starts_with('/') && !location.starts_with("//") {
            return wire::address(&self.scheme, self.api(), location);
        }
        let uri: Uri = location.parse().map_err(|_| strange("an address that is none"))?;
        let is_its_own = uri.scheme() == Some(&self.scheme) && uri.authority().is_some_and(|host| host == self.api());
        if is_its_own { Ok(uri) } else { Err(strange("an upload that goes to somebody else")) }
    }

    fn api(&self) -> &str {
        if self.reference.host == DOCKER_HUB { DOCKER_HUB_API } else { &self.reference.host }
    }

    fn may_be_plain(&self, host: &str) -> bool {
        self.settings.plain_http.iter().any(|plain| plain.is(host))
    }

    /// Runs all of this, within the time limit for everything.
    pub(super) async fn within<T>(&self, all: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let time = self.settings.timeout;
        let late = || Error::Timeout { host: self.reference.host.clone(), time };
        tokio::time::timeout(time, all).await.unwrap_or_else(|_| Err(late()))
    }
}

fn connector(settings: &Settings, reference: &OciReference) -> Result<Arc<Connector>, Error> {
    let outgoing = Outgoing { tls12: true, ..Outgoing::default() };
    Connector::load(outgoing, &settings.trust, None, SystemTime::now()).map_err(|found| Error::Unreachable {
        host: reference.host.clone(),
        reason: found.iter().map(|(_, mistake)| mistake.to_string()).collect::<Vec<_>>().join("; "),
    })
}

pub(super) fn matches(what: &str, wanted: &OciDigest, came: OciDigest) -> Result<(), Error> {
    match *wanted == came {
        true => Ok(()),
        false => Err(Error::Mismatch { what: what.to_owned(), wanted: wanted.clone(), came }),
    }
}

/// Docker Hub, whose API is at another host than in its names.
pub(super) const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_API: &str = "registry-1.docker.io";

const MOST_REDIRECTS: usize = 5;
const TOKEN_BYTES: usize = 64 << 10;
/// The waits before a request is repeated that may then succeed.
pub(super) const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
