//! Stores from their configuration. They are not contacted before a request needs them: a server that is down is not an
//! error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::upstreams::{outgoing, tls_pointer};

use crate::capability::remote::{OnError, Remote, Settings};
use crate::capability::secrets::Secrets;
use crate::config::{self, Diagnostic, Loaded, child};
use crate::telemetry::{self, Level};
use crate::tls::{Connector, Trust};

pub(super) type Stores = BTreeMap<Arc<str>, Arc<Remote>>;

/// Builds all stores. A store with unchanged settings is reused, with its connections.
pub(super) fn build(
    loaded: &Loaded,
    secrets: &Secrets,
    (trust, directory): (&Trust, &Path),
    previous: Option<&Stores>,
    mistakes: &mut Vec<Diagnostic>,
) -> Stores {
    let store = |(name, config): (&String, &config::Store)| {
        let mut settings = settings(name, config, secrets);
        let before = previous.and_then(|previous| previous.get(name.as_str()));
        if config.redis.tls {
            let before = before.and_then(|before| before.settings().tls.as_ref());
            let tls = outgoing(&config.tls.clone().unwrap_or_default(), directory);
            match Connector::load(tls, trust, before, SystemTime::now()) {
                Ok(connector) => settings.tls = Some(connector),
                Err(found) => mistakes.extend(found.into_iter().map(|(part, mistake)| {
                    let pointer = match &config.tls {
                        Some(_) => tls_pointer(&child("/stores", name), part),
                        None => child(&child("/stores", name), "redis"),
                    };
                    loaded.diagnostic(&pointer, mistake.message, mistake.help.as_deref())
                })),
            }
        }
        let same = before.filter(|before| *before.settings() == settings).cloned();
        let name = settings.name.clone();
        (
            name.clone(),
            same.unwrap_or_else(|| Remote::new(settings, Box::new(move |is_up, why| note(&name, is_up, why)))),
        )
    };
    loaded.config.stores.iter().map(store).collect()
}

fn settings(name: &str, config: &config::Store, secrets: &Secrets) -> Settings {
    // An unknown name has been reported by the configuration's own check.
    let password = config.password.as_deref();
    let password = password.and_then(|name| secrets.grant([name]).ok()?.get(name).map(str::to_owned));
    Settings {
        name: name.into(),
        host: config.redis.host.clone(),
        port: config.redis.port,
        database: config.redis.database,
        tls: None,
        username: config.username.clone(),
        password,
        timeout: config.timeout.into(),
        connect_timeout: config.connect_timeout.into(),
        max_in_flight: config.max_in_flight as usize,
        on_error: match config.on_error {
            config::OnStoreError::Local => OnError::Local,
            config::OnStoreError::Allow => OnError::Allow,
            config::OnStoreError::Deny => OnError::Deny,
        },
        prefix: config.prefix.clone(),
        ahead: config.take_ahead,
        slot_ttl: config.slot_ttl.into(),
        entry_ttl: config.entry_ttl.into(),
    }
}

/// The files that stores are built from.
pub(super) fn files(config: &config::Config, directory: &Path) -> Vec<PathBuf> {
    let tls = config.stores.values().filter_map(|store| store.tls.as_ref());
    tls.flat_map(|tls| outgoing(tls, directory).files().cloned().collect::<Vec<_>>()).collect()
}

fn note(name: &str, is_up: bool, why: &str) {
    match is_up {
        true => telemetry::log(Level::Info, "a store is back", &[("store", &name)]),
        false => telemetry::log(Level::Warn, "a store is away", &[("store", &name), ("error", &why)]),
    }
}
