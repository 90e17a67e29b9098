//! `If-Match`: a change is only made to the version that the client has seen (RFC 9110, section 13.1.1).

/// The versions that a client has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any version.
    Any,
    /// One of these digests.
    Digests(Vec<String>),
}

impl IfMatch {
    /// Parses the header. `None` if it is not a list of entity tags. Weak tags never match, so they are left out.
    pub fn parse(value: &str) -> Option<Self> {
        let mut rest = value.trim();
        if rest == "*" {
            return Some(IfMatch::Any);
        }
        let mut digests = Vec::new();
        loop {
            let (weak, tag) = match rest.strip_prefix("W/") {
                Some(tag) => (true, tag),
                None => (false, rest),
            };
            let (digest, after) = tag.strip_prefix('"')?.split_once('"')?;
            if !weak {
                digests.push(digest.to_owned());
            }
            rest = after.trim_start();
            if rest.is_empty() {
                return Some(IfMatch::Digests(digests));
            }
            rest = rest.strip_prefix(',')?.trim_start();
        }
    }

    /// Whether the client has seen `digest` (without quotes).
    pub fn matches(&self, digest: &str) -> bool {
        match self {
            IfMatch::Any => true,
            IfMatch::Digests(digests) => digests.iter().any(|seen| seen == digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_entity_tags() {
        for (value, seen) in [
            ("*", Some(true)),
            (" * ", Some(true)),
            ("\"abc\"", Some(true)),
            ("\"x\", \"abc\"", Some(true)),
            ("\"x\" ,W/\"y\",  \"abc\"", Some(true)),
            ("W/\"abc\"", Some(false)),
            ("\"ABC\"", Some(false)),
            ("\"\"", Some(false)),
            ("abc", None),
            ("\"abc", None),
            ("\"abc\" \"x\"", None),
            ("\"abc\",", None),
            ("", None),
        ] {
            assert_eq!(IfMatch::parse(value).map(|if_match| if_match.matches("abc")), seen, "{value}");
        }
    }
}
