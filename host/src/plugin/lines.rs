//! What a guest prints, cut into lines.

/// The unfinished line. Anything beyond [`LINE_BYTES`] in a line is dropped.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes printed bytes and passes on each line that they complete.
    pub fn take(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end(&mut line);
            } else if self.0.len() < LINE_BYTES {
                self.0.push(byte);
            }
        }
    }

    /// Passes on the unfinished line, unless it is empty.
    pub fn end(&mut self, line: impl FnOnce(&str)) {
        if !self.0.is_empty() {
            line(&String::from_utf8_lossy(&std::mem::take(&mut self.0)));
        }
    }
}

/// The longest line that is kept, in bytes.
const LINE_BYTES: usize = 4096;
