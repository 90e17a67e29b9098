//! A real OpenID Connect provider: npm `oidc-provider`, in a process of its own.

use std::process::Command;

use crate::companion::{Companion, tools};
use crate::repository;

/// It ends when it is dropped.
pub struct OpenIdProvider(Companion);

impl OpenIdProvider {
    /// With one client, `gateway`, that is sent back to `redirect`, and access tokens that live so many seconds. Anybody can sign in
    /// with any name.
    pub fn start(redirect: &str, seconds: u32) -> OpenIdProvider {
        let mut command = Command::new("node");
        command.arg(repository().join("tests/oidc/provider.mjs")).arg(tools().join("oidc"));
        command.arg(redirect).arg(seconds.to_string());
        OpenIdProvider(Companion::start(command, "install what it needs with: make oidc-provider"))
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.0.text()
    }

    pub fn issuer(&self) -> String {
        format!("http://{}", self.text())
    }
}
