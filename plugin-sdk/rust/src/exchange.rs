//! The exchange that a hook is about.

use std::{error, fmt, marker::PhantomData};

use http::{Method, StatusCode};

use crate::host::exchange as host;

/// One request and its response, as the running hook may see and change it.
///
/// This is a handle: the gateway holds all data, each method is one call to it (about a tenth of a microsecond), and
/// nothing is cached. It cannot be kept beyond the hook.
#[derive(Debug)]
pub struct Exchange {
    end_of_stream: bool,
}

impl Exchange {
    #[doc(hidden)]
    #[must_use]
    pub const fn new(end_of_stream: bool) -> Self {
        Self { end_of_stream }
    }

    /// Whether nothing more follows in this direction: in a header hook, that there is no body; in a body hook, that
    /// this is the last chunk.
    #[must_use]
    pub const fn end_of_stream(&self) -> bool {
        self.end_of_stream
    }

    /// The request's method.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn method(&self) -> Method {
        Method::from_bytes(host::method().as_bytes()).expect("the gateway parsed the method before")
    }

    /// `http` or `https`, as the client sent it.
    #[must_use]
    pub fn scheme(&self) -> String {
        host::scheme()
    }

    /// The host and, if given, the port.
    #[must_use]
    pub fn authority(&self) -> String {
        host::authority()
    }

    /// The path with the query.
    #[must_use]
    pub fn path(&self) -> String {
        host::path()
    }

    /// The response's status; `None` before there is a response.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(host::status()).ok()
    }

    /// The request's headers: the client's, with the changes of earlier plugins.
    #[must_use]
    pub const fn request_headers(&self) -> Headers<'_> {
        self.headers(Section::RequestHeaders)
    }

    /// The response's headers; empty before there is a response.
    #[must_use]
    pub const fn response_headers(&self) -> Headers<'_> {
        self.headers(Section::ResponseHeaders)
    }

    /// The trailers of the response: see [`Section::ResponseTrailers`].
    #[must_use]
    pub const fn response_trailers(&self) -> Headers<'_> {
        self.headers(Section::ResponseTrailers)
    }

    /// The header block or the trailers of one direction.
    #[must_use]
    pub const fn headers(&self, section: Section) -> Headers<'_> {
        Headers { section, exchange: PhantomData }
    }

    /// Sets the method. Possible until the request is sent on.
    ///
    /// # Errors
    /// [`MutateError::WrongPhase`] later.
    pub fn set_method(&self, method: &Method) -> Result<(), MutateError> {
        host::set_method(method.as_str())
    }

    /// Sets the host that the upstream sees. Possible until the request is sent on.
    ///
    /// # Errors
    /// [`MutateError::InvalidSyntax`] if it is not an authority, [`MutateError::WrongPhase`] later.
    pub fn set_authority(&self, authority: &str) -> Result<(), MutateError> {
        host::set_authority(authority)
    }

    /// Sets the path with the query. Possible until the request is sent on; the route does not change.
    ///
    /// # Errors
    /// [`MutateError::InvalidSyntax`] if it is not a path, [`MutateError::WrongPhase`] later.
    pub fn set_path(&self, path: &str) -> Result<(), MutateError> {
        host::set_path(path)
    }

    /// Sets the status. Possible until the response is sent on.
    ///
    /// # Errors
    /// [`MutateError::WrongPhase`] before there is a response and after it was sent on.
    pub fn set_status(&self, status: StatusCode) -> Result<(), MutateError> {
        host::set_status(status.as_u16())
    }

    /// Sends the request to another upstream on the route's allow-list.
    ///
    /// # Errors
    /// [`MutateError::NotGranted`] if it is not on the list, [`MutateError::WrongPhase`] once the request was sent.
    pub fn set_upstream(&self, name: &str) -> Result<(), MutateError> {
        host::set_upstream(name)
    }

    /// A fact about the exchange: `source.address`, `identity.subject`, `route.name`, `request.id`, `listener.name`, `upstream.name`,
    /// `upstream.endpoint`, `connection.protocol`, `route.path.NAME` (a parameter of the route's path), or what an earlier plugin set as
    /// `plugin.NAME.KEY`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<String> {
        host::attribute(name)
    }

    /// Sets `plugin.<this plugin>.<name>`, which later plugins and the access log see.
    ///
    /// # Errors
    /// [`MutateError::LimitExceeded`] if there are too many or it is too long.
    pub fn set_attribute(&self, name: &str, value: &str) -> Result<(), MutateError> {
        host::set_attribute(name, value)
    }

    /// Who is calling, once a plugin has authenticated the caller. No header of a client can set it.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        host::identity()
    }

    /// Sets the caller. `claims` is the text of a JSON object.
    ///
    /// # Errors
    /// [`MutateError::InvalidSyntax`] if `claims` is not an object, [`MutateError::WrongPhase`] once the request was
    /// sent on.
    pub fn set_identity(&self, subject: &str, claims: &str) -> Result<(), MutateError> {
        host::set_identity(subject, claims)
    }

    /// Asks for the body of one direction; without this the plugin does not see it.
    ///
    /// # Errors
    /// [`MutateError::WrongPhase`] once that body has begun.
    pub fn set_body_mode(&self, direction: Direction, mode: BodyMode) -> Result<(), MutateError> {
        host::set_body_mode(direction, mode)
    }

    /// Keeps the last `tail` bytes of the chunk, in a body hook with [`BodyMode::Chunks`]: the hook's decision applies
    /// to the rest. The kept bytes are shown again, joined with what follows as with [`crate::BodyDecision::Hold`],
    /// once there are at least `enough` of them or the body ends. At the end of the body nothing is kept.
    ///
    /// # Errors
    /// [`MutateError::LimitExceeded`] if `enough` is above the limit for bodies and could never be reached;
    /// [`MutateError::WrongPhase`] in other hooks.
    pub fn hold_back(&self, tail: usize, enough: usize) -> Result<(), MutateError> {
        host::hold_back(tail, enough)
    }

    /// The bytes that this plugin kept for this exchange; empty at first.
    #[must_use]
    pub fn state(&self) -> Vec<u8> {
        host::state()
    }

    /// Keeps a few bytes for the later hooks of this exchange, whichever instance runs them.
    ///
    /// # Errors
    /// [`MutateError::LimitExceeded`].
    pub fn set_state(&self, state: &[u8]) -> Result<(), MutateError> {
        host::set_state(state)
    }
}

