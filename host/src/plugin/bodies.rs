//! Bodies on their way through the body hooks of a chain.
//!
//! A chain without body hooks never comes here. Where a plugin asked for chunks, each chunk goes through the plugins
//! that asked, in the order of the chain (reversed for the response), and what a plugin holds back is joined with what
//! comes next. Where one asked for the whole body, the head waits, so that hook may still change it. What is held is
//! bounded by `limits.body` of the plugin that holds it.
//!
//! A streamed request body meets its hooks while the exchange already waits for the upstream. So the exchange is put
//! into a [`Loan`] that the streaming task and the request path take turns with.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt;
use smallvec::SmallVec;
use tokio::sync::mpsc;

use super::bindings::{BodyDecision, Direction};
use super::chain::{Chain, Stop, Verdict, settle};
use super::failure::FailureKind;
use super::loan::Loan;
use super::run::Mode;
use super::state::Call;
use crate::body::{Body, BodyError};
use crate::exchange::{Exchange, Fault, Phase};
use crate::telemetry::metrics;

/// The body hooks that wait for one body.
pub struct Bodies {
    chain: Arc<Chain>,
    direction: Direction,
    stages: SmallVec<[Stage; 2]>,
}

struct Stage {
    position: usize,
    mode: Mode,
    held: BytesMut,
}

impl Bodies {
    /// The hooks that asked for this body; `None` where nobody did, or where there is none.
    pub fn of(chain: &Arc<Chain>, exchange: &mut Exchange, direction: Direction, body: &Body) -> Option<Bodies> {
        if exchange.run.wants(direction) == Mode::Skip || body.is_end_stream() {
            return None;
        }
        let mut stages: SmallVec<[Stage; 2]> = SmallVec::new();
        for position in 0..chain.plugins().len() {
            let Some(slot) = exchange.run.slot(position) else { continue };
            let mode = slot.mode(direction);
            if slot.ran && mode != Mode::Skip {
                stages.push(Stage { position, mode, held: BytesMut::new() });
            }
        }
        if matches!(direction, Direction::Response) {
            stages.reverse();
        }
        Some(Bodies { chain: chain.clone(), direction, stages })
    }

    /// Whether some plugin sees the body whole, so that the head waits for it.
    pub fn wants_whole(&self) -> bool {
        self.stages.iter().any(|stage| stage.mode == Mode::Whole)
    }

