//! Bodies on their way through the body hooks of a chain.
//!
//! A chain without body hooks never gets here. If plugins asked for chunks, each chunk goes through those plugins in
//! the order of the chain (reversed for the response), and what a plugin holds back is joined with what comes next. If
//! one asked for the whole body, the head waits, so that its hook may still change it. Held data is bounded by
//! `limits.body` of the plugin that holds it. If a plugin asked for it, the body is decompressed before its hook and
//! compressed again after it, by the host and at the same place in the chain ([`super::stage`]).
//!
//! A streamed request body goes through its hooks while the exchange is already waiting for the upstream. So the
//! exchange is put into a [`Loan`] that the streaming task and the request path use in turns.

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

use super::bindings::Direction;
use super::chain::{Chain, Stop};
use super::loan::Loan;
use super::run::{Codecs, Mode};
use super::stage::{Portion, Stage, Then};
use crate::body::{Body, BodyError, replace_fields};
use crate::capability::codec::{Decoder, Encoder};
use crate::exchange::{Exchange, Fault, Phase};

/// The stages that one body passes through.
pub struct Bodies {
    chain: Arc<Chain>,
    direction: Direction,
    stages: SmallVec<[Stage; 1]>,
}

impl Bodies {
    /// The stages that plugins asked for with this body; `None` if there are none, or no body.
    pub fn of(chain: &Arc<Chain>, exchange: &mut Exchange, direction: Direction, body: &Body) -> Option<Bodies> {
        if !exchange.run.wants(direction) {
            return None;
        }
        // A plugin that gets the whole request body can provide one where there is none; for a response, it would
        // answer instead.
        let gets_one = matches!(direction, Direction::Request) && exchange.run.wants_whole(direction);
        if body.is_end_stream() && !gets_one {
            return None;
        }
        let mut bodies = Bodies { chain: chain.clone(), direction, stages: SmallVec::new() };
        let plugins = 0..chain.plugins().len();
        match direction {
            Direction::Request => plugins.for_each(|position| bodies.add(exchange, position, body)),
            Direction::Response => plugins.rev().for_each(|position| bodies.add(exchange, position, body)),
        }
        Some(bodies)
    }

    /// Adds the stages of one plugin: decompress, call its hook, compress.
    fn add(&mut self, exchange: &mut Exchange, position: usize, body: &Body) {
        let Some(slot) = exchange.run.slot(position).filter(|slot| slot.ran) else { return };
        let (mode, Codecs { decompress, compress }) = (slot.mode(self.direction), *slot.codecs_mut(self.direction));
        if let Some((coding, bounds)) = decompress {
            self.stages.push(Stage::decompress(position, Decoder::new(coding, bounds)));
        }
        if mode != Mode::Skip {
            self.stages.push(Stage::hook(position, mode));
        }
        if let Some((coding, level)) = compress {
            // The length is known if no earlier stage may change it.
            let length = body.size_hint().exact().filter(|_| self.stages.is_empty());
            self.stages.push(Stage::compress(position, Encoder::new(coding, level, length)));
        }
    }

    /// Whether a plugin sees the whole body, so that the head has to wait for it.
    pub fn wants_whole(&self) -> bool {
        self.stages.iter().any(Stage::is_whole)
    }

    /// Reads a body to its end and returns it as the plugins left it.
    pub async fn collect(
        mut self,
        exchange: &mut Exchange,
        mut body: Body,
    ) -> ControlFlow<Stop, Result<Body, BodyError>> {
        let mut output = BytesMut::new();
        loop {
            let (bytes, then) = match body.frame().await {
                None => (Bytes::new(), Then::End),
                Some(Err(error)) => return ControlFlow::Continue(Err(error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => (bytes, Then::More),
                    Err(other) => {
                        arrived(exchange, self.direction, other);
                        continue;
                    }
                },
            };
            self.take(Portion { bytes, then });
            while let Some(portion) = self.next(exchange).await? {
                output.extend_from_slice(&portion.bytes);
            }
            if then == Then::End {
                break;
            }
        }
        let trailers = trailers(exchange, self.direction).take();
        ControlFlow::Continue(Ok(Body::from(output.freeze()).with_trailers(trailers)))
    }

    /// Streams a request body through its hooks in a task of its own; the result is the body for the upstream.
    pub fn stream_request(self, body: Body, loan: Loan) -> Body {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move { self.pump(body, &mut Turns::Loan(loan), &sender).await });
        Body::boxed(Piped { pieces: receiver, ended: false })
    }

