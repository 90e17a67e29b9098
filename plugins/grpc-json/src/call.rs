//! The data of a request that is kept from hook to hook.

use gatewright_transcoding::Sequence;

/// A request that became a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub form: Form,
    /// The position in the client's stream, if it streams.
    pub sequence: Sequence,
    /// Whether the response has had a message.
    pub had: bool,
    /// The position of its rule.
    pub rule: u32,
    /// The original path with query, and the body's media type (or nothing).
    pub target: String,
    pub content_type: String,
}

/// How messages of a stream are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON array.
    Array,
    /// One message a line: `application/x-ndjson`.
    Lines,
    /// `text/event-stream`.
    Events,
}

impl Call {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(17 + self.target.len() + self.content_type.len());
        bytes.push(self.form as u8);
        bytes.push(u8::from(self.had));
        bytes.extend(self.sequence.to_bytes());
        bytes.extend(self.rule.to_le_bytes());
        bytes.extend(self.target.as_bytes());
        bytes.push(b' ');
        bytes.extend(self.content_type.as_bytes());
        bytes
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let ([form, had], rest) = bytes.split_first_chunk::<2>()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (rule, rest) = rest.split_first_chunk()?;
        // A target has no space.
        let (target, content_type) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
        let form = match form {
            1 => Form::Lines,
            2 => Form::Events,
            _ => Form::Array,
        };
        Some(Self {
            form,
            had: *had != 0,
            sequence: Sequence::of_bytes(*sequence),
            rule: u32::from_le_bytes(*rule),
            target: target.to_owned(),
            content_type: content_type.to_owned(),
        })
    }
}

impl Form {
    /// The first supported form in `Accept`; an array if there is none.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let types = accept.unwrap_or_default().split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let form = |kind: &str| match kind.to_ascii_lowercase().as_str() {
            "application/json" => Some(Self::Array),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Self::Lines),
            "text/event-stream" => Some(Self::Events),
            _ => None,
        };
        types.filter_map(form).next().unwrap_or(Self::Array)
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Array => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// The text before a message.
    pub(crate) const fn before(self, is_first: bool) -> &'static str {
        match (self, is_first) {
            (Self::Array, true) => "[",
            (Self::Array, false) => ",",
            (Self::Lines, _) => "",
            (Self::Events, _) => "data: ",
        }
    }

    /// The text after a message.
    pub(crate) const fn behind(self) -> &'static str {
        match self {
            Self::Array => "",
            Self::Lines => "\n",
            Self::Events => "\n\n",
        }
    }

    /// The text at the end; `had` says whether there was a message.
    pub(crate) const fn end(self, had: bool) -> &'static str {
        match (self, had) {
            (Self::Array, true) => "]",
            (Self::Array, false) => "[]",
            (Self::Lines | Self::Events, _) => "",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        for form in [Form::Array, Form::Lines, Form::Events] {
            let (target, content_type) = ("/a?c".to_owned(), "a/b; c=d".to_owned());
            let call = Call { form, had: true, sequence: Sequence::default(), rule: 300, target, content_type };
            assert_eq!(Call::of_bytes(&call.to_bytes()).unwrap(), call);
        }
        assert_eq!(Call::of_bytes(b""), None);
    }

    #[test]
    fn forms() {
        for (accept, form) in [
            (None, Form::Array),
            (Some("*/*"), Form::Array),
            (Some("text/html, application/x-ndjson;q=0.5"), Form::Lines),
            (Some("Text/Event-Stream"), Form::Events),
            (Some("application/json, text/event-stream"), Form::Array),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept:?}");
        }
    }
}
