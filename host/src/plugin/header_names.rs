//! The header names that an instance writes: a plugin writes the same few for each request, so they are checked once.

use http::header::{HeaderName, HeaderValue};

use super::bindings::MutateError;
use super::guard;

/// Names that have been checked.
#[derive(Default)]
pub(super) struct HeaderNames(Vec<HeaderName>);

impl HeaderNames {
    /// [`guard::writable_name`].
    pub fn writable(&mut self, name: &[u8]) -> Result<HeaderName, MutateError> {
        if let Some(known) = self.0.iter().find(|known| known.as_str().as_bytes() == name) {
            return Ok(known.clone());
        }
        let checked = guard::writable_name(name)?;
        if self.0.len() < MOST && name.len() <= LONGEST {
            self.0.push(checked.clone());
        }
        Ok(checked)
    }

    /// [`guard::field`].
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(HeaderName, HeaderValue), MutateError> {
        Ok((self.writable(name)?, guard::value(value)?))
    }
}

/// The most names kept for an instance, and the most bytes of one: what a plugin has the gateway keep is bounded.
const MOST: usize = 16;
const LONGEST: usize = 64;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_judged_alike_each_time_and_few_are_kept() {
        let mut names = HeaderNames::default();
        for _ in 0..2 {
            assert_eq!(names.writable(b"x-user").unwrap(), "x-user");
            assert_eq!(names.writable(b"X-User").unwrap(), "x-user");
            assert!(matches!(names.writable(b"host"), Err(MutateError::Forbidden)));
            assert!(matches!(names.writable(b"a b"), Err(MutateError::InvalidSyntax)));
            assert_eq!(names.writable("y".repeat(LONGEST + 1).as_bytes()).unwrap().as_str().len(), LONGEST + 1);
        }
        for number in 0..2 * MOST {
            let name = format!("x-{number}");
            assert_eq!(names.writable(name.as_bytes()).unwrap(), *name);
        }
        assert_eq!(names.0.len(), MOST);
        assert!(names.0.iter().all(|name| name.as_str().len() <= LONGEST));
    }
}
