use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;
use crate::drain;

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn every_worker_gets_a_socket_for_every_address() {
    let by_worker = bind(&[any_port(), any_port()], 3, Options::default()).unwrap();
    assert_eq!(by_worker.len(), 3);
    for worker in &by_worker {
        let ports: Vec<u16> = worker.iter().map(|bound| bound.address().port()).collect();
        assert_eq!(ports, by_worker[0].iter().map(|bound| bound.address().port()).collect::<Vec<_>>());
        assert!(ports[0] != ports[1] && ports[0] != 0);
    }
}

#[test]
fn a_failure_leaves_nothing_open() {
    let taken = bind(&[any_port()], 1, Options::default()).unwrap();
    let taken = taken[0][0].address();
    let free = {
        let free = bind(&[any_port()], 1, Options::default()).unwrap();
        free[0][0].address()
    };
    // `taken` shares with others that do as well, but this gateway wants to be alone.
    let error = bind(&[free, taken], 2, Options::default()).unwrap_err();
    assert_eq!((error.address, error.source.kind()), (taken, io::ErrorKind::AddrInUse));
    assert!(error.to_string().contains(&taken.to_string()));
    assert!(std::net::TcpStream::connect(free).is_err(), "the first address is closed again");
    bind(&[free], 1, Options::default()).unwrap();
    let foreign: SocketAddr = "192.0.2.1:0".parse().unwrap();
    assert_eq!(bind(&[foreign], 1, Options::default()).unwrap_err().address, foreign);
}

#[test]
fn a_new_process_may_take_over_where_that_is_allowed() {
    let options = Options { exclusive: false, ..Options::default() };
    let old = bind(&[any_port()], 1, options).unwrap();
    let new = bind(&[old[0][0].address()], 1, options).unwrap();
    assert_eq!(new[0][0].address(), old[0][0].address());
}

#[tokio::test]
async fn a_socket_to_which_nobody_comes_holds_no_place() {
    let places = Arc::new(Semaphore::new(1));
    let (_drainer, drain) = drain::channel();
    let (sender, mut accepted) = mpsc::unbounded_channel();
    let mut addresses = Vec::new();
    for bound in bind(&[any_port(), any_port(), any_port()], 1, Options::default()).unwrap().remove(0) {
        addresses.push(bound.address());
        let serve = echo(sender.clone());
        tokio::spawn(accept(bound, places.clone(), drain.clone(), |error| panic!("{error}"), serve));
    }
    // One permit for three sockets: each gets it when its client comes.
    for address in addresses {
        let mut client = TcpStream::connect(address).await.unwrap();
        assert_eq!(accepted.recv().await.unwrap(), (client.local_addr().unwrap(), address));
        client.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
    }
}

/// Echoes one byte per connection; reports each connection that is accepted.
fn echo(
    accepted: mpsc::UnboundedSender<(SocketAddr, SocketAddr)>,
) -> impl Fn(TcpStream, SocketAddr, SocketAddr, Place) -> Echo {
    move |mut stream, peer, local, place| {
        accepted.send((peer, local)).unwrap();
        Box::pin(async move {
            let _place = place;
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_ok() {
                let _ = stream.write_all(&byte).await;
            }
        })
    }
}

type Echo = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[tokio::test]
async fn connections_are_bounded_and_drained() {
    let bound = bind(&[any_port()], 1, Options::default()).unwrap().remove(0).remove(0);
    let address = bound.address();
    let (drainer, drain) = drain::channel();
    let (sender, mut accepted) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(1));
    let accepting = tokio::spawn(accept(bound, Arc::clone(&places), drain, |error| panic!("{error}"), echo(sender)));

    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(accepted.recv().await.unwrap(), (first.local_addr().unwrap(), address));
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(b"2").await.unwrap();
    assert!(accepted.try_recv().is_err(), "there is one place only");

    first.write_all(b"1").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    assert_eq!(accepted.recv().await.unwrap().0, second.local_addr().unwrap());
    second.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"2");

    // One connection has the permit, and two wait in the accept queue when the drain begins: all are still served.
    let third = TcpStream::connect(address).await.unwrap();
    assert_eq!(accepted.recv().await.unwrap().0, third.local_addr().unwrap());
    let mut late = [third, TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    drainer.ask();
    accepting.await.unwrap();
    for stream in &mut late {
        stream.write_all(b"3").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
    }
    assert!(TcpStream::connect(address).await.is_err());
}
