//! A plugin's description of itself.

use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;

use crate::{Exported, Metric, State};

/// The manifest as the gateway reads it: a JSON object with `name`, `version`, `config-schema`, `credential-schema`,
/// `limit-schema`, `metrics`, `wants` and `state`. For tests of the schema, and for tools.
#[must_use]
#[allow(clippy::expect_used)]
pub fn manifest<P: Exported>() -> String {
    let manifest = Manifest {
        name: P::NAME,
        version: P::VERSION,
        state: match P::STATE {
            State::None => "none",
            State::Instance => "instance",
        },
        wants: P::WANTS,
        metrics: P::METRICS,
        config_schema: generator().into_root_schema_for::<P::Config>(),
        credential_schema: P::CREDENTIAL.map(|credential| credential(&mut generator())),
        limit_schema: P::LIMIT.map(|limit| limit(&mut generator())),
    };
    serde_json::to_string(&manifest).expect("texts and lists always serialize")
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Manifest {
    name: &'static str,
    version: &'static str,
    state: &'static str,
    wants: &'static [&'static str],
    metrics: &'static [&'static Metric],
    config_schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_schema: Option<Schema>,
}

/// Draft 2020-12, without references and without `$schema`: the gateway embeds it in its own schema, where a reference
/// to `#/$defs` would point somewhere else.
fn generator() -> SchemaGenerator {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator()
}
