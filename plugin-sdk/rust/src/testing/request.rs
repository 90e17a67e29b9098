//! The request a test sends.

use http::Method;

use super::world;
use crate::{Identity, Section};

/// A request and what the gateway knows about it.
#[derive(Clone, Debug)]
pub struct Request(world::Exchange);

impl Request {
    /// Without a body.
    #[must_use]
    pub fn new(method: Method, path: &str) -> Self {
        Self(world::Exchange { method: method.to_string(), path: path.to_owned(), ..world::Exchange::default() })
    }

    /// A GET, without a body.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A POST with a body, which [`super::Double::request_body`] sends.
    #[must_use]
    pub fn post(path: &str) -> Self {
        let mut request = Self::new(Method::POST, path);
        request.0.request_has_body = true;
        request
    }

    /// Sets the host; `localhost` unless set.
    #[must_use]
    pub fn authority(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.0.authority);
        self
    }

    /// Adds a header and keeps those of the same name.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.header_bytes(name, value.as_bytes())
    }

    /// Adds a header whose value is not text.
    #[must_use]
    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let headers = self.0.sections.entry(Section::RequestHeaders).or_default();
        headers.push((name.to_ascii_lowercase(), value.to_vec()));
        self
    }

    /// Sets an attribute that the gateway would know, such as `source.address`.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0.attributes.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the caller, as an earlier plugin would.
    #[must_use]
    pub fn identity(mut self, subject: &str, claims: &str) -> Self {
        self.0.identity = Some(Identity { subject: subject.to_owned(), claims: claims.to_owned() });
        self
    }
}

impl From<Request> for world::Exchange {
    fn from(request: Request) -> Self {
        request.0
    }
}
