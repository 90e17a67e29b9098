//! What is read from a connection while its exchange runs: the request's body, and whether the client is still there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::super::framing::{Head, Part};
use super::super::feed::{self, Wish};
use super::super::head;
use super::{CONTINUE, Gone, Wire};
use crate::body::{Body, BodyError};
use crate::headers::Reject;

impl<IO: AsyncRead + AsyncWrite + Unpin> Wire<'_, IO> {
    /// The body that follows this head.
    pub(super) fn body(&mut self, head: &Head) -> Body {
        if !self.framing.is_in_body() {
            return Body::Empty;
        }
        let is_here = |length: u64| usize::try_from(length).is_ok_and(|length| length <= self.input.bytes.len());
        if head.content_length.is_some_and(is_here)
            && let Ok(Some(Part::Data(length))) = self.framing.next(&self.input.bytes)
        {
            return self.input.take(length).into();
        }
        let (idle_timeout, unread) = (self.settings.body_idle_timeout, self.settings.unread_bytes_limit);
        let (feed, body) = feed::channel(head.content_length, head.expects_continue, idle_timeout, unread);
        self.feed = Some(feed);
        self.unread_bytes_left = unread;
        Body::boxed(body)
    }

    /// Reads as much of the body as the handler asks for; otherwise checks whether the client is still connected. Ready
    /// with Ok if the handler, or another reader in this task, has something new to look at.
    pub(in super::super) fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while let Some(feed) = self.feed.as_ref().filter(|_| !self.is_deaf) {
            match feed.wish(cx) {
                Wish::Nothing => return Poll::Pending,
                Wish::Continue if !self.has_begun => self.interim = CONTINUE,
                Wish::Continue | Wish::Read => {}
                Wish::Skip => {
                    ready!(self.poll_skip(cx));
                    continue;
                }
                Wish::Abandon => {
                    self.is_deaf = true;
                    return Poll::Pending;
                }
            }
            self.poll_interim(cx)?;
            return self.poll_feed(cx).map(Ok);
        }
        if self.is_deaf { Poll::Pending } else { self.poll_presence(cx) }
    }

    /// Sends as much of the interim response as the client accepts now.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        while !self.interim.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, self.interim) {
                Poll::Ready(Ok(length @ 1..)) => self.interim = self.interim.get(length..).unwrap_or_default(),
                Poll::Ready(_) => return Err(Gone),
                Poll::Pending => return Ok(()),
            }
            self.must_flush = true;
        }
        if self.must_flush {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.must_flush = false,
                Poll::Ready(Err(_)) => return Err(Gone),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Gives the reader of the body its next frame, or the end.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let part = ready!(self.poll_part(cx));
        let is_over = !self.framing.is_in_body();
        let Some(feed) = &self.feed else { return Poll::Ready(()) };
        match part {
            Ok(Part::Data(length)) => feed.give(Frame::data(self.input.take(length)), is_over, cx),
            Ok(Part::Trailers(length)) => {
                let bytes = self.input.take(length);
                match head::map(self.framing.fields(), &bytes) {
                    Ok(trailers) if trailers.is_empty() => feed.end(Ok(()), cx),
                    Ok(trailers) => feed.give(Frame::trailers(trailers), true, cx),
                    Err(reject) => feed.end(Err(refusal(reject)), cx),
                }
            }
            // `poll_part` returns no other part of a body.
            Ok(_) => feed.end(Err(refusal(Reject::Syntax)), cx),
            Err(error) => {
                feed.end(Err(error), cx);
                self.is_deaf = true;
            }
        }
        if is_over || self.is_deaf {
            self.feed = None;
        }
        Poll::Ready(())
    }

    /// The next part of a body that is not empty.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Part, BodyError>> {
        loop {
            match self.framing.next(&self.input.bytes) {
                Ok(Some(Part::Chunking(length))) => {
                    self.input.bytes.advance(length);
                    continue;
                }
                Ok(Some(part)) => return Poll::Ready(Ok(part)),
                Ok(None) => {}
                Err(reject) => {
                    self.report(reject);
                    return Poll::Ready(Err(refusal(reject)));
                }
            }
            let error = match ready!(self.input.poll_fill(&mut self.io, cx)) {
                Ok(1..) => continue,
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Err(error) => error,
            };
            return Poll::Ready(Err(BodyError::Client(error)));
        }
    }

    /// Discards an unwanted body, up to the limit. Ready when nothing of it is left.
    fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.framing.is_in_body() && !self.is_deaf {
            match ready!(self.poll_part(cx)) {
                Ok(Part::Data(length) | Part::Trailers(length)) => {
                    self.input.bytes.advance(length);
                    let left = self.unread_bytes_left.checked_sub(length as u64);
                    self.is_deaf = left.is_none();
                    self.unread_bytes_left = left.unwrap_or(0);
                }
                Ok(_) | Err(_) => self.is_deaf = true,
            }
        }
        if !self.is_deaf {
            self.feed = None;
        }
        Poll::Ready(())
    }

    /// Checks that the client is still connected while it has nothing to send. Bytes of the next request are kept, and
    /// then nothing more is read.
    fn poll_presence(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while self.input.bytes.is_empty() {
            match ready!(self.input.poll_fill(&mut self.io, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
        Poll::Pending
    }
}

/// The error of a body whose framing is refused.
fn refusal(reject: Reject) -> BodyError {
    BodyError::Client(io::Error::new(io::ErrorKind::InvalidData, reject))
}
