//! TLS with clients: what a browser, a tool and a bad client see, and what a change of files does.

mod certificates;
mod clients;
mod handshakes;
mod https_only;
mod misdirected;
mod mistakes;
mod reload;
mod sessions;
mod termination;
mod upstream_files;
mod upstream_mistakes;
mod upstreams;

use gatewright_tests::{Answer, Authority, Issued, TestGateway};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A gateway whose only listener has this `tls`, and whose plugin tells what it knows of the handshake. `files` are
/// certificates by the stem of their files.
fn start(tls: Value, files: &[(&str, &Issued)]) -> TestGateway {
    TestGateway::start_beside(config(tls), |directory| {
        files.iter().for_each(|(stem, issued)| issued.write(directory, stem));
    })
}

/// Certificates by the stems of their files.
fn with(stems: &[&str]) -> Value {
    let pair = |stem: &&str| json!({ "cert": format!("{stem}.pem"), "key": format!("{stem}.key") });
    json!({ "certificates": stems.iter().map(pair).collect::<Vec<_>>() })
}

fn config(tls: Value) -> Value {
    json!({
        "listeners": [{ "address": "127.0.0.1:0", "name": "secure", "tls": tls }],
        "routes": [{
            "match": {},
            "plugins": [
                { "headers": { "request": { "set": {
                    "x-version": "$(connection.tls.version)",
                    "x-cipher": "$(connection.tls.cipher)",
                    "x-server-name": "$(connection.tls.server-name)",
                    "x-resumed": "$(connection.tls.resumed)",
                    "x-subject": "$(connection.tls.client.subject)",
                    "x-issuer": "$(connection.tls.client.issuer)",
                    "x-serial": "$(connection.tls.client.serial)",
                    "x-names": "$(connection.tls.client.names)",
                    "x-fingerprint": "$(connection.tls.client.fingerprint)",
                } } } },
                "echo",
            ],
        }],
    })
}

fn authority() -> Authority {
    Authority::new("test authority")
}

/// A header that the request had behind the plugins.
fn told(answer: &Answer, name: &str) -> Option<String> {
    answer.json()["headers"][name].as_str().map(str::to_owned)
}

/// Runs a program to its end, with nothing to read, and gives what it wrote to its output and to its errors.
async fn run(program: &str, arguments: &[&str]) -> (String, String) {
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(60), command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{program} {arguments:?} does not end"));
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; apt-get install {program}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Sends bytes and reads until the gateway closes.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    let _ = read.unwrap_or_else(|_| panic!("still open after {}", String::from_utf8_lossy(&answer)));
    String::from_utf8_lossy(&answer).into_owned()
}
