//! Names of elements and attributes in JSON and in XML.

use std::collections::BTreeMap;

use quick_xml::name::ResolveResult;

/// The namespaces of a configuration, and the well-known ones.
#[derive(Debug)]
pub(crate) struct Names {
    by_prefix: BTreeMap<String, String>,
    by_address: BTreeMap<String, String>,
}

impl Names {
    /// # Errors
    /// What is wrong, preceded by the prefix.
    pub(crate) fn new(namespaces: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut names = Self { by_prefix: BTreeMap::new(), by_address: BTreeMap::new() };
        for (prefix, address) in namespaces {
            if ["soap", "xml", "xmlns", "xsi"].contains(&prefix.as_str()) {
                return Err(format!("{prefix:?} is a prefix that means something already"));
            }
            if !prefix.is_empty() && !is_name(prefix) {
                return Err(format!("{prefix:?} is not a prefix"));
            }
            if address.is_empty() || KNOWN.iter().any(|(_, known)| known == address) {
                return Err(format!("{prefix:?}: {address:?} is not a namespace that can have a prefix here"));
            }
            if let Some(other) = names.by_address.insert(address.clone(), prefix.clone()) {
                return Err(format!("{other:?} and {prefix:?} are the same namespace"));
            }
            names.by_prefix.insert(prefix.clone(), address.clone());
        }
        Ok(names)
    }

    /// The JSON name of `local` in a namespace; `None` if its prefix is not declared.
    pub(crate) fn in_json(&self, namespace: &ResolveResult<'_>, local: &str) -> Option<String> {
        let address = match namespace {
            ResolveResult::Unbound => return Some(local.to_owned()),
            ResolveResult::Unknown(_) => return None,
            ResolveResult::Bound(namespace) => namespace.0,
        };
        let known = KNOWN.iter().find(|(_, known)| *known == address).map(|(prefix, _)| *prefix);
        Some(match known.or_else(|| self.by_address.get(address).map(String::as_str)) {
            None | Some("") => local.to_owned(),
            Some(prefix) => format!("{prefix}:{local}"),
        })
    }

    /// Whether a JSON name can be an XML name: its prefix is known, and the rest only has characters that XML allows.
    pub(crate) fn is_in_xml(&self, name: &str) -> bool {
        match name.split_once(':') {
            Some((prefix, local)) => is_name(local) && (prefix == "xml" || self.by_prefix.contains_key(prefix)),
            None => is_name(name),
        }
    }

    /// The declarations of all prefixes, for the outermost element.
    pub(crate) fn declarations(&self) -> impl Iterator<Item = (String, &str)> {
        self.by_prefix.iter().map(|(prefix, address)| match prefix.as_str() {
            "" => ("xmlns".to_owned(), address.as_str()),
            prefix => (format!("xmlns:{prefix}"), address.as_str()),
        })
    }
}

/// A name without a colon (Namespaces in XML 1.0, `NCName`).
pub(crate) fn is_name(text: &str) -> bool {
    let begins = |char: char| char == '_' || char.is_alphabetic();
    let goes_on = |char: char| begins(char) || char.is_ascii_digit() || matches!(char, '-' | '.' | '\u{b7}');
    text.starts_with(begins) && text.chars().all(goes_on)
}

/// A character that XML 1.0 allows (section 2.2).
pub(crate) const fn is_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Without white space at its ends, as XML defines it: other white characters are text.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// SOAP 1.1.
pub(crate) const SOAP_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";
/// SOAP 1.2.
pub(crate) const SOAP_1_2: &str = "http://www.w3.org/2003/05/soap-envelope";

/// Namespaces with a prefix of their own.
const KNOWN: [(&str, &str); 4] = [
    ("soap", SOAP_1_1),
    ("soap", SOAP_1_2),
    ("xml", "http://www.w3.org/XML/1998/namespace"),
    ("xsi", "http://www.w3.org/2001/XMLSchema-instance"),
];
