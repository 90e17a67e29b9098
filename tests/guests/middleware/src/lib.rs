//! A middleware of `wasi:http` 0.3. What it does with a request is in its field `x-do`; without it, it hands the request on as it is.

#![cfg(target_family = "wasm")]
#![allow(clippy::unwrap_used, unsafe_code)] // a panic is one of its deeds; the bindings write `unsafe`

use next::wasi::http::handler;
use wasip3::clocks::monotonic_clock;
use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::wit_bindgen::{FutureReader, StreamReader, StreamResult, spawn_local};
use wasip3::{wit_future, wit_stream};

mod next {
    wit_bindgen::generate!({
        world: "middleware",
        with: {
            "wasi:http/handler@0.3.2": generate,
            "wasi:http/types@0.3.2": wasip3::http::types,
            "wasi:clocks/types@0.3.2": wasip3::clocks::types,
        },
    });
}

struct Middleware;

wasip3::http::service::export!(Middleware);

impl Guest for Middleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let deed = request.get_headers().get("x-do").into_iter().next().unwrap_or_default();
        match deed.as_slice() {
            b"" | b"pass" => handler::handle(request).await,
            b"mark" => mark(request).await,
            // What its fields `x-te` say.
            b"te" => {
                let said = request.get_headers().get("x-te");
                handler::handle(with(request, said.iter().map(|te| ("te", te.as_slice())))).await
            }
            b"shout" => shout(handler::handle(request).await?),
            b"answer" => Ok(text(203, "its own")),
            b"instead" => {
                drop(handler::handle(request).await?);
                Ok(text(203, "instead"))
            }
            b"twice" => {
                let first = handler::handle(asking(&Method::Get, "gateway.test", "/first")).await?;
                let second = handler::handle(asking(&Method::Get, "gateway.test", "/second")).await?;
                Ok(text(200, &format!("{} and {}", read(first).await, read(second).await)))
            }
            b"many" => {
                for count in 0.. {
                    if let Err(code) = handler::handle(asking(&Method::Get, "gateway.test", "/")).await {
                        return Ok(text(200, &format!("{count}: {code:?}")));
                    }
                }
                Ok(text(200, "no end"))
            }
            b"wrong" => {
                let mut told = Vec::new();
                for (method, authority, path) in [
                    (Method::Connect, "gateway.test", "/"),
                    (Method::Get, "a@gateway.test", "/"),
                    (Method::Get, "gateway.test", "/a/../b"),
                    (Method::Get, "gateway.test", "/%2e%2e/b"),
                ] {
                    told.push(match handler::handle(asking(&method, authority, path)).await {
                        Ok(response) => format!("{}", response.get_status_code()),
                        Err(code) => format!("{code:?}"),
                    });
                }
                Ok(text(200, &told.join(" ")))
            }
            b"loop" => loop {
                std::hint::black_box(0);
            },
            b"hang" => {
                monotonic_clock::wait_for(u64::MAX).await;
                Ok(text(200, "at last"))
            }
            b"panic" => panic!("the middleware panics"),
            b"panic-behind" => {
                let _ = handler::handle(request).await;
                panic!("the middleware panics, with an answer in its hands");
            }
            b"own-error" => Err(ErrorCode::InternalError(Some("its own".to_owned()))),
            b"long-error" => Err(ErrorCode::InternalError(Some("its own ".repeat(100_000)))),
            _ => Ok(text(404, "no such deed")),
        }
    }
}

/// The same request with a field more, and the same for the response; both bodies go by as they are.
async fn mark(request: Request) -> Result<Response, ErrorCode> {
    let response = handler::handle(with(request, [("x-request", b"marked".as_slice())])).await?;
    let (fields, status) = (response.get_headers().clone(), response.get_status_code());
    fields.append("x-response", b"marked").unwrap();
    let (contents, trailers) = Response::consume_body(response, fine());
    let (response, _) = Response::new(fields, Some(contents), trailers);
    response.set_status_code(status).unwrap();
    Ok(response)
}

/// The request with these fields more; its body goes by as it is.
fn with<'a>(request: Request, more: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Request {
    let fields = request.get_headers().clone();
    for (name, value) in more {
        fields.append(name, value).unwrap();
    }
    let (method, scheme, authority) = (request.get_method(), request.get_scheme(), request.get_authority());
    let path = request.get_path_with_query();
    let (contents, trailers) = Request::consume_body(request, fine());
    let (request, _) = Request::new(fields, Some(contents), trailers, None);
    request.set_method(&method).unwrap();
    request.set_scheme(scheme.as_ref()).unwrap();
    request.set_authority(authority.as_deref()).unwrap();
    request.set_path_with_query(path.as_deref()).unwrap();
    request
}

/// The response in capitals, piece by piece as it comes.
fn shout(response: Response) -> Result<Response, ErrorCode> {
    let (fields, status) = (response.get_headers().clone(), response.get_status_code());
    fields.delete("content-length").unwrap();
    let (mut contents, trailers) = Response::consume_body(response, fine());
    let (mut stream, loud) = wit_stream::new();
    spawn_local(async move {
        while let Some(mut piece) = piece(&mut contents).await {
            piece.make_ascii_uppercase();
            stream.write_all(piece).await;
        }
    });
    let (response, _) = Response::new(fields, Some(loud), trailers);
    response.set_status_code(status).unwrap();
    Ok(response)
}

fn asking(method: &Method, authority: &str, path: &str) -> Request {
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _) = Request::new(Fields::new(), None, no_trailers, None);
    request.set_method(method).unwrap();
    request.set_scheme(Some(&Scheme::Http)).unwrap();
    request.set_authority(Some(authority)).unwrap();
    request.set_path_with_query(Some(path)).unwrap();
    request
}

fn text(status: u16, text: &str) -> Response {
    let (mut stream, contents) = wit_stream::new();
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(contents), no_trailers);
    response.set_status_code(status).unwrap();
    let text = text.as_bytes().to_vec();
    spawn_local(async move { drop(stream.write_all(text).await) });
    response
}

async fn read(response: Response) -> String {
    let (mut contents, _) = Response::consume_body(response, fine());
    let mut text = Vec::new();
    while let Some(piece) = piece(&mut contents).await {
        text.extend(piece);
    }
    String::from_utf8_lossy(&text).into_owned()
}

async fn piece(stream: &mut StreamReader<u8>) -> Option<Vec<u8>> {
    match stream.read(Vec::with_capacity(64 << 10)).await {
        (StreamResult::Complete(_), piece) => Some(piece),
        _ => None,
    }
}

/// What its sender is told of a body: nothing went wrong.
fn fine() -> FutureReader<Result<(), ErrorCode>> {
    wit_future::new(|| Ok(())).1
}