    /// Takes a body to its end and gives it back as the plugins left it.
    pub async fn collect(
        mut self,
        exchange: &mut Exchange,
        mut body: Body,
    ) -> ControlFlow<Stop, Result<Body, BodyError>> {
        let mut output = BytesMut::new();
        let mut trailers = None;
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return ControlFlow::Continue(Err(error)),
            };
            match frame.into_data() {
                Ok(chunk) => output.extend_from_slice(&self.push(exchange, chunk, false).await?),
                Err(other) => trailers = other.into_trailers().ok(),
            }
        }
        output.extend_from_slice(&self.push(exchange, Bytes::new(), true).await?);
        let data = output.freeze();
        ControlFlow::Continue(Ok(match trailers {
            None => data.into(),
            Some(trailers) => Body::boxed(WithTrailers { data: Some(data), trailers: Some(trailers) }),
        }))
    }

    /// Streams a request body through its hooks in a task of its own; the result is what goes to the upstream.
    pub fn stream_request(self, body: Body, loan: Loan) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move { self.pump(body, &mut Turns::Loan(loan), &sender).await });
        Body::boxed(Piped { pieces: receiver, ended: false })
    }

    /// Streams a response body through its hooks. At the end `finish` gets the exchange back, with the bytes that
    /// came out and whether that was all.
    pub fn stream_response(
        self,
        body: Body,
        exchange: Exchange,
        loan: Option<Loan>,
        finish: impl FnOnce(Exchange, u64, bool) + Send + 'static,
    ) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        let mut turns = loan.map_or(Turns::Own(exchange), Turns::Loan);
        tokio::spawn(async move {
            let (bytes, complete) = self.pump(body, &mut turns, &sender).await;
            let exchange = match turns {
                Turns::Own(exchange) => exchange,
                Turns::Loan(loan) => loan.turn().await.take(),
            };
            finish(exchange, bytes, complete);
        });
        Body::boxed(Piped { pieces: receiver, ended: false })
    }

    /// Reads, asks the hooks, and hands on, one frame at a time. The answer is how many bytes were handed on, and
    /// whether the end was.
    async fn pump(mut self, mut body: Body, turns: &mut Turns, sender: &Frames) -> (u64, bool) {
        let mut trailers = None;
        let mut bytes = 0;
        loop {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sender.closed() => return (bytes, false),
            };
            let (chunk, end) = match frame {
                None => (Bytes::new(), true),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => (chunk, false),
                    Err(other) => {
                        trailers = other.into_trailers().ok();
                        continue;
                    }
                },
                Some(Err(error)) => {
                    if matches!(self.direction, Direction::Response) {
                        turns.note(Fault::Upstream, error.to_string()).await;
                    }
                    let _ = sender.send(Piece::Failed(error)).await;
                    return (bytes, false);
                }
            };
            let output = match self.push_in_turn(turns, chunk, end).await {
                Ok(output) => output,
                Err(reason) => {
                    let _ = sender.send(Piece::Failed(BodyError::Plugin(reason))).await;
                    return (bytes, false);
                }
            };
            bytes += output.len() as u64;
            if !output.is_empty() && sender.send(Piece::Frame(Frame::data(output))).await.is_err() {
                return (bytes, false);
            }
            if end {
                if let Some(trailers) = trailers {
                    let _ = sender.send(Piece::Frame(Frame::trailers(trailers))).await;
                }
                return (bytes, sender.send(Piece::End).await.is_ok());
            }
        }
    }

    /// One chunk through all hooks, when it is their turn. The error is for the log.
    async fn push_in_turn(&mut self, turns: &mut Turns, chunk: Bytes, end: bool) -> Result<Bytes, String> {
        let mut turn;
        let exchange = match turns {
            Turns::Own(exchange) => exchange,
            Turns::Loan(loan) => {
                turn = loan.turn().await;
                &mut *turn
            }
        };
        if exchange.is_lent() {
            return Err("the exchange ended before the body".into());
        }
        match self.push(exchange, chunk, end).await {
            ControlFlow::Continue(output) => Ok(output),
            ControlFlow::Break(stop) => {
                let reason = stop.reason();
                match exchange.phase {
                    // The client has seen nothing yet, so the request path can still answer it as was decided.
                    Phase::Upstream => exchange.run.stop(stop),
                    _ => note(exchange, Fault::Plugin, reason.clone()),
                }
                Err(reason)
            }
        }
    }

    /// One chunk through all hooks; what comes out may be empty (held), shorter or longer.
    async fn push(&mut self, exchange: &mut Exchange, chunk: Bytes, end: bool) -> ControlFlow<Stop, Bytes> {
        let mut chunk = chunk;
        for stage in &mut self.stages {
            if chunk.is_empty() && !end {
                return ControlFlow::Continue(chunk);
            }
            if stage.mode == Mode::Whole {
                stage.hold(&self.chain, self.direction, &chunk)?;
                if !end {
                    return ControlFlow::Continue(Bytes::new());
                }
                chunk = stage.held.split().freeze();
            } else if !stage.held.is_empty() {
                stage.held.extend_from_slice(&chunk);
                chunk = stage.held.split().freeze();
            }
            chunk = stage.ask(&self.chain, exchange, self.direction, chunk, end).await?;
        }
        ControlFlow::Continue(chunk)
    }
}

impl Stage {
    fn hold(&mut self, chain: &Chain, direction: Direction, chunk: &Bytes) -> ControlFlow<Stop> {
        let Some(plugin) = chain.plugins().get(self.position) else { return ControlFlow::Continue(()) };
        let limit = plugin.lent().limits.body_bytes;
        if self.held.len().saturating_add(chunk.len()) > limit {
            // Whoever sent the body made it so long, so the breaker does not count it: a client could else take the plugin
            // away from everybody. And `on_error` has no say, since the plugin is not what went wrong.
            let detail = format!("the limit is {limit} bytes");
            let failure = plugin.failure(call(direction), FailureKind::Body, detail);
            plugin.metrics().failed(metrics::OnError::Deny);
            return ControlFlow::Break(Stop::Failed(failure));
        }
        self.held.extend_from_slice(chunk);
        ControlFlow::Continue(())
    }

