//! The command line: `run`, `check`, `schema`, `explain`, `plugin`.

mod amounts;
mod distribution;
mod explain;
mod explain_layer4;
mod explain_tls;
mod plugin;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;

use crate::gateway::{self, Error, Gateway};
use crate::snapshot::Snapshot;
use crate::telemetry::{self, Level};

/// An API gateway and load balancer whose every policy is a WebAssembly plugin.
#[derive(Parser)]
#[command(name = "gatewright", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the gateway. SIGHUP reloads, SIGTERM lets what runs finish and ends it.
    Run {
        /// The configuration.
        #[arg(default_value = "gateway.json")]
        config: PathBuf,
    },
    /// Does everything that `run` would do short of binding, and reports every mistake.
    Check {
        /// The configuration.
        #[arg(default_value = "gateway.json")]
        config: PathBuf,
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Prints the JSON Schema of gateway.json, with the configuration of each stock plugin in it.
    Schema,
    /// Tells what would happen to a request: its route and why others lost, the chain, the target, the limits. At layer
    /// 4: `explain tcp LISTENER`, `explain udp LISTENER`, `explain tls SERVER-NAME`.
    Explain {
        /// The method, such as GET; or "tcp", "udp", "tls".
        method: String,
        /// The address, such as http://api.example.com/orders/1?full=true, or only a path.
        url: String,
        /// A header, such as -H 'x-tenant: a'. May be repeated.
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
        /// The configuration.
        #[arg(long, default_value = "gateway.json")]
        config: PathBuf,
    },
    /// Writing plugins: begin one, build, test, measure and run it.
    #[command(subcommand)]
    Plugin(plugin::Command),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: file, line, column, excerpt, caret.
    Text,
    /// For machines: one JSON object.
    Json,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run { config } => run(&config),
        Command::Check { config, format } => return check(&config, format),
        Command::Schema => schema(),
        Command::Plugin(command) => return command.run(),
        Command::Explain { method, url, headers, config } => build(&config).and_then(|snapshot| {
            let layer4 = explain_layer4::explain(&snapshot, &method, &url);
            print(&layer4.unwrap_or_else(|| explain::explain(&snapshot, &method, &url, &headers))?)
        }),
    };
    telemetry::log::close(Duration::from_secs(1));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path) -> Result<(), Error> {
    Gateway::run(path, |gateway| {
        for (name, address) in gateway.addresses() {
            let fields: telemetry::Fields<'_> = &[("listener", &name), ("address", &address)];
            telemetry::log(Level::Info, "listening", fields);
        }
        if let Some(address) = gateway.admin_address() {
            telemetry::log(Level::Info, "admin API listening", &[("address", &address)]);
        }
    })
}

fn check(path: &Path, format: Format) -> ExitCode {
    let result = build(path);
    // Warnings come before the result.
    telemetry::log::close(Duration::from_secs(1));
    if format == Format::Json {
        let report = match &result {
            Ok(_) => json!({ "ok": true, "errors": [] }),
            Err(Error::Config(report)) => json!({ "ok": false, "errors": report.to_json() }),
            Err(error) => json!({ "ok": false, "errors": [{ "message": error.to_string() }] }),
        };
        let _ = print(&format!("{report}\n"));
    } else {
        match &result {
            Ok(snapshot) => drop(print(&summary(path, snapshot))),
            Err(error) => complain(error),
        }
    }
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn schema() -> Result<(), Error> {
    let text = serde_json::to_string_pretty(&gateway::schema()?).unwrap_or_default();
    print(&format!("{text}\n"))
}

fn build(path: &Path) -> Result<Snapshot, Error> {
    gateway::build(path)
}

fn summary(path: &Path, snapshot: &Snapshot) -> String {
    let config = &snapshot.loaded.config;
    format!(
        "{}: good ({} listeners, {} routes, {} upstreams, {} plugins)\n",
        path.display(),
        config.listeners.len(),
        config.routes.len(),
        config.upstreams.len(),
        snapshot.plugins().count(),
    )
}

fn complain(error: &Error) {
    let text = match error {
        Error::Config(report) => report.render(std::io::stderr().is_terminal()) + "\n",
        other => format!("error: {other}\n"),
    };
    // If stderr is gone, the error cannot be reported anywhere.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn print(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that closes early, such as `head`, is not a failure.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::System(format!("stdout: {error}"))),
        _ => Ok(()),
    }
}
