//! A gateway of its own for each test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gatewright::gateway::{Error, Gateway};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, send};
use crate::eventually;

/// A running gateway with a configuration file and an access log in a directory of its own.
pub struct TestGateway {
    gateway: Option<Gateway>,
    directory: TempDir,
}

impl TestGateway {
    /// Starts with this configuration. What it leaves out is filled in: one listener and the admin API on free ports,
    /// two data cores, the access log in a file.
    pub fn start(config: Value) -> TestGateway {
        TestGateway::try_start(config).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same where it may fail.
    pub fn try_start(config: Value) -> Result<TestGateway, Error> {
        TestGateway::try_start_beside(config, |_| {})
    }

    /// The same with files beside gateway.json, which `arrange` writes.
    pub fn start_beside(config: Value, arrange: impl FnOnce(&Path)) -> TestGateway {
        TestGateway::try_start_beside(config, arrange).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_start_beside(config: Value, arrange: impl FnOnce(&Path)) -> Result<TestGateway, Error> {
        let directory = tempfile::tempdir().unwrap();
        arrange(directory.path());
        let path = directory.path().join("gateway.json");
        std::fs::write(&path, complete(config).to_string()).unwrap();
        Ok(TestGateway { gateway: Some(Gateway::start(&path)?), directory })
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Where the (first) listener listens.
    pub fn address(&self) -> SocketAddr {
        self.gateway().addresses()[0].1
    }

    /// Where a listener listens, by name.
    pub fn address_of(&self, listener: &str) -> SocketAddr {
        let addresses = self.gateway().addresses();
        addresses.iter().find(|(name, _)| **name == *listener).unwrap_or_else(|| panic!("{addresses:?}")).1
    }

    pub fn admin(&self) -> SocketAddr {
        self.gateway().admin_address().unwrap()
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("gateway.json")
    }

    /// Writes a new configuration file, as an editor does: beside it, then over it.
    pub fn write_config(&self, config: Value) {
        let beside = self.directory.path().join(".gateway.json.new");
        std::fs::write(&beside, complete(config).to_string()).unwrap();
        std::fs::rename(&beside, self.config_path()).unwrap();
    }

    /// Reads the configuration file again, now.
    pub fn reload(&self) -> Result<(), Error> {
        self.gateway().reload()
    }

    /// Drains and ends.
    pub fn shutdown(mut self) {
        self.gateway.take().unwrap().shutdown();
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.address(), "GET", path, &[], "").await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.address(), "GET", path, headers, "").await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(self.address(), "POST", path, headers, body.to_owned()).await
    }

    /// The records of the access log so far.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("access.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The records, once there are as many; fails where there are more.
    pub async fn wait_for_records(&self, count: usize) -> Vec<Value> {
        let wanted = format!("{count} records in the access log");
        let records = eventually(&wanted, async || Some(self.records()).filter(|records| records.len() >= count)).await;
        assert_eq!(records.len(), count, "{records:#?}");
        records
    }

    /// The sum of the samples of a metric whose labels contain all of these texts.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = send(self.admin(), "GET", "/metrics", &[], "").await.text();
        let matches = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        page.lines().filter(matches).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            gateway.shutdown();
        }
    }
}

fn complete(mut config: Value) -> Value {
    let fields = config.as_object_mut().unwrap();
    let mut default = |name: &str, value: Value| {
        fields.entry(name).or_insert(value);
    };
    default("workers", json!(2));
    default("listeners", json!(["127.0.0.1:0"]));
    default("admin", json!({ "address": "127.0.0.1:0" }));
    default("access_log", json!({ "file": "access.log" }));
    default("shutdown", json!({ "drain_timeout": "5s" }));
    config
}
