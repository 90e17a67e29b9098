#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::decoder::FREE_BYTES;
use super::*;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];
const WIDE: Bounds = Bounds { bytes: 1 << 30, ratio: u32::MAX };

/// Compresses parts, with a flush after each if wanted.
fn compress(coding: Coding, level: u32, length: Option<u64>, parts: &[&[u8]], flush: bool) -> Vec<u8> {
    let mut encoder = Encoder::new(coding, level, length).unwrap();
    let mut output = Vec::new();
    for part in parts {
        output.extend(encoder.push(part).unwrap());
        if flush {
            output.extend(encoder.flush().unwrap());
        }
    }
    output.extend(encoder.finish().unwrap());
    output
}

/// Decompresses data in pieces of `size` bytes.
fn decompress(coding: Coding, bounds: Bounds, data: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::new(coding, bounds).unwrap();
    let mut output = Vec::new();
    for part in data.chunks(size.max(1)) {
        let mut input = Bytes::copy_from_slice(part);
        while !input.is_empty() || decoder.is_full() {
            let piece = decoder.step(&mut input)?;
            assert!(piece.len() <= PIECE_BYTES);
            output.extend(piece);
        }
    }
    decoder.finish()?;
    Ok(output)
}

proptest! {
    /// Every body comes out again, in any parts, with flushes and without.
    #[test]
    fn what_is_compressed_comes_back(
        parts in prop::collection::vec(prop::collection::vec(prop::sample::select(b"abc\0\xff".to_vec()), 0..5000), 0..6),
        level in 0u32..12,
        size in 1usize..3000,
        flush: bool,
        known: bool,
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let whole = parts.concat();
        for coding in CODINGS {
            let compressed = compress(coding, level, known.then_some(whole.len() as u64), &parts, flush);
            prop_assert_eq!(decompress(coding, WIDE, &compressed, size).unwrap(), whole.clone(), "{:?}", coding);
        }
    }

    /// Any input is decompressed or refused, and never exceeds the limit.
    #[test]
    fn nothing_that_comes_breaks_a_decoder(data in prop::collection::vec(any::<u8>(), 0..2000), size in 1usize..500) {
        for coding in CODINGS {
            let bounds = Bounds { bytes: 100_000, ratio: 1000 };
            prop_assert!(decompress(coding, bounds, &data, size).is_err() || size > 0);
        }
    }
}

#[test]
fn a_flush_brings_out_all_that_was_taken_in() {
    for coding in CODINGS {
        let mut encoder = Encoder::new(coding, 0, None).unwrap();
        let mut decoder = Decoder::new(coding, WIDE).unwrap();
        for event in ["data: one\n\n", "data: two\n\n"] {
            let mut sent = encoder.push(event.as_bytes()).unwrap().to_vec();
            sent.extend(encoder.flush().unwrap());
            assert_eq!(encoder.flush().unwrap(), "", "there is nothing more to bring out");
            let mut input = Bytes::from(sent);
            assert_eq!(decoder.step(&mut input).unwrap(), event, "{coding:?}");
        }
    }
}

#[test]
fn what_is_cut_off_or_none_is_told() {
    let text = b"some text that is long enough to be compressed, some text that is long enough".as_slice();
    for coding in CODINGS {
        let good = compress(coding, 0, None, &[text], false);
        for cut in [1, good.len() / 2, good.len() - 1] {
            assert_eq!(decompress(coding, WIDE, &good[..cut], 7), Err(Error::Truncated), "{coding:?} {cut}");
        }
        assert_eq!(decompress(coding, WIDE, b"{\"plain\": \"JSON\"}", 100), Err(Error::Malformed), "{coding:?}");
        let behind = [good.as_slice(), b"behind it"].concat();
        assert_eq!(decompress(coding, WIDE, &behind, 1000), Err(Error::Malformed), "{coding:?}");
        assert_eq!(decompress(coding, WIDE, b"", 1), Ok(Vec::new()), "{coding:?}: no bytes at all are an empty body");
    }
    let mut wrong_sum = compress(Coding::Gzip, 0, None, &[text], false);
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    assert_eq!(decompress(Coding::Gzip, WIDE, &wrong_sum, 1000), Err(Error::Malformed));
}

#[test]
fn members_and_frames_follow_one_another() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let two = [compress(coding, 0, None, &[b"one"], false), compress(coding, 0, None, &[b"two"], false)].concat();
        for size in [1, 5, 1000] {
            assert_eq!(decompress(coding, WIDE, &two, size).unwrap(), b"onetwo", "{coding:?} {size}");
        }
    }
}

#[test]
fn bombs_are_stopped_early() {
    let zeros = vec![0; 64 << 20];
    for coding in CODINGS {
        let bomb = compress(coding, 9, None, &[&zeros], false);
        assert!(bomb.len() < 100 << 10, "{coding:?}: {}", bomb.len());
        let short = Bounds { bytes: 3 << 20, ratio: u32::MAX };
        let dense = Bounds { bytes: u64::MAX, ratio: 100 };
        for (bounds, error) in [(short, Error::TooLong), (dense, Error::TooDense)] {
            let mut decoder = Decoder::new(coding, bounds).unwrap();
            let (mut input, mut given) = (Bytes::from(bomb.clone()), 0);
            let stopped = loop {
                match decoder.step(&mut input) {
                    Ok(piece) => given += piece.len(),
                    Err(error) => break error,
                }
            };
            assert_eq!(stopped, error, "{coding:?}");
            let most = bounds.bytes.min(FREE_BYTES.max(bomb.len() as u64 * u64::from(bounds.ratio).min(1 << 20)));
            assert!(given as u64 <= most, "{coding:?}: {given} bytes came out");
        }
        assert_eq!(decompress(coding, WIDE, &bomb, 4096).unwrap().len(), zeros.len());
    }
}

#[test]
fn a_few_dense_lines_are_no_bomb() {
    let lines = vec![b'a'; 1 << 20];
    for coding in CODINGS {
        let data = compress(coding, 0, None, &[&lines], false);
        assert_eq!(decompress(coding, Bounds { bytes: 1 << 20, ratio: 2 }, &data, 100).unwrap().len(), lines.len());
    }
}

#[test]
fn a_length_that_was_not_kept_is_told_or_does_not_matter() {
    for coding in CODINGS {
        let mut encoder = Encoder::new(coding, 0, Some(3)).unwrap();
        let longer = encoder.push(b"more than three").and_then(|_| encoder.finish());
        assert_eq!(longer.is_err(), coding == Coding::Zstd, "{coding:?}");
    }
}
