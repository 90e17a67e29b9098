//! Decompression, in pieces and within limits.

use std::fmt;

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::Coding;

/// Limits for a decompressed body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the whole body.
    pub bytes: u64,
    /// How many times as long as the compressed body it may be, once it is longer than [`FREE_BYTES`].
    pub ratio: u32,
}

/// Why a body is not decompressed further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is not data of this coding.
    Malformed,
    /// It is incomplete.
    Truncated,
    /// It is over [`Bounds::bytes`].
    TooLong,
    /// It is over [`Bounds::ratio`].
    TooDense,
}

/// Decompresses one body.
pub struct Decoder {
    stream: Stream,
    bounds: Bounds,
    taken: u64,
    given: u64,
    /// Between two members or frames, where the body may end.
    at_border: bool,
    /// The last piece was full, so there may be more without further input.
    is_full: bool,
}

enum Stream {
    Gzip(Decompress),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

impl Decoder {
    /// # Errors
    /// There is no memory.
    pub fn new(coding: Coding, bounds: Bounds) -> std::io::Result<Decoder> {
        let stream = match coding {
            Coding::Gzip => Stream::Gzip(Decompress::new_gzip(15)),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Stream::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            Coding::Zstd => {
                let mut stream = zstd::stream::raw::Decoder::new()?;
                stream.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_BITS))?;
                Stream::Zstd(stream)
            }
        };
        // An empty input is treated as an empty body.
        Ok(Decoder { stream, bounds, taken: 0, given: 0, at_border: true, is_full: false })
    }

    /// Takes from `input` what it needs for the next piece, at most [`PIECE_BYTES`]. The input is used up once `input`
    /// is empty and [`Decoder::is_full`] is false.
    ///
    /// # Errors
    /// See [`Error`]; decoding cannot continue then.
    pub fn step(&mut self, input: &mut Bytes) -> Result<Bytes, Error> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut written = 0;
        while written < piece.len() && (!input.is_empty() || self.is_full) {
            let room = piece.get_mut(written..).unwrap_or_default();
            let begins = self.at_border && self.taken > 0;
            let (read, wrote, at_border) = self.stream.run(input, room, begins)?;
            self.is_full = wrote == room.len() && !at_border;
            self.at_border = at_border;
            if read == 0 && wrote == 0 {
                // It can neither output anything nor accept more of this input.
                if !input.is_empty() {
                    return Err(Error::Malformed);
                }
                break;
            }
            input.advance(read);
            written += wrote;
            self.taken += read as u64;
            self.given += wrote as u64;
            self.check()?;
        }
        piece.truncate(written);
        Ok(piece.into())
    }

    /// Whether there may be more output without more input.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the body may end here.
    ///
    /// # Errors
    /// [`Error::Truncated`].
    pub fn finish(&self) -> Result<(), Error> {
        if self.at_border { Ok(()) } else { Err(Error::Truncated) }
    }

    fn check(&self) -> Result<(), Error> {
        if self.given > self.bounds.bytes {
            return Err(Error::TooLong);
        }
        let most = self.taken.saturating_mul(u64::from(self.bounds.ratio));
        if self.given > FREE_BYTES && self.given > most { Err(Error::TooDense) } else { Ok(()) }
    }
}

impl Stream {
    /// One step: how much was read, how much was written, and whether a body may end here. `begins` says that the data
    /// so far was complete, and that this is the beginning of another member or frame.
    fn run(&mut self, input: &[u8], output: &mut [u8], begins: bool) -> Result<(usize, usize, bool), Error> {
        match self {
            Stream::Gzip(stream) => {
                if begins {
                    // Another member (RFC 1952 section 2.2).
                    *stream = Decompress::new_gzip(15);
                }
                let (read, written) = (stream.total_in(), stream.total_out());
                let status = stream.decompress(input, output, FlushDecompress::None).map_err(|_| Error::Malformed)?;
                // Both differences fit: they are within slices.
                let read = (stream.total_in() - read) as usize;
                let written = (stream.total_out() - written) as usize;
                Ok((read, written, status == Status::StreamEnd))
            }
            Stream::Brotli(state) => {
                if begins {
                    return Err(Error::Malformed);
                }
                let (mut left, mut read, mut room, mut written, mut total) = (input.len(), 0, output.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    output,
                    &mut total,
                    state,
                );
                match result {
                    BrotliResult::ResultFailure => Err(Error::Malformed),
                    result => Ok((read, written, matches!(result, BrotliResult::ResultSuccess))),
                }
            }
            Stream::Zstd(stream) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
                let hint = stream.run(&mut from, &mut to).map_err(|_| Error::Malformed)?;
                Ok((from.pos(), to.pos(), hint == 0))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Malformed => "it is not what its content-encoding says",
            Error::Truncated => "it ends before its end",
            Error::TooLong => "decompressed it is longer than it may be",
            Error::TooDense => "it is compressed more densely than it may be",
        })
    }
}

impl std::error::Error for Error {}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

/// The most that one step outputs.
pub const PIECE_BYTES: usize = 32 << 10;
/// Any body may become this long, whatever its ratio: a few repeated lines are dense and harmless.
pub const FREE_BYTES: u64 = 1 << 20;
/// 8 MiB, which a recipient must support and a sender must not exceed (RFC 9659 section 3).
const ZSTD_WINDOW_BITS: u32 = 23;
