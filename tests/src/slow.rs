//! A server that takes its time: it answers when the test lets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use crate::server::{Scripted, read_head};
use crate::wait::eventually;

/// Knows how many requests have come, and answers none before [`Slow::release`]. It ends when it is dropped.
pub struct Slow {
    server: Scripted,
    asked: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Slow {
    /// Answers 200 with `ok`.
    pub async fn start() -> Slow {
        Slow::answering(|_| "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok".to_owned()).await
    }

    /// Answers what `answer` says of the number of the request, the first one's being 1. It is to close the connection.
    pub async fn answering(answer: impl Fn(usize) -> String + Clone + Send + 'static) -> Slow {
        let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, waits) = (asked.clone(), gate.clone());
        let server = Scripted::start(move |mut stream| {
            let (counted, waits, answer) = (counted.clone(), waits.clone(), answer.clone());
            async move {
                let head = read_head(&mut stream).await;
                // All of it: a connection that is closed with something unread is reset.
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0u8; length.map_or(0, |length| length.parse().unwrap())];
                stream.read_exact(&mut body).await.unwrap();
                let answer = answer(counted.fetch_add(1, Ordering::SeqCst) + 1);
                waits.acquire().await.unwrap().forget();
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        Slow { server, asked, gate }
    }

    /// `host:port`, for a configuration.
    pub fn text(&self) -> String {
        self.server.text()
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Waits until so many have come.
    pub async fn wait_for(&self, count: usize) {
        eventually(&format!("{count} requests at the server"), async || (self.asked() == count).then_some(())).await;
    }

    /// Lets so many requests more be answered, of those that are here and those that come.
    pub fn release(&self, count: usize) {
        self.gate.add_permits(count);
    }
}
