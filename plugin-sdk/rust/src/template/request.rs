//! The values of one request.

use std::{borrow::Cow, cell::LazyCell, collections::BTreeMap};

use super::{Root, Values};
use crate::{Exchange, form, json::Value};

/// The values of a request, asked of the gateway once for each place.
#[derive(Clone, Debug, Default)]
pub struct RequestValues(BTreeMap<Root, Value>);

impl RequestValues {
    /// Asks for the values that these places need. `path` is the named segments.
    #[must_use]
    pub fn read<'a>(
        exchange: &Exchange,
        roots: impl IntoIterator<Item = &'a Root>,
        path: impl IntoIterator<Item = (&'a str, String)>,
        body: Option<Value>,
    ) -> Self {
        let target = LazyCell::new(|| exchange.path());
        let mut values = BTreeMap::new();
        for root in roots {
            let value = match root {
                Root::Query(name) => parameter(&target, name).map(Value::String),
                Root::Header(name) if name == "host" => Some(Value::String(exchange.authority())),
                Root::Header(name) => exchange.request_headers().get(name).map(Value::String),
                Root::Attribute(name) => exchange.attribute(name).map(Value::String),
                Root::Claims => exchange.identity().and_then(|identity| Value::parse(identity.claims.as_bytes()).ok()),
                Root::Path(_) | Root::Body | Root::Part(_) | Root::Failed => None,
            };
            if let Some(value) = value {
                values.insert(root.clone(), value);
            }
        }
        values.extend(path.into_iter().map(|(name, value)| (Root::Path(name.to_owned()), Value::String(value))));
        values.extend(body.map(|body| (Root::Body, body)));
        Self(values)
    }

    /// Adds or replaces a value.
    pub fn set(&mut self, root: Root, value: Value) {
        self.0.insert(root, value);
    }
}

impl Values for RequestValues {
    fn root(&self, root: &Root) -> Option<Cow<'_, Value>> {
        self.0.get(root).map(Cow::Borrowed)
    }
}

/// The first value of a parameter of a path, if it is text.
fn parameter(target: &str, name: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let pair = form::pairs(query).find(|pair| form::decode(pair.name) == name.as_bytes() && !pair.text.is_empty())?;
    String::from_utf8(form::decode(pair.value).into_owned()).ok()
}
