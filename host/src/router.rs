//! Which rule a request matches.
//!
//! A [`Router`] is built once for a snapshot from the matches of all routes and never changes. [`Router::find`] walks
//! tables from the host to the path to the conditions; it takes no lock and allocates nothing (except for a query value
//! that is percent-encoded, and what a regex needs on its first use in a thread). Its cost does not depend on the
//! number of rules, with two exceptions: regex paths are tried one after another, at most [`MAX_REGEXES_PER_HOST`] on
//! each host pattern that the request matches; and so are rules on *one* path that require no exact header or query
//! value, which differ by method or by regex and presence conditions.
//!
//! # Precedence
//!
//! That of the Kubernetes Gateway API (HTTPRoute, `matches` and `hostnames`), extended by templates and regexes. Of all
//! matching rules, the first one wins by these criteria, in this order:
//!
//! 1. the more specific host: a name before a wildcard, a longer wildcard before a shorter one, no host last;
//! 2. an exact path; then a template or prefix; then a regex; a catch-all (`/*`, or no path at all) last;
//! 3. of templates and prefixes, more literal segments; at a tie a template before a prefix, then more segments,
//!    then the one whose literals come earlier (so a service of gRPC before a method of any service);
//! 4. a list of methods;
//! 5. more header conditions;
//! 6. more query conditions;
//! 7. the position nearest to the start of the list.
//!
//! A host does not hide less specific ones: if none of its rules matches, theirs are tried. A rule for `GET` does not
//! match `HEAD`.
//!
//! # What it expects
//!
//! A normalised request: the path starts with `/` (or is `*`), its dot segments are resolved, its percent-encoding is
//! untouched. Paths compare byte for byte, so `/a%2Fb` has one segment, and `%2f` is not `%2F`. The authority is the
//! effective one (an absolute request target takes precedence over `Host`), without user information.
//!
//! Rejected: the first match in the list (an order that nobody can maintain over 10,000 routes), deciding segment by
//! segment from the left as most trie routers do (it differs from the longest prefix of the Gateway API as soon as a
//! parameter precedes a literal), and one regex set for all paths (it must allocate and cannot tell which match is
//! best).

mod candidates;
mod condition;
mod error;
mod explain;
mod host;
#[cfg(test)]
mod laws;
mod path;
mod rules;
mod table;
mod tree;

use std::sync::Arc;

use http::{HeaderMap, Method};

pub use condition::{ValueMatch, ValueRegex, ValueTest};
pub use error::{BuildError, PatternError, Problem};
pub use explain::{Advantage, Outcome, Verdict};
pub use host::HostPattern;
pub use path::{Params, PathKind, PathPattern};

use host::HostTable;
use rules::Rules;

/// The routing rules of one snapshot.
#[derive(Debug, Default)]
pub struct Router {
    rules: Rules,
    hosts: HostTable,
}

/// One way to reach a route: all of its conditions must hold.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Any of these; empty matches every host.
    pub hosts: Vec<HostPattern>,
    pub path: PathPattern,
    /// Any of these; empty matches every method.
    pub methods: Vec<Method>,
    pub headers: Vec<ValueMatch>,
    pub query: Vec<ValueMatch>,
    /// The caller's number for the target. Several rules may lead to one route.
    pub route: usize,
}

/// The parts of a request that rules can test.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    pub method: &'a Method,
    /// `host` or `host:port`; empty for a request without one.
    pub authority: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// What follows `?`, unchanged.
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
}

impl<'a> RequestView<'a> {
    /// A request without a query.
    #[must_use]
    pub fn new(method: &'a Method, authority: &'a str, path: &'a str, headers: &'a HeaderMap) -> Self {
        RequestView { method, authority, path, query: None, headers }
    }

    #[must_use]
    pub fn with_query(self, query: &'a str) -> Self {
        RequestView { query: Some(query), ..self }
    }
}

