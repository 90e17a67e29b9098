//! Content codings, as a client and a server use them.

use std::io::{Read, Write};

/// Compresses with the coding of this name.
pub fn compress(coding: &str, data: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut stream = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            stream.write_all(data).unwrap();
            stream.finish().unwrap()
        }
        "br" => {
            let mut stream = brotli::CompressorWriter::new(Vec::new(), 4096, 9, 22);
            stream.write_all(data).unwrap();
            stream.into_inner()
        }
        "zstd" => zstd::stream::encode_all(data, 9).unwrap(),
        other => panic!("there is no coding {other:?} here"),
    }
}

/// Decompresses; fails where the data is not whole.
pub fn decompress(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(data).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut plain),
        "zstd" => zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut plain),
        other => panic!("there is no coding {other:?} here"),
    }
    .unwrap();
    plain
}

/// Decompresses as much as has come.
pub struct Inflating(Box<dyn Write + Send>, std::sync::mpsc::Receiver<Vec<u8>>);

struct Sink(std::sync::mpsc::Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Inflating {
    pub fn new(coding: &str) -> Inflating {
        let (sender, receiver) = std::sync::mpsc::channel();
        let stream: Box<dyn Write + Send> = match coding {
            "gzip" => Box::new(flate2::write::GzDecoder::new(Sink(sender))),
            "br" => Box::new(brotli::DecompressorWriter::new(Sink(sender), 4096)),
            "zstd" => Box::new(zstd::stream::write::Decoder::new(Sink(sender)).unwrap()),
            other => panic!("there is no coding {other:?} here"),
        };
        Inflating(stream, receiver)
    }

    /// What comes out for these bytes, without a byte more.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.write_all(bytes).unwrap();
        self.0.flush().unwrap();
        self.1.try_iter().collect::<Vec<_>>().concat()
    }
}
