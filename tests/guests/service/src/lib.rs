//! A service of the world `wasi:http/proxy@0.2`, made with plain cargo and the crate `wasip2`. The first segment of the path says what
//! it does.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, unsafe_code)] // a panic is one of its answers; the export macro writes `unsafe`

use wasip2::cli::environment;
use wasip2::clocks::monotonic_clock;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::filesystem::preopens;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme,
};
use wasip2::io::streams::{InputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;

struct Service;

wasip2::http::proxy::export!(Service);

impl Guest for Service {
    fn handle(request: IncomingRequest, answer: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let (what, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        match what {
            "hello" => respond(answer, 200, &[("content-type", "text/plain"), ("x-service", "guest")], b"hello"),
            "head" => {
                let told = format!("{:?} {path} {:?} {:?}", request.method(), request.scheme(), request.authority());
                let fields = request.headers().entries().into_iter();
                let fields: Vec<String> =
                    fields.map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(&value))).collect();
                respond(answer, 200, &[], format!("{told}\n{}", fields.join("\n")).as_bytes());
            }
            "echo" => echo(request, answer),
            "call" => call(rest, answer),
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
            "panic" => panic!("the service panics"),
            "nothing" => drop(answer),
            "hang" => monotonic_clock::subscribe_duration(u64::MAX).block(),
            "half" | "stall" => {
                let (response, body) = begin(200, &[]);
                ResponseOutparam::set(answer, Ok(response));
                let stream = body.write().unwrap();
                stream.blocking_write_and_flush(b"half").unwrap();
                if what == "stall" {
                    monotonic_clock::subscribe_duration(u64::MAX).block();
                }
                panic!("in the middle");
            }
            "endless" => {
                let (response, body) = begin(200, &[]);
                ResponseOutparam::set(answer, Ok(response));
                let stream = body.write().unwrap();
                loop {
                    stream.blocking_write_and_flush(&[b'x'; 4096]).unwrap();
                }
            }
            "status" => respond(answer, rest.parse().unwrap(), &[], b"text"),
            "rights" => respond(answer, 200, &[], rights().as_bytes()),
            "print" => {
                println!("one line");
                eprint!("and another");
                respond(answer, 200, &[], b"");
            }
            "forbidden" => {
                let fields = Fields::new();
                let refused = ["connection", "transfer-encoding", "host"]
                    .map(|name| fields.append(&name.to_owned(), &b"x".to_vec()).is_err());
                respond(answer, 200, &[], format!("{refused:?}").as_bytes());
            }
            _ => respond(answer, 404, &[], b"nothing here"),
        }
    }
}

fn begin(status: u16, headers: &[(&str, &str)]) -> (OutgoingResponse, OutgoingBody) {
    let fields = Fields::new();
    for (name, value) in headers {
        fields.append(&(*name).to_owned(), &value.as_bytes().to_vec()).unwrap();
    }
    let response = OutgoingResponse::new(fields);
    response.set_status_code(status).unwrap();
    let body = response.body().unwrap();
    (response, body)
}

fn respond(answer: ResponseOutparam, status: u16, headers: &[(&str, &str)], text: &[u8]) {
    let (response, body) = begin(status, headers);
    ResponseOutparam::set(answer, Ok(response));
    let stream = body.write().unwrap();
    for chunk in text.chunks(4096) {
        stream.blocking_write_and_flush(chunk).unwrap();
    }
    drop(stream);
    OutgoingBody::finish(body, None).unwrap();
}

/// Each piece goes back as it comes.
fn echo(request: IncomingRequest, answer: ResponseOutparam) {
    let incoming = request.consume().unwrap();
    let (response, body) = begin(200, &[]);
    ResponseOutparam::set(answer, Ok(response));
    let (input, output) = (incoming.stream().unwrap(), body.write().unwrap());
    while let Some(piece) = read(&input) {
        for chunk in piece.chunks(4096) {
            output.blocking_write_and_flush(chunk).unwrap();
        }
    }
    drop(output);
    OutgoingBody::finish(body, None).unwrap();
}

fn read(input: &InputStream) -> Option<Vec<u8>> {
    match input.blocking_read(64 << 10) {
        Ok(piece) => Some(piece),
        Err(StreamError::Closed) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// `call/UPSTREAM/PATH`, several with a comma between; what each said.
fn call(whom: &str, answer: ResponseOutparam) {
    let told: Vec<String> = whom.split(',').map(one).collect();
    respond(answer, 200, &[], told.join("|").as_bytes());
}

fn one(whom: &str) -> String {
    let (authority, path) = whom.split_once('/').unwrap_or((whom, ""));
    let fields = Fields::new();
    fields.append(&"x-from".to_owned(), &b"service".to_vec()).unwrap();
    let request = OutgoingRequest::new(fields);
    request.set_method(&Method::Post).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(&format!("/{path}"))).unwrap();
    let body = request.body().unwrap();
    let sent = outgoing_handler::handle(request, None);
    let stream = body.write().unwrap();
    let _ = stream.blocking_write_and_flush(b"asked");
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    let future = match sent {
        Ok(future) => future,
        Err(code) => return format!("{code:?}"),
    };
    future.subscribe().block();
    match future.get().unwrap().unwrap() {
        Ok(response) => {
            let (status, body) = (response.status(), response.consume().unwrap());
            let stream = body.stream().unwrap();
            let mut text = Vec::new();
            while let Some(piece) = read(&stream) {
                text.extend(piece);
            }
            drop(stream);
            let _ = IncomingBody::finish(body);
            format!("{status} {}", String::from_utf8_lossy(&text))
        }
        Err(code) => format!("{code:?}"),
    }
}

fn rights() -> String {
    let file = std::fs::read("/etc/passwd").is_ok();
    let name = resolve_addresses(&instance_network(), "localhost").is_ok();
    let socket = std::net::TcpStream::connect("127.0.0.1:9901").is_ok();
    format!(
        "environment {}, arguments {}, directories {}, file {file}, name {name}, socket {socket}",
        environment::get_environment().len(),
        environment::get_arguments().len(),
        preopens::get_directories().len(),
    )
}
