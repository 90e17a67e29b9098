//! Frames of HTTP/2 as bytes (RFC 9113, section 4.1).

/// The connection preface and empty settings.
pub fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, b"")].concat()
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A GET that is complete with its head, by the static table of HPACK.
pub fn get(stream: u32, more: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &[HEAD, more].concat())
}

/// `GET / http a`.
pub const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x01, 1, b'a'];

/// A field that goes into the dynamic table, with a value of this many bytes (up to 16 KiB).
pub fn indexed_field(name: &str, value: usize) -> Vec<u8> {
    let mut field = vec![0x40, u8::try_from(name.len()).unwrap()];
    field.extend(name.as_bytes());
    // An integer with a prefix of seven bits (RFC 7541, section 5.1).
    let mut rest = value - 127;
    field.push(127);
    while rest >= 128 {
        field.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    field.push(u8::try_from(rest).unwrap());
    field.extend(std::iter::repeat_n(b'v', value));
    field
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
