//! What happens when endpoints fail or there is too much to do: another attempt, an end in time, or a clear refusal.

use std::sync::{Arc, Mutex};

use gatewright_tests::{Scripted, read_head};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod counted;
mod faults;
mod overload;
mod retries;
mod timeouts;
mod uploads;

/// What a server does with a request, once it has read all of it.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Answers with these bytes, and goes on with the connection.
    Answer(&'static str),
    /// Writes these bytes and closes.
    Last(&'static str),
    /// Closes without a byte.
    Close,
    /// Says nothing until the other side closes.
    Hang,
}

const OK: Act = Act::Answer("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine");
const UNAVAILABLE: Act = Act::Answer("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy");
const FAILED: Act = Act::Answer("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops");

/// A server with an act for each request, over all its connections; the last act is for all that come after.
struct Actor {
    server: Scripted,
    log: Arc<Mutex<Log>>,
}

#[derive(Default)]
struct Log {
    /// Heads and bodies as they came.
    requests: Vec<String>,
    /// Requests that were given up while they hung.
    cancelled: usize,
}

impl Actor {
    async fn playing(acts: &[Act]) -> Actor {
        let acts: Arc<[Act]> = acts.into();
        let log = Arc::<Mutex<Log>>::default();
        let seen = log.clone();
        let server = Scripted::start(move |stream| play(stream, acts.clone(), seen.clone())).await;
        Actor { server, log }
    }

    fn text(&self) -> String {
        self.server.text()
    }

    fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().requests.clone()
    }

    fn count(&self) -> usize {
        self.log.lock().unwrap().requests.len()
    }

    fn cancelled(&self) -> usize {
        self.log.lock().unwrap().cancelled
    }
}

async fn play(mut stream: TcpStream, acts: Arc<[Act]>, log: Arc<Mutex<Log>>) {
    stream.set_nodelay(true).unwrap();
    while let Some(request) = read_request(&mut stream).await {
        let number = {
            let mut log = log.lock().unwrap();
            log.requests.push(request);
            log.requests.len() - 1
        };
        match *acts.get(number).or(acts.last()).unwrap() {
            Act::Answer(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
            Act::Last(bytes) => return drop(stream.write_all(bytes.as_bytes()).await),
            Act::Close => return,
            Act::Hang => {
                let _ = stream.read(&mut [0; 1]).await;
                log.lock().unwrap().cancelled += 1;
                return;
            }
        }
    }
}

/// A request with its body; none at the end of the connection, or where the body breaks off.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let head = read_head(stream).await;
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mut body = Vec::new();
    if let Some(length) = field("content-length:") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if field("transfer-encoding:") == Some("chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            body.push(stream.read_u8().await.ok()?);
        }
    }
    (!head.is_empty()).then(|| head + &String::from_utf8_lossy(&body))
}

/// An address where nobody listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}
