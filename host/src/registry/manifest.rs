//! Manifests: the parts of an artifact.

use serde_json::{Value, json};

use super::digest_of;
use crate::config::OciDigest;

/// The used parts of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub layers: Vec<Layer>,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub media_type: String,
    pub digest: OciDigest,
    pub bytes: u64,
    /// The annotation in which cosign stores a signature.
    pub signature: Option<String>,
}

/// The interfaces of a component, as in the artifact's config.
pub struct Target {
    /// The interfaces that it exports and imports.
    pub exports: Vec<String>,
    pub imports: Vec<String>,
}

impl Manifest {
    /// Parses a manifest. The error is a text for [`super::Error::NoPlugin`].
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| format!("its manifest is no JSON: {error}"))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        if value.get("manifests").is_some() || INDEXES.contains(&text("mediaType")) {
            return Err("it is an index of several artifacts; name the one that is meant by its digest".to_owned());
        }
        if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
            return Err("its manifest has another schemaVersion than 2".to_owned());
        }
        let layers = value.get("layers").and_then(Value::as_array).ok_or("its manifest has no layers")?;
        if layers.len() > MOST_LAYERS {
            return Err(format!("it has {} layers, more than {MOST_LAYERS}", layers.len()));
        }
        Ok(Manifest { layers: layers.iter().map(Layer::parse).collect::<Result<_, _>>()? })
    }

    /// The layer with the component.
    pub fn component(&self) -> Result<&Layer, String> {
        let mut components = self.layers.iter().filter(|layer| COMPONENTS.contains(&&*layer.media_type));
        match (components.next(), components.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err("it has more than one WebAssembly layer".to_owned()),
            (None, _) => {
                let there: Vec<&str> = self.layers.iter().map(|layer| &*layer.media_type).take(5).collect();
                let there = if there.is_empty() { "no layers".to_owned() } else { there.join(", ") };
                Err(format!("it has no layer of the type {WASM}, but {there}"))
            }
        }
    }
}

impl Layer {
    fn parse(value: &Value) -> Result<Layer, String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        Ok(Layer {
            media_type: text("mediaType").unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect(),
            digest: text("digest").ok_or("a layer in its manifest has no digest")?.parse()?,
            bytes: value.get("size").and_then(Value::as_u64).ok_or("a layer in its manifest has no size")?,
            signature: value.pointer(SIGNATURE_AT).and_then(Value::as_str).map(str::to_owned),
        })
    }
}

/// The config and the manifest of an artifact with this component. The same component always results in the same ones,
/// so that pushing it again does not change its digest.
pub fn of_component(component: &[u8], target: &Target) -> (Vec<u8>, Vec<u8>) {
    let digest = digest_of(component).to_string();
    let config = json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [&digest],
        "component": { "exports": target.exports, "imports": target.imports },
    });
    let config = config.to_string().into_bytes();
    let layer = json!({ "mediaType": WASM, "digest": digest, "size": component.len() });
    let manifest = manifest(WASM_CONFIG, &config, vec![layer]);
    (config, manifest)
}

/// The manifest of an artifact.
pub fn manifest(config_type: &str, config: &[u8], layers: Vec<Value>) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": { "mediaType": config_type, "digest": digest_of(config).to_string(), "size": config.len() },
        "layers": layers,
    });
    manifest.to_string().into_bytes()
}

/// Others may add to a manifest of signatures; a plugin has one layer.
const MOST_LAYERS: usize = 100;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The requested types: manifests, and others that are not a single artifact, so that these are reported and not
/// missing.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];

const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
const WASM: &str = "application/wasm";
/// The CNCF's layout, and earlier ones: wasm-to-oci and similar tools, Istio and Krustlet, Solo, and the Bytecode
/// Alliance's own first one.
const COMPONENTS: [&str; 5] = [
    WASM,
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.wasm.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const SIGNATURE_AT: &str = "/annotations/dev.cosignproject.cosign~1signature";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_layers(layers: &[&str]) -> String {
        let digest = digest_of(b"x");
        let layers: Vec<Value> =
            layers.iter().map(|kind| json!({ "mediaType": kind, "digest": digest.to_string(), "size": 1 })).collect();
        json!({ "schemaVersion": 2, "layers": layers }).to_string()
    }

    #[test]
    fn the_layouts_that_are_read() {
        for kind in COMPONENTS {
            let manifest = Manifest::parse(with_layers(&[kind, "text/plain"]).as_bytes()).unwrap();
            assert_eq!(manifest.component().unwrap().media_type, kind);
        }
    }

    #[test]
    fn what_is_no_plugin() {
        let image = "application/vnd.oci.image.layer.v1.tar+gzip";
        for (text, words) in [
            ("<html>".to_owned(), "no JSON"),
            ("[]".to_owned(), "schemaVersion"),
            (json!({ "schemaVersion": 1, "layers": [] }).to_string(), "schemaVersion"),
            (json!({ "schemaVersion": 2 }).to_string(), "no layers"),
            (json!({ "schemaVersion": 2, "manifests": [] }).to_string(), "index"),
            (json!({ "schemaVersion": 2, "layers": [{ "size": 1 }] }).to_string(), "no digest"),
            (json!({ "schemaVersion": 2, "layers": [{ "size": 1, "digest": "sha256:1" }] }).to_string(), "64"),
            (with_layers(&[]), "no layer of the type application/wasm, but no layers"),
            (with_layers(&[image]), image),
            (with_layers(&[WASM, WASM]), "more than one"),
            (with_layers(&[WASM; 101]), "101 layers"),
        ] {
            let found = Manifest::parse(text.as_bytes()).and_then(|manifest| manifest.component().cloned());
            let error = found.unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_same_component_makes_the_same_artifact_in_the_layout_of_the_cncf() {
        let target = Target { exports: vec!["a:b/c@1.0.0".into()], imports: Vec::new() };
        let (config, manifest) = of_component(b"\0asm", &target);
        assert_eq!((config.clone(), manifest.clone()), of_component(b"\0asm", &target));
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
        let parsed = Manifest::parse(&manifest).unwrap();
        let layer = parsed.component().unwrap();
        assert_eq!((layer.bytes, &layer.digest), (4, &digest_of(b"\0asm")));
        assert_eq!(config["layerDigests"][0], layer.digest.to_string());
    }
}
