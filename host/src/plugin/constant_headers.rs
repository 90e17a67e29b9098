//! Header changes that a plugin makes in every exchange. It declares them once, when it is configured, and they cost no
//! call.

use http::HeaderMap;

use super::bindings::hooks::HeaderChange;
use super::bindings::{MutateError, Section};
use super::lent::Limits;
use super::run::Edit;
use super::{edit, guard};

/// The changes in each direction.
#[derive(Debug, Default)]
pub(super) struct ConstantHeaders {
    request: Edits,
    response: Edits,
}

/// The changes to one header block, in order.
#[derive(Debug, Default)]
struct Edits {
    edits: Vec<Edit>,
    /// The most bytes that they can add.
    bytes: usize,
}

impl ConstantHeaders {
    /// Adds changes to one section: all of them or none.
    pub fn add(&mut self, section: Section, changes: &[HeaderChange], limits: &Limits) -> Result<(), MutateError> {
        match section {
            Section::RequestHeaders => self.request.add(changes, limits),
            Section::ResponseHeaders => self.response.add(changes, limits),
            Section::RequestTrailers | Section::ResponseTrailers => Err(MutateError::WrongPhase),
        }
    }

    /// Changes the request's headers. Returns how many changes the limits did not allow.
    pub fn of_request(&self, headers: &mut HeaderMap, limits: &Limits) -> usize {
        self.request.make(headers, limits)
    }

    /// The same for the response's headers.
    pub fn of_response(&self, headers: &mut HeaderMap, limits: &Limits) -> usize {
        self.response.make(headers, limits)
    }
}

impl Edits {
    fn add(&mut self, changes: &[HeaderChange], limits: &Limits) -> Result<(), MutateError> {
        let more = changes.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let (count, bytes) = (self.edits.len() + more.len(), self.bytes + more.iter().map(Edit::bytes).sum::<usize>());
        if count > limits.header_count || bytes > limits.header_bytes {
            return Err(MutateError::LimitExceeded);
        }
        self.edits.extend(more);
        self.bytes = bytes;
        Ok(())
    }

    fn make(&self, headers: &mut HeaderMap, limits: &Limits) -> usize {
        if self.edits.is_empty() {
            return 0;
        }
        // Within the limits even if every field were new: then nothing has to be counted again.
        let (count, bytes) = (headers.len() + self.edits.len(), edit::bytes_of(headers) + self.bytes);
        if count <= limits.header_count && bytes <= limits.header_bytes {
            self.edits.iter().for_each(|edit| edit.clone().apply(headers));
            return 0;
        }
        self.edits.iter().filter(|edit| !make_one(edit, headers, limits)).count()
    }
}

fn read(change: &HeaderChange) -> Result<Edit, MutateError> {
    let field = |(name, value): &(String, String)| guard::field(name.as_bytes(), value.as_bytes());
    Ok(match change {
        HeaderChange::Set(set) => field(set).map(|(name, value)| Edit::Set(name, value))?,
        HeaderChange::Append(append) => field(append).map(|(name, value)| Edit::Append(name, value))?,
        HeaderChange::Remove(name) => Edit::Remove(guard::writable_name(name.as_bytes())?),
    })
}

/// Applies one change. Returns whether the limits allow it.
#[cold]
fn make_one(edit: &Edit, headers: &mut HeaderMap, limits: &Limits) -> bool {
    if !matches!(edit, Edit::Append(..)) {
        headers.remove(edit.name());
    }
    if matches!(edit, Edit::Remove(_)) {
        return true;
    }
    let bytes = edit::bytes_of(headers) + edit.bytes();
    let is_within = headers.len() < limits.header_count && bytes <= limits.header_bytes;
    if is_within {
        edit.clone().apply(headers);
    }
    is_within
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> HeaderChange {
        HeaderChange::Set((name.to_owned(), value.to_owned()))
    }

    fn append(name: &str, value: &str) -> HeaderChange {
        HeaderChange::Append((name.to_owned(), value.to_owned()))
    }

    fn remove(name: &str) -> HeaderChange {
        HeaderChange::Remove(name.to_owned())
    }

    fn limits(header_count: usize, header_bytes: usize) -> Limits {
        Limits { header_count, header_bytes, ..Limits::default() }
    }

    #[test]
    fn they_are_made_in_order_and_within_the_limits() {
        let changes = [set("x-a", "new"), append("x-a", "more"), remove("x-b"), append("x-c", "1")];
        let all = vec!["x-a: new", "x-a: more", "x-c: 1"];
        for (count, bytes, left_out, expected) in [
            (100, 1000, 0, all.clone()),
            // The present fields and all changes together are more than three fields, but the result is not.
            (3, 1000, 0, all.clone()),
            (2, 1000, 1, vec!["x-a: new", "x-c: 1"]),
            (1, 1000, 2, vec!["x-c: 1"]),
            (100, 18, 0, all),
            (100, 13, 1, vec!["x-a: new", "x-c: 1"]),
            (0, 0, 3, vec![]),
        ] {
            let mut constant = ConstantHeaders::default();
            constant.add(Section::RequestHeaders, &changes, &Limits::default()).unwrap();
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-a", "0"), ("x-b", "2")] {
                headers.append(name, value.parse().unwrap());
            }
            assert_eq!(constant.of_request(&mut headers, &limits(count, bytes)), left_out, "{count} {bytes}");
            let mut fields: Vec<String> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            fields.sort_by_key(|field| expected.iter().position(|expected| expected == field));
            assert_eq!(fields, expected, "{count} {bytes}");
            assert_eq!(constant.of_response(&mut headers, &limits(0, 0)), 0, "of the other direction nothing was said");
        }
    }

    #[test]
    fn what_may_not_be_said_is_refused_as_a_whole() {
        for (section, changes, expected) in [
            (Section::RequestTrailers, vec![remove("x-a")], "wrong-phase"),
            (Section::ResponseTrailers, vec![remove("x-a")], "wrong-phase"),
            (Section::RequestHeaders, vec![remove("x-a"), set("content-length", "1")], "forbidden"),
            (Section::ResponseHeaders, vec![remove("connection")], "forbidden"),
            (Section::ResponseHeaders, vec![append("x-a", "1\r\nx-b: 2")], "invalid-syntax"),
            (Section::ResponseHeaders, vec![set("x a", "1")], "invalid-syntax"),
            (Section::RequestHeaders, vec![append("x-a", "1"); 3], "limit-exceeded"),
            (Section::RequestHeaders, vec![set("x-a", "0123456789")], "limit-exceeded"),
        ] {
            let mut constant = ConstantHeaders::default();
            let refused = constant.add(section, &changes, &limits(2, 10)).unwrap_err();
            let refused = match refused {
                MutateError::WrongPhase => "wrong-phase",
                MutateError::Forbidden => "forbidden",
                MutateError::InvalidSyntax => "invalid-syntax",
                MutateError::LimitExceeded => "limit-exceeded",
                _ => "other",
            };
            assert_eq!(refused, expected, "{changes:?}");
            assert!(constant.request.edits.is_empty() && constant.response.edits.is_empty(), "{changes:?}");
        }
    }
}
