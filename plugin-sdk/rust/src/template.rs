//! Templates that an operator writes: text and JSON with values from a request and from upstreams' responses.
//!
//! `$(PLACE)` is a value: `$(path.id)`, `$(query.page)`, `$(header.accept-language)`, `$(identity.subject)`, an
//! attribute such as `$(source.address)`, or a part of a document by a JSON Pointer (RFC 6901): `$(body/customer/id)`,
//! `$(identity.claims/groups/0)`, `$(parts.user/name)`. `$(PLACE:-DEFAULT)` has a default for when there is no value. A
//! literal `$(` is written `$$(`.
//!
//! Values are escaped for where they are inserted: [`Text::render`] passes each one to an encoder, and a [`Document`]
//! always writes valid JSON.

mod document;
mod path;
mod place;
mod request;
mod text;

pub use document::Document;
pub use path::{PathPattern, Target};
pub use place::{Place, Root, Scope};
pub use request::RequestValues;
pub use text::Text;

use crate::json;
use std::borrow::Cow;

/// The values of places in one exchange.
pub trait Values {
    /// The value at the root; `None` if there is none. The place's pointer is applied to it.
    fn root(&self, root: &Root) -> Option<Cow<'_, json::Value>>;
}

/// Why a template cannot be rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// There is no value, or it is not a text, a number or a boolean where one of them is needed.
    Missing(&'a Place),
    /// The value is not allowed here.
    Unfit(&'a Place),
}

impl<'a> Fault<'a> {
    /// The place whose value caused the fault.
    #[must_use]
    pub const fn place(&self) -> &'a Place {
        match self {
            Self::Missing(place) | Self::Unfit(place) => place,
        }
    }
}

/// A text, a number or a boolean as text.
#[must_use]
pub fn scalar(value: &json::Value) -> Option<&str> {
    match value {
        json::Value::String(text) | json::Value::Number(text) => Some(text),
        json::Value::Bool(true) => Some("true"),
        json::Value::Bool(false) => Some("false"),
        json::Value::Null | json::Value::Array(_) | json::Value::Object(_) => None,
    }
}
