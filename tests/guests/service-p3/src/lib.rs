//! A service of the world `wasi:http/service@0.3`, made with plain cargo and the crate `wasip3`. The first segment of the path says
//! what it does; what `guest-service` of WASI 0.2 does as well, it does the same.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, unsafe_code)] // a panic is one of its answers; the export macro writes `unsafe`

use std::future::Future;
use std::task::{Context, Waker};

use wasip3::cli::{environment, stderr, stdout};
use wasip3::clocks::monotonic_clock;
use wasip3::exports::http::handler::Guest;
use wasip3::filesystem::preopens;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme, Trailers};
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter, spawn_local};
use wasip3::{wit_future, wit_stream};

struct Service;

wasip3::http::service::export!(Service);

impl Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let (what, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        match what {
            "hello" => text(200, &[("content-type", "text/plain"), ("x-service", "guest")], b"hello"),
            "head" => {
                let told = format!(
                    "{:?} {path} {:?} {:?}",
                    request.get_method(),
                    request.get_scheme(),
                    request.get_authority()
                );
                let fields = request.get_headers().copy_all().into_iter();
                let fields: Vec<String> =
                    fields.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value))).collect();
                text(200, &[], format!("{told}\n{}", fields.join("\n")).as_bytes())
            }
            "echo" => echo(request),
            "through" => through(request),
            "rest" => Ok(self::rest(request).await),
            "call" => call(rest).await,
            "loop" => loop {
                std::hint::black_box(0);
            },
            "memory" => {
                let mut held = Vec::new();
                loop {
                    held.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&held);
                }
            }
            "streams" => {
                let mut held = Vec::new();
                loop {
                    held.push(wit_stream::new::<u8>());
                }
            }
            "tasks" => {
                let mut held = Vec::new();
                loop {
                    let mut asked = Box::pin(monotonic_clock::wait_for(u64::MAX));
                    let mut context = Context::from_waker(Waker::noop());
                    assert!(asked.as_mut().poll(&mut context).is_pending());
                    held.push(asked);
                }
            }
            "panic" => panic!("the service panics"),
            "nothing" => Err(ErrorCode::InternalError(Some("the service has nothing".to_owned()))),
            "hang" => {
                monotonic_clock::wait_for(u64::MAX).await;
                text(200, &[], b"at last")
            }
            "half" | "stall" => {
                let is_stall = what == "stall";
                respond(200, &[], async move |stream| {
                    stream.write_all(b"half".to_vec()).await;
                    if is_stall {
                        monotonic_clock::wait_for(u64::MAX).await;
                    }
                    panic!("in the middle");
                })
            }
            "endless" => {
                respond(200, &[], async move |stream| while stream.write_all(vec![b'x'; 4096]).await.is_empty() {})
            }
            "lost" => lost(),
            "status" => text(rest.parse().unwrap(), &[], b"text"),
            "rights" => text(200, &[], rights().await.as_bytes()),
            "print" => {
                print(true, b"one line\n").await;
                print(false, b"and another").await;
                text(200, &[], b"")
            }
            "forbidden" => {
                let fields = Fields::new();
                let refused =
                    ["connection", "transfer-encoding", "host"].map(|name| fields.append(name, b"x").is_err());
                text(200, &[], format!("{refused:?}").as_bytes())
            }
            _ => text(404, &[], b"nothing here"),
        }
    }
}

fn text(status: u16, headers: &[(&str, &str)], text: &[u8]) -> Result<Response, ErrorCode> {
    let text = text.to_vec();
    respond(status, headers, async move |stream| drop(stream.write_all(text).await))
}

/// A response whose body goes on to be written when its head is there.
fn respond(
    status: u16,
    headers: &[(&str, &str)],
    write: impl AsyncFnOnce(&mut StreamWriter<u8>) + 'static,
) -> Result<Response, ErrorCode> {
    let (mut stream, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let response = with(status, headers, contents, no_trailers);
    spawn_local(async move {
        write(&mut stream).await;
        drop((stream, trailers));
    });
    Ok(response)
}

fn with(
    status: u16,
    headers: &[(&str, &str)],
    contents: StreamReader<u8>,
    trailers: FutureReader<Result<Option<Trailers>, ErrorCode>>,
) -> Response {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(name, value.as_bytes()).unwrap();
    }
    let (response, _) = Response::new(fields, Some(contents), trailers);
    response.set_status_code(status).unwrap();
    response
}

