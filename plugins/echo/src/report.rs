//! The report about a request.

use std::borrow::Cow;

use gatewright_sdk::serde::{Serialize, Serializer, ser::SerializeMap};

/// The JSON of the response, in this order.
#[derive(Debug, Serialize)]
#[serde(crate = "gatewright_sdk::serde")]
pub(crate) struct Report {
    pub(crate) method: String,
    /// The path with the query.
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) headers: Headers,
    /// The client's address, if the gateway knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
}

/// An object of the headers, in the order in which names first occurred. Values of one name are joined by `, ` (RFC
/// 9110 section 5.3); bytes that are not UTF-8 become U+FFFD.
#[derive(Debug)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// `masked` is the names, in lower case, whose values become `***`.
    pub(crate) fn masked(received: Vec<(String, Vec<u8>)>, masked: &[String]) -> Self {
        let mut headers: Vec<(String, String)> = Vec::with_capacity(received.len());
        for (name, value) in received {
            let value = if masked.contains(&name) { Cow::Borrowed("***") } else { String::from_utf8_lossy(&value) };
            match headers.iter_mut().find(|(have, _)| *have == name) {
                Some((_, joined)) => {
                    joined.push_str(", ");
                    joined.push_str(&value);
                }
                None => headers.push((name, value.into_owned())),
            }
        }
        Self(headers)
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
