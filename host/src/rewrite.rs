//! Changes to a request between the plugins and the upstream: another path or host, other header fields, or a redirect
//! of the client. Pure.
//!
//! A path that is built here is in the same normal form that the router saw ([`crate::headers::path`]), or the request
//! is refused: a parameter's value cannot climb out of the path that the operator wrote around it.
//!
//! Rejected: changing the exchange's own request. Plugins, the log and mirrors refer to what the client asked for; only
//! the head that goes to the upstream is changed.

mod fields;
mod path;
mod redirect;

use http::header::HeaderValue;

pub use fields::Fields;
pub use path::{Matched, PathRewrite, Substitution, Text, Unfit};
pub use redirect::{Asked, Redirect};

/// Changes for the request to the upstream.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    pub host: Option<HeaderValue>,
    pub path: Option<PathRewrite>,
}
