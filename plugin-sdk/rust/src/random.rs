//! Random numbers from the operating system's generator, fit for keys and nonces.

use crate::host::random as host;

/// At most 65,536 bytes; asking for more ends the instance.
#[must_use]
pub fn bytes(length: u32) -> Vec<u8> {
    host::bytes(length)
}

/// Any 64 bits.
#[must_use]
pub fn number() -> u64 {
    host::number()
}
