//! Templates that an operator writes: text and JSON with values of a request in them, and of what upstreams answered.
//!
//! `$(PLACE)` is a value: `$(path.id)`, `$(query.page)`, `$(header.accept-language)`, `$(identity.subject)`, an attribute such as
//! `$(source.address)`, or a part of a document by a JSON Pointer (RFC 6901): `$(body/customer/id)`, `$(identity.claims/groups/0)`,
//! `$(parts.user/name)`. `$(PLACE:-DEFAULT)` has a default for where there is no value. A plain `$(` is written `$$(`.
//!
//! What a value may break is decided where it is put: [`Text::render`] hands each one to an encoder, and a [`Document`] writes
//! JSON and nothing else.

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

/// What places stand for in one exchange.
pub trait Values {
    /// The value at the root; `None` where there is none. The place's pointer goes on from there.
    fn root(&self, root: &Root) -> Option<Cow<'_, json::Value>>;
}

/// Why a template says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// There is no value, or none that is a text, a number or a truth value where one of them is needed.
    Missing(&'a Place),
    /// The value may not stand here.
    Unfit(&'a Place),
}

impl<'a> Fault<'a> {
    /// Where the value should come from.
    #[must_use]
    pub const fn place(&self) -> &'a Place {
        match self {
            Self::Missing(place) | Self::Unfit(place) => place,
        }
    }
}

/// A text, a number or a truth value as text.
#[must_use]
pub fn scalar(value: &json::Value) -> Option<&str> {
    match value {
        json::Value::String(text) | json::Value::Number(text) => Some(text),
        json::Value::Bool(true) => Some("true"),
        json::Value::Bool(false) => Some("false"),
        json::Value::Null | json::Value::Array(_) | json::Value::Object(_) => None,
    }
}
