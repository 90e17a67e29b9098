//! A real OpenID Connect provider: npm `oidc-provider`, in a process of its own.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::repository;

/// It ends when it is dropped.
pub struct OpenIdProvider {
    process: Child,
    /// Its end is the process's.
    input: Option<ChildStdin>,
    port: u16,
}

impl OpenIdProvider {
    /// With one client, `gateway`, that is sent back to `redirect`, and access tokens that live so many seconds. Anybody can sign in
    /// with any name.
    pub fn start(redirect: &str, seconds: u32) -> OpenIdProvider {
        let home = PathBuf::from(std::env::var_os("HOME").expect("there is a home"));
        let modules = home.join(".cache/gatewright/tools/oidc");
        assert!(
            modules.join("node_modules/oidc-provider").is_dir(),
            "npm oidc-provider is missing; install it with: make oidc-provider"
        );
        let mut command = Command::new("node");
        command.arg(repository().join("tests/oidc/provider.mjs")).arg(modules).arg(redirect).arg(seconds.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("node does not start ({error}); install it with: apt-get install nodejs"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("the provider does not start: {line:?}"));
        OpenIdProvider { input: process.stdin.take(), process, port }
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.text())
    }
}

impl Drop for OpenIdProvider {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