/// Each piece goes back as it comes.
fn echo(request: Request) -> Result<Response, ErrorCode> {
    let (mut contents, _trailers) = Request::consume_body(request, fine());
    respond(200, &[], async move |stream| {
        while let Some(piece) = read(&mut contents).await {
            stream.write_all(piece).await;
        }
    })
}

/// The stream itself goes back, and the trailers behind it.
fn through(request: Request) -> Result<Response, ErrorCode> {
    let (contents, trailers) = Request::consume_body(request, fine());
    Ok(with(200, &[("trailer", "x-checked")], contents, trailers))
}

/// The first piece is looked at, and the stream goes back behind it.
async fn rest(request: Request) -> Response {
    let (mut contents, trailers) = Request::consume_body(request, fine());
    let first = contents.read(Vec::with_capacity(10)).await.1;
    assert!(!first.is_empty());
    let (mut stream, both) = wit_stream::new();
    spawn_local(async move {
        stream.write_all(first).await;
        while let Some(piece) = read(&mut contents).await {
            stream.write_all(piece).await;
        }
    });
    with(200, &[], both, trailers)
}

/// A body that is said to be lost behind its first piece.
fn lost() -> Result<Response, ErrorCode> {
    let (mut stream, contents) = wit_stream::new();
    let (trailers, promised) = wit_future::new(|| Ok(None));
    let response = with(200, &[], contents, promised);
    spawn_local(async move {
        stream.write_all(b"half".to_vec()).await;
        drop(stream);
        let _ = trailers.write(Err(ErrorCode::HttpResponseIncomplete)).await;
    });
    Ok(response)
}

/// What its sender is told of a body: nothing went wrong.
fn fine() -> FutureReader<Result<(), ErrorCode>> {
    wit_future::new(|| Ok(())).1
}

async fn read(stream: &mut StreamReader<u8>) -> Option<Vec<u8>> {
    match stream.read(Vec::with_capacity(64 << 10)).await {
        (StreamResult::Complete(_), piece) => Some(piece),
        _ => None,
    }
}

/// `call/UPSTREAM/PATH`, several with a comma between; what each said.
async fn call(whom: &str) -> Result<Response, ErrorCode> {
    let mut told = Vec::new();
    for whom in whom.split(',') {
        told.push(one(whom).await);
    }
    text(200, &[], told.join("|").as_bytes())
}

async fn one(whom: &str) -> String {
    let (authority, path) = whom.split_once('/').unwrap_or((whom, ""));
    let fields = Fields::new();
    fields.append("x-from", b"service").unwrap();
    let (mut stream, contents) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(fields, Some(contents), no_trailers, None);
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(&format!("/{path}"))).unwrap();
    spawn_local(async move {
        stream.write_all(b"asked".to_vec()).await;
        drop((stream, trailers));
    });
    match client::send(request).await {
        Ok(response) => {
            let status = response.get_status_code();
            let (mut contents, _) = Response::consume_body(response, fine());
            let mut text = Vec::new();
            while let Some(piece) = read(&mut contents).await {
                text.extend(piece);
            }
            format!("{status} {}", String::from_utf8_lossy(&text))
        }
        Err(code) => format!("{code:?}"),
    }
}

async fn print(is_output: bool, text: &[u8]) {
    let (mut stream, contents) = wit_stream::new();
    let text = text.to_vec();
    spawn_local(async move { drop(stream.write_all(text).await) });
    match is_output {
        true => stdout::write_via_stream(contents).await.unwrap(),
        false => stderr::write_via_stream(contents).await.unwrap(),
    }
}

async fn rights() -> String {
    let file = std::fs::read("/etc/passwd").is_ok();
    let name = resolve_addresses("localhost".to_owned()).await.is_ok();
    let socket = std::net::TcpStream::connect("127.0.0.1:9901").is_ok();
    format!(
        "environment {}, arguments {}, directories {}, file {file}, name {name}, socket {socket}",
        environment::get_environment().len(),
        environment::get_arguments().len(),
        preopens::get_directories().len(),
    )
}
