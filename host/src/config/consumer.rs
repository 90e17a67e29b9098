//! `consumers`: known callers, independent of the plugin that authenticates them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A caller. A plugin that verifies one of its credentials makes it the caller of the exchange: its name becomes the
/// subject of the identity, with its groups and claims.
#[derive(Clone, Debug, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["credentials"]))]
pub struct Consumer {
    /// Its groups: the claim `groups`, which `acl` reads. Default: none.
    #[schemars(length(max = 1000), extend("uniqueItems" = true))]
    pub groups: Vec<String>,

    /// Further claims, for plugins. `consumer` and `groups` are set by the gateway. Default: none.
    pub claims: Map<String, Value>,

    /// How it proves who it is: lists of credentials by the name of the plugin that verifies them, each in that
    /// plugin's own form. A plugin uses them if its configuration has `"consumers": true`.
    #[schemars(transform = super::forms::keyed_by_name)]
    pub credentials: BTreeMap<String, Vec<Map<String, Value>>>,

    /// Its own limits by the name of the plugin that enforces them, each in that plugin's own form:
    /// `{ "rate-limit": "1000/min" }`. A plugin uses them if its configuration has `"consumers": true`. Default: the
    /// limits in the plugins' configurations.
    #[schemars(transform = super::forms::keyed_by_name)]
    pub limits: BTreeMap<String, Value>,
}
