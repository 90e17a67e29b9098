//! Requests as messages.

use gatewright_sdk::{Exchange, StatusCode};
use gatewright_transcoding::{Code, DynamicMessage, Message as _, Parts, Refusal, frame};

use crate::{GrpcJson, Known, lost};

impl GrpcJson {
    /// The message of a request, or one of those that it streams.
    pub(crate) fn message(
        &self,
        known: &Known<'_>,
        content_type: Option<&str>,
        body: &[u8],
    ) -> Result<DynamicMessage, Refusal> {
        let query = known.call.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let parts = Parts { values: &known.values, query, content_type, body };
        known.binding.message(&known.method.input, parts, &self.query, &self.json)
    }

    /// The one frame of a call whose request has one message.
    pub(crate) fn frame(&self, known: &Known<'_>, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let kind = known.call.content_type.as_str();
        let message = self.message(known, Some(kind).filter(|kind| !kind.is_empty()), body)?;
        let mut frame = Vec::with_capacity(frame::HEAD_BYTES + body.len());
        frame::push(&mut frame, 0, &[]);
        message.encode(&mut frame).map_err(|_| Refusal::bad("The message cannot be written."))?;
        let length = u32::try_from(frame.len() - frame::HEAD_BYTES);
        let length =
            length.map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, TOO_LARGE))?;
        if let Some(place) = frame.get_mut(1..frame::HEAD_BYTES) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        Ok(frame)
    }

    /// The frames of the messages that are complete in a chunk.
    pub(crate) fn stream(&self, exchange: &Exchange, mut known: Known<'_>, chunk: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (values, rest) = known.call.sequence.take(chunk, exchange.end_of_stream()).map_err(Refusal::bad)?;
        let mut frames = Vec::new();
        for range in values {
            let message = self.message(&known, None, chunk.get(range).unwrap_or_default())?;
            frame::push(&mut frames, 0, &message.encode_to_vec());
        }
        let held = chunk.len().saturating_sub(rest);
        let kept = exchange.set_state(&known.call.to_bytes()).and_then(|()| match held {
            0 => Ok(()),
            held => exchange.hold_back(held, held + 1),
        });
        kept.map_err(|error| match error {
            gatewright_sdk::MutateError::LimitExceeded => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, TOO_LARGE)
            }
            error => lost(&error),
        })?;
        Ok(frames)
    }
}

const TOO_LARGE: &str = "A message is too large.";
