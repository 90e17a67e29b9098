//! The sections of a configuration that can be read, though others cannot.
//!
//! A section that the schema refused is left out, so that one wrong route does not hide a mistake in another.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Admin, Config, Consumer, Limits, Listener, Plugin, Registries, ResponseCache, Route, Service, Store, Upstream,
};

/// The sections of a configuration that can be read, each item with its position.
pub(super) struct Sections<'a> {
    pub(super) listeners: Vec<(usize, &'a Listener)>,
    pub(super) upstreams: Vec<(&'a str, &'a Upstream)>,
    pub(super) plugins: Vec<(&'a str, &'a Plugin)>,
    pub(super) services: Vec<(&'a str, &'a Service)>,
    pub(super) stores: Vec<(&'a str, &'a Store)>,
    pub(super) consumers: Vec<(&'a str, &'a Consumer)>,
    pub(super) routes: Vec<(usize, &'a Route)>,
    pub(super) admin: Option<&'a Admin>,
    pub(super) limits: Option<&'a Limits>,
    pub(super) response_cache: Option<&'a ResponseCache>,
    pub(super) registries: Option<&'a Registries>,
}

impl<'a> Sections<'a> {
    /// Of a configuration that the schema accepts.
    pub(super) fn of(config: &'a Config) -> Sections<'a> {
        Sections {
            listeners: config.listeners.iter().enumerate().collect(),
            upstreams: config.upstreams.iter().map(|(name, upstream)| (name.as_str(), upstream)).collect(),
            plugins: config.plugins.iter().map(|(name, plugin)| (name.as_str(), plugin)).collect(),
            services: config.services.iter().map(|(name, service)| (name.as_str(), service)).collect(),
            stores: config.stores.iter().map(|(name, store)| (name.as_str(), store)).collect(),
            consumers: config.consumers.iter().map(|(name, consumer)| (name.as_str(), consumer)).collect(),
            routes: config.routes.iter().enumerate().collect(),
            admin: config.admin.as_ref(),
            limits: Some(&config.limits),
            response_cache: Some(&config.response_cache),
            registries: Some(&config.registries),
        }
    }
}

/// What can be read of a configuration with mistakes.
pub(super) struct Salvaged {
    listeners: Vec<(usize, Listener)>,
    upstreams: BTreeMap<String, Upstream>,
    plugins: BTreeMap<String, Plugin>,
    services: BTreeMap<String, Service>,
    stores: BTreeMap<String, Store>,
    consumers: BTreeMap<String, Consumer>,
    routes: Vec<(usize, Route)>,
    admin: Option<Admin>,
    limits: Option<Limits>,
    response_cache: Option<ResponseCache>,
    registries: Option<Registries>,
}

impl Salvaged {
    pub(super) fn from(value: &Value) -> Salvaged {
        fn items<T: DeserializeOwned>(value: Option<&Value>) -> Vec<(usize, T)> {
            let items = value.and_then(Value::as_array).into_iter().flatten().enumerate();
            items.filter_map(|(at, item)| T::deserialize(item).ok().map(|item| (at, item))).collect()
        }
        fn members<T: DeserializeOwned>(value: Option<&Value>) -> BTreeMap<String, T> {
            let members = value.and_then(Value::as_object).into_iter().flatten();
            members
                .filter_map(|(name, member)| T::deserialize(member).ok().map(|member| (name.clone(), member)))
                .collect()
        }
        Salvaged {
            listeners: items(value.get("listeners")),
            upstreams: members(value.get("upstreams")),
            plugins: members(value.get("plugins")),
            services: members(value.get("services")),
            stores: members(value.get("stores")),
            consumers: members(value.get("consumers")),
            routes: items(value.get("routes")),
            admin: value.get("admin").and_then(|admin| Admin::deserialize(admin).ok()),
            limits: value.get("limits").and_then(|limits| Limits::deserialize(limits).ok()),
            response_cache: value.get("response_cache").and_then(|cache| ResponseCache::deserialize(cache).ok()),
            registries: value.get("registries").and_then(|registries| Registries::deserialize(registries).ok()),
        }
    }

    pub(super) fn sections(&self) -> Sections<'_> {
        Sections {
            listeners: self.listeners.iter().map(|(at, listener)| (*at, listener)).collect(),
            upstreams: self.upstreams.iter().map(|(name, upstream)| (name.as_str(), upstream)).collect(),
            plugins: self.plugins.iter().map(|(name, plugin)| (name.as_str(), plugin)).collect(),
            services: self.services.iter().map(|(name, service)| (name.as_str(), service)).collect(),
            stores: self.stores.iter().map(|(name, store)| (name.as_str(), store)).collect(),
            consumers: self.consumers.iter().map(|(name, consumer)| (name.as_str(), consumer)).collect(),
            routes: self.routes.iter().map(|(at, route)| (*at, route)).collect(),
            admin: self.admin.as_ref(),
            limits: self.limits.as_ref(),
            response_cache: self.response_cache.as_ref(),
            registries: self.registries.as_ref(),
        }
    }
}
