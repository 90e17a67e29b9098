//! A request on its way to the endpoint.

use std::io;
use std::task::{Context, Poll};

use http::Request;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use super::super::error::Reason;
use super::super::progress::Progress;
use super::super::request::parse_length;
use super::super::socket::Socket;
use super::head;
use crate::body::Body;
pub(super) use crate::outgoing::Error;
use crate::outgoing::{Framing, Outgoing, Turn};

/// See the module.
pub(super) struct Upload(Outgoing);

impl From<Error> for Reason {
    fn from(error: Error) -> Reason {
        match error {
            Error::Body(error) => Reason::RequestBody(error),
            Error::Short => Reason::ShortRequestBody,
            Error::Socket(error) => Reason::Closed(Box::new(error)),
        }
    }
}

impl Upload {
    /// Writes the head of the request and takes its body.
    pub(super) fn new(request: &mut Request<Body>) -> Self {
        let mut bytes = Vec::new();
        head::write(request, &mut bytes);
        let fields = request.headers();
        let framing = match (fields.contains_key(TRANSFER_ENCODING), fields.get(CONTENT_LENGTH)) {
            (true, _) => Framing::Chunked { trailers: true },
            (false, Some(length)) => parse_length(length).map_or(Framing::Nothing, Framing::Length),
            (false, None) => Framing::Nothing,
        };
        Upload(Outgoing::new(bytes, framing, std::mem::take(request.body_mut())))
    }

    /// Whether all of it has been written.
    pub(super) fn is_sent(&self) -> bool {
        self.0.is_sent()
    }

    /// Writes as much as possible. Ready when there is nothing left to do: all was sent, or the endpoint accepts no
    /// more.
    ///
    /// If a server answers early (413) and closes, our next write fails while its response waits to be read. So a
    /// failed write is no error: reading then finds the response, or the end of the connection.
    pub(super) fn poll(
        &mut self,
        socket: &mut Socket,
        progress: &Progress,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let turn = |turn| match turn {
            Turn::Body => progress.clients_turn(),
            Turn::Connection => progress.endpoints_turn(),
        };
        match self.0.poll(socket, turn, context) {
            Poll::Ready(Err(Error::Socket(error))) if is_closed(&error) => {
                self.0.give_up();
                Poll::Ready(Ok(()))
            }
            polled => {
                if polled.is_pending() && self.0.is_blocked() {
                    progress.endpoint_is_full();
                }
                polled
            }
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