impl Router {
    /// Sorts and indexes the rules.
    ///
    /// # Errors
    /// Every rule that can never match because earlier rules ask for the same, every header name that cannot be one,
    /// and whatever exceeds a limit.
    pub fn build(rules: Vec<Rule>) -> Result<Self, Vec<BuildError>> {
        if rules.len() > MAX_RULES {
            return Err(vec![BuildError { rule: MAX_RULES, problem: Problem::TooManyRules }]);
        }
        let rules = Rules::compile(rules)?;
        let mut hosts = HostTable::default();
        let mut errors = rules.duplicates();
        for (number, rule) in rules.iter() {
            for host in &rule.hosts {
                let paths = hosts.paths_of(host);
                paths.push(&rules, number);
                if paths.regex_count() == MAX_REGEXES_PER_HOST + 1 {
                    let problem = Problem::TooManyRegexes { host: host.to_string() };
                    errors.push(BuildError { rule: rule.position, problem });
                }
            }
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| error.rule);
            return Err(errors);
        }
        hosts.trees_mut().for_each(|tree| tree.index(&rules));
        Ok(Router { rules, hosts })
    }

    /// The rule that takes the request, by its position in the list given to [`Router::build`].
    #[must_use]
    pub fn find(&self, request: &RequestView<'_>) -> Option<usize> {
        let number = self.hosts.find(request.authority, |paths| paths.find(&self.rules, request))?;
        self.rules.position(number)
    }

    /// The route of a rule; `None` for a position outside the list.
    #[must_use]
    pub fn route(&self, rule: usize) -> Option<usize> {
        self.rules.by_position(rule).map(|rule| rule.route)
    }

    /// The parameters that the rule's path pattern takes from the path: of a template, or named groups of a regex.
    /// Empty if it does not match. [`Router::find`] stores nothing for this, so only callers that ask pay.
    #[must_use]
    pub fn params<'a>(&'a self, rule: usize, path: &'a str) -> Params<'a> {
        self.rules.by_position(rule).map(|rule| rule.path.params(path)).unwrap_or_default()
    }

    /// The path pattern of a rule.
    #[must_use]
    pub fn pattern(&self, rule: usize) -> Option<&PathPattern> {
        self.rules.by_position(rule).map(|rule| &*rule.path)
    }

    /// The path pattern of a rule, if it has parameters.
    #[must_use]
    pub fn template(&self, rule: usize) -> Option<&Arc<PathPattern>> {
        self.rules.by_position(rule).filter(|rule| rule.has_params).map(|rule| &rule.path)
    }

    /// Every rule with the reason why it takes the request or does not. The rule that [`Router::find`] returns comes
    /// first, then the others that match, then those that fail, the nearest first: a wrong query parameter is nearer
    /// than a wrong header, then method, path and host. Equally near rules are in order of precedence. Takes time in
    /// proportion to the number of rules.
    #[must_use]
    pub fn explain(&self, request: &RequestView<'_>) -> Vec<Verdict> {
        explain::verdicts(&self.rules, request)
    }
}

