//! Schemas in the configuration itself.

use gatewright_sdk::{Exchange, Method, json_schema, serde_json::Value};

use crate::{BodyRules, Config, check, document, parameter, refusal::Refusal};

/// For body, query and headers.
#[derive(Debug)]
pub(crate) struct Schemas {
    query: Option<Value>,
    headers: Option<Value>,
    body: Option<(Vec<String>, bool)>,
}

impl Schemas {
    pub(crate) fn new(config: Config) -> Result<Self, String> {
        let types: Vec<String> = config.content_types.iter().map(|kind| kind.to_ascii_lowercase()).collect();
        if types.is_empty() {
            return Err("content_types: without one no body is taken".to_owned());
        }
        let has_body = declared("body", config.body.as_ref())?.is_some();
        Ok(Self {
            query: declared("query", config.query.as_ref())?,
            headers: declared("headers", config.headers.as_ref())?,
            body: has_body.then_some((types, config.body_required)),
        })
    }

    /// Records what is wrong with query and headers.
    pub(crate) fn check(&self, exchange: &Exchange, refusal: &mut Refusal) -> Result<(), Refusal> {
        if let Some(schema) = &self.query {
            let value = parameter::object(schema, parameter::query(&exchange.path())?);
            check("query", "", value.to_string().as_bytes(), |pointer, message| {
                refusal.add("query", pointer, message)
            })?;
        }
        if let Some(schema) = &self.headers {
            let fields = exchange.request_headers().all().into_iter();
            let fields = fields.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
            let value = parameter::object(schema, fields.collect());
            check("headers", "", value.to_string().as_bytes(), |pointer, message| {
                refusal.add("header", pointer, message)
            })?;
        }
        Ok(())
    }

    pub(crate) fn body(&self, exchange: &Exchange) -> Option<BodyRules> {
        let (types, required) = self.body.as_ref()?;
        let has_body = matches!(exchange.method(), Method::POST | Method::PUT | Method::PATCH);
        let types = types.iter().map(|kind| (kind.clone(), Some(String::new()))).collect();
        Some(BodyRules { name: "body", types, required: *required && has_body })
    }
}

/// Declares a schema of the configuration under its name.
fn declared(name: &str, schema: Option<&Value>) -> Result<Option<Value>, String> {
    let Some(schema) = schema else { return Ok(None) };
    let schema = document(schema).map_err(|why| format!("{name}: {why}"))?;
    let text = schema.to_string();
    json_schema::declare(name, &text, &[String::new()]).map_err(|why| format!("{name}: {why}"))?;
    Ok(Some(schema))
}
