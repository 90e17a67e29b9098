//! WebSockets: a server that echoes, and a client, both by tungstenite.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, handshake::client::Response};

/// A server that sends back every message. It ends when it is dropped.
pub struct WebSockets {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl WebSockets {
    pub async fn start() -> WebSockets {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        WebSockets { address, task }
    }

    pub fn text(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for WebSockets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client's WebSocket. Whatever it waits for fails after twenty seconds.
pub struct Socket<S>(WebSocketStream<S>);

impl Socket<TcpStream> {
    /// Opens one in HTTP/1.1; the answer's head comes with it.
    pub async fn open(address: SocketAddr, path: &str) -> (Socket<TcpStream>, Response) {
        let stream = TcpStream::connect(address).await.unwrap();
        let opened = tokio_tungstenite::client_async(format!("ws://{address}{path}"), stream);
        let (socket, response) = soon("the handshake", opened).await.unwrap();
        (Socket(socket), response)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// One that was opened in another way.
    pub async fn over(stream: S) -> Socket<S> {
        Socket(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    /// Sends a text; false where the connection has ended.
    pub async fn send(&mut self, text: &str) -> bool {
        self.0.send(Message::text(text)).await.is_ok()
    }

    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.0.send(Message::binary(bytes)).await.unwrap();
    }

    /// The next text or binary message; `None` where the connection has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            match soon("a message", self.0.next()).await {
                Some(Ok(message)) if message.is_text() || message.is_binary() => {
                    return Some(message.into_data().to_vec());
                }
                Some(Ok(_)) => {}
                _ => return None,
            }
        }
    }

    /// Sends a text and asserts that it comes back.
    pub async fn echo(&mut self, text: &str) {
        assert!(self.send(text).await, "the connection has ended");
        assert_eq!(self.next().await.as_deref(), Some(text.as_bytes()));
    }

    /// The closing handshake, from this side.
    pub async fn close(mut self) {
        self.0.close(None).await.unwrap();
        while soon("the closing handshake", self.0.next()).await.is_some_and(|message| message.is_ok()) {}
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(20), future).await;
    waited.unwrap_or_else(|_| panic!("it does not come: {what}"))
}
