//! Servers that are not written in Rust: a process of its own, which prints its port and ends when its standard input does.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

/// It ends when it is dropped.
pub struct Companion {
    process: Child,
    /// Its end is the process's.
    input: Option<ChildStdin>,
    port: u16,
}

impl Companion {
    /// Starts it and waits until it listens. `hint` says how to get what it needs.
    pub fn start(mut command: Command, hint: &str) -> Companion {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {hint}"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{command:?} does not start: {line:?}; {hint}"));
        Companion { input: process.stdin.take(), process, port }
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// Where make installs what tests need.
pub fn tools() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache/gatewright/tools")
}
