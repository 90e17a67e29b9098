//! `plugin inspect`: what a component is and what it asks for.

use serde_json::{Value, json};

use super::Stage;
use crate::plugin::{Import, MetricDeclaration};

/// A description of a component, for people.
pub fn text(stage: &Stage) -> String {
    let (artifact, manifest) = (stage.artifact(), stage.artifact().manifest());
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:10}{value}\n"));
    line("plugin", format!("{} {}", manifest.name, manifest.version).trim());
    line("contract", &format!("gatewright:plugin@{}", artifact.contract()));
    line("size", &size(stage.size()));
    line("digest", &format!("sha256:{}", artifact.digest()));
    line("compiles", &format!("in {:.0} ms", stage.compile_time().as_secs_f64() * 1e3));
    line("hooks", &artifact.hooks().join(", "));
    line("runs", if artifact.is_direct() { "directly" } else { "as a component" });
    line("imports", &or_none(&ours(artifact.imports())));
    line("grants", &or_none(&grants(artifact.imports())));
    let wasi = wasi(artifact.imports());
    if !wasi.is_empty() {
        line("wasi", &wasi.join(", "));
    }
    for metric in &manifest.metrics {
        line("metric", &format!("{} ({}) {}", labelled(metric), metric.kind, metric.help));
    }
    let schema = manifest.config_schema.as_ref();
    let schema = schema.map(|schema| serde_json::to_string_pretty(schema).unwrap_or_default());
    line("config", schema.as_deref().unwrap_or("anything: it carries no schema"));
    text
}

/// The same for machines.
pub fn value(stage: &Stage) -> Value {
    let (artifact, manifest) = (stage.artifact(), stage.artifact().manifest());
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "contract": artifact.contract(),
        "size": stage.size(),
        "digest": format!("sha256:{}", artifact.digest()),
        "hooks": artifact.hooks(),
        "direct": artifact.is_direct(),
        "imports": ours(artifact.imports()),
        "grants": grants(artifact.imports()),
        "wasi": wasi(artifact.imports()),
        "metrics": manifest.metrics.iter().map(|metric| &metric.name).collect::<Vec<_>>(),
        "config_schema": manifest.config_schema,
    })
}

/// Bytes in a unit that is easy to read.
pub fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{:.0} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn ours(imports: &[Import]) -> Vec<&str> {
    imports.iter().filter(|import| !matches!(import, Import::Wasi(_) | Import::Types)).map(Import::name).collect()
}

fn wasi(imports: &[Import]) -> Vec<&str> {
    imports.iter().filter(|import| matches!(import, Import::Wasi(_))).map(Import::name).collect()
}

/// The grants in gateway.json that it needs.
fn grants(imports: &[Import]) -> Vec<&str> {
    let needs = |import: &Import| match import {
        Import::HttpClient => Some("upstreams"),
        Import::Secrets => Some("secrets"),
        _ => None,
    };
    imports.iter().filter_map(needs).collect()
}

fn labelled(metric: &MetricDeclaration) -> String {
    match metric.labels.as_slice() {
        [] => metric.name.clone(),
        labels => format!("{}{{{}}}", metric.name, labels.join(",")),
    }
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