/// One header block of an [`Exchange`]. Names are case-insensitive; they can be text or the constants of
/// [`crate::header`].
#[derive(Clone, Copy, Debug)]
pub struct Headers<'exchange> {
    section: Section,
    exchange: PhantomData<&'exchange Exchange>,
}

/// A header that a message may have only once is there several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Several;

impl Headers<'_> {
    /// The first value. Bytes that are not UTF-8 become U+FFFD.
    #[must_use]
    pub fn get(self, name: impl AsRef<str>) -> Option<String> {
        host::header(self.section, name.as_ref())
    }

    /// The first values of several headers in one call.
    #[must_use]
    pub fn select<const N: usize>(self, names: [&str; N]) -> [Option<String>; N] {
        let mut values = host::select_headers(self.section, &names).into_iter();
        std::array::from_fn(|_| values.next().flatten())
    }

    /// The value of a header that a message may have only once, such as its content type: with several, readers of the
    /// message could disagree about which one counts. Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// There are several.
    pub fn sole(self, name: impl AsRef<str>) -> Result<Option<String>, Several> {
        match self.values(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            _ => Err(Several),
        }
    }

    /// Every value, exactly as received.
    #[must_use]
    pub fn values(self, name: impl AsRef<str>) -> Vec<Vec<u8>> {
        host::header_values(self.section, name.as_ref())
    }

    /// Every header in order, with names in lower case.
    #[must_use]
    pub fn all(self) -> Vec<(String, Vec<u8>)> {
        host::headers(self.section)
    }

    /// Replaces all values of a header by this one.
    ///
    /// A change that the request hook makes to the response's headers is kept until the response is there: it is
    /// applied after the response hooks of the plugins behind this one, and just before this plugin's own. So a plugin
    /// that knows early what to add needs no response hook.
    ///
    /// # Errors
    /// [`MutateError::InvalidSyntax`] for a bad name, or a value with control characters; [`MutateError::Forbidden`]
    /// for the names in [`crate::rules::FORBIDDEN_HEADERS`]; [`MutateError::LimitExceeded`];
    /// [`MutateError::WrongPhase`] if this block was already sent on or is not there yet.
    pub fn set(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<(), MutateError> {
        host::set_header(self.section, name.as_ref(), value.as_ref())
    }

    /// [`Headers::set`] for each field of the block, in one call: all or none.
    ///
    /// # Errors
    /// As [`Headers::set`].
    pub fn set_all(self, block: &HeaderBlock) -> Result<(), MutateError> {
        host::set_headers(self.section, &block.0)
    }

    /// Adds a value, after the existing ones.
    ///
    /// # Errors
    /// As [`Headers::set`].
    pub fn append(self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<(), MutateError> {
        host::append_header(self.section, name.as_ref(), value.as_ref())
    }

    /// [`Headers::append`] for each field of the block, in one call: all or none.
    ///
    /// # Errors
    /// As [`Headers::set`].
    pub fn append_all(self, block: &HeaderBlock) -> Result<(), MutateError> {
        host::append_headers(self.section, &block.0)
    }

    /// Removes all values; it is no error if there are none.
    ///
    /// # Errors
    /// As [`Headers::set`].
    pub fn remove(self, name: impl AsRef<str>) -> Result<(), MutateError> {
        host::remove_header(self.section, name.as_ref())
    }
}

/// A change of a header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderChange {
    /// One field with this name, which replaces all existing ones: name and value.
    Set(String, String),
    /// One more field.
    Append(String, String),
    /// No field with this name.
    Remove(String),
}

