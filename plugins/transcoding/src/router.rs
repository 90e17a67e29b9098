//! Finds the rule for a request.

use std::collections::BTreeMap;

use crate::template::{Segment, Template, Verbs};

/// Rules by method and path.
#[derive(Clone, Debug, Default)]
pub struct Router<T> {
    /// In the order in which they are tried.
    rules: Vec<Rule<T>>,
    /// The rules that begin with a word by that word, and the others, as positions in `rules`.
    by_word: BTreeMap<String, Vec<usize>>,
    others: Vec<usize>,
    verbs: Verbs,
}

#[derive(Clone, Debug)]
struct Rule<T> {
    /// `None` is any.
    method: Option<String>,
    template: Template,
    to: T,
}

/// The result for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// A rule, and the values of its template's fields.
    Rule(&'a T, Vec<String>),
    /// The path matches, but with these other methods.
    OtherMethods(Vec<&'a str>),
    Nothing,
}

impl<T> Router<T> {
    /// From rules with their methods (`None` is any).
    ///
    /// # Errors
    /// All pairs of rules that match the same requests.
    pub fn new(rules: Vec<(Option<String>, Template, T)>, verbs: Verbs) -> Result<Self, String> {
        let mut rules: Vec<Rule<T>> =
            rules.into_iter().map(|(method, template, to)| Rule { method, template, to }).collect();
        // A rule for one method goes before one for any.
        rules.sort_by(|a, b| {
            a.template.precedence(&b.template).then_with(|| a.method.is_none().cmp(&b.method.is_none()))
        });
        let mut doubles = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let same = |other: &&Rule<T>| other.method == rule.method && other.template.is_same_as(&rule.template);
            if let Some(other) = rules.iter().take(at).find(same) {
                let method = rule.method.as_deref().unwrap_or("any method");
                doubles.push(format!("{method} {} is there twice, once as {}", rule.template, other.template));
            }
        }
        if !doubles.is_empty() {
            return Err(doubles.join("; "));
        }
        let (mut by_word, mut others) = (BTreeMap::<String, Vec<usize>>::new(), Vec::new());
        for (at, rule) in rules.iter().enumerate() {
            match rule.template.segments().first() {
                Some(Segment::Literal(word)) if !word.contains('%') => {
                    by_word.entry(word.clone()).or_default().push(at)
                }
                _ => others.push(at),
            }
        }
        Ok(Self { rules, by_word, others, verbs })
    }

    /// The rule for a request; `path` is in its original form, without the query.
    #[must_use]
    pub fn find(&self, method: &str, path: &str) -> Found<'_, T> {
        let first = path.strip_prefix('/').unwrap_or_default().split('/').next().unwrap_or_default();
        let word = if first.contains('%') { None } else { Some(first) };
        let of_word = |word: &str| self.by_word.get(word).map(Vec::as_slice).unwrap_or_default();
        let without_verb = word.and_then(|word| Some(word.rsplit_once(':')?.0));
        let mut candidates: Vec<usize> = match word {
            Some(word) => of_word(word).iter().chain(without_verb.map(of_word).unwrap_or_default()).copied().collect(),
            None => self.by_word.values().flatten().copied().collect(),
        };
        candidates.extend(&self.others);
        candidates.sort_unstable();
        let mut others = Vec::new();
        for rule in candidates.into_iter().filter_map(|at| self.rules.get(at)) {
            let is_method = rule.method.as_deref().is_none_or(|own| own == method);
            if !is_method && others.contains(&rule.method.as_deref().unwrap_or_default()) {
                continue;
            }
            let Some(values) = rule.template.matches(path, self.verbs) else { continue };
            if is_method {
                return Found::Rule(&rule.to, values);
            }
            others.extend(rule.method.as_deref());
        }
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn router(rules: &[(&str, &'static str)]) -> Result<Router<&'static str>, String> {
        let rule = |(method, path): &(&str, &'static str)| {
            let method = Some((*method).to_owned()).filter(|method| method != "*");
            (method, Template::parse(path).unwrap(), *path)
        };
        Router::new(rules.iter().map(rule).collect(), Verbs::Lenient)
    }

    #[test]
    fn the_more_particular_rule_goes_first() {
        let router = router(&[
            ("GET", "/{a=**}"),
            ("GET", "/a/*"),
            ("GET", "/a/b"),
            ("GET", "/a/{x}:go"),
            ("GET", "/{x=**}:stop"),
            ("*", "/any"),
            ("PUT", "/any"),
            ("POST", "/a/b"),
        ])
        .unwrap();
        for (method, path, expected) in [
            ("GET", "/a/b", "/a/b"),
            ("GET", "/a/c", "/a/*"),
            ("GET", "/a/c/d", "/{a=**}"),
            ("GET", "/a/c:go", "/a/{x}:go"),
            ("GET", "/a/c:stop", "/{x=**}:stop"),
            ("GET", "/a/c:other", "/a/*"),
            ("GET", "/%61/b", "/a/b"),
            ("DELETE", "/any", "/any"),
            ("PUT", "/any", "/any"),
        ] {
            let Found::Rule(found, _) = router.find(method, path) else { panic!("{path}") };
            assert_eq!(*found, expected, "{method} {path}");
        }
        assert_eq!(router.find("DELETE", "/a/b"), Found::OtherMethods(vec!["GET", "POST"]));
    }

    #[test]
    fn what_nobody_could_tell_apart_is_refused() {
        let why = router(&[("GET", "/a/{x}"), ("GET", "/a/{y=*}"), ("PUT", "/a/*")]).unwrap_err();
        assert_eq!(why, "GET /a/{y=*} is there twice, once as /a/{x}");
        assert_eq!(router(&[("GET", "/a")]).unwrap().find("GET", "/b"), Found::Nothing);
    }
}
