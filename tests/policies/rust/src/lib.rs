//! The policy of `tests/policies`, in Rust.

use std::collections::BTreeMap;
use std::time::Duration;

use gatewright_sdk::{
    Decision, Exchange, Plugin, Response, StatusCode, config, http_client, plugin, serde_json, shared_store,
};

#[config]
pub struct Config {
    /// Who owns which key.
    keys: BTreeMap<String, String>,
    /// Requests of one caller in a minute.
    #[schemars(range(min = 1))]
    per_minute: i64,
}

pub struct Policy(Config);

#[plugin]
impl Plugin for Policy {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        Ok(Policy(config))
    }

    fn on_request(&self, exchange: &Exchange) -> Decision {
        let headers = exchange.request_headers();
        let [key, plan] = headers.select(["x-api-key", "x-plan"]);
        let proved = exchange.identity().map(|caller| caller.subject);
        let Some(user) = proved.or_else(|| self.0.keys.get(&key?).cloned()) else {
            return refuse(StatusCode::UNAUTHORIZED, "who are you?", Some(("www-authenticate", "Key")));
        };
        let minute = Some(Duration::from_secs(60));
        let Ok(count) = shared_store::increment(&format!("seen:{user}"), 1, minute) else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "try again later", None);
        };
        if count > self.0.per_minute {
            return refuse(StatusCode::TOO_MANY_REQUESTS, "too many requests", Some(("retry-after", "60")));
        }
        let Some(tier) = tier(&user, plan.as_deref().unwrap_or("free")) else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "try again later", None);
        };
        let changed = headers
            .remove("x-api-key")
            .and_then(|()| headers.set("x-user", &user))
            .and_then(|()| headers.set("x-tier", &tier))
            .and_then(|()| exchange.response_headers().set("x-remaining", (self.0.per_minute - count).to_string()))
            .and_then(|()| exchange.set_identity(&user, &serde_json::json!({ "tier": tier }).to_string()))
            .and_then(|()| exchange.set_attribute("tier", &tier));
        match changed {
            Ok(()) => Decision::Proceed,
            Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "try again later", None),
        }
    }
}

fn tier(user: &str, plan: &str) -> Option<String> {
    let request = http_client::Request::get("profiles", format!("/users/{user}")).with_header("x-plan", plan);
    let response = request.send().ok()?;
    match response.status {
        StatusCode::NOT_FOUND => Some("none".to_owned()),
        StatusCode::OK => {
            let profile: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
            Some(profile["tier"].as_str()?.to_owned())
        }
        _ => None,
    }
}

fn refuse(status: StatusCode, error: &str, header: Option<(&str, &str)>) -> Decision {
    let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    headers.extend(header.map(|(name, value)| (name.to_owned(), value.to_owned())));
    Decision::Respond(Response {
        status,
        headers,
        body: serde_json::json!({ "error": error }).to_string().into_bytes(),
    })
}
