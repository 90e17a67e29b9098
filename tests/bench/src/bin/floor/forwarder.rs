//! F0: bytes from one socket to the other. One upstream connection for each client connection, no protocol.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

pub(crate) async fn serve(mut client: TcpStream, upstream: SocketAddr) -> io::Result<()> {
    let mut upstream = crate::connect(upstream).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}
