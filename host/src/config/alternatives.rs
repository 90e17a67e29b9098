//! `anyOf` and `oneOf`: which alternative was meant, and what is wrong with it.
//!
//! A validator can only say that no alternative fits. The operator meant one of them, and the JSON type, a constant, or
//! the only key nearly always tells which.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::explain::{Explainer, allowed_keys, list, type_names};

impl Explainer<'_> {
    /// Explains `anyOf` and `oneOf` by the alternative that the value was meant to be.
    pub(super) fn alternatives(
        &mut self,
        pointer: &str,
        error: &ValidationError<'_>,
        context: &[Vec<ValidationError<'static>>],
    ) {
        let base = error.instance_path().as_str();
        let mut expected: Vec<&'static str> = Vec::new();
        let mut fitting: Vec<&Vec<ValidationError<'static>>> = Vec::new();
        for branch in context {
            let types = branch.iter().find_map(|inner| mismatched_types(inner, base));
            match types {
                Some(types) => expected.extend(types),
                None => fitting.push(branch),
            }
        }
        if fitting.is_empty() {
            let mut seen = Vec::new();
            expected.retain(|name| {
                !seen.contains(name) && {
                    seen.push(*name);
                    true
                }
            });
            return self.wrong_type(pointer, error, &expected);
        }
        let constants: Vec<&Value> = fitting.iter().filter_map(|branch| constant(branch, base)).collect();
        if constants.len() == fitting.len() {
            return self.not_one_of(pointer, &constants, error);
        }
        if fitting.len() > 1 && self.tagged_alternatives(pointer, &fitting, base) {
            return;
        }
        let nearest = fitting.into_iter().min_by_key(|branch| {
            let discriminators =
                branch.iter().filter(|inner| matches!(inner.kind(), Kind::Constant { .. } | Kind::Enum { .. }));
            // An alternative whose keys differ from the written ones was not meant.
            let is_about_keys = |kind: &Kind| matches!(kind, Kind::Required { .. } | Kind::AdditionalProperties { .. });
            let keys =
                branch.iter().filter(|inner| inner.instance_path().as_str() == base && is_about_keys(inner.kind()));
            (keys.count() > 1, discriminators.count(), branch.len())
        });
        for inner in nearest.into_iter().flatten() {
            self.explain(inner);
        }
    }

    /// Explains alternatives that are distinguished by their only key: one error with all the keys instead of one per
    /// alternative. False if they are of another kind.
    fn tagged_alternatives(&mut self, pointer: &str, fitting: &[&Vec<ValidationError<'static>>], base: &str) -> bool {
        let here = |branch: &Vec<ValidationError<'static>>, wanted: fn(&Kind) -> bool| {
            branch.iter().any(|inner| inner.instance_path().as_str() == base && wanted(inner.kind()))
        };
        let all = |wanted: fn(&Kind) -> bool| fitting.iter().all(|branch| here(branch, wanted));
        let at_base = |branch: &&&Vec<ValidationError<'static>>| {
            branch.iter().find(|inner| inner.instance_path().as_str() == base).and_then(|inner| self.around(inner))
        };
        let around = fitting.iter().filter_map(|branch| at_base(&branch));
        let mut allowed: Vec<&str> = Vec::new();
        for key in around.flat_map(|around| allowed_keys(self.schema, Some(around))) {
            if !allowed.contains(&key) {
                allowed.push(key);
            }
        }
        if all(|kind| matches!(kind, Kind::AdditionalProperties { .. })) {
            match unexpected_everywhere(fitting, base) {
                Some(unexpected) => unexpected.iter().for_each(|key| self.unknown_key(pointer, key, &allowed)),
                None => {
                    let message = format!("the keys {} exclude each other", list(allowed));
                    self.found.push(self.document.at_value(pointer, message).with_help("keep one of them"));
                }
            }
            return true;
        }
        let only_missing =
            fitting.iter().all(|branch| branch.len() == 1) && all(|kind| matches!(kind, Kind::Required { .. }));
        if only_missing {
            let missing = fitting.iter().flat_map(|branch| branch.iter()).filter_map(|inner| match inner.kind() {
                Kind::Required { property } => property.as_str(),
                _ => None,
            });
            let message = format!("one of the keys {} is missing", list(missing));
            self.found.push(self.document.at_value(pointer, message));
        }
        only_missing
    }
}

/// The types that `error` says the value at `base` should have had.
fn mismatched_types(error: &ValidationError<'_>, base: &str) -> Option<Vec<&'static str>> {
    if error.instance_path().as_str() != base {
        return None;
    }
    match error.kind() {
        Kind::Type { kind } => Some(type_names(kind)),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let branches = context.iter().map(|branch| branch.iter().find_map(|inner| mismatched_types(inner, base)));
            branches.collect::<Option<Vec<_>>>().map(|types| types.concat())
        }
        _ => None,
    }
}

fn constant<'e>(branch: &'e [ValidationError<'static>], base: &str) -> Option<&'e Value> {
    branch.iter().filter(|inner| inner.instance_path().as_str() == base).find_map(|inner| match inner.kind() {
        Kind::Constant { expected_value } => Some(expected_value.as_ref()),
        Kind::Enum { options } => {
            options.as_array().filter(|options| options.len() == 1).and_then(|options| options.first())
        }
        _ => None,
    })
}

/// The keys that none of the alternatives knows.
fn unexpected_everywhere(fitting: &[&Vec<ValidationError<'static>>], base: &str) -> Option<Vec<String>> {
    let of_branch = |branch: &[ValidationError<'static>]| {
        branch.iter().filter(|inner| inner.instance_path().as_str() == base).find_map(|inner| match inner.kind() {
            Kind::AdditionalProperties { unexpected } => Some(unexpected.clone()),
            _ => None,
        })
    };
    let mut branches = fitting.iter().map(|branch| of_branch(branch));
    let mut common = branches.next()??;
    for unexpected in branches {
        let unexpected = unexpected?;
        common.retain(|key| unexpected.contains(key));
    }
    Some(common).filter(|keys| !keys.is_empty())
}
