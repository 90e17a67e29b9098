//! A connection after a protocol switch, as a stream: first the bytes that were already read, then the socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Buf;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::endpoint::{Endpoint, InFlight};
use super::Connection;
use crate::body::Body;
use crate::tunnel::{End, Handover, Opened};

/// The 101 response as it is passed on, with its [`End`] in the extensions.
pub(super) fn receive(
    head: Response<()>,
    connection: Box<Connection>,
    in_flight: InFlight<Arc<Endpoint>>,
) -> Response<Body> {
    let opened = Opened { stream: Box::new(SwitchedStream(connection)), held: Box::new(in_flight) };
    let end: End = Box::pin(std::future::ready(Ok(opened)));
    let mut response = head.map(|()| Body::Empty);
    response.extensions_mut().insert(Handover::new(end));
    response
}

struct SwitchedStream(Box<Connection>);

impl AsyncRead for SwitchedStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let input = &mut self.0.input.bytes;
        if input.is_empty() {
            return Pin::new(&mut self.0.socket).poll_read(context, buf);
        }
        let here = input.len().min(buf.remaining());
        buf.put_slice(input.get(..here).unwrap_or_default());
        input.advance(here);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SwitchedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.socket).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.socket).poll_shutdown(context)
    }
}
