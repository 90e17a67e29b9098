//! Services from their configuration: found, compiled, linked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::Workshop;
use crate::config::{self, Diagnostic, Source, child};
use crate::plugin::{Artifact, Service, ServiceLimits};
use crate::stock;
use crate::upstream::Upstream;

/// The services of a snapshot, by name.
#[derive(Default)]
pub(super) struct Services {
    by_name: BTreeMap<Arc<str>, (Key, Arc<Service>)>,
    files: Vec<PathBuf>,
}

/// The identity of a service. If it is unchanged, compiled code and permits are carried over.
#[derive(PartialEq, Eq)]
struct Key {
    digest: String,
    limits: ServiceLimits,
    /// By identity: a service keeps those that it was granted.
    upstreams: Vec<(Arc<str>, usize)>,
}

impl Services {
    pub fn get(&self, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(name).map(|(_, service)| service)
    }

    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }
}

/// Loads all declared services. A failure is a mistake at the service's source.
pub(super) fn build(
    loaded: &config::Loaded,
    workshop: &Workshop,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
    previous: Option<&Services>,
    mistakes: &mut Vec<Diagnostic>,
) -> Services {
    let mut services = Services::default();
    for (name, config) in &loaded.config.services {
        let mut mistake = |why: String| {
            let pointer = child(&child("/services", name), "source");
            mistakes.push(loaded.diagnostic(&pointer, format!("service {name:?}: {why}"), None));
        };
        // Other kinds of source are reported by the configuration's own check.
        let Source::File(file) = &config.source else { continue };
        let path = workshop.directory.join(file);
        services.files.push(path.clone());
        let bytes = match Artifact::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                mistake(format!("{} cannot be read: {error}", path.display()));
                continue;
            }
        };
        let granted: BTreeMap<Arc<str>, Arc<Upstream>> = config
            .grants
            .upstreams
            .iter()
            .filter_map(|name| upstreams.get_key_value(name.as_str()))
            .map(|(name, upstream)| (name.clone(), upstream.clone()))
            .collect();
        let key = Key {
            digest: Artifact::digest_of(&bytes),
            limits: limits(&config.limits),
            upstreams: granted.iter().map(|(name, one)| (name.clone(), Arc::as_ptr(one) as usize)).collect(),
        };
        let before = previous.and_then(|previous| previous.by_name.get(name.as_str()));
        let service = match before.filter(|(before, _)| *before == key) {
            Some((_, service)) => Ok(service.clone()),
            None => Service::load(&workshop.engine, name, &bytes, key.limits.clone(), granted).map(Arc::new),
        };
        match service {
            Ok(service) => drop(services.by_name.insert(name.as_str().into(), (key, service))),
            Err(error) => mistake(error.to_string()),
        }
    }
    for (index, route) in loaded.config.routes.iter().enumerate() {
        check_places(loaded, &services, route, index, mistakes);
    }
    services
}

/// Whether this entry of a chain is a service. Plugins of the same name take precedence.
pub(super) fn is_middleware(config: &config::Config, name: &str) -> bool {
    config.services.contains_key(name) && !config.plugins.contains_key(name) && stock::component(name).is_none()
}

/// The middleware of a route, which is the last entry of its chain.
pub(super) fn middleware<'a>(config: &config::Config, route: &'a config::Route) -> Option<&'a str> {
    let last = route.plugins.last()?.name.as_str();
    is_middleware(config, last).then_some(last)
}

/// A middleware calls what is behind it, and a service ends a route: neither can be used as the other.
fn check_places(
    loaded: &config::Loaded,
    services: &Services,
    route: &config::Route,
    index: usize,
    mistakes: &mut Vec<Diagnostic>,
) {
    for (at, used) in route.plugins.iter().enumerate() {
        let service = services.get(&used.name).filter(|_| is_middleware(&loaded.config, &used.name));
        if service.is_some_and(|service| !service.is_middleware()) {
            let message = format!("the service {:?} is no middleware: it imports no wasi:http/handler@0.3", used.name);
            let help = format!("let the route end in it: \"to\": {{ \"service\": {:?} }}", used.name);
            mistakes.push(loaded.diagnostic(&used.pointer(index, at), message, Some(&help)));
        }
    }
    let route_pointer = format!("/routes/{index}");
    let versions = route.versions.iter().flat_map(|versions| &versions.list);
    let of_version = |name: &str| child(&child(&child(&child(&route_pointer, "versions"), "list"), name), "to");
    let lists = versions.map(|(name, version)| (&version.to, of_version(name)));
    for (targets, list) in std::iter::once((&route.to, child(&route_pointer, "to"))).chain(lists) {
        for (at, target) in targets.iter().enumerate() {
            let Some(name) = &target.service else { continue };
            if services.get(name).is_some_and(|service| service.is_middleware()) {
                let is_list = matches!(loaded.document.value().pointer(&list), Some(Value::Array(_)));
                let item = if is_list { child(&list, at) } else { list.clone() };
                let message = format!("the service {name:?} is a middleware: it calls what stands behind it");
                let help = "make it the last in \"plugins\" of a route that ends in something else";
                mistakes.push(loaded.diagnostic(&child(&item, "service"), message, Some(help)));
            }
        }
    }
}

fn limits(config: &config::ServiceLimits) -> ServiceLimits {
    ServiceLimits {
        time: config.time.into(),
        memory_bytes: config.memory.as_usize(),
        response_timeout: config.response_timeout.into(),
        body_timeout: config.body_timeout.into(),
        callouts: config.callouts,
        callout_timeout: config.callout_timeout.into(),
        log_lines: config.log_lines,
        requests: config.requests as usize,
    }
}
