//! Places in a document.

use super::Value;

/// A JSON Pointer (RFC 6901) that may match several places: a segment `*` is every item of a list and every member of
/// an object, and `**`, at most once, is any number of segments. So `/**/password` is every member with that name. A
/// member that is really called `*` cannot be addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Name(String),
    Every,
    Deep,
}

impl Path {
    /// # Errors
    /// What is wrong with it, as a clause that follows the path.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(text) = text.strip_prefix('/') else { return Err("does not begin with \"/\"") };
        let segments = text.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        if segments.iter().filter(|segment| **segment == Segment::Deep).count() > 1 {
            return Err("has \"**\" twice");
        }
        if segments.last() == Some(&Segment::Deep) {
            return Err("ends with \"**\"");
        }
        Ok(Self(segments))
    }

    /// Whether it is one place in any document.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.0.iter().all(|segment| matches!(segment, Segment::Name(_)))
    }

    /// Whether it is the document itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the member at its end.
    #[must_use]
    pub fn last_name(&self) -> Option<&str> {
        match self.0.last()? {
            Segment::Name(name) => Some(name),
            Segment::Every | Segment::Deep => None,
        }
    }

    /// The value at a path that [`Path::is_single`].
    #[must_use]
    pub fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, segment| match (segment, value) {
            (Segment::Name(name), Value::Object(_)) => value.get(name),
            (Segment::Name(name), Value::Array(items)) => items.get(index(name)?),
            _ => None,
        })
    }

    /// Calls `visit` with each value at the path.
    pub fn each(&self, document: &mut Value, visit: &mut impl FnMut(&mut Value)) {
        each(&self.0, document, visit);
    }

    /// Removes the values at the path. The document itself becomes `null`.
    pub fn remove(&self, document: &mut Value) {
        let Some((last, parents)) = self.0.split_last() else {
            *document = Value::Null;
            return;
        };
        each(parents, document, &mut |parent| match (parent, last) {
            (Value::Object(members), Segment::Name(name)) => members.retain(|(have, _)| have != name),
            (Value::Array(items), Segment::Name(name)) => {
                if let Some(at) = index(name).filter(|at| *at < items.len()) {
                    items.remove(at);
                }
            }
            (Value::Object(members), _) => members.clear(),
            (Value::Array(items), _) => items.clear(),
            _ => {}
        });
    }

    /// Puts a value there. Missing objects on the way are created; `-` at the end of a path appends to a list (RFC 6901
    /// section 4). If a list is too short, or something else is in the way, nothing changes. After `**` only existing
    /// values are replaced.
    pub fn set(&self, document: &mut Value, new: &Value) {
        if self.0.contains(&Segment::Deep) {
            return self.each(document, &mut |value| new.clone_into(value));
        }
        set(&self.0, document, new);
    }

    /// Renames each member at the path. An existing member with the new name is removed.
    pub fn rename(&self, document: &mut Value, to: &str) {
        let Some((Segment::Name(from), parents)) = self.0.split_last() else { return };
        each(parents, document, &mut |parent| {
            let Value::Object(members) = parent else { return };
            if from == to || !members.iter().any(|(name, _)| name == from) {
                return;
            }
            members.retain(|(name, _)| name != to);
            members.iter_mut().filter(|(name, _)| name == from).for_each(|(name, _)| to.clone_into(name));
        });
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "*" => return Ok(Self::Every),
            "**" => return Ok(Self::Deep),
            _ => {}
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err("has a \"~\" that is neither \"~0\" nor \"~1\"");
        }
        Ok(Self::Name(text.replace("~1", "/").replace("~0", "~")))
    }
}

fn each(segments: &[Segment], value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    let Some((first, rest)) = segments.split_first() else { return visit(value) };
    match first {
        Segment::Name(name) => match value {
            // Every member with that name: a reader may take any of them.
            Value::Object(members) => {
                members.iter_mut().filter(|(have, _)| have == name).for_each(|(_, value)| each(rest, value, visit));
            }
            Value::Array(items) => {
                if let Some(item) = index(name).and_then(|at| items.get_mut(at)) {
                    each(rest, item, visit);
                }
            }
            _ => {}
        },
        Segment::Every => children(value, &mut |child| each(rest, child, visit)),
        Segment::Deep => {
            // Children first, since `visit` may replace the value.
            children(value, &mut |child| each(segments, child, visit));
            each(rest, value, visit);
        }
    }
}

fn children(value: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(visit),
        Value::Object(members) => members.iter_mut().for_each(|(_, value)| visit(value)),
        _ => {}
    }
}

