//! The result for a token: the issuer's response, and how long it is valid.

use std::time::Duration;

use gatewright_sdk::serde_json::{Map, Value};

use crate::config::OneOrMany;

/// The issuer's verdict on a token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// The text of the claims, and for how long from now they are valid, if given.
    Active(String, Option<Duration>),
    Inactive,
}

/// Requirements for the response about an active token.
pub(crate) struct Rules {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Option<OneOrMany>,
}

impl Rules {
    /// `now` is since 1970. An active token for another audience counts as inactive.
    ///
    /// # Errors
    /// What is wrong with the response, for the operator's log.
    pub(crate) fn read(&self, body: &[u8], now: Duration) -> Result<Worth, &'static str> {
        let mut answer: Map<String, Value> =
            gatewright_sdk::serde_json::from_slice(body).map_err(|_| "the answer is no JSON object")?;
        match answer.remove("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Ok(Worth::Inactive),
            _ => return Err("the answer does not say whether the token is active"),
        }
        let now = now.as_secs_f64();
        let until = time(&answer, "exp")?;
        let from = time(&answer, "nbf")?;
        let is_ours = self.issuer.is_none() || self.issuer.as_deref() == answer.get("iss").and_then(Value::as_str);
        if !is_ours
            || !self.is_for_us(answer.get("aud"))
            || until.is_some_and(|at| at <= now)
            || from.is_some_and(|at| at > now)
        {
            return Ok(Worth::Inactive);
        }
        // Far beyond the time that it is kept anyway.
        let left = until.map(|until| Duration::from_secs_f64((until - now).clamp(0.0, 1e9)));
        Ok(Worth::Active(Value::Object(answer).to_string(), left))
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let ours = |text: &str| match &self.audience {
            None => true,
            Some(OneOrMany::One(one)) => one == text,
            Some(OneOrMany::Many(list)) => list.iter().any(|one| one == text),
        };
        match (&self.audience, audience) {
            (None, _) => true,
            (Some(_), Some(Value::String(text))) => ours(text),
            (Some(_), Some(Value::Array(list))) => list.iter().filter_map(Value::as_str).any(ours),
            (Some(_), _) => false,
        }
    }
}

fn time(answer: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or("a time in the answer is no number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_they_say() {
        let rules = |issuer: &str, audience: &[&str]| Rules {
            issuer: (!issuer.is_empty()).then(|| issuer.to_owned()),
            audience: (!audience.is_empty())
                .then(|| OneOrMany::Many(audience.iter().map(ToString::to_string).collect())),
        };
        let any = || rules("", &[]);
        let active =
            |claims: &str, seconds: Option<u64>| Ok(Worth::Active(claims.to_owned(), seconds.map(Duration::from_secs)));
        for (rules, body, worth) in [
            (any(), r#"{"active":true}"#, active("{}", None)),
            (any(), r#"{"active":true,"sub":"ada","exp":160}"#, active(r#"{"exp":160,"sub":"ada"}"#, Some(60))),
            (any(), r#"{"active":true,"exp":100}"#, Ok(Worth::Inactive)),
            (any(), r#"{"active":true,"nbf":101}"#, Ok(Worth::Inactive)),
            (any(), r#"{"active":true,"nbf":100,"exp":null}"#, active(r#"{"exp":null,"nbf":100}"#, None)),
            (any(), r#"{"active":false}"#, Ok(Worth::Inactive)),
            (any(), r#"{"active":false,"sub":"ada"}"#, Ok(Worth::Inactive)),
            (any(), r#"{"active":"true"}"#, Err("the answer does not say whether the token is active")),
            (any(), r#"{"active":1}"#, Err("the answer does not say whether the token is active")),
            (any(), "{}", Err("the answer does not say whether the token is active")),
            (any(), r#"[{"active":true}]"#, Err("the answer is no JSON object")),
            (any(), "", Err("the answer is no JSON object")),
            (any(), r#"{"active":true,"exp":"160"}"#, Err("a time in the answer is no number")),
            (rules("me", &[]), r#"{"active":true,"iss":"me"}"#, active(r#"{"iss":"me"}"#, None)),
            (rules("me", &[]), r#"{"active":true,"iss":"you"}"#, Ok(Worth::Inactive)),
            (rules("me", &[]), r#"{"active":true}"#, Ok(Worth::Inactive)),
            (rules("", &["a", "b"]), r#"{"active":true,"aud":"b"}"#, active(r#"{"aud":"b"}"#, None)),
            (rules("", &["a"]), r#"{"active":true,"aud":["x","a"]}"#, active(r#"{"aud":["x","a"]}"#, None)),
            (rules("", &["a"]), r#"{"active":true,"aud":["x"]}"#, Ok(Worth::Inactive)),
            (rules("", &["a"]), r#"{"active":true,"aud":{"a":1}}"#, Ok(Worth::Inactive)),
            (rules("", &["a"]), r#"{"active":true}"#, Ok(Worth::Inactive)),
        ] {
            assert_eq!(rules.read(body.as_bytes(), Duration::from_secs(100)), worth, "{body}");
        }
    }
}
