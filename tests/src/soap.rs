//! A real SOAP server: PyPI `spyne`, in a process of its own.

use std::process::Command;

use crate::companion::{Companion, tools};
use crate::repository;

/// A shop's orders, in SOAP 1.1 at /11 and in SOAP 1.2 at /12; see `tests/soap/server.py`. It ends when it is dropped.
pub struct SoapServer(Companion);

impl SoapServer {
    pub fn start() -> SoapServer {
        let mut command = Command::new(tools().join("soap/bin/python"));
        command.arg(repository().join("tests/soap/server.py"));
        SoapServer(Companion::start(command, "install what it needs with: make soap-server"))
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.0.text()
    }
}