    /// Streams a response body through its hooks. At the end, `finish` gets the exchange back, with the number of bytes
    /// that came out and whether the body was complete.
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

    /// Reads, runs the hooks and forwards, one frame at a time. Returns how many bytes were forwarded, and whether the
    /// end was.
    async fn pump(mut self, mut body: Body, turns: &mut Turns, sender: &Frames) -> (u64, bool) {
        let minds_pauses = self.stages.iter().any(Stage::minds_pauses);
        let (mut bytes, mut may_pause) = (0, false);
        loop {
            let portion = match arrival(&mut body, sender, may_pause).await {
                Arrival::Frame(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Portion { bytes, then: Then::More },
                    Err(other) => {
                        turns.arrived(self.direction, other).await;
                        continue;
                    }
                },
                Arrival::Frame(Some(Err(error))) => {
                    if matches!(self.direction, Direction::Response) {
                        turns.note(fault_of(&error), error.to_string()).await;
                    }
                    let _ = sender.send(Piece::Failed(error)).await;
                    return (bytes, false);
                }
                Arrival::Frame(None) => Portion { bytes: Bytes::new(), then: Then::End },
                Arrival::Pause => Portion { bytes: Bytes::new(), then: Then::Pause },
                Arrival::Left => return (bytes, false),
            };
            let then = portion.then;
            may_pause = minds_pauses && then == Then::More;
            match self.hand_on(portion, turns, sender).await {
                Some(more) => bytes += more,
                None => return (bytes, false),
            }
            if then == Then::End {
                if let Some(trailers) = turns.trailers(self.direction).await {
                    let _ = sender.send(Piece::Frame(Frame::trailers(*trailers))).await;
                }
                return (bytes, sender.send(Piece::End).await.is_ok());
            }
        }
    }

    /// Sends what the stages make of a portion. Returns the number of bytes sent; `None` if the body goes no further.
    async fn hand_on(&mut self, portion: Portion, turns: &mut Turns, sender: &Frames) -> Option<u64> {
        self.take(portion);
        let mut sent = 0;
        loop {
            match self.next_in_turn(turns).await {
                Ok(None) => return Some(sent),
                Ok(Some(Portion { bytes, .. })) if bytes.is_empty() => {}
                Ok(Some(Portion { bytes, .. })) => {
                    sent += bytes.len() as u64;
                    sender.send(Piece::Frame(Frame::data(bytes))).await.ok()?;
                }
                Err(reason) => {
                    let _ = sender.send(Piece::Failed(BodyError::Plugin(reason))).await;
                    return None;
                }
            }
        }
    }

    /// [`Bodies::next`], when it is this body's turn. The error is for the log.
    async fn next_in_turn(&mut self, turns: &mut Turns) -> Result<Option<Portion>, String> {
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
        match self.next(exchange).await {
            ControlFlow::Continue(portion) => Ok(portion),
            ControlFlow::Break(stop) => {
                let reason = stop.reason();
                match exchange.phase {
                    // The client has received nothing yet, so the request path can still answer as the plugin decided.
                    Phase::Upstream => exchange.run.stop(stop),
                    _ => note(exchange, Fault::Plugin, reason.clone()),
                }
                Err(reason)
            }
        }
    }

    /// Gives a portion to the first stage, which must have finished with the previous one.
    fn take(&mut self, portion: Portion) {
        if let Some(stage) = self.stages.first_mut() {
            stage.take(portion);
        }
    }

    /// The next piece that leaves the last stage; `None` once all stages have finished with their input. The last stage
    /// with work goes first, so nothing accumulates between two stages.
    async fn next(&mut self, exchange: &mut Exchange) -> ControlFlow<Stop, Option<Portion>> {
        while let Some(at) = self.stages.iter().rposition(Stage::has_work) {
            let Some(stage) = self.stages.get_mut(at) else { break };
            let portion = stage.work(&self.chain, exchange, self.direction).await?;
            match self.stages.get_mut(at + 1) {
                Some(next) => next.take(portion),
                None if portion.is_nothing() => {}
                None => return ControlFlow::Continue(Some(portion)),
            }
        }
        ControlFlow::Continue(None)
    }
}

