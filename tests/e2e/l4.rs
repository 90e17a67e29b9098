//! Layer 4: connections and datagrams forwarded as they are, over real sockets.

mod limits;
mod passthrough;
mod proxy_protocol;
mod reload;
mod tcp;
mod udp;

use std::net::SocketAddr;

use gatewright_tests::{Scripted, TestGateway};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;

/// A server that says its name at once and then gives back what it gets, until the client ends.
async fn echo(name: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        let _ = stream.write_all(format!("{name}\n").as_bytes()).await;
        let (mut reader, mut writer) = stream.split();
        let _ = copy(&mut reader, &mut writer).await;
        let _ = stream.shutdown().await;
    })
    .await
}

/// A gateway with one TCP listener in front of these endpoints.
fn forwarding(endpoints: &[String], listener: Value) -> TestGateway {
    TestGateway::start(config(endpoints, listener))
}

fn config(endpoints: &[String], listener: Value) -> Value {
    let mut full = json!({ "address": "127.0.0.1:0", "name": "l4", "protocol": "tcp", "to": "server" });
    for (key, value) in listener.as_object().unwrap() {
        full[key] = value.clone();
    }
    json!({ "listeners": [full], "upstreams": { "server": endpoints } })
}

/// An address that refuses connections for as long as the socket is held: bound, and not listening.
fn nobody() -> (String, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (socket.local_addr().unwrap().to_string(), socket)
}

async fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.expect("the rest of a line"));
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Connects and reads the server's name.
async fn greeted(address: SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let name = line(&mut stream).await;
    (stream, name)
}

/// Sends a line and reads it back.
async fn speaks(stream: &mut TcpStream, text: &str) {
    stream.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    assert_eq!(line(stream).await, text);
}

/// Whether the other side closes without another byte.
async fn closes(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}
