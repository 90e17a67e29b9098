//! Which certificate a name gets. Pure.

use std::collections::HashMap;

/// Indices of certificates by their names.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<str>, Vec<usize>>,
}

impl Names {
    /// Adds a name as it is in the certificate: in either case, possibly a wildcard.
    pub(super) fn add(&mut self, name: &str, certificate: usize) {
        let name = name.to_ascii_lowercase();
        let (table, name) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wildcard, rest),
            None => (&mut self.exact, name.as_str()),
        };
        let certificates = table.entry(name.into()).or_default();
        if !certificates.contains(&certificate) {
            certificates.push(certificate);
        }
    }

    /// The certificates for a name in lower case: those with that name, otherwise those with a wildcard for its first
    /// label.
    pub(super) fn find(&self, name: &str) -> Option<&[usize]> {
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(by_wildcard).map(Vec::as_slice)
    }

    /// The certificates that were added with exactly this name.
    pub(super) fn with(&self, name: &str) -> &[usize] {
        let name = name.to_ascii_lowercase();
        let certificates = match name.strip_prefix("*.") {
            Some(rest) => self.wildcard.get(rest),
            None => self.exact.get(name.as_str()),
        };
        certificates.map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether a name of a certificate matches this host. A wildcard matches one label.
pub(super) fn is_for(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest)),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_for_itself_and_a_wildcard_for_one_label() {
        for (name, host, expected) in [
            ("a.test", "a.test", true),
            ("A.test", "a.Test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.test", true),
            ("*.a.test", "b.A.test", true),
            ("*.test", "test", false),
            ("*.test", "a.b.test", false),
            ("a.test", "*.test", false),
        ] {
            assert_eq!(is_for(name, host), expected, "{name} {host}");
        }
    }

    #[test]
    fn exact_then_wildcard_then_none() {
        let mut names = Names::default();
        for (certificate, its) in
            [(0, &["a.test", "*.a.test"][..]), (1, &["API.a.test"]), (2, &["*.Deep.a.test", "a.test"]), (3, &["*.x"])]
        {
            its.iter().for_each(|name| names.add(name, certificate));
        }
        for (name, expected) in [
            ("a.test", Some(&[0, 2][..])),
            ("b.a.test", Some(&[0])),
            ("api.a.test", Some(&[1])),
            ("c.deep.a.test", Some(&[2])),
            // A wildcard matches one label (RFC 6125, section 6.4.3).
            ("d.c.deep.a.test", None),
            ("c.b.a.test", None),
            ("deep.a.test", Some(&[0])),
            ("y.x", Some(&[3])),
            ("x", None),
            ("", None),
            (".a.test", Some(&[0])),
            ("test", None),
        ] {
            assert_eq!(names.find(name), expected, "{name}");
        }
        assert_eq!(names.with("*.A.test"), [0]);
        assert!(names.with("b.a.test").is_empty());
    }
}
