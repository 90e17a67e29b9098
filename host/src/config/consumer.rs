//! `consumers`: known callers, independent of the plugin that authenticates them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Somebody who calls. A plugin that checks one of its credentials makes it the caller of the exchange: its name is the
/// identity's subject, and its groups and claims are the identity's.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["credentials"]))]
pub struct Consumer {
    /// The groups it is in: the claim `groups`, which `acl` reads. Default: none.
    #[schemars(length(max = 1000), extend("uniqueItems" = true))]
    pub groups: Vec<String>,

    /// What else is known of it, for plugins. `consumer` and `groups` are the gateway's. Default: nothing.
    pub claims: Map<String, Value>,

    /// How it proves who it is: lists of credentials by the name of the plugin that checks them, each as that plugin
    /// has it. A plugin takes them where its configuration says `"consumers": true`.
    #[schemars(transform = super::forms::keyed_by_name)]
    pub credentials: BTreeMap<String, Vec<Map<String, Value>>>,

    /// Limits of its own, by the name of the plugin that keeps them, each as that plugin has it: `{ "rate-limit":
    /// "1000/min" }`. Default: what the plugins' configurations say. A plugin keeps them where its configuration says
    /// `"consumers": true`.
    #[schemars(transform = super::forms::keyed_by_name)]
    pub limits: BTreeMap<String, Value>,
}
