//! Laws of the router, held against a reference that is written from the documentation alone: it knows patterns as
//! text, turns every path pattern into a regular expression, and tries every rule.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use regex::Regex;

use super::*;

/// A rule as text. A path that begins with `~` is a regex.
#[derive(Clone, Debug)]
struct Spec {
    hosts: Vec<&'static str>,
    path: String,
    methods: Vec<&'static str>,
    headers: Vec<(&'static str, Want)>,
    query: Vec<(&'static str, Want)>,
}

#[derive(Clone, Debug)]
enum Want {
    Exact(String),
    Regex(&'static str),
    Present,
    Absent,
}

#[derive(Clone, Debug)]
struct Request {
    method: &'static str,
    authority: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    query: Vec<(&'static str, String)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_tables_agree_with_the_documentation(specs in rule_sets(), requests in vec(request(), 24)) {
        let (specs, router) = build_without_duplicates(specs);
        for request in &requests {
            let found = ask(&router, request);
            prop_assert_eq!(found, reference(&specs, request), "{:?} in {:#?}", request, specs);
            let rule = found.unwrap_or(0);
            prop_assert_eq!(found.map(|_| router.route(rule)), found.map(|_| Some(rule + 1000)));
        }
    }

    #[test]
    fn explain_puts_first_what_find_answers(specs in rule_sets(), requests in vec(request(), 8)) {
        let (specs, router) = build_without_duplicates(specs);
        for request in &requests {
            let verdicts = view(request, |view| router.explain(view));
            let chosen = verdicts.first().filter(|verdict| verdict.outcome == Outcome::Chosen).map(|verdict| verdict.rule);
            prop_assert_eq!(chosen, ask(&router, request));
            let mut rules: Vec<usize> = verdicts.iter().map(|verdict| verdict.rule).collect();
            rules.sort_unstable();
            prop_assert_eq!(rules, (0..specs.len()).collect::<Vec<_>>());
            for verdict in verdicts {
                let alone = matches(&specs[verdict.rule], request);
                let said = matches!(verdict.outcome, Outcome::Chosen | Outcome::Outranked { .. });
                prop_assert_eq!(said, alone, "{:?} on {:?}", verdict, request);
            }
        }
    }

    #[test]
    fn rules_that_do_not_match_change_nothing(
        specs in rule_sets(), before in any_specs(), after in any_specs(), request in request(),
    ) {
        let (specs, router) = build_without_duplicates(specs);
        let alone = ask(&router, &request).map(|rule| format!("{:?}", specs[rule]));
        // Rules before it only on another host, rules after it anywhere, so that none of the first rules becomes a
        // duplicate.
        let on_another_host = before.into_iter().map(|spec| Spec { hosts: vec!["elsewhere.example"], ..spec });
        let unrelated = after.into_iter().filter(|spec| !matches(spec, &request));
        let (specs, router) = build_without_duplicates(on_another_host.chain(specs).chain(unrelated).collect());
        let among_others = ask(&router, &request).map(|rule| format!("{:?}", specs[rule]));
        prop_assert_eq!(alone, among_others);
    }

    #[test]
    fn a_rule_that_is_refused_as_a_duplicate_would_never_be_chosen(
        specs in any_specs(), requests in vec(request(), 24),
    ) {
        let specs: Vec<Spec> = specs.into_iter().map(|mut spec| { spec.hosts.truncate(1); spec }).collect();
        let Err(errors) = Router::build(specs.iter().enumerate().map(rule_of).collect()) else { return Ok(()) };
        for request in &requests {
            let chosen = reference(&specs, request);
            prop_assert!(!errors.iter().any(|error| Some(error.rule) == chosen), "{:?} on {:?}", errors, request);
        }
    }
}

// The reference implementation.

fn reference(specs: &[Spec], request: &Request) -> Option<usize> {
    let matching = specs.iter().enumerate().filter(|(_, spec)| matches(spec, request));
    let best = matching.max_by_key(|(position, spec)| {
        let host = spec.hosts.iter().filter_map(|host| host_rank(host, request.authority)).max().unwrap_or((0, 0));
        let segments: Vec<&str> =
            spec.path.split('/').skip(1).filter(|text| *text != "*" && !text.ends_with("...}")).collect();
        let literals = segments.iter().filter(|segment| !segment.starts_with('{')).count();
        let literal_places = segments.iter().map(|segment| !segment.starts_with('{'));
        let open = spec.path.ends_with("/*") || spec.path.ends_with("...}");
        let (kind, literals, closed, segments) = match spec.path.as_str() {
            path if path.starts_with('~') => ("3 regex", 0, 0, 0),
            "/*" | "/{rest...}" => ("4 everything", 0, 0, 0),
            _ if open => ("2 segments", literals, 0, segments.len()),
            path if path.contains('{') => ("2 segments", literals, 1, segments.len()),
            _ => ("1 exact", 0, 0, 0),
        };
        // Only segment patterns get here: exact paths that match are the same path.
        let places: Vec<bool> = match kind {
            "2 segments" => literal_places.collect(),
            _ => Vec::new(),
        };
        let methods = !spec.methods.is_empty();
        (
            host,
            Reverse(kind),
            literals,
            closed,
            segments,
            places,
            methods,
            spec.headers.len(),
            spec.query.len(),
            Reverse(*position),
        )
    });
    best.map(|(position, _)| position)
}

fn matches(spec: &Spec, request: &Request) -> bool {
    let host = spec.hosts.is_empty() || spec.hosts.iter().any(|host| host_rank(host, request.authority).is_some());
    let values = |of: &[(&str, String)], name: &str| -> Vec<String> {
        of.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.clone()).collect()
    };
    host && path_regex(&spec.path).is_match(&request.path)
        && (spec.methods.is_empty() || spec.methods.contains(&request.method))
        && spec.headers.iter().all(|(name, want)| holds(want, &values(&request.headers, name)))
        && spec.query.iter().all(|(name, want)| {
            let first: Vec<String> = values(&request.query, name).into_iter().take(1).collect();
            holds(want, &first)
        })
}

/// `None` if the pattern does not match the authority.
fn host_rank(pattern: &str, authority: &str) -> Option<(u8, usize)> {
    let host = match authority.rfind(']') {
        Some(end) => authority[..=end].to_string(),
        None => authority.split(':').next().unwrap().trim_end_matches('.').to_lowercase(),
    };
    let host = if host == "[0:0::1]" { "[::1]".to_string() } else { host };
    match pattern.strip_prefix('*') {
        Some("") => Some((0, 0)),
        Some(suffix) => (host.ends_with(suffix) && host.len() > suffix.len()).then_some((1, suffix.len())),
        None => (host == pattern).then_some((2, 0)),
    }
}

fn path_regex(pattern: &str) -> Regex {
    let text = match pattern.strip_prefix('~') {
        Some(regex) => regex.to_string(),
        None if pattern == "/*" || pattern == "/{rest...}" => ".*".to_string(),
        None => pattern.split('/').skip(1).fold(String::new(), |text, segment| match segment {
            "*" | "{rest...}" => text + "(/.*)?",
            _ if segment.starts_with('{') => text + "/[^/]+",
            _ => text + "/" + &regex::escape(segment),
        }),
    };
    whole(&text)
}

/// Compiled once for each text and thread: these tests spend most of their time compiling.
fn whole(text: &str) -> Regex {
    thread_local!(static COMPILED: RefCell<HashMap<String, Regex>> = RefCell::default());
    COMPILED.with_borrow_mut(|compiled| {
        let compile = || Regex::new(&format!("^({text})$")).unwrap();
        compiled.entry(text.to_string()).or_insert_with(compile).clone()
    })
}

fn holds(want: &Want, values: &[String]) -> bool {
    match want {
        Want::Exact(wanted) => values.contains(wanted),
        Want::Regex(regex) => values.iter().any(|value| whole(regex).is_match(value)),
        Want::Present => !values.is_empty(),
        Want::Absent => values.is_empty(),
    }
}

// The router under test.

fn build_without_duplicates(specs: Vec<Spec>) -> (Vec<Spec>, Router) {
    let build = |specs: &[Spec]| Router::build(specs.iter().enumerate().map(rule_of).collect());
    let errors = build(&specs).err().unwrap_or_default();
    assert!(errors.iter().all(|error| matches!(error.problem, Problem::Duplicate { .. })), "{errors:?}");
    let refused = |position| errors.iter().any(|error| error.rule == position);
    let kept = specs.into_iter().enumerate().filter(|(position, _)| !refused(*position));
    let kept: Vec<Spec> = kept.map(|(_, spec)| spec).collect();
    let router = build(&kept).unwrap();
    (kept, router)
}

fn rule_of((position, spec): (usize, &Spec)) -> Rule {
    let values = |wants: &[(&str, Want)]| {
        let value = |(name, want): &(&str, Want)| ValueMatch {
            name: name.to_string(),
            test: match want {
                Want::Exact(value) => ValueTest::Exact(value.clone()),
                Want::Regex(regex) => ValueTest::regex(regex).unwrap(),
                Want::Present => ValueTest::Present,
                Want::Absent => ValueTest::Absent,
            },
        };
        wants.iter().map(value).collect()
    };
    Rule {
        hosts: spec.hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
        path: match spec.path.strip_prefix('~') {
            Some(regex) => PathPattern::regex(regex).unwrap(),
            None => PathPattern::parse(&spec.path).unwrap(),
        },
        methods: spec.methods.iter().map(|method| method.parse().unwrap()).collect(),
        headers: values(&spec.headers),
        query: values(&spec.query),
        route: position + 1000,
    }
}

fn ask(router: &Router, request: &Request) -> Option<usize> {
    view(request, |view| router.find(view))
}

fn view<T>(request: &Request, ask: impl FnOnce(&RequestView<'_>) -> T) -> T {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let query = query.join("&");
    let method: Method = request.method.parse().unwrap();
    let request = RequestView::new(&method, request.authority, &request.path, &headers);
    ask(&RequestView { query: (!query.is_empty()).then_some(&query), ..request })
}

// Random input. There are few words, so that patterns overlap.

fn rule_sets() -> impl Strategy<Value = Vec<Spec>> {
    let narrow_path = select(vec!["/a", "/a/*", "/{p}", "~/a"]).prop_map(String::from);
    prop_oneof![any_specs(), vec(spec(narrow_path.boxed(), many_header_wants().boxed()), 0..100),]
}

fn any_specs() -> impl Strategy<Value = Vec<Spec>> {
    vec(spec(wide_path().boxed(), header_wants().boxed()), 0..60)
}

fn spec(path: BoxedStrategy<String>, headers: BoxedStrategy<Vec<(&'static str, Want)>>) -> impl Strategy<Value = Spec> {
    let hosts = vec!["*", "*.com", "*.a.com", "*.b.a.com", "a.com", "b.a.com", "[::1]"];
    let query = vec![("q", Want::Exact("1".into())), ("q", Want::Present), ("r", Want::Exact("1".into()))];
    (subsequence(hosts, 0..3), path, subsequence(vec!["GET", "POST"], 0..=2), headers, subsequence(query, 0..2))
        .prop_map(|(hosts, path, methods, headers, query)| Spec { hosts, path, methods, headers, query })
}

fn wide_path() -> impl Strategy<Value = String> {
    let segments = vec(select(vec!["a", "b", "{p}", ""]), 0..4);
    let end = select(vec!["", "", "/*", "/{rest...}"]);
    let segments = (segments, end).prop_map(|(segments, end)| {
        let mut parameters = 0;
        let mut path = String::new();
        for segment in segments {
            parameters += usize::from(segment == "{p}");
            path += &if segment == "{p}" { format!("/{{p{parameters}}}") } else { format!("/{segment}") };
        }
        path += end;
        if path.is_empty() { "/".to_string() } else { path }
    });
    let regex = select(vec!["~/a/.*", "~/[ab]/b", "~.*", "~/(a|b)+"]).prop_map(String::from);
    prop_oneof![8 => segments, 1 => regex]
}

fn header_wants() -> impl Strategy<Value = Vec<(&'static str, Want)>> {
    let wants = vec![
        ("x", Want::Exact("1".into())),
        ("x", Want::Regex("[12]")),
        ("x", Want::Absent),
        ("y", Want::Exact("1".into())),
        ("y", Want::Present),
    ];
    subsequence(wants, 0..3)
}

/// Enough different values on one path for its rules to be indexed.
fn many_header_wants() -> impl Strategy<Value = Vec<(&'static str, Want)>> {
    let exact =
        |name, values: std::ops::Range<u8>| values.prop_map(move |value| (name, Want::Exact(value.to_string())));
    vec(prop_oneof![exact("x", 0..12), exact("x", 0..12), exact("y", 0..2), Just(("y", Want::Present))], 0..3)
}

fn request() -> impl Strategy<Value = Request> {
    let authority = select(vec![
        "",
        "a.com",
        "b.a.com",
        "B.A.com.:443",
        "c.b.a.com",
        "d.c.b.a.COM",
        "x.org",
        ".a.com",
        "[0:0::1]:80",
        "[::2]",
    ]);
    let path = vec(select(vec!["a", "b", "c", ""]), 0..5)
        .prop_map(|segments| segments.iter().fold(String::new(), |path, segment| path + "/" + segment))
        .prop_map(|path| if path.is_empty() { "*".to_string() } else { path });
    let path = prop_oneof![3 => path, 1 => Just("/a".to_string())];
    let value = |values: std::ops::Range<u8>| values.prop_map(|value| value.to_string());
    let headers = vec(prop_oneof![(Just("x"), value(0..12)), (Just("y"), value(0..3))], 0..4);
    let query = vec((select(vec!["q", "r", "s"]), value(0..3)), 0..3);
    (select(vec!["GET", "POST", "PUT"]), authority, path, headers, query)
        .prop_map(|(method, authority, path, headers, query)| Request { method, authority, path, headers, query })
}
