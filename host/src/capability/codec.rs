//! `codec`: content codings (RFC 9110 section 8.4.1), compressed and decompressed natively while a body streams.
//!
//! Pure: bytes in, bytes out, in pieces of a bounded size. The caller decides when to go on, so no body, however well
//! it was compressed, is ever in memory as a whole because of this.
//!
//! The windows are smaller than the codings allow. A stream occupies its window for as long as the body takes, and
//! above a quarter of a megabyte a larger window hardly reduces what a gateway sends.

use std::fmt;
use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

mod decoder;

pub use decoder::{Bounds, Decoder, Error, PIECE_BYTES};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, with the window that RFC 9659 allows.
    Zstd,
}

/// Compresses one body.
pub struct Encoder {
    /// `None` once it is finished.
    stream: Option<Stream>,
    /// Whether a flush would produce output.
    has_more: bool,
}

enum Stream {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// `level` is the coding's own, and 0 chooses a good default: gzip 1 to 9 (6), brotli 1 to 9 (4), zstd 1 to 9 (3).
    /// Higher levels, whose gain is not worth a core's time, are treated as the highest. `length` is the body's, if
    /// known: a short body then needs little memory.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(coding: Coding, level: u32, length: Option<u64>) -> io::Result<Encoder> {
        let level = |usual: u32| if level == 0 { usual } else { level.min(MOST_LEVEL) };
        let stream = match coding {
            Coding::Gzip => Stream::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::new(level(6)))),
            Coding::Brotli => Stream::Brotli(Box::new(brotli_stream(level(4), length))),
            Coding::Zstd => Stream::Zstd(zstd_stream(level(3), length)?),
        };
        Ok(Encoder { stream: Some(stream), has_more: false })
    }

    /// Takes a part of the body; the output may be empty.
    ///
    /// # Errors
    /// The body does not have the announced length.
    pub fn push(&mut self, part: &[u8]) -> io::Result<Bytes> {
        self.has_more |= !part.is_empty();
        self.run(|stream| stream.write_all(part))
    }

    /// Outputs everything taken in so far, so that the receiver can read it now.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn flush(&mut self) -> io::Result<Bytes> {
        if !std::mem::take(&mut self.has_more) {
            return Ok(Bytes::new());
        }
        self.run(|stream| stream.flush())
    }

    /// Ends the body.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn finish(&mut self) -> io::Result<Bytes> {
        let rest = match self.stream.take() {
            None => Vec::new(),
            Some(Stream::Gzip(stream)) => stream.finish()?,
            Some(Stream::Brotli(stream)) => stream.into_inner(),
            Some(Stream::Zstd(stream)) => stream.finish()?,
        };
        Ok(rest.into())
    }

    fn run(&mut self, work: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Bytes> {
        let Some(stream) = &mut self.stream else { return Ok(Bytes::new()) };
        let output = match stream {
            Stream::Gzip(stream) => {
                work(stream)?;
                stream.get_mut()
            }
            Stream::Brotli(stream) => {
                work(stream.as_mut())?;
                stream.get_mut()
            }
            Stream::Zstd(stream) => {
                work(stream)?;
                stream.get_mut()
            }
        };
        Ok(std::mem::take(output).into())
    }
}

fn brotli_stream(level: u32, length: Option<u64>) -> CompressorWriter<Vec<u8>> {
    let known = length.map(|length| u64::BITS - length.leading_zeros());
    let params = BrotliEncoderParams {
        quality: level.cast_signed(),
        lgwin: known.unwrap_or(WINDOW_BITS).clamp(10, WINDOW_BITS).cast_signed(),
        size_hint: length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0),
        ..BrotliEncoderParams::default()
    };
    CompressorWriter::with_params(Vec::new(), BUFFER_BYTES, &params)
}

fn zstd_stream(level: u32, length: Option<u64>) -> io::Result<zstd::stream::write::Encoder<'static, Vec<u8>>> {
    let mut stream = zstd::stream::write::Encoder::new(Vec::new(), level.cast_signed())?;
    match length {
        Some(length) if length < 1 << WINDOW_BITS => stream.set_pledged_src_size(Some(length))?,
        _ => stream.set_parameter(CParameter::WindowLog(WINDOW_BITS))?,
    }
    Ok(stream)
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// The highest level of any coding here.
const MOST_LEVEL: u32 = 9;
/// 256 KiB. gzip's own is 32 KiB.
const WINDOW_BITS: u32 = 18;
const BUFFER_BYTES: usize = 4096;

#[cfg(test)]
mod tests;
