//! A real GraphQL server: npm `graphql-yoga`, in a process of its own.

use std::process::Command;

use crate::companion::{Companion, tools};
use crate::repository;

/// A shop's users; see `tests/graphql/server.mjs`. It ends when it is dropped.
pub struct GraphqlServer(Companion);

impl GraphqlServer {
    pub fn start() -> GraphqlServer {
        let mut command = Command::new("node");
        command.arg(repository().join("tests/graphql/server.mjs")).arg(tools().join("graphql"));
        GraphqlServer(Companion::start(command, "install what it needs with: make graphql-server"))
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.0.text()
    }
}
