//! A law of HTTP/1: requests that come one behind the other are heard whole and in order, and answered so, whatever the pieces
//! that they come in.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    path: &'static str,
    body: Told,
}

/// How the end of a body is marked.
#[derive(Clone, Debug)]
enum Told {
    Nothing,
    Length(String),
    Chunks { chunks: Vec<String>, has_trailer: bool },
}

impl Asked {
    fn write(&self, is_last: bool) -> String {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        let head = format!("{} {} HTTP/1.1\r\nHost: a\r\n{close}", self.method, self.path);
        match &self.body {
            Told::Nothing => format!("{head}\r\n"),
            Told::Length(body) => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
            Told::Chunks { chunks, has_trailer } => {
                let chunks: String =
                    chunks.iter().map(|chunk| format!("{:x};a=b\r\n{chunk}\r\n", chunk.len())).collect();
                let trailer = if *has_trailer { "X-Sum: 1\r\n" } else { "" };
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailer}\r\n")
            }
        }
    }

    /// As [`Seen`] records it. An early response is sent before the body is read.
    fn seen(&self) -> String {
        let body = match &self.body {
            _ if self.path == "/early" => String::new(),
            Told::Nothing => String::new(),
            Told::Length(body) => body.clone(),
            Told::Chunks { chunks, .. } => chunks.concat(),
        };
        format!("{} {} {body}", self.method, self.path).trim_end().to_owned()
    }

    /// The status of the response, and its body.
    fn answer(&self) -> String {
        let (status, body) = if self.path == "/early" { ("403", "early") } else { ("200", "ok") };
        format!("{status} {}", if self.method == "HEAD" { "" } else { body })
    }
}

/// The status and body of each response, all of which have a length.
fn answers(mut all: &str, asked: &[Asked]) -> Vec<String> {
    let mut answers = Vec::new();
    for asked in asked {
        let Some((head, rest)) = all.split_once("\r\n\r\n") else { break };
        let length = head.split_once("content-length: ").map_or("0", |(_, length)| length.lines().next().unwrap());
        let length = if asked.method == "HEAD" { 0 } else { length.parse().unwrap() };
        let (body, rest) = rest.split_at(length);
        answers.push(format!("{} {body}", &head["HTTP/1.1 ".len()..][..3]));
        all = rest;
    }
    assert_eq!(all, "", "and nothing behind the last");
    answers
}

fn asked() -> impl Strategy<Value = Asked> {
    let body = prop_oneof![
        Just(Told::Nothing),
        "[a-z]{0,3000}".prop_map(Told::Length),
        (vec("[a-z]{1,900}", 0..6), any::<bool>())
            .prop_map(|(chunks, has_trailer)| Told::Chunks { chunks, has_trailer }),
    ];
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("PUT")];
    let path = prop_oneof![4 => Just("/one"), 4 => Just("/another"), 1 => Just("/early")];
    (method, path, body).prop_map(|(method, path, body)| Asked { method, path, body })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn requests_are_heard_whole_and_in_order(
        asked in vec(asked(), 1..8),
        cuts in vec(prop_oneof![1..9_usize, 9..2000_usize], 1..40),
        buffer_bytes in prop_oneof![1..50_usize, 50..65536_usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let input: String =
            asked.iter().enumerate().map(|(at, one)| one.write(at + 1 == asked.len())).collect();
        let (all, seen) = runtime.block_on(async {
            let served = serve_with(|_| {}, buffer_bytes);
            let (mut from, mut to) = tokio::io::split(served.client);
            let write = async {
                let mut rest = input.as_bytes();
                for cut in cuts.iter().cycle() {
                    let (now, later) = rest.split_at(rest.len().min(*cut));
                    // After an early response that is the last, nobody may read the rest.
                    if to.write_all(now).await.is_err() || later.is_empty() {
                        break;
                    }
                    tokio::task::yield_now().await;
                    rest = later;
                }
            };
            let mut all = String::new();
            let read = from.read_to_string(&mut all);
            let (read, ()) = tokio::join!(read, write);
            read.unwrap();
            (all, served.seen.requests())
        });
        prop_assert_eq!(seen, asked.iter().map(Asked::seen).collect::<Vec<_>>());
        prop_assert_eq!(answers(&all, &asked), asked.iter().map(Asked::answer).collect::<Vec<_>>());
    }
}
