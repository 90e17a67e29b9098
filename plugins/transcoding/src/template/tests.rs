#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn what_is_a_template() {
    let (one, many) = (Segment::One, Segment::Many);
    let word = |text: &str| Segment::Literal(text.to_owned());
    for (text, segments, verb, fields) in [
        ("/", vec![], None, vec![]),
        ("/v1/a", vec![word("v1"), word("a")], None, vec![]),
        ("/{a}/b", vec![one.clone(), word("b")], None, vec!["a"]),
        ("/{a.b_c=x/*/y}", vec![word("x"), one.clone(), word("y")], None, vec!["a.b_c"]),
        ("/a/**:go", vec![word("a"), many.clone()], Some("go"), vec![]),
        ("/a/{b=**}/c", vec![word("a"), many.clone(), word("c")], None, vec!["b"]),
        ("/a%2fb:c%aa", vec![word("a%2Fb")], Some("c%AA"), vec![]),
    ] {
        let template = Template::parse(text).unwrap();
        assert_eq!((template.segments(), template.verb()), (&*segments, verb), "{text}");
        assert_eq!(template.fields().collect::<Vec<_>>(), fields, "{text}");
        assert_eq!(template.to_string(), text);
    }
}

#[test]
fn what_is_none() {
    for (text, says) in [
        ("", "column 1"),
        ("a", "column 1"),
        ("/a/", "column 4"),
        ("/:v", "column 2"),
        ("/a:", "column 4"),
        ("/{}", "column 3"),
        ("/{1}", "column 3"),
        ("/{a.}", "column 5"),
        ("/{a", "column 4"),
        ("/{a}b", "column 5"),
        ("/a{b}", "column 3"),
        ("/a*", "column 3"),
        ("/a b", "column 3"),
        ("/a?b", "column 3"),
        ("/a%2", "column 3"),
        ("/{a=b/{c}}", "within a variable"),
        ("/{a}/{a}", "twice"),
        ("/**/**", "twice"),
    ] {
        let why = Template::parse(text).unwrap_err();
        assert!(why.contains(says), "{text}: {why}");
    }
}

#[test]
fn paths_and_their_values() {
    for (template, path, values) in [
        ("/", "/", Some(vec![])),
        ("/", "/a", None),
        ("/**", "/", Some(vec![])),
        ("/**", "/a/", Some(vec![])),
        ("/*", "/", None),
        ("/a/*", "/a/", None),
        ("/a", "/a/", None),
        ("/a/{b}", "/a/x%2Fy%20z", Some(vec!["x/y z"])),
        ("/a/{b=**}", "/a/x%2Fy%20z/w+", Some(vec!["x%2Fy z/w+"])),
        ("/a/{b=**}", "/a", Some(vec![""])),
        ("/{a=x/*}/{b=**}/z", "/x/1/2/3/z", Some(vec!["x/1", "2/3"])),
        ("/{a=**}/b/{c}", "/b/1", Some(vec!["", "1"])),
        ("/{a=**}/b/{c}", "/1/2/b/3", Some(vec!["1/2", "3"])),
        ("/{a=**}/b/{c}", "/1/2/3", None),
        ("/{a=**}:go", "/1/2:go", Some(vec!["1/2"])),
        ("/{a=**}:go", "/1:go/2", None),
        ("/{a}", "/1:go", Some(vec!["1:go"])),
        ("/a%20b/{c}", "/%61%20b/1", Some(vec!["1"])),
        ("/{a}", "/%ff", None),
    ] {
        let found = Template::parse(template).unwrap().matches(path, Verbs::Lenient);
        let values = values.map(|values| values.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(found, values, "{template} {path}");
    }
    assert_eq!(Template::parse("/{a}").unwrap().matches("/1:go", Verbs::Strict), None);
    assert!(Template::parse("/{a}/b").unwrap().matches("/1:go/b", Verbs::Strict).is_some());
}

#[test]
fn paths_of_values() {
    for (template, value, path) in [
        ("/a/{b}:go", "x/y z", Some("/a/x%2Fy%20z:go")),
        ("/a/{b=c/*}", "c/d", Some("/a/c/d")),
        ("/a/{b=c/*}", "d/d", None),
        ("/a/{b=**}", "c/d", Some("/a/c/d")),
        ("/a/{b=**}", "c/../d", None),
        ("/a/{b}", "", None),
        ("/a/{b}", "..", None),
        ("/a/*/{b}", "c", None),
        ("/", "", Some("/")),
    ] {
        let expanded = Template::parse(template).unwrap().expand(|_| Some(value.to_owned()));
        assert_eq!(expanded.as_deref(), path, "{template} {value}");
    }
}

proptest::proptest! {
    /// A value that can be written into a path is read from it again.
    #[test]
    fn values_come_back(value in "[^/]{1,12}(/[^/]{1,5}){0,2}") {
        for template in ["/a/{b}/c", "/a/{b=**}/c:v"] {
            let template = Template::parse(template).unwrap();
            if let Some(path) = template.expand(|_| Some(value.clone())) {
                let read = template.matches(&path, Verbs::Lenient).unwrap();
                // Slashes that were escaped in a value of several segments are left as they are.
                proptest::prop_assert_eq!(read, vec![value.clone()], "{}", path);
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(text in ".{0,40}", path in ".{0,40}") {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.matches(&path, Verbs::Lenient);
        }
    }
}
