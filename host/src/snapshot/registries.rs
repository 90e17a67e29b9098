//! Plugins in registries: which artifact each name stands for, and who must have signed it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Diagnostic, Loaded, OciReference, Source, child};
use crate::registry::{Credentials, Keys, Lock, Settings, Store, Wanted, read_keys};
use crate::tls::Trust;

/// The plugins of a configuration that come from registries.
pub struct Sources {
    pub store: Store,
    /// By plugin name; only plugins whose digest is known.
    wanted: BTreeMap<String, Wanted>,
}

impl Sources {
    /// Determines what the configuration at `path` needs. Sends no requests to registries.
    pub fn of(loaded: &Loaded, path: &Path, mistakes: &mut Vec<Diagnostic>) -> Sources {
        let directory = path.parent().unwrap_or(Path::new(""));
        let registries = &loaded.config.registries;
        let mut sources = Sources { store: Store::new(directory.join(&registries.store)), wanted: BTreeMap::new() };
        let rules = rules(loaded, directory, mistakes);
        let mut lock = None;
        for (name, reference) in references(&loaded.config) {
            let pointer = child(&child("/plugins", name), "source");
            let locked = match (&reference.digest, &mut lock) {
                (Some(digest), _) => Ok(Some(digest.clone())),
                (None, lock) => {
                    let lock = lock.get_or_insert_with(|| Lock::read(&Lock::path_of(path)));
                    lock.as_ref().map(|lock| lock.digest(reference).cloned())
                }
            };
            let digest = match locked {
                Ok(Some(digest)) => digest,
                Ok(None) => {
                    let file = Lock::path_of(path);
                    let message = format!(
                        "plugin {name:?}: {} does not say which digest this tag stands for",
                        file.file_name().unwrap_or_default().display()
                    );
                    let help = format!(
                        "run `gatewright plugin lock {}`, or write the digest behind the tag: \"@sha256:...\"",
                        path.display()
                    );
                    mistakes.push(loaded.diagnostic(&pointer, message, Some(&help)));
                    continue;
                }
                Err(reason) => {
                    mistakes.push(loaded.diagnostic(&pointer, format!("plugin {name:?}: {reason}"), None));
                    continue;
                }
            };
            let Ok(keys) = keys_for(&registries.verify, &rules, reference) else { continue };
            sources.wanted.insert(name.to_owned(), Wanted { reference: reference.clone(), digest, keys });
        }
        sources
    }

    /// The component of a plugin; `None` if it is not from a registry, or could not be determined.
    pub fn wanted(&self, name: &str) -> Option<&Wanted> {
        self.wanted.get(name)
    }

    /// The components that the store does not have, by plugin name.
    pub fn absent(&self) -> BTreeMap<String, Wanted> {
        let absent = |(_, wanted): &(&String, &Wanted)| self.store.component(wanted).is_err();
        self.wanted.iter().filter(absent).map(|(name, wanted)| (name.clone(), wanted.clone())).collect()
    }
}

/// How the gateway talks to the registries of a configuration.
///
/// # Errors
/// The Docker configuration that holds the credentials is invalid.
pub fn settings(loaded: &Loaded, directory: &Path, trust: Arc<Trust>) -> Result<Settings, Diagnostic> {
    let registries = &loaded.config.registries;
    let file = registries.credentials.as_ref().map(|file| directory.join(file));
    let credentials = Credentials::read(file.as_deref()).map_err(|reason| {
        let pointer = if file.is_some() { "/registries/credentials" } else { "/registries" };
        loaded.diagnostic(pointer, reason, None)
    })?;
    Ok(Settings {
        plain_http: registries.plain_http.clone(),
        trust,
        credentials,
        connect_timeout: registries.connect_timeout.into(),
        timeout: registries.timeout.into(),
        largest_bytes: registries.max_size.as_usize(),
    })
}

/// The plugins whose source is in a registry.
pub fn references(config: &Config) -> impl Iterator<Item = (&str, &OciReference)> {
    config.plugins.iter().filter_map(|(name, plugin)| match &plugin.source {
        Some(Source::Oci(reference)) => Some((name.as_str(), reference)),
        _ => None,
    })
}

/// The files that determine which plugins these are and who signed them.
pub(super) fn files(config: &Config, directory: &Path, path: &Path) -> Vec<PathBuf> {
    if references(config).next().is_none() {
        return Vec::new();
    }
    let keys = config.registries.verify.iter().flat_map(|rule| &rule.keys).map(|file| directory.join(file));
    keys.chain([Lock::path_of(path)]).collect()
}

/// The keys of each rule; `None` if they cannot be used, which is reported.
fn rules(loaded: &Loaded, directory: &Path, mistakes: &mut Vec<Diagnostic>) -> Vec<Option<Arc<Keys>>> {
    let rule = |(at, rule): (usize, &config::Verify)| {
        let files: Vec<PathBuf> = rule.keys.iter().map(|file| directory.join(file)).collect();
        match read_keys(files.iter().map(PathBuf::as_path)) {
            Ok(keys) => Some(Arc::new(keys)),
            Err((key, reason)) => {
                let pointer = format!("/registries/verify/{at}/keys/{key}");
                let help = "a public key in PEM for ECDSA on P-256, such as cosign.pub";
                mistakes.push(loaded.diagnostic(&pointer, reason, Some(help)));
                None
            }
        }
    };
    loaded.config.registries.verify.iter().enumerate().map(rule).collect()
}

/// The keys that must have signed an artifact: those of the rule with the longest prefix. `Err` if these cannot be
/// used.
fn keys_for(
    rules: &[config::Verify],
    keys: &[Option<Arc<Keys>>],
    reference: &OciReference,
) -> Result<Option<Arc<Keys>>, ()> {
    let repository = reference.repository();
    let all = rules.iter().zip(keys).filter(|(rule, _)| rule.is_for(&repository));
    match all.max_by_key(|(rule, _)| rule.segments().len()) {
        None => Ok(None),
        Some((_, keys)) => keys.clone().map(Some).ok_or(()),
    }
}
