//! The floods, one test each.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::frames::*;
use super::{Meter, Open, Target, withstand};

/// Sends what `next` gives over one connection after the other, for as long as the flood goes on.
async fn over_http2(target: Target, meter: Meter, reads: bool, mut next: impl FnMut(u32) -> Vec<u8>) {
    while meter.goes_on() {
        let Some(mut open) = meter.connect(target.http2).await else { continue };
        let mut is_open = open.send(&preface()).await;
        let mut turn = 0;
        while is_open && meter.goes_on() {
            let bytes = next(turn);
            is_open = if reads { open.send(&bytes).await } else { open.send_unread(&bytes).await };
            turn += 1;
        }
    }
}

/// Has many connections, each of which does the same; one that ends is followed by another.
async fn over_many<F: Future<Output = ()> + Send + 'static>(
    meter: Meter,
    connections: usize,
    each: impl Fn(Meter) -> F + Clone + Send + 'static,
) {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (meter, each) = (meter.clone(), each.clone());
        tasks.spawn(async move {
            while meter.goes_on() {
                each(meter.clone()).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Says a byte of `bytes` now and then, and then again and again its last one.
async fn slowly(mut open: Open, bytes: &[u8]) {
    let last = bytes.len() - 1;
    for at in 0.. {
        let at = last.min(at);
        if !open.meter.goes_on() || !open.send_unread(&bytes[at..=at]).await {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// CVE-2023-44487: requests that are given up as soon as they are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_reset() {
    withstand("rapid reset", 0, |target, meter| {
        over_http2(target, meter, true, |turn| {
            let stream = |at: u32| 1 + 2 * (turn * 50 + at);
            (0..50)
                .flat_map(|at| [get(stream(at), b""), frame(RST_STREAM, 0, stream(at), &8_u32.to_be_bytes())].concat())
                .collect()
        })
    })
    .await;
}

/// CVE-2024-27316 and its like: a head that never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn continuation() {
    withstand("CONTINUATION", 0, |target, meter| {
        let piece: Vec<u8> = indexed_field("x", 4000).into_iter().chain(indexed_field("y", 4000)).collect();
        over_http2(target, meter, true, move |turn| match turn {
            0 => frame(HEADERS, END_STREAM, 1, HEAD),
            _ => frame(CONTINUATION, 0, 1, &piece),
        })
    })
    .await;
}

/// A field of nearly the dynamic table's size, and then thousands of references to it, each of one byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hpack_bomb() {
    withstand("HPACK bomb", 0, |target, meter| {
        let bomb = [indexed_field("x", 4000), vec![0x80 | 62; 12_000]].concat();
        over_http2(target, meter, true, move |turn| get(1 + 2 * turn, &bomb))
    })
    .await;
}

/// Acknowledgements that nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_pings() {
    withstand("unread pings", 0, |target, meter| {
        let pings: Vec<u8> = (0..500).flat_map(|_| frame(PING, 0, 0, b"12345678")).collect();
        over_http2(target, meter, false, move |_| pings.clone())
    })
    .await;
}

/// The same for settings.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_settings() {
    withstand("unread settings", 0, |target, meter| {
        let settings: Vec<u8> = (0..500).flat_map(|_| frame(SETTINGS, 0, 0, b"")).collect();
        over_http2(target, meter, false, move |_| settings.clone())
    })
    .await;
}

/// Frames that carry nothing, for a request that never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data() {
    withstand("empty DATA", 0, |target, meter| {
        let head = [0x83, 0x86, 0x84, 0x01, 1, b'a'];
        let empty: Vec<u8> = (0..500).flat_map(|_| frame(DATA, 0, 1, b"")).collect();
        over_http2(target, meter, true, move |turn| match turn {
            0 => frame(HEADERS, END_HEADERS, 1, &head),
            _ => empty.clone(),
        })
    })
    .await;
}

/// Answers that nobody reads, on as many streams as there may be; windows are opened, the socket is not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers() {
    withstand("unread answers", 200, |target, meter| {
        over_many(meter, 4, move |meter| async move {
            let Some(mut open) = meter.connect(target.http2).await else { return };
            let mut head = vec![0x82, 0x86, 0x01, 1, b'a', 0x04, 6];
            head.extend(b"/large");
            let window = frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes());
            let mut bytes = [preface(), window].concat();
            for stream in (1..100).step_by(2) {
                bytes.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, &head));
                bytes.extend(frame(WINDOW_UPDATE, 0, stream, &0x7fff_0000_u32.to_be_bytes()));
            }
            open.send_unread(&bytes).await;
            while meter.goes_on() && open.send_unread(&frame(PING, 0, 0, b"12345678")).await {
                sleep(Duration::from_millis(20)).await;
            }
        })
    })
    .await;
}

/// Slowloris: heads that come a byte at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_headers() {
    withstand("slow headers", 0, |target, meter| {
        over_many(meter, 300, move |meter| async move {
            let Some(open) = meter.connect(target.http1).await else { return };
            slowly(open, b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: sloooooooow").await;
        })
    })
    .await;
}

/// Bodies that do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_body() {
    withstand("slow body", 0, |target, meter| {
        over_many(meter, 300, move |meter| async move {
            let Some(mut open) = meter.connect(target.http1).await else { return };
            if open.send_unread(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n").await {
                slowly(open, b"body").await;
            }
        })
    })
    .await;
}

/// Large answers that are asked for and not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_reader() {
    withstand("slow reader", 100, |target, meter| {
        over_many(meter, 100, move |meter| async move {
            let Some(mut open) = meter.connect(target.http1).await else { return };
            open.send_unread(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let mut one = [0; 1];
            while meter.goes_on() {
                // A byte now and then, as one does who wants to keep the connection.
                if matches!(open.stream.try_read(&mut one), Ok(0)) {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        })
    })
    .await;
}

/// More connections than there may be, with nothing to say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections() {
    withstand("connections", 0, |target, meter| {
        over_many(meter, 2000, move |meter| async move {
            let Some(mut open) = meter.connect(target.http1).await else { return };
            if open.send_unread(b"G").await {
                let meter = open.meter.clone();
                while meter.goes_on() && !matches!(open.stream.try_read(&mut [0; 1]), Ok(0)) {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        })
    })
    .await;
}
