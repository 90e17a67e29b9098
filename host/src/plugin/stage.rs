//! One step of a body's processing: a hook is called, or the body is compressed or decompressed.
//!
//! A plugin's work on a body is up to three stages: it is decompressed, the hook sees it, it is compressed. A stage has
//! an inbox for one portion and processes it in bounded pieces, so that a portion that grows is never in memory as a
//! whole. While it is working it accepts no more input.

use std::io;
use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};

use repeats::Repeats;

use super::Plugin;
use super::bindings::{BodyDecision, Direction};
use super::chain::{Chain, Stop, Verdict, settle};
use super::failure::FailureKind;
use super::run::Mode;
use super::state::Call;
use crate::capability::codec::{self, Decoder, Encoder};
use crate::exchange::{Exchange, Phase};
use crate::telemetry::metrics;

mod repeats;

/// One stage; see the module.
pub(super) struct Stage {
    /// The plugin's position in the chain.
    position: usize,
    work: Work,
    inbox: Portion,
}

enum Work {
    Hook {
        mode: Mode,
        held: BytesMut,
        /// With fewer bytes than this, the hook is not called before the end of the body.
        enough: usize,
        repeats: Repeats,
    },
    Decompress(Box<Decoder>),
    Compress(Box<Encoder>),
    /// There was not enough memory for the codec.
    Broken(io::Error),
}

/// Bytes of a body, and what follows them.
#[derive(Default)]
pub(super) struct Portion {
    pub bytes: Bytes,
    pub then: Then,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Then {
    /// More bytes, perhaps immediately.
    #[default]
    More,
    /// Nothing for a while: bytes that were taken in should be flushed.
    Pause,
    /// Nothing: the body is complete.
    End,
}

impl Portion {
    pub fn is_nothing(&self) -> bool {
        self.bytes.is_empty() && self.then == Then::More
    }
}

impl Stage {
    pub fn hook(position: usize, mode: Mode) -> Stage {
        let work = Work::Hook { mode, held: BytesMut::new(), enough: 0, repeats: Repeats::default() };
        Stage { position, work, inbox: Portion::default() }
    }

    pub fn decompress(position: usize, decoder: io::Result<Decoder>) -> Stage {
        let work = decoder.map_or_else(Work::Broken, |decoder| Work::Decompress(Box::new(decoder)));
        Stage { position, work, inbox: Portion::default() }
    }

    pub fn compress(position: usize, encoder: io::Result<Encoder>) -> Stage {
        let work = encoder.map_or_else(Work::Broken, |encoder| Work::Compress(Box::new(encoder)));
        Stage { position, work, inbox: Portion::default() }
    }

    /// Whether the stage collects the whole body, so that the head has to wait for it.
    pub fn is_whole(&self) -> bool {
        matches!(self.work, Work::Hook { mode: Mode::Whole, .. })
    }

    /// Whether the stage buffers bytes that it should flush at a pause.
    pub fn minds_pauses(&self) -> bool {
        matches!(self.work, Work::Compress(_))
    }

    /// Takes the next portion; the previous one must be used up.
    pub fn take(&mut self, portion: Portion) {
        self.inbox = portion;
    }

    pub fn has_work(&self) -> bool {
        let is_full = matches!(&self.work, Work::Decompress(decoder) if decoder.is_full());
        is_full || !self.inbox.is_nothing()
    }

    /// Processes a part of the inbox.
    pub async fn work(
        &mut self,
        chain: &Chain,
        exchange: &mut Exchange,
        direction: Direction,
    ) -> ControlFlow<Stop, Portion> {
        let Some(plugin) = chain.plugins().get(self.position) else {
            return ControlFlow::Continue(std::mem::take(&mut self.inbox));
        };
        match &mut self.work {
            Work::Hook { mode, held, enough, repeats } => {
                let Portion { bytes, then } = std::mem::take(&mut self.inbox);
                let end = then == Then::End;
                repeats.came(bytes.len());
                let mut chunk = match mode {
                    Mode::Whole => {
                        keep(plugin, direction, held, &bytes)?;
                        if !end {
                            return ControlFlow::Continue(Portion { bytes: Bytes::new(), then });
                        }
                        held.split().freeze()
                    }
                    _ if bytes.is_empty() && !end => return ControlFlow::Continue(Portion { bytes, then }),
                    _ if !end && is_early(plugin, held, &bytes, *enough, repeats) => {
                        keep(plugin, direction, held, &bytes)?;
                        return ControlFlow::Continue(Portion { bytes: Bytes::new(), then });
                    }
                    _ if held.is_empty() => bytes,
                    _ => {
                        repeats.again(held.len());
                        held.extend_from_slice(&bytes);
                        held.split().freeze()
                    }
                };
                let answer = ask(plugin, exchange, self.position, direction, &chunk, end).await?;
                let back = exchange.run.slot(self.position).and_then(|slot| slot.hold_back.take());
                let back = back.filter(|_| !end && answer.is_some()).unwrap_or_default();
                *enough = back.enough;
                let tail = chunk.split_off(chunk.len().saturating_sub(back.tail));
                let bytes = match answer {
                    None | Some(Answer::Pass) => chunk,
                    // No more bytes are coming that these could be joined with, so they are passed on.
                    Some(Answer::Hold) if end => chunk,
                    Some(Answer::Hold) => {
                        keep(plugin, direction, held, &chunk)?;
                        Bytes::new()
                    }
                    Some(Answer::Replace(bytes)) => bytes,
                    Some(Answer::Stop(verdict)) => {
                        // Once the client has the head, the only way to stop is to abort.
                        let verdict = if exchange.phase == Phase::Sent { Verdict::Abort } else { verdict };
                        verdict.apply(plugin, exchange)?;
                        chunk
                    }
                };
                keep(plugin, direction, held, &tail)?;
                ControlFlow::Continue(Portion { bytes, then })
            }
            Work::Decompress(decoder) => match decompress(decoder, &mut self.inbox) {
                Ok(portion) => self.let_others(portion).await,
                Err(error) => fail(plugin, direction, kind(error), error.to_string()),
            },
            Work::Compress(encoder) => match compress(encoder, &mut self.inbox) {
                Ok(portion) => self.let_others(portion).await,
                Err(error) => fail(plugin, direction, FailureKind::Instance, error.to_string()),
            },
            Work::Broken(error) => fail(plugin, direction, FailureKind::Instance, error.to_string()),
        }
    }

