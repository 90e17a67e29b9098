//! Header changes, prepared in advance.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Changes to a header block: first removals, then sets, then additions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    pub remove: Vec<HeaderName>,
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub append: Vec<(HeaderName, HeaderValue)>,
}

impl Fields {
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.append.is_empty()
    }

    /// These changes, followed by others.
    #[must_use]
    pub fn and(mut self, others: &Fields) -> Fields {
        self.remove.extend_from_slice(&others.remove);
        self.set.extend_from_slice(&others.set);
        self.append.extend_from_slice(&others.append);
        self
    }

    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.append {
            headers.append(name, value.clone());
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let removed = self.remove.iter().map(|name| ("remove", name));
        let set = self.set.iter().map(|(name, _)| ("set", name));
        let appended = self.append.iter().map(|(name, _)| ("append", name));
        for (at, (what, name)) in removed.chain(set).chain(appended).enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{what} {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn removed_then_set_then_appended() {
        let name = HeaderName::from_static;
        let value = HeaderValue::from_static;
        let mut headers = HeaderMap::new();
        for (field, text) in [("x-a", "1"), ("x-a", "2"), ("x-b", "3"), ("x-c", "4")] {
            headers.append(name(field), value(text));
        }
        let fields = Fields {
            remove: vec![name("x-c"), name("x-d")],
            set: vec![(name("x-a"), value("5"))],
            append: vec![(name("x-b"), value("6")), (name("x-c"), value("7"))],
        };
        fields.apply(&mut headers);
        let mut left: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        left.sort();
        assert_eq!(left, ["x-a: 5", "x-b: 3", "x-b: 6", "x-c: 7"]);
        assert_eq!(fields.to_string(), "remove x-c, remove x-d, set x-a, append x-b, append x-c");
        assert!(Fields::default().is_empty() && !fields.is_empty());
    }
}
