//! Paths in the notation of routes.

/// A path: exact, with `{name}` for one whole segment, and with a last `/*` for everything from there on.
#[derive(Debug)]
pub(crate) struct Path {
    segments: Vec<Segment>,
    /// Whether anything may follow.
    open: bool,
}

#[derive(Debug)]
enum Segment {
    Is(String),
    /// One non-empty segment.
    Any,
}

impl Path {
    /// # Errors
    /// What is wrong, as a clause that follows the text.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix('/').ok_or("does not begin with /")?;
        if rest.contains(['?', '#']) {
            return Err("is compared without its query");
        }
        let (rest, open) = match rest.strip_suffix('*') {
            Some("") => return Ok(Self { segments: Vec::new(), open: true }),
            Some(rest) => (rest.strip_suffix('/').ok_or("has a * that is not a whole last segment")?, true),
            None => (rest, false),
        };
        let segment = |text: &str| match text {
            text if text.contains('*') => Err("has a * that is not a whole last segment"),
            text if !text.contains(['{', '}']) => Ok(Segment::Is(text.to_owned())),
            text => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Ok(Segment::Any),
                _ => Err("has braces that are not a whole segment"),
            },
        };
        Ok(Self { segments: rest.split('/').map(segment).collect::<Result<_, _>>()?, open })
    }

    /// Whether the path of a request, without its query, matches. Paths are compared byte for byte, in the gateway's
    /// normal form.
    pub(crate) fn fits(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else { return false };
        if self.open && self.segments.is_empty() {
            return true;
        }
        let mut segments = path.split('/');
        let fits = self.segments.iter().all(|wanted| match (wanted, segments.next()) {
            (Segment::Is(wanted), Some(segment)) => wanted == segment,
            (Segment::Any, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        });
        fits && (self.open || segments.next().is_none())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        for (pattern, path, fits) in [
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/*", "*", false),
            ("/", "/", true),
            ("/", "/a", false),
            ("/orders", "/orders", true),
            ("/orders", "/orders/", false),
            ("/orders", "/Orders", false),
            ("/orders", "/orders/7", false),
            ("/orders/", "/orders/", true),
            ("/orders/*", "/orders", true),
            ("/orders/*", "/orders/", true),
            ("/orders/*", "/orders/7/items", true),
            ("/orders/*", "/ordersx", false),
            ("/users/{id}", "/users/7", true),
            ("/users/{id}", "/users/", false),
            ("/users/{id}", "/users", false),
            ("/users/{id}", "/users/7/posts", false),
            ("/users/{id}/posts/*", "/users/7/posts/1", true),
            ("/users/{id}/posts/*", "/users/7/likes/1", false),
        ] {
            assert_eq!(Path::parse(pattern).unwrap().fits(path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_path() {
        for text in ["", "*", "orders", "/a*", "/*/a", "/a/*b", "/a?b", "/{}", "/a{b}", "/{a}b", "/{a{b}}", "/a#b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
