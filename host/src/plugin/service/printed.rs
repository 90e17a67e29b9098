//! What a service prints: lines of the operator's log.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::plugin::lines::Lines;
use crate::telemetry::{self, Level};

/// A guest's stdout and stderr.
#[derive(Clone)]
pub(super) struct Printed(Arc<Mutex<Output>>);

struct Output {
    name: Arc<str>,
    lines: Lines,
    /// How many lines it may still print.
    left: u32,
}

impl Printed {
    pub fn new(name: Arc<str>, lines: u32) -> Printed {
        Printed(Arc::new(Mutex::new(Output { name, lines: Lines::default(), left: lines })))
    }

    /// Logs an unfinished line.
    pub fn end(&self) {
        let Output { name, lines, left } = &mut *self.output();
        lines.end(|line| log(name, left, line));
    }

    fn take(&self, bytes: &[u8]) {
        let Output { name, lines, left } = &mut *self.output();
        lines.take(bytes, |line| log(name, left, line));
    }

    fn output(&self) -> MutexGuard<'_, Output> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(name: &str, left: &mut u32, line: &str) {
    if let Some(rest) = left.checked_sub(1) {
        *left = rest;
        telemetry::log_lines(name, Level::Info, line, &[("service", &name)]);
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Printed {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
