//! The tools of other languages: found and run; if one is missing, the message says how to install it.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::Error;

/// Runs a tool that reports its own progress on stderr, and returns its standard output.
///
/// # Errors
/// It is missing (`hint` says how to install it), or it fails.
pub fn run(command: &mut Command, hint: &str) -> Result<String, Error> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| missing(command, &error, hint))?;
    finish(command, &output)
}

/// Runs a tool without showing its output: `doing` is shown meanwhile, with the seconds that have passed. The output is
/// shown if the tool fails.
///
/// # Errors
/// As for [`run`].
pub fn run_quietly(doing: &str, command: &mut Command, hint: &str) -> Result<String, Error> {
    let progress = Progress::start(doing);
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(command, &error, hint));
    drop(progress);
    let output = output?;
    if !output.status.success() {
        // Some tools write their errors to stdout.
        let _ = io::stderr().write_all(&output.stdout);
        let _ = io::stderr().write_all(&output.stderr);
    }
    finish(command, &output)
}

/// The error for a file or a folder.
pub fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::told(format!("{}: {error}", path.display()))
}

fn finish(command: &Command, output: &Output) -> Result<String, Error> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::told(format!("{} failed ({}); what it said is above", name(command), output.status)))
}

fn missing(command: &Command, error: &io::Error, hint: &str) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::told(format!("{} is missing: {hint}", name(command))),
        _ => Error::told(format!("{} does not start: {error}", name(command))),
    }
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A progress line, shown until dropped. On a terminal it counts the seconds.
struct Progress {
    end: Option<(std::sync::mpsc::Sender<()>, std::thread::JoinHandle<()>)>,
}

impl Progress {
    fn start(doing: &str) -> Progress {
        let mut stderr = io::stderr();
        if !stderr.is_terminal() {
            let _ = writeln!(stderr, "{doing} ...");
            return Progress { end: None };
        }
        let (sender, ended) = channel();
        let (doing, began) = (doing.to_owned(), Instant::now());
        let thread = std::thread::spawn(move || {
            loop {
                let _ = write!(io::stderr(), "\r{doing} ... {} s", began.elapsed().as_secs());
                let _ = io::stderr().flush();
                if ended.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    let _ = writeln!(io::stderr());
                    return;
                }
            }
        });
        Progress { end: Some((sender, thread)) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.end.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}