/// Header fields in the format that [`Headers::set_all`] and [`Headers::append_all`] pass to the gateway, made once and
/// used often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    /// An empty block.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a field. Errors are reported when the block is set.
    pub fn push(&mut self, name: &str, value: &str) {
        // A name or value beyond these lengths makes a block that is refused.
        let lengths = [u32::try_from(name.len()), u32::try_from(value.len())].map(|length| length.unwrap_or(u32::MAX));
        self.0.reserve(6 + name.len() + value.len());
        self.0.extend_from_slice(&u16::try_from(lengths[0]).unwrap_or(u16::MAX).to_le_bytes());
        self.0.extend_from_slice(&lengths[1].to_le_bytes());
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    /// Whether it has no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Can be changed until the request is sent on.
    RequestHeaders,
    /// Present from the last chunk of the request's body on; its hook can read and change them.
    RequestTrailers,
    /// Can be changed in the response hook.
    ResponseHeaders,
    /// Present from the last chunk of the response's body on; its hook can read and change them. The response hook may
    /// set some for a body with which it answers.
    ResponseTrailers,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestHeaders => "request's headers",
            Self::RequestTrailers => "request's trailers",
            Self::ResponseHeaders => "response's headers",
            Self::ResponseTrailers => "response's trailers",
        })
    }
}

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the upstream.
    Request,
    /// From the upstream, or from a plugin, to the client.
    Response,
}

/// How much of a body the plugin wants to see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// Nothing; the bytes pass through untouched.
    #[default]
    Skip,
    /// All of it in one call, up to the operator's limit. The headers wait for it, so they can still be changed. A
    /// request without a body is shown as an empty one, which can be replaced.
    Whole,
    /// Each chunk as it arrives.
    Chunks,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The caller's name, at most 1 KiB. Empty if a token has no subject.
    pub subject: String,
    /// The text of a JSON object, at most 64 KiB.
    pub claims: String,
}

/// Why the gateway refused a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutateError {
    /// Not a valid header name, header value, method, path or status.
    InvalidSyntax,
    /// A name reserved for the gateway: framing, hop-by-hop, internal.
    Forbidden,
    /// Over a limit of size or count.
    LimitExceeded,
    /// Too late or too early in the exchange.
    WrongPhase,
    /// The operator did not grant what this needs.
    NotGranted,
    /// Any other reason, in the gateway's words.
    Other(String),
}

impl fmt::Display for MutateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidSyntax => "invalid syntax",
            Self::Forbidden => "the gateway keeps this name for itself",
            Self::LimitExceeded => "limit exceeded",
            Self::WrongPhase => "too late or too early in the exchange",
            Self::NotGranted => "not granted",
            Self::Other(text) => text,
        })
    }
}

impl error::Error for MutateError {}
