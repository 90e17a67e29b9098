//! The endpoints of a provider: as the operator wrote them, or from its discovery document.

use std::borrow::Cow;

use gatewright_sdk::{jwt, rules, serde::Deserialize, serde_json};

use crate::config::{Config, origin_and_path};
use crate::provider::KEYS;

/// The endpoints of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// Addresses for browsers.
    pub(crate) authorization: String,
    pub(crate) end_session: Option<String>,
    /// A path at the upstream.
    pub(crate) token: String,
}

/// The source of one provider's endpoints.
pub(crate) struct Source {
    /// `None` if they come from the discovery document.
    written: Option<Endpoints>,
    issuer: String,
    end_session: Option<String>,
}

#[derive(Deserialize)]
#[serde(crate = "gatewright_sdk::serde")]
struct Document {
    authorization_endpoint: String,
    token_endpoint: String,
    end_session_endpoint: Option<String>,
}

impl Source {
    pub(crate) fn new(config: &Config) -> Self {
        let written = config.authorization_endpoint.clone().zip(config.token_endpoint.clone());
        let end_session = config.end_session_endpoint.clone();
        let written =
            written.map(|(authorization, token)| Endpoints { authorization, token, end_session: end_session.clone() });
        Self { written, issuer: config.issuer.clone(), end_session }
    }

    /// The host of the issuer, if the discovery document is used.
    pub(crate) fn host(&self) -> Option<&str> {
        let (origin, _) = origin_and_path(&self.issuer).filter(|_| self.written.is_none())?;
        origin.split_once("://").map(|(_, host)| host)
    }

    /// # Errors
    /// The discovery document is missing or not acceptable: for the operator.
    pub(crate) fn get(&self) -> Result<Cow<'_, Endpoints>, String> {
        match &self.written {
            Some(written) => Ok(Cow::Borrowed(written)),
            None => self.discovered().map(Cow::Owned),
        }
    }

    /// The gateway has checked that the document is the issuer's.
    fn discovered(&self) -> Result<Endpoints, String> {
        let text = jwt::discovered(KEYS).ok_or("the discovery document of the provider is not there")?;
        let document: Document =
            serde_json::from_str(&text).map_err(|error| format!("the discovery document of the provider: {error}"))?;
        let (origin, _) = origin_and_path(&self.issuer).ok_or("the issuer is no address")?;
        let token = match origin_and_path(&document.token_endpoint) {
            Some((at, path)) if at == origin && rules::is_sendable(path) => path.to_owned(),
            _ => {
                return Err(format!(
                    "the provider says that its token_endpoint is {:?}, which is not at the host of the issuer; write \
                     authorization_endpoint, token_endpoint and jwks in place of what it says",
                    document.token_endpoint
                ));
            }
        };
        let end_session = self.end_session.clone().or(document.end_session_endpoint);
        for address in [Some(&document.authorization_endpoint), end_session.as_ref()].into_iter().flatten() {
            // A browser is not sent from https to an address where everybody can read its requests.
            let is_open = origin.starts_with("https://") && !address.starts_with("https://");
            if is_open || origin_and_path(address).is_none() || !rules::is_sendable(address) {
                return Err(format!("the provider says that browsers go to {address:?}, which is no address for them"));
            }
        }
        Ok(Endpoints { authorization: document.authorization_endpoint, end_session, token })
    }
}
