//! gRPC probes, against a server that speaks `grpc.health.v1` over HTTP/2.

use std::convert::Infallible;
use std::sync::Mutex;

use super::*;
use http::HeaderMap;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};

/// What the server says of a service: a serving status, or a gRPC error.
#[derive(Clone, Copy)]
enum Says {
    Serving(u8),
    Fails(u8),
}

/// Answers `Check` for the services that it knows, the way grpc-go does.
struct HealthServer {
    address: String,
    services: Arc<Mutex<Vec<(&'static str, Says)>>>,
    task: tokio::task::JoinHandle<()>,
}

impl HealthServer {
    async fn start(services: &[(&'static str, Says)]) -> HealthServer {
        let services = Arc::new(Mutex::new(services.to_vec()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let known = services.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let known = known.clone();
                let service = hyper::service::service_fn(move |request| check(request, known.clone()));
                tokio::spawn(async move {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        HealthServer { address, services, task }
    }

    fn say(&self, services: &[(&'static str, Says)]) {
        *self.services.lock().unwrap() = services.to_vec();
    }
}

impl Drop for HealthServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn check(
    request: http::Request<Incoming>,
    known: Arc<Mutex<Vec<(&'static str, Says)>>>,
) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    assert_eq!(request.method(), "POST");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    assert_eq!(request.headers()["te"], "trailers");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(message[0], 0, "compressed");
    assert_eq!(u32::from_be_bytes(message[1..5].try_into().unwrap()) as usize, message.len() - 5);
    let service = match &message[5..] {
        [] => "",
        [0x0a, length, name @ ..] if *length as usize == name.len() => std::str::from_utf8(name).unwrap(),
        other => panic!("{other:?}"),
    };
    let says = known.lock().unwrap().iter().find(|(name, _)| *name == service).map(|(_, says)| *says);
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(match says.unwrap_or(Says::Fails(5)) {
        Says::Serving(status) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
            let trailers = std::future::ready(Some(Ok(trailers)));
            response.body(Full::new(message).with_trailers(trailers).boxed()).unwrap()
        }
        Says::Fails(code) => {
            let response = response.header("grpc-status", code.to_string()).header("grpc-message", "unknown service");
            response.body(Full::default().boxed()).unwrap()
        }
    })
}

#[tokio::test]
async fn an_endpoint_is_healthy_while_its_service_is_serving() {
    let server = HealthServer::start(&[("orders.Orders", Says::Serving(1))]).await;
    let gateway = gateway(json!({
        "endpoints": [server.address],
        "protocol": "h2c",
        "health": often(json!({ "grpc": { "service": "orders.Orders" } })),
    }));
    let probed = until_probed_again(&gateway, &server.address).await;
    assert_eq!((&probed["state"], &probed["probes_failed"]), (&json!("healthy"), &json!(0)));
    for (says, reason) in [
        (Says::Serving(2), "NOT_SERVING"),
        (Says::Serving(3), "SERVICE_UNKNOWN"),
        (Says::Serving(0), "UNKNOWN"),
        (Says::Fails(5), "grpc-status 5 unknown service"),
        (Says::Fails(14), "grpc-status 14 unknown service"),
    ] {
        server.say(&[("orders.Orders", says)]);
        let found = until(&gateway, &server.address, "unhealthy").await;
        assert_eq!(found["reason"], format!("gRPC probe of orders.Orders: {reason}"));
        server.say(&[("orders.Orders", Says::Serving(1))]);
        until(&gateway, &server.address, "healthy").await;
    }
}

#[tokio::test]
async fn the_server_as_a_whole_is_asked_about_by_default() {
    let server = HealthServer::start(&[("", Says::Serving(1))]).await;
    let gateway = gateway(json!({
        "endpoints": [server.address],
        "protocol": "h2c",
        "health": often(json!({ "grpc": {} })),
    }));
    assert_eq!(until_probed_again(&gateway, &server.address).await["state"], "healthy");
    server.say(&[]);
    until(&gateway, &server.address, "unhealthy").await;
}

#[tokio::test]
async fn a_server_without_grpc_is_unhealthy() {
    let server = Server::named("behind").await;
    let gateway = gateway(json!({ "endpoints": [server.text()], "health": often(json!({ "grpc": {} })) }));
    until(&gateway, &server.text(), "unhealthy").await;
    let other = Server::start_h2c(|_| Response::builder().status(404).body(Full::default()).unwrap()).await;
    let gateway = super::gateway(json!({ "endpoints": [other.text()], "health": often(json!({ "grpc": {} })) }));
    let found = until(&gateway, &other.text(), "unhealthy").await;
    assert_eq!(found["reason"], "gRPC probe: the HTTP status is 404");
}