/// Maximum rules of a router: they are numbered with 32 bits, and a snapshot with more than this is a mistake.
pub const MAX_RULES: usize = 1_000_000;
/// Maximum rules with a regex path on one host pattern. A request that none of a hundred takes spends 0.5 µs on them if
/// its path begins differently, 5 µs if it resembles theirs.
pub const MAX_REGEXES_PER_HOST: usize = 100;
/// Maximum length of a path pattern or a regular expression.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// Maximum segments of a template or prefix: the depth of the search.
pub const MAX_SEGMENTS: usize = 64;
/// Maximum memory of one compiled regular expression, without its caches: far above what a path needs, far below what a
/// nested repetition could take.
const MAX_REGEX_COMPILED_BYTES: usize = 256 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rule(host: &str, path: &str) -> Rule {
        Rule {
            hosts: vec![HostPattern::parse(host).unwrap()],
            path: PathPattern::parse(path).unwrap(),
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            route: 0,
        }
    }

    fn exact(name: &str, value: &str) -> ValueMatch {
        ValueMatch { name: name.into(), test: ValueTest::Exact(value.into()) }
    }

    /// Looks up `METHOD host/path?query` with one header, and compares the pattern that was found.
    fn check(router: &Router, rules: &[Rule], request: &str, header: Option<(&'static str, &str)>, expected: &str) {
        let (method, target) = request.split_once(' ').unwrap();
        let (target, query) = target.split_once('?').map_or((target, None), |(target, query)| (target, Some(query)));
        let (authority, path) = target.split_at(target.find('/').unwrap());
        let mut headers = HeaderMap::new();
        headers.extend(header.map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())));
        let method = method.parse().unwrap();
        let request = RequestView { query, ..RequestView::new(&method, authority, path, &headers) };
        let found = router.find(&request);
        let name = found.map(|found| format!("{} {}", rules[found].hosts[0], rules[found].path));
        assert_eq!(name.as_deref().unwrap_or("none"), expected, "{request:?}\n{:#?}", router.explain(&request));
    }

    #[test]
    fn host_then_path_decides() {
        let mut regex = rule("*", "/");
        regex.path = PathPattern::regex("/v[0-9]+/.*").unwrap();
        let rules = vec![
            rule("*", "/orders/*"),
            rule("api.example.com", "/orders/{id}"),
            rule("api.example.com", "/orders/*"),
            rule("api.example.com", "/orders/new"),
            rule("*.example.com", "/*"),
            rule("*.eu.example.com", "/users/*"),
            regex,
            rule("*", "/{tenant}/*"),
            rule("*", "/{tenant}/v1/{id}"),
            rule("*", "/users/{id}/posts/{post}"),
            rule("*", "/users/{id}/posts/{post}/*"),
            rule("*", "/users/me/{what}/*"),
            rule("*", "/{tenant}"),
        ];
        let router = Router::build(rules.clone()).unwrap();
        for (request, expected) in [
            ("GET api.example.com/orders/new", "api.example.com /orders/new"),
            ("GET api.example.com/orders/7", "api.example.com /orders/{id}"),
            ("GET api.example.com/orders/7/x", "api.example.com /orders/*"),
            ("GET api.example.com/orders", "api.example.com /orders/*"),
            ("GET api.example.com/ordersx", "*.example.com /*"),
            ("GET a.eu.example.com/users/1", "*.eu.example.com /users/*"),
            ("GET a.eu.example.com/orders/1", "*.example.com /*"),
            ("GET example.com/orders/1", "* /orders/*"),
            ("GET example.com/orders", "* /orders/*"),
            ("GET example.com/other", "* /{tenant}"),
            ("GET example.com/other/", "* /{tenant}/*"),
            ("GET example.com/v1/users", "* /{tenant}/*"),
            ("GET x.org/users/1/posts/2", "* /users/{id}/posts/{post}"),
            ("GET x.org/users/1/posts/2/3", "* /users/{id}/posts/{post}/*"),
            ("GET x.org/users/me/posts/2/3", "* /users/{id}/posts/{post}/*"),
            ("GET x.org/users/me/photos/2/3", "* /users/me/{what}/*"),
            ("GET x.org/acme/v1/9", "* /{tenant}/v1/{id}"),
            ("GET x.org/acme/v2/9", "* /{tenant}/*"),
            ("GET x.org/v2/9", "* /{tenant}/*"),
            ("GET x.org/", "none"),
            ("GET x.org//", "none"),
        ] {
            check(&router, &rules, request, None, expected);
        }
    }

    #[test]
    fn a_regex_takes_what_nothing_takes_but_a_catch_all() {
        let mut regex = rule("*", "/");
        regex.path = PathPattern::regex("/v[0-9]+/.*").unwrap();
        let mut rules = vec![regex, rule("*", "/v1/*")];
        for (catch_all, otherwise) in [(None, "none"), (Some("/*"), "* /*"), (Some("/{rest...}"), "* /{rest...}")] {
            rules.truncate(2);
            rules.extend(catch_all.map(|path| Rule { methods: vec![Method::GET], ..rule("*", path) }));
            let router = Router::build(rules.clone()).unwrap();
            check(&router, &rules, "GET x.org/v1/a", None, "* /v1/*");
            check(&router, &rules, "GET x.org/v2/a", None, "* /v[0-9]+/.*");
            check(&router, &rules, "GET x.org/v/a", None, otherwise);
        }
        rules.push(rule("*", "/{tenant}/*"));
        let router = Router::build(rules.clone()).unwrap();
        check(&router, &rules, "GET x.org/v2/a", None, "* /{tenant}/*");
        check(&router, &rules, "GET x.org//", None, "* /{rest...}");
    }

    #[test]
    fn method_headers_query_and_place_decide_at_last() {
        // The hosts identify the rules in the results: each rule has the common host as well.
        let named = |name: &str| {
            let mut rule = rule(name, "/a");
            rule.hosts.push(HostPattern::parse("www.example.com").unwrap());
            rule
        };
        let mut rules: Vec<Rule> = ["all", "q", "h", "hq", "get", "get-h", "other-h"].map(named).into();
        rules[1].query = vec![exact("q", "1")];
        rules[2].headers = vec![exact("x", "1")];
        rules[3].headers = vec![exact("x", "1")];
        rules[3].query = vec![exact("q", "1")];
        rules[4].methods = vec![Method::GET];
        rules[5].methods = vec![Method::GET, Method::PUT];
        rules[5].headers = vec![exact("x", "1")];
        rules[6].headers = vec![ValueMatch { name: "x".into(), test: ValueTest::Present }];
        let router = Router::build(rules.clone()).unwrap();
        for (request, header, expected) in [
            ("POST www.example.com/a", None, "all /a"),
            ("POST www.example.com/a?q=1", None, "q /a"),
            ("POST www.example.com/a?q=2", None, "all /a"),
            ("POST www.example.com/a", Some(("x", "1")), "h /a"),
            ("POST www.example.com/a", Some(("x", "2")), "other-h /a"),
            ("POST www.example.com/a?q=1", Some(("x", "1")), "hq /a"),
            ("GET www.example.com/a?q=1", None, "get /a"),
            ("GET www.example.com/a?q=1", Some(("x", "1")), "get-h /a"),
            ("HEAD www.example.com/a", None, "all /a"),
            ("PUT www.example.com/a", Some(("x", "2")), "other-h /a"),
        ] {
            check(&router, &rules, request, header, expected);
        }
    }

    /// Checks that the verdicts begin with these.
    fn check_verdicts(verdicts: &[Verdict], expected: &[(usize, &str)]) {
        let said: Vec<(usize, String)> = verdicts.iter().map(|verdict| (verdict.rule, verdict.to_string())).collect();
        let said: Vec<(usize, &str)> = said.iter().map(|(rule, text)| (*rule, text.as_str())).collect();
        assert_eq!(&said[..expected.len()], expected);
    }

    #[test]
    fn explain_says_why() {
        let mut wrong_header = rule("*", "/a");
        wrong_header.headers = vec![exact("x-tenant", "blue")];
        let mut wrong_query = rule("*", "/a");
        wrong_query.query = vec![ValueMatch { name: "v".into(), test: ValueTest::regex("[0-9]+").unwrap() }];
        let mut wrong_method = rule("*", "/a");
        wrong_method.methods = vec![Method::PUT, Method::DELETE, Method::PATCH];
        let mut regex = rule("*", "/a");
        regex.path = PathPattern::regex("/.").unwrap();
        let rules = vec![
            rule("*", "/b"),
            rule("*.example.com", "/a"),
            rule("*", "/*"),
            wrong_method,
            wrong_header,
            wrong_query,
            rule("*", "/a"),
            rule("*", "/{x}"),
            regex,
            rule("*.org", "/{x}/*"),
        ];
        let router = Router::build(rules).unwrap();
        let headers = HeaderMap::new();
        let request = RequestView::new(&Method::GET, "x.org", "/a", &headers).with_query("v=x");
        let verdicts = router.explain(&request);
        let expected = [
            (9, "chosen"),
            (6, "matches too, but host *.org goes before *"),
            (7, "matches too, but host *.org goes before *"),
            (8, "matches too, but host *.org goes before *"),
            (2, "matches too, but host *.org goes before *"),
            (5, "wants: query parameter `v` matches /[0-9]+/"),
            (4, "wants: header `x-tenant` is \"blue\""),
            (3, "wants: method DELETE, PATCH or PUT"),
            (0, "wants: path /b"),
            (1, "wants: host *.example.com"),
        ];
        check_verdicts(&verdicts, &expected);

        let request = RequestView { authority: "x.net", ..request };
        let verdicts = router.explain(&request);
        let expected = [
            (6, "chosen"),
            (7, "matches too, but an exact path goes before a template path"),
            (8, "matches too, but an exact path goes before a regex path"),
            (2, "matches too, but an exact path goes before a catch-all path"),
        ];
        check_verdicts(&verdicts, &expected);

        let verdicts = router.explain(&RequestView { path: "/-", ..request });
        let expected = [
            (7, "chosen"),
            (8, "matches too, but a template path goes before a regex path"),
            (2, "matches too, but a template path goes before a catch-all path"),
        ];
        check_verdicts(&verdicts, &expected);

        let rules = ["/a/*", "/{x}/{y}", "/{x}/*", "/a/{y}", "/{x}/b/*"].map(|path| rule("*", path));
        let router = Router::build(rules.into()).unwrap();
        let verdicts = router.explain(&RequestView { path: "/a/b", ..request });
        let expected = [
            (3, "chosen"),
            (4, "matches too, but a template path goes before a prefix path"),
            (0, "matches too, but a template path goes before a prefix path"),
            (1, "matches too, but more literal segments go first (1 before 0)"),
            (2, "matches too, but more literal segments go first (1 before 0)"),
        ];
        check_verdicts(&verdicts, &expected);

        let regex = Rule { path: PathPattern::regex("/.*").unwrap(), ..rule("*", "/") };
        let router = Router::build(vec![rule("*", "/*"), regex]).unwrap();
        let verdicts = router.explain(&request);
        let expected = [(1, "chosen"), (0, "matches too, but a regex path goes before a catch-all path")];
        check_verdicts(&verdicts, &expected);
    }

    #[test]
    fn params_are_those_of_the_rule() {
        let router = Router::build(vec![rule("*", "/"), rule("*", "/users/{id}/{rest...}")]).unwrap();
        assert_eq!(router.params(1, "/users/42/a/b").as_slice(), [("id", "42"), ("rest", "a/b")]);
        assert_eq!(router.params(1, "/").as_slice(), []);
        assert_eq!(router.params(0, "/").as_slice(), []);
        assert_eq!(router.params(2, "/").as_slice(), []);
        assert_eq!(router.route(2), None);
    }

    #[test]
    fn a_host_of_thousands_of_labels_is_only_any_host() {
        let rules = vec![rule("*.example.com", "/*"), rule("*", "/*")];
        let router = Router::build(rules.clone()).unwrap();
        let request = |labels: usize| format!("GET {}example.com/", "a.".repeat(labels));
        check(&router, &rules, &request(121), None, "*.example.com /*");
        check(&router, &rules, &request(122), None, "* /*");
        check(&router, &rules, &request(100_000), None, "* /*");
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let mut bad_header = rule("*", "/h");
        bad_header.headers = vec![exact("no spaces", "1")];
        let mut also_bad = rule("*", "/h2");
        also_bad.headers = vec![exact("", "1")];
        let errors = Router::build(vec![rule("*", "/"), bad_header, also_bad]).unwrap_err();
        let said: Vec<String> = errors.iter().map(|error| format!("{}: {error}", error.rule)).collect();
        assert_eq!(said, ["1: `no spaces` is not a header name", "2: `` is not a header name"]);

        let mut put = rule("*", "/users/{id}");
        put.methods = vec![Method::PUT, Method::GET];
        let mut get = rule("*", "/users/{name}");
        get.methods = vec![Method::GET];
        let mut delete = rule("*", "/users/{name}");
        delete.methods = vec![Method::GET, Method::DELETE];
        let errors =
            Router::build(vec![put, get, delete, rule("*", "/users/{id}"), rule("*", "/users/{x}")]).unwrap_err();
        let duplicate = |rule, earlier| BuildError { rule, problem: Problem::Duplicate { host: "*".into(), earlier } };
        assert_eq!(errors, [duplicate(1, 0), duplicate(4, 3)]);
    }

    #[test]
    fn regex_paths_are_bounded_on_each_host() {
        let regexes = |host: &str, count: usize| {
            let host = host.to_string();
            (0..count).map(move |number| {
                let mut rule = rule(&host, "/");
                rule.path = PathPattern::regex(&format!("/{number}")).unwrap();
                rule
            })
        };
        let two_hosts = regexes("a.com", MAX_REGEXES_PER_HOST).chain(regexes("b.com", MAX_REGEXES_PER_HOST));
        Router::build(two_hosts.collect()).unwrap();
        let errors = Router::build(regexes("a.com", MAX_REGEXES_PER_HOST + 5).collect()).unwrap_err();
        let problem = Problem::TooManyRegexes { host: "a.com".into() };
        assert_eq!(errors, [BuildError { rule: MAX_REGEXES_PER_HOST, problem }]);
    }

    #[test]
    fn a_router_without_rules_finds_nothing() {
        let headers = HeaderMap::new();
        let request = RequestView::new(&Method::GET, "a.com", "/", &headers).with_query("");
        assert_eq!(Router::default().find(&request), None);
        assert_eq!(Router::build(Vec::new()).unwrap().find(&request), None);
    }
}