/// What a pump does next.
enum Arrival {
    /// A frame, or the end, as returned by [`BodyExt::frame`].
    Frame(Option<Result<Frame<Bytes>, BodyError>>),
    /// No frame was ready, and none came while the other tasks on this core had a turn.
    Pause,
    /// The receiver of the output is gone.
    Left,
}

async fn arrival(body: &mut Body, sender: &Frames, may_pause: bool) -> Arrival {
    if may_pause {
        return tokio::select! {
            biased;
            frame = body.frame() => Arrival::Frame(frame),
            () = tokio::task::yield_now() => Arrival::Pause,
        };
    }
    tokio::select! {
        frame = body.frame() => Arrival::Frame(frame),
        () = sender.closed() => Arrival::Left,
    }
}

/// Where a pump gets the exchange from.
enum Turns {
    Own(Exchange),
    Loan(Loan),
}

type Frames = mpsc::Sender<Piece>;

/// A piece of output. The end is explicit, never inferred: a pump that died must not look like a complete body.
enum Piece {
    Frame(Frame<Bytes>),
    Failed(BodyError),
    End,
}

impl Turns {
    /// Keeps trailers until the end, so that hooks can see them.
    async fn arrived(&mut self, direction: Direction, frame: Frame<Bytes>) {
        match self {
            Turns::Own(exchange) => arrived(exchange, direction, frame),
            Turns::Loan(loan) => arrived(&mut *loan.turn().await, direction, frame),
        }
    }

    /// Takes the trailers as the hooks left them.
    async fn trailers(&mut self, direction: Direction) -> Option<Box<HeaderMap>> {
        let take = |exchange: &mut Exchange| match exchange.is_lent() {
            true => None,
            false => trailers(exchange, direction).take().filter(|trailers| !trailers.is_empty()),
        };
        match self {
            Turns::Own(exchange) => take(exchange),
            Turns::Loan(loan) => take(&mut *loan.turn().await),
        }
    }

    async fn note(&mut self, fault: Fault, reason: String) {
        match self {
            Turns::Own(exchange) => note(exchange, fault, reason),
            Turns::Loan(loan) => note(&mut *loan.turn().await, fault, reason),
        }
    }
}

fn trailers(exchange: &mut Exchange, direction: Direction) -> &mut Option<Box<HeaderMap>> {
    match direction {
        Direction::Request => &mut exchange.trailers.request,
        Direction::Response => &mut exchange.trailers.response,
    }
}

/// Puts trailers where hooks see them. Fields of the same name that a response hook has set stay.
fn arrived(exchange: &mut Exchange, direction: Direction, frame: Frame<Bytes>) {
    if exchange.is_lent() {
        return;
    }
    if let Ok(mut arrived) = frame.into_trailers() {
        let trailers = trailers(exchange, direction);
        if let Some(own) = trailers.take() {
            replace_fields(&mut arrived, *own);
        }
        *trailers = Some(Box::new(arrived));
    }
}

/// Whose fault it is that a response body broke off. The rest of a request that is still being sent ends its response,
/// too.
pub fn fault_of(error: &BodyError) -> Fault {
    match error {
        BodyError::TimedOut => Fault::TimedOut,
        BodyError::Client(_) if error.is_clients_end() => Fault::ClientLeft,
        BodyError::Client(_) | BodyError::TooLarge(_) => Fault::Request,
        _ => Fault::Upstream,
    }
}

/// Notes a failure, unless an earlier one was noted.
fn note(exchange: &mut Exchange, fault: Fault, reason: String) {
    if !exchange.is_lent() && exchange.outcome.fault.is_none() {
        exchange.outcome.fault = Some(fault);
        exchange.outcome.error = Some(reason.into());
    }
}

impl Stop {
    /// What the log says about a body that ended this way; the head has already been sent.
    fn reason(&self) -> String {
        match self {
            Stop::Answer(_) => "a plugin answered after the head had been sent".into(),
            Stop::Abort => "a plugin ended the exchange".into(),
            Stop::Failed(failure) => failure.to_string(),
        }
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
