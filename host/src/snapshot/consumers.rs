//! Consumers from their configuration: what of them each plugin is told.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::capability::consumers::Credential;
use crate::config::{Config, Consumer, child};

/// The credentials that stand under a plugin's name, in the order of the consumers' names.
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

/// What later plugins learn of a consumer that has proved who it is.
fn claims(name: &str, consumer: &Consumer) -> String {
    let mut claims = consumer.claims.clone();
    claims.insert("consumer".to_owned(), name.into());
    if !consumer.groups.is_empty() {
        claims.insert("groups".to_owned(), consumer.groups.clone().into());
    }
    if !consumer.limits.is_empty() {
        let limits: Map<String, Value> = consumer.limits.clone().into_iter().collect();
        claims.insert("limits".to_owned(), limits.into());
    }
    Value::Object(claims).to_string()
}

/// Every plugin that consumers have credentials for, with the places of their lists.
pub(super) fn plugins_of(config: &Config) -> impl Iterator<Item = (&str, String)> {
    config.consumers.iter().flat_map(|(name, consumer)| {
        let pointer = child(&child("/consumers", name), "credentials");
        consumer.credentials.keys().map(move |plugin| (plugin.as_str(), child(&pointer, plugin)))
    })
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
        let other: Consumer = serde_json::from_value(json!({ "credentials": { "key-auth": [{ "key": "c" }] } })).unwrap();
        let consumers = [("shop".to_owned(), shop), ("other".to_owned(), other)].into();
        let config = Config { consumers, ..Config::default() };
        let told = |plugin: &str| -> Vec<String> {
            let credentials = credentials_of(&config, plugin);
            credentials.iter().map(|one| format!("{} {} {}", one.consumer, one.claims, one.definition)).collect()
        };
        let claims = r#"{"tier":"gold","consumer":"shop","groups":["partners"],"limits":{"rate-limit":"9/s"}}"#;
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
        assert!(!format!("{:?}", credentials_of(&config, "key-auth")).contains("\"key\""), "no credential is shown");
    }
}
