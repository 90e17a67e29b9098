//! Rules, and which requests match them.

use gatewright_sdk::{claims, claims::Claims, serde_json::Value};

use crate::{Rule, path::Path};

/// The rules of one list of access.
#[derive(Debug)]
pub(crate) struct Rules {
    /// `None` allows everything that no rule of `deny` matches.
    allow: Option<Vec<Conditions>>,
    deny: Vec<Conditions>,
    groups_claim: String,
}

/// What the rules check of a request.
pub(crate) struct Request<'a> {
    /// `None` if nobody was authenticated.
    pub(crate) subject: Option<&'a str>,
    pub(crate) claims: &'a Claims,
    pub(crate) method: &'a str,
    /// The path without the query.
    pub(crate) path: &'a str,
}

impl Rules {
    /// # Errors
    /// Names the rule by its list and place, and what is wrong with it.
    pub(crate) fn new(allow: Option<Vec<Rule>>, deny: Option<Vec<Rule>>, groups_claim: String) -> Result<Self, String> {
        if allow.is_none() && deny.is_none() {
            return Err("at least one of allow and deny is needed".to_owned());
        }
        if groups_claim.is_empty() {
            return Err("groups_claim is empty".to_owned());
        }
        let list = |name: &str, rules: Vec<Rule>| {
            if rules.is_empty() {
                return Err(format!("{name}: at least one rule is needed"));
            }
            let rules = rules.into_iter().enumerate();
            rules.map(|(at, rule)| Conditions::new(rule).map_err(|why| format!("{name}[{at}]{why}"))).collect()
        };
        Ok(Self {
            allow: allow.map(|rules| list("allow", rules)).transpose()?,
            deny: deny.map_or(Ok(Vec::new()), |rules| list("deny", rules))?,
            groups_claim,
        })
    }

    /// Why the request is refused, if it is.
    pub(crate) fn refuse(&self, request: &Request<'_>) -> Option<&'static str> {
        let any = |rules: &[Conditions]| rules.iter().any(|rule| rule.are_met(request, &self.groups_claim));
        if any(&self.deny) {
            return Some("denied");
        }
        match &self.allow {
            Some(allow) if !any(allow) => Some("not-allowed"),
            _ => None,
        }
    }
}

/// A parsed rule. A condition that is not given always holds.
#[derive(Debug)]
struct Conditions {
    subjects: Option<Vec<String>>,
    groups: Option<Vec<Value>>,
    scopes: Option<Vec<String>>,
    claims: Option<Vec<(String, Vec<Value>)>>,
    methods: Option<Vec<String>>,
    paths: Option<Vec<Path>>,
}

impl Conditions {
    fn new(rule: Rule) -> Result<Self, String> {
        let Rule { subjects, groups, scopes, claims, methods, paths } = rule;
        for (name, is_empty) in [
            ("subjects", subjects.as_ref().map(Vec::is_empty)),
            ("groups", groups.as_ref().map(Vec::is_empty)),
            ("scopes", scopes.as_ref().map(Vec::is_empty)),
            ("claims", claims.as_ref().map(std::collections::BTreeMap::is_empty)),
            ("methods", methods.as_ref().map(Vec::is_empty)),
            ("paths", paths.as_ref().map(Vec::is_empty)),
        ] {
            // An empty list could match nothing or everything; neither is likely to be meant.
            if is_empty == Some(true) {
                return Err(format!(".{name}: at least one is needed"));
            }
        }
        let is_empty = subjects.is_none()
            && groups.is_none()
            && scopes.is_none()
            && claims.is_none()
            && methods.is_none()
            && paths.is_none();
        if is_empty {
            return Err(": at least one condition is needed".to_owned());
        }
        if let Some(method) = methods.iter().flatten().find(|method| !is_method(method)) {
            return Err(format!(".methods: {method:?} is not a method; methods are in capitals"));
        }
        let claims = claims.map(|claims| {
            let claims = claims.into_iter().map(|(name, value)| match claims::values(value) {
                Ok(values) => Ok((name, values)),
                Err(why) => Err(format!(".claims: {name:?} {why}")),
            });
            claims.collect::<Result<_, _>>()
        });
        let paths = paths.map(|paths| {
            let paths = paths.iter().map(|path| Path::parse(path).map_err(|why| format!(".paths: {path:?} {why}")));
            paths.collect::<Result<_, _>>()
        });
        Ok(Self {
            subjects,
            groups: groups.map(|groups| groups.into_iter().map(Value::from).collect()),
            scopes,
            claims: claims.transpose()?,
            methods,
            paths: paths.transpose()?,
        })
    }

    /// The cheap conditions first.
    fn are_met(&self, request: &Request<'_>, groups_claim: &str) -> bool {
        let one_of = |list: &Option<Vec<String>>, one: Option<&str>| {
            list.as_ref().is_none_or(|list| one.is_some_and(|one| list.iter().any(|wanted| wanted == one)))
        };
        one_of(&self.methods, Some(request.method))
            && one_of(&self.subjects, request.subject.filter(|subject| !subject.is_empty()))
            && self.paths.as_ref().is_none_or(|paths| paths.iter().any(|path| path.fits(request.path)))
            && self.groups.as_ref().is_none_or(|groups| request.claims.is_any(groups_claim, groups))
            && self.scopes.as_ref().is_none_or(|scopes| scopes.iter().all(|scope| request.claims.has_scope(scope)))
            && self
                .claims
                .as_ref()
                .is_none_or(|claims| claims.iter().all(|(name, values)| request.claims.is_any(name, values)))
    }
}

/// Methods are case-sensitive, so `get` would match no request that a browser sends.
fn is_method(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
}
