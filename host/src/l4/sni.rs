//! Which entry takes a server name: an exact one first, then the longest wildcard, then the default.

use std::collections::HashMap;

/// Entries by server name.
#[derive(Debug)]
pub struct Names<T> {
    exact: HashMap<Box<str>, usize>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, usize>,
    default: Option<usize>,
    entries: Vec<T>,
}

impl<T> Names<T> {
    /// Each entry with its patterns: names and `*.` names, in lower case. An entry without patterns is the default. If
    /// a pattern occurs twice, the first counts.
    pub fn new<'a>(entries: impl IntoIterator<Item = (Vec<&'a str>, T)>) -> Self {
        let mut names = Names { exact: HashMap::new(), wildcard: HashMap::new(), default: None, entries: Vec::new() };
        for (patterns, entry) in entries {
            let index = names.entries.len();
            names.entries.push(entry);
            if patterns.is_empty() {
                names.default.get_or_insert(index);
            }
            for pattern in patterns {
                match pattern.strip_prefix("*.") {
                    Some(suffix) => names.wildcard.entry(suffix.into()).or_insert(index),
                    None => names.exact.entry(pattern.into()).or_insert(index),
                };
            }
        }
        names
    }

    /// The entry for a name in lower case, or for a client without a name.
    pub fn find(&self, name: Option<&str>) -> Option<&T> {
        let named = name.and_then(|name| self.exact.get(name).or_else(|| self.below(name)));
        self.entries.get(*named.or(self.default.as_ref())?)
    }

    fn below(&self, name: &str) -> Option<&usize> {
        let mut rest = name;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(index) = self.wildcard.get(suffix) {
                return Some(index);
            }
            rest = suffix;
        }
        None
    }

    pub fn entries(&self) -> &[T] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_name_wins() {
        let names = Names::new([
            (vec!["*.example.com"], "below"),
            (vec!["a.example.com", "b.example.com"], "exact"),
            (vec!["*.deep.example.com"], "deep"),
            (vec![], "default"),
        ]);
        for (name, expected) in [
            ("a.example.com", "exact"),
            ("b.example.com", "exact"),
            ("c.example.com", "below"),
            ("x.y.example.com", "below"),
            ("deep.example.com", "below"),
            ("x.deep.example.com", "deep"),
            ("x.y.deep.example.com", "deep"),
            ("example.com", "default"),
            ("com", "default"),
            ("aexample.com", "default"),
            (".example.com", "below"),
        ] {
            assert_eq!(names.find(Some(name)), Some(&expected), "{name}");
        }
        assert_eq!(names.find(None), Some(&"default"));
        assert_eq!(names.entries().len(), 4);
    }

    #[test]
    fn without_a_default_a_strange_name_has_no_entry() {
        let names = Names::new([(vec!["a.example"], 1)]);
        assert_eq!((names.find(Some("b.example")), names.find(None)), (None, None));
    }
}
