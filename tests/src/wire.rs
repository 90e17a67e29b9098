//! One connection, byte by byte: for tests about when bytes come, and about what must never be sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection, as a client or as a server.
pub struct Wire {
    stream: TcpStream,
    /// What was read beyond the last thing that was asked for.
    rest: Vec<u8>,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect(address).await.unwrap();
        Wire::from(stream)
    }

    /// Sends bytes. A peer that has closed is noticed when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Sends one chunk of a body in HTTP/1.1.
    pub async fn send_chunk(&mut self, data: &str) {
        self.send(format!("{:x}\r\n{data}\r\n", data.len())).await;
    }

    /// Reads until `text` has come, and gives everything up to its end; fails after twenty seconds.
    pub async fn read_to(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.rest.windows(text.len()).position(|window| window == text.as_bytes()) {
                let read = self.rest.drain(..at + text.len()).collect::<Vec<u8>>();
                return String::from_utf8_lossy(&read).into_owned();
            }
            let read = self.read().await;
            assert!(read, "closed before {text:?}, after {}", String::from_utf8_lossy(&self.rest));
        }
    }

    /// Reads until the other side closes or resets; fails after twenty seconds, before the gateway's own limits close.
    pub async fn read_to_end(&mut self) -> String {
        while self.read().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned()
    }

    /// Closes this side's half.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Closes at once with a reset, as a client does whose process is killed.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    async fn read(&mut self) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.rest)).await;
        let read = read.unwrap_or_else(|_| panic!("nothing comes after {}", String::from_utf8_lossy(&self.rest)));
        read.is_ok_and(|bytes| bytes > 0)
    }
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        Wire { stream, rest: Vec::new() }
    }
}