    /// A long body keeps a core busy for a long time. Between two pieces, other tasks have their turn.
    async fn let_others(&self, portion: Portion) -> ControlFlow<Stop, Portion> {
        if self.has_work() {
            tokio::task::yield_now().await;
        }
        ControlFlow::Continue(portion)
    }
}

/// Whether it is too early to call the hook, because it wants more bytes or would be shown too many again. If the limit
/// leaves no room to wait, the hook is called, for it may release some bytes.
fn is_early(plugin: &Plugin, held: &[u8], bytes: &[u8], enough: usize, repeats: &Repeats) -> bool {
    let have = held.len().saturating_add(bytes.len());
    let has_room = have <= plugin.lent().limits.body_bytes;
    have < enough || (has_room && !repeats.may_repeat(held.len()))
}

/// Holds bytes back until more arrive, within `limits.body`.
fn keep(plugin: &Plugin, direction: Direction, held: &mut BytesMut, bytes: &Bytes) -> ControlFlow<Stop> {
    let limit = plugin.lent().limits.body_bytes;
    if held.len().saturating_add(bytes.len()) > limit {
        return fail(plugin, direction, FailureKind::Body, format!("the limit is {limit} bytes"));
    }
    held.extend_from_slice(bytes);
    ControlFlow::Continue(())
}

/// Ends a body that is invalid or too large. This is the sender's fault, so the breaker does not count it: otherwise a
/// client could disable the plugin for everybody. `on_error` does not apply either, since the plugin did not fail.
fn fail<T>(plugin: &Plugin, direction: Direction, kind: FailureKind, detail: String) -> ControlFlow<Stop, T> {
    let failure = plugin.failure(call(direction), kind, detail);
    plugin.metrics().failed(metrics::OnError::Deny);
    ControlFlow::Break(Stop::Failed(failure))
}

async fn ask(
    plugin: &Plugin,
    exchange: &mut Exchange,
    position: usize,
    direction: Direction,
    chunk: &Bytes,
    end: bool,
) -> ControlFlow<Stop, Option<Answer>> {
    let limit = plugin.lent().limits.body_bytes;
    let hook = plugin.hook(
        exchange,
        position,
        call(direction),
        move |hooks| match direction {
            Direction::Request => hooks.on_request_body.as_ref(),
            Direction::Response => hooks.on_response_body.as_ref(),
        },
        (chunk.to_vec(), end),
        |(decision,)| Answer::read(decision, limit),
    );
    settle(plugin, hook.await)
}

/// A body decision, after validation.
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

fn call(direction: Direction) -> Call {
    match direction {
        Direction::Request => Call::RequestBody,
        Direction::Response => Call::ResponseBody,
    }
}

fn decompress(decoder: &mut Decoder, inbox: &mut Portion) -> Result<Portion, codec::Error> {
    let bytes = decoder.step(&mut inbox.bytes)?;
    if decoder.is_full() || !inbox.bytes.is_empty() {
        return Ok(Portion { bytes, then: Then::More });
    }
    let then = std::mem::take(&mut inbox.then);
    if then == Then::End {
        decoder.finish()?;
    }
    Ok(Portion { bytes, then })
}

fn compress(encoder: &mut Encoder, inbox: &mut Portion) -> io::Result<Portion> {
    let piece = inbox.bytes.split_to(inbox.bytes.len().min(codec::PIECE_BYTES));
    let bytes = encoder.push(&piece)?;
    if !inbox.bytes.is_empty() {
        return Ok(Portion { bytes, then: Then::More });
    }
    let then = std::mem::take(&mut inbox.then);
    let rest = match then {
        Then::More => return Ok(Portion { bytes, then }),
        Then::Pause => encoder.flush()?,
        Then::End => encoder.finish()?,
    };
    let bytes = if bytes.is_empty() { rest } else { [bytes, rest].concat().into() };
    Ok(Portion { bytes, then })
}

fn kind(error: codec::Error) -> FailureKind {
    match error {
        codec::Error::Malformed | codec::Error::Truncated => FailureKind::Coding,
        codec::Error::TooLong | codec::Error::TooDense => FailureKind::Body,
    }
}