    async fn ask(
        &mut self,
        chain: &Chain,
        exchange: &mut Exchange,
        direction: Direction,
        chunk: Bytes,
        end: bool,
    ) -> ControlFlow<Stop, Bytes> {
        let Some(plugin) = chain.plugins().get(self.position) else { return ControlFlow::Continue(chunk) };
        let limit = plugin.lent().limits.body_bytes;
        let hook = plugin.hook(
            exchange,
            self.position,
            call(direction),
            |hooks| match direction {
                Direction::Request => hooks.on_request_body,
                Direction::Response => hooks.on_response_body,
            },
            (chunk.to_vec(), end),
            |(decision,)| Answer::read(decision, limit),
        );
        match settle(plugin, hook.await)? {
            None | Some(Answer::Pass) => ControlFlow::Continue(chunk),
            // There is nothing to come that the last bytes could be joined with, so they go on.
            Some(Answer::Hold) if end => ControlFlow::Continue(chunk),
            Some(Answer::Hold) => {
                self.hold(chain, direction, &chunk)?;
                ControlFlow::Continue(Bytes::new())
            }
            Some(Answer::Replace(bytes)) => ControlFlow::Continue(bytes),
            Some(Answer::Stop(verdict)) => {
                // Once the head is with the client there is only one way to stop.
                let verdict = if exchange.phase == Phase::Sent { Verdict::Abort } else { verdict };
                verdict.apply(plugin, exchange)?;
                ControlFlow::Continue(chunk)
            }
        }
    }
}

/// A body decision that was checked.
enum Answer {
    Pass,
    Hold,
    Replace(Bytes),
    Stop(Verdict),
}

impl Answer {
    fn read(decision: BodyDecision, limit: usize) -> Result<Answer, (FailureKind, &'static str)> {
        match decision {
            BodyDecision::Pass => Ok(Answer::Pass),
            BodyDecision::Hold => Ok(Answer::Hold),
            BodyDecision::Replace(bytes) if bytes.len() > limit => {
                Err((FailureKind::Body, "the replacement is longer than limits.body"))
            }
            BodyDecision::Replace(bytes) => Ok(Answer::Replace(bytes.into())),
            BodyDecision::Respond(response) => Verdict::respond(response).map(Answer::Stop),
            BodyDecision::Abort => Ok(Answer::Stop(Verdict::Abort)),
        }
    }
}

/// Where a pump has the exchange from.
enum Turns {
    Own(Exchange),
    Loan(Loan),
}

type Frames = mpsc::Sender<Piece>;

/// What a pump hands on. The end is said, never inferred: a pump that died must not look like a body that is complete.
enum Piece {
    Frame(Frame<Bytes>),
    Failed(BodyError),
    End,
}

impl Turns {
    async fn note(&mut self, fault: Fault, reason: String) {
        match self {
            Turns::Own(exchange) => note(exchange, fault, reason),
            Turns::Loan(loan) => note(&mut *loan.turn().await, fault, reason),
        }
    }
}

/// Notes what went wrong first.
fn note(exchange: &mut Exchange, fault: Fault, reason: String) {
    if !exchange.is_lent() && exchange.outcome.fault.is_none() {
        exchange.outcome.fault = Some(fault);
        exchange.outcome.error = Some(reason.into());
    }
}

impl Stop {
    /// What the log says of a body that ended so; the head is with the other side already.
    fn reason(&self) -> String {
        match self {
            Stop::Answer(_) => "a plugin answered after the head had been sent".into(),
            Stop::Abort => "a plugin ended the exchange".into(),
            Stop::Failed(failure) => failure.to_string(),
        }
    }
}

fn call(direction: Direction) -> Call {
    match direction {
        Direction::Request => Call::RequestBody,
        Direction::Response => Call::ResponseBody,
    }
}

/// The receiving end of a pump.
struct Piped {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

impl http_body::Body for Piped {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        self.ended = !matches!(piece, Some(Piece::Frame(_)));
        Poll::Ready(match piece {
            Some(Piece::Frame(frame)) => Some(Ok(frame)),
            Some(Piece::Failed(error)) => Some(Err(error)),
            Some(Piece::End) => None,
            None => Some(Err(BodyError::Plugin("the exchange ended before the body".into()))),
        })
    }
}

/// A body in memory that ends with trailers.
struct WithTrailers {
    data: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for WithTrailers {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(data) = self.data.take().filter(|data| !data.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}