fn set(segments: &[Segment], value: &mut Value, new: &Value) {
    let Some((first, rest)) = segments.split_first() else {
        new.clone_into(value);
        return;
    };
    match (first, value) {
        (Segment::Name(name), Value::Object(members)) => {
            let mut seen = false;
            // Of several the first stays, so that every reader sees the same one.
            members.retain(|(have, _)| have != name || !std::mem::replace(&mut seen, true));
            if !seen {
                members.push((name.clone(), Value::Object(Vec::new())));
            }
            if let Some((_, value)) = members.iter_mut().find(|(have, _)| have == name) {
                set(rest, value, new);
            }
        }
        (Segment::Name(name), Value::Array(items)) => {
            if name == "-" && rest.is_empty() {
                items.push(new.clone());
            } else if let Some(item) = index(name).and_then(|at| items.get_mut(at)) {
                set(rest, item, new);
            }
        }
        (Segment::Every, value) => children(value, &mut |child| set(rest, child, new)),
        _ => {}
    }
}

/// `0`, or digits that do not begin with 0.
fn index(name: &str) -> Option<usize> {
    let is_index = name == "0" || !name.starts_with('0');
    let is_digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| is_index && is_digits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"a":{"b":1,"a/b":2},"list":[{"x":1},{"x":2,"deep":{"x":3}}],"x":4}"#;

    fn document() -> Value {
        Value::parse(DOCUMENT.as_bytes()).unwrap()
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn every_value_that_is_there_is_visited() {
        for (text, expected) in [
            ("/a/b", vec!["1"]),
            ("/a/a~1b", vec!["2"]),
            ("/list/0/x", vec!["1"]),
            ("/list/*/x", vec!["1", "2"]),
            ("/*/b", vec!["1"]),
            ("/**/x", vec!["1", "3", "2", "4"]),
            ("/list/**/x", vec!["1", "3", "2"]),
            ("/**/deep/x", vec!["3"]),
            ("/list/00/x", vec![]),
            ("/list/2/x", vec![]),
            ("/list/-", vec![]),
            ("/a/b/c", vec![]),
            ("/unknown", vec![]),
        ] {
            let mut found = Vec::new();
            path(text).each(&mut document(), &mut |value| found.push(value.to_string()));
            assert_eq!(found, expected, "{text}");
        }
        let mut twice = Value::parse(br#"{"a":1,"a":2}"#).unwrap();
        path("/a").each(&mut twice, &mut |value| *value = Value::Null);
        assert_eq!(twice.to_string(), r#"{"a":null,"a":null}"#, "nobody reads the other one");
    }

    #[test]
    fn changes() {
        let after = |change: &dyn Fn(&mut Value)| {
            let mut document = document();
            change(&mut document);
            document.to_string()
        };
        let new = Value::Number("9".to_owned());
        for (text, part, instead) in [
            ("/a/b", r#""b":1"#, r#""b":9"#),
            ("/list/1/x", r#""x":2"#, r#""x":9"#),
            ("/a/new", r#""a/b":2}"#, r#""a/b":2,"new":9}"#),
            ("/a/n/m", r#""a/b":2}"#, r#""a/b":2,"n":{"m":9}}"#),
            ("/list/-", "}}],", "}},9],"),
            ("/list/7", "", ""),
            ("/x/y", "", ""),
            ("/**/deep", r#"{"x":3}"#, "9"),
        ] {
            assert_eq!(after(&|document| path(text).set(document, &new)), DOCUMENT.replace(part, instead), "{text}");
        }
        assert_eq!(after(&|document| path("").set(document, &new)), "9");
        for (text, part, instead) in [
            ("/a/b", r#""b":1,"#, ""),
            ("/list/0", r#"{"x":1},"#, ""),
            ("/list/*/x", r#"[{"x":1},{"x":2,"#, r"[{},{"),
            ("/a/*", r#"{"b":1,"a/b":2}"#, "{}"),
            ("/unknown/x", "", ""),
        ] {
            assert_eq!(after(&|document| path(text).remove(document)), DOCUMENT.replace(part, instead), "{text}");
        }
        assert_eq!(after(&|document| path("/a/b").rename(document, "c")), DOCUMENT.replace("\"b\":1", "\"c\":1"));
        assert_eq!(
            after(&|document| path("/a/b").rename(document, "a/b")),
            DOCUMENT.replace(r#""b":1,"a/b":2"#, r#""a/b":1"#)
        );
        assert_eq!(after(&|document| path("/a/z").rename(document, "b")), DOCUMENT);
        assert_eq!(after(&|document| path("/**/x").rename(document, "y")), DOCUMENT.replace("\"x\"", "\"y\""));
    }

    #[test]
    fn paths() {
        assert_eq!(path("/list/1/deep").find(&document()).unwrap().to_string(), r#"{"x":3}"#);
        assert_eq!(path("").find(&document()), Some(&document()));
        assert!(path("/a").is_single() && !path("/*").is_single() && path("").is_root());
        assert_eq!((path("/a/b").last_name(), path("/a/*").last_name()), (Some("b"), None));
        for text in ["a", "a/b", "/a~", "/~2", "/**", "/**/a/**/b"] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
