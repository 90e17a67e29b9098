//! The versions of a route, from its configuration.

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue, LINK, VARY};

use super::targets::{self, Goals, Targets};
use crate::api_versions::{By, Chosen, Refusal, Versions};
use crate::config::{self, VersionBy};
use crate::exchange;
use crate::rewrite::Fields;
use crate::router::PathPattern;

/// The versions of a route, each with its targets.
pub struct Versioned {
    versions: Versions,
    names: Vec<Arc<str>>,
    targets: Vec<Targets>,
}

impl Versioned {
    /// The version that a request asks for.
    ///
    /// # Errors
    /// The request asks for no version that exists.
    pub fn choose(
        &self,
        headers: &HeaderMap,
        path: &str,
        pattern: Option<&PathPattern>,
    ) -> Result<Chosen<'_>, Refusal> {
        let parameters = pattern.map(|pattern| pattern.params(path)).unwrap_or_default();
        self.versions
            .choose(headers, |wanted| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value))
    }

    /// The same, in the form that an exchange keeps.
    ///
    /// # Errors
    /// The request asks for no version that exists.
    pub fn version(
        &self,
        headers: &HeaderMap,
        path: &str,
        pattern: Option<&PathPattern>,
    ) -> Result<exchange::Version, Refusal> {
        let index = self.choose(headers, path, pattern)?.index;
        Ok(exchange::Version { index, name: self.names.get(index).cloned().unwrap_or_default() })
    }

    /// The names of all versions.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn targets(&self, version: usize) -> Option<&Targets> {
        self.targets.get(version)
    }
}

/// Builds the versions of a route; `None` for most.
pub(super) fn build(route: &config::Route, goals: Goals<'_>) -> Option<Box<Versioned>> {
    let config = route.versions.as_ref()?;
    let varies: Vec<(HeaderName, HeaderValue)> =
        config.by.iter().filter_map(varies_by).map(|field| (VARY, field)).collect();
    let targets = |version: &config::Version| {
        let to = if version.to.is_empty() { &route.to } else { &version.to };
        let mut response = notices(version);
        response.append.extend(varies.iter().cloned());
        targets::build(to, version.rewrite.as_ref().or(route.rewrite.as_ref()), &response, goals)
    };
    let default = config.default.as_ref().and_then(|name| config.list.keys().position(|known| known == name.as_str()));
    let names = config.list.keys();
    Some(Box::new(Versioned {
        versions: Versions {
            by: config.by.iter().filter_map(by).collect(),
            names: names.clone().map(|name| name.as_str().into()).collect(),
            default,
        },
        names: names.map(|name| name.as_str().into()).collect(),
        targets: config.list.values().map(targets).collect(),
    }))
}

fn by(by: &VersionBy) -> Option<By> {
    Some(match by {
        VersionBy::Path(name) => By::Path(name.as_str().into()),
        // The schema has already checked that it is a field name.
        VersionBy::Header(name) => By::Header(name.as_str().parse().ok()?),
        VersionBy::AcceptParameter(name) => By::AcceptParameter(name.as_str().into()),
        VersionBy::MediaType(kind) => {
            let (before, after) = kind.around();
            By::MediaType { before: before.into(), after: after.into() }
        }
    })
}

/// The field that a cache has to compare before it gives one client's response to another.
fn varies_by(by: &VersionBy) -> Option<HeaderValue> {
    match by {
        VersionBy::Path(_) => None,
        VersionBy::Header(name) => HeaderValue::from_str(name.as_str()).ok(),
        VersionBy::AcceptParameter(_) | VersionBy::MediaType(_) => HeaderValue::from_str(ACCEPT.as_str()).ok(),
    }
}

/// The fields in responses of an old version that announce its end.
fn notices(version: &config::Version) -> Fields {
    let mut fields = Fields::default();
    let mut set = |name: &'static str, value: Option<String>| {
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        fields.set.extend(value.map(|value| (HeaderName::from_static(name), value)));
    };
    // A date in the format of structured fields (RFC 9651, section 3.3.7), and then in HTTP's own.
    set("deprecation", version.deprecated.map(|date| format!("@{}", date.unix_seconds())));
    set("sunset", version.sunset.map(|date| httpdate::fmt_http_date(SystemTime::from(date))));
    let links = &version.links;
    for (relation, link) in [
        ("deprecation", &links.deprecation),
        ("sunset", &links.sunset),
        ("successor-version", &links.successor_version),
        ("latest-version", &links.latest_version),
    ] {
        let value = link.as_ref().map(|link| format!("<{}>; rel=\"{relation}\"", link.as_str()));
        let value = value.and_then(|value| HeaderValue::from_str(&value).ok());
        fields.append.extend(value.map(|value| (LINK, value)));
    }
    fields
}
