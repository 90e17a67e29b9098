//! Peers of other makers: servers and clients by Python's grpcio, clients from npm. They run as processes of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::companion::{Companion, tools};
use crate::repository;

const HINT: &str = "install grpcio and the clients from npm with: make grpc-peers";

/// Where `make grpc-peers` puts them.
fn installed() -> PathBuf {
    let folder = tools().join("grpc");
    assert!(folder.join(".installed").is_file(), "{HINT}");
    folder
}

/// A server by grpcio. It ends when it is dropped.
pub struct GrpcPeer(Companion);

impl GrpcPeer {
    /// `set` is a file with a descriptor set.
    pub fn serve(set: &Path) -> GrpcPeer {
        let mut command = Command::new(installed().join("python/bin/python"));
        command.arg(repository().join("tests/grpc/peer.py")).arg("serve").arg(set);
        GrpcPeer(Companion::start(command, HINT))
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.0.text()
    }

    /// Calls a method with one message by grpcio: what it prints.
    pub async fn call(set: &Path, address: &str, method: &str, message: &Value) -> Value {
        let mut command = tokio::process::Command::new(installed().join("python/bin/python"));
        command.arg(repository().join("tests/grpc/peer.py")).arg("call").arg(set);
        let output = command.args([address, method, &message.to_string()]).output().await.unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Calls all methods by a client from npm (see tests/grpc/client.mjs), and gives `each` line as it comes.
pub async fn call_by_npm(set: &Path, gateway: &str, client: &str, mut each: impl FnMut(Value)) {
    use tokio::io::AsyncBufReadExt as _;
    let mut command = tokio::process::Command::new("node");
    command.arg(repository().join("tests/grpc/client.mjs")).arg(installed()).arg(set).args([gateway, client]);
    command.stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("node does not start ({error}); install it with: apt-get install nodejs"));
    let mut lines = tokio::io::BufReader::new(process.stdout.take().unwrap()).lines();
    let mut is_over = false;
    while let Some(line) = lines.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        is_over = line == "end";
        each(line);
    }
    assert!(is_over, "{client} broke off");
    process.wait().await.unwrap();
}
