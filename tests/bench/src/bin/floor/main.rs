//! The floors that `make bench` holds the gateway against: the least that a proxy of each kind can cost on this machine.
//!
//! * `f0` forwards bytes between two sockets and knows no protocol: the price of the kernel and of the event loop.
//! * `f1` parses HTTP/1.1 with httparse and keeps its upstream connections: the price of the protocol.
//! * `f2` joins a hyper server to a hyper client: the price of the library that the gateway is built on.
//!
//! Each runs on one thread and does nothing that its kind does not need: no log, no limit, no timeout, no metric. They are
//! measuring instruments, not proxies to put in front of anything.

mod bare_hyper;
mod forwarder;
mod minimal;

use std::net::SocketAddr;
use std::process::ExitCode;

use tokio::net::{TcpListener, TcpStream};

/// The gateway's own allocator, so that a ratio compares code and not allocators.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Floor::from_arguments(&arguments).and_then(|floor| floor.run().map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("floor: {error}\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

struct Floor {
    kind: Kind,
    listen: SocketAddr,
    upstream: SocketAddr,
}

enum Kind {
    Forwarder,
    Minimal,
    BareHyper,
}

impl Floor {
    fn from_arguments(arguments: &[String]) -> Result<Self, String> {
        let [kind, "--listen", listen, "--upstream", upstream] =
            arguments.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return Err("wrong arguments".into());
        };
        let kind = match kind {
            "f0" => Kind::Forwarder,
            "f1" => Kind::Minimal,
            "f2" => Kind::BareHyper,
            other => return Err(format!("no floor is named {other}")),
        };
        let address = |text: &str| text.parse().map_err(|_| format!("not an address: {text}"));
        Ok(Self { kind, listen: address(listen)?, upstream: address(upstream)? })
    }

    fn run(self) -> std::io::Result<()> {
        tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
            let listener = TcpListener::bind(self.listen).await?;
            loop {
                let (client, _) = listener.accept().await?;
                client.set_nodelay(true)?;
                // A connection that fails is its own affair: the next one is accepted all the same.
                match self.kind {
                    Kind::Forwarder => drop(tokio::spawn(forwarder::serve(client, self.upstream))),
                    Kind::Minimal => drop(tokio::spawn(minimal::serve(client, self.upstream))),
                    Kind::BareHyper => drop(tokio::spawn(bare_hyper::serve(client, self.upstream))),
                }
            }
        })
    }
}

async fn connect(upstream: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

const USAGE: &str = "usage: floor f0|f1|f2 --listen ADDRESS:PORT --upstream ADDRESS:PORT";
