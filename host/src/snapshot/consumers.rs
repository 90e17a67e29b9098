//! Consumers from their configuration: the part of them that each plugin gets.

use std::sync::Arc;

use serde_json::Value;

use crate::capability::consumers::{Credential, Limit};
use crate::config::{Config, Consumer, child};

/// The consumers' credentials under a plugin's name, in the order of the consumers' names.
pub(super) fn credentials_of(config: &Config, plugin: &str) -> Arc<[Credential]> {
    let mut credentials = Vec::new();
    for (name, consumer) in &config.consumers {
        let Some(listed) = consumer.credentials.get(plugin) else { continue };
        let (name, claims): (Arc<str>, Arc<str>) = (name.as_str().into(), claims(name, consumer).into());
        credentials.extend(listed.iter().map(|definition| Credential {
            consumer: name.clone(),
            claims: claims.clone(),
            definition: Value::Object(definition.clone()).to_string(),
        }));
    }
    credentials.into()
}

/// The consumers' limits under a plugin's name.
pub(super) fn limits_of(config: &Config, plugin: &str) -> Arc<[Limit]> {
    let limit = |(name, consumer): (&String, &Consumer)| {
        let definition = consumer.limits.get(plugin)?.to_string();
        Some(Limit { consumer: name.as_str().into(), definition })
    };
    config.consumers.iter().filter_map(limit).collect()
}

/// The claims of an authenticated consumer that later plugins see.
fn claims(name: &str, consumer: &Consumer) -> String {
    let mut claims = consumer.claims.clone();
    claims.insert("consumer".to_owned(), name.into());
    if !consumer.groups.is_empty() {
        claims.insert("groups".to_owned(), consumer.groups.clone().into());
    }
    Value::Object(claims).to_string()
}

/// What a plugin may take from consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Credentials,
    Limits,
}

/// Every plugin that consumers have something for, with what that is and its position.
pub(super) fn taken(config: &Config) -> Vec<(&str, Taken, String)> {
    let mut found = Vec::new();
    for (name, consumer) in &config.consumers {
        let pointer = child("/consumers", name);
        let places = consumer.credentials.keys().map(|plugin| (plugin, Taken::Credentials, "credentials"));
        let places = places.chain(consumer.limits.keys().map(|plugin| (plugin, Taken::Limits, "limits")));
        found.extend(places.map(|(plugin, taken, key)| (plugin.as_str(), taken, child(&child(&pointer, key), plugin))));
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plugin_is_told_what_stands_under_its_name() {
        let shop: Consumer = serde_json::from_value(json!({
            "groups": ["partners"], "claims": { "tier": "gold" }, "limits": { "rate-limit": "9/s" },
            "credentials": { "key-auth": [{ "key": "a" }, { "key": "b" }], "jwt": [{ "value": "shop" }] },
        }))
        .unwrap();
        let other: Consumer =
            serde_json::from_value(json!({ "credentials": { "key-auth": [{ "key": "c" }] } })).unwrap();
        let consumers = [("shop".to_owned(), shop), ("other".to_owned(), other)].into();
        let config = Config { consumers, ..Config::default() };
        let told = |plugin: &str| -> Vec<String> {
            let credentials = credentials_of(&config, plugin);
            credentials.iter().map(|one| format!("{} {} {}", one.consumer, one.claims, one.definition)).collect()
        };
        let claims = r#"{"tier":"gold","consumer":"shop","groups":["partners"]}"#;
        assert_eq!(
            told("key-auth"),
            [
                r#"other {"consumer":"other"} {"key":"c"}"#.to_owned(),
                format!(r#"shop {claims} {{"key":"a"}}"#),
                format!(r#"shop {claims} {{"key":"b"}}"#),
            ]
        );
        assert_eq!(told("jwt"), [format!(r#"shop {claims} {{"value":"shop"}}"#)]);
        assert!(told("basic-auth").is_empty());
        let limits = limits_of(&config, "rate-limit");
        let limits: Vec<_> = limits.iter().map(|limit| (&*limit.consumer, &*limit.definition)).collect();
        assert_eq!(limits, [("shop", "\"9/s\"")]);
        assert!(!format!("{:?}", credentials_of(&config, "key-auth")).contains("\"key\""), "no credential is shown");
    }
}
