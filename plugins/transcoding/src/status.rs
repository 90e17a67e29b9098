//! gRPC's statuses, and the corresponding HTTP statuses.

use base64::{Engine as _, engine::general_purpose};
use gatewright_sdk::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage};
use serde_json::{Map, Value, json};

/// `google.rpc.Code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// Other numbers become `Unknown`.
    #[must_use]
    pub fn of(number: i32) -> Self {
        ALL.into_iter().find(|code| *code as i32 == number).unwrap_or(Self::Unknown)
    }

    /// The name in `google/rpc/code.proto`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }

    /// The HTTP status for the code, as in `google/rpc/code.proto`.
    #[must_use]
    pub fn http(self) -> StatusCode {
        let status = match self {
            Self::Ok => 200,
            Self::Cancelled => 499,
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists | Self::Aborted => 409,
            Self::ResourceExhausted => 429,
            Self::Unknown | Self::Internal | Self::DataLoss => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
            Self::DeadlineExceeded => 504,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The code for an HTTP status: the reverse of [`Code::http`]; if several codes have the status, the likeliest.
    #[must_use]
    pub fn of_http(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Ok,
            400 | 422 => Self::InvalidArgument,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 410 => Self::NotFound,
            409 => Self::Aborted,
            412 => Self::FailedPrecondition,
            413 | 429 => Self::ResourceExhausted,
            416 => Self::OutOfRange,
            499 => Self::Cancelled,
            405 | 501 => Self::Unimplemented,
            502 | 503 => Self::Unavailable,
            408 | 504 => Self::DeadlineExceeded,
            500 => Self::Internal,
            _ => Self::Unknown,
        }
    }
}

const ALL: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub message: String,
    /// A `google.rpc.Status` as the server sent it, which may have details.
    pub details: Option<Vec<u8>>,
}

impl Status {
    #[must_use]
    pub fn new(code: Code, message: &str) -> Self {
        Self { code, message: message.to_owned(), details: None }
    }

    /// From `grpc-status`, `grpc-message` and `grpc-status-details-bin`; `None` if there is no status.
    #[must_use]
    pub fn read([status, message, details]: [Option<String>; 3]) -> Option<Self> {
        let code = Code::of(status?.trim().parse().unwrap_or(Code::Unknown as i32));
        let message = message.map(|message| percent_decode_str(&message).decode_utf8_lossy().into_owned());
        let details = details.and_then(|details| {
            let details = details.trim().trim_end_matches('=');
            general_purpose::STANDARD_NO_PAD.decode(details).ok()
        });
        Some(Self { code, message: message.unwrap_or_default(), details })
    }

    /// The names that [`Status::read`] reads, in trailers or in the head of a response without a body.
    pub const FIELDS: [&'static str; 3] = ["grpc-status", "grpc-message", "grpc-status-details-bin"];

    /// The fields of the status.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("grpc-status", (self.code as i32).to_string())];
        if !self.message.is_empty() {
            fields.push(("grpc-message", utf8_percent_encode(&self.message, ESCAPED).to_string()));
        }
        if let Some(details) = &self.details {
            fields.push(("grpc-status-details-bin", general_purpose::STANDARD_NO_PAD.encode(details)));
        }
        fields
    }

    /// The types and the bytes of the details, for readers that do not know the types.
    #[must_use]
    pub fn details(&self) -> Vec<(String, Vec<u8>)> {
        let status = self.details.as_deref().and_then(|bytes| Details::decode(bytes).ok()).unwrap_or_default();
        status.details.into_iter().map(|any| (any.type_url, any.value)).collect()
    }

    /// As `google.rpc.Status` in JSON. Details of types that `pool` does not have are `{ "@type": .., "value": base64 }`.
    #[must_use]
    pub fn json(&self, pool: &DescriptorPool) -> Value {
        let mut object =
            Map::from_iter([("code".to_owned(), json!(self.code as i32)), ("message".to_owned(), json!(self.message))]);
        let details = self.details.as_deref().and_then(|bytes| {
            let status = pool.get_message_by_name("google.rpc.Status")?;
            let status = DynamicMessage::decode(status, bytes).ok()?;
            let details = status.get_field_by_name("details")?.into_owned();
            Some(details.as_list()?.iter().filter_map(|detail| any(detail.as_message()?)).collect::<Vec<_>>())
        });
        if let Some(details) = details.filter(|details| !details.is_empty()) {
            object.insert("details".to_owned(), Value::Array(details));
        }
        Value::Object(object)
    }
}

/// The used fields of `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

fn any(detail: &DynamicMessage) -> Option<Value> {
    if let Ok(value) = serde_json::to_value(detail) {
        return Some(value);
    }
    let field = |name| detail.descriptor().get_field_by_name(name).map(|field| detail.get_field(&field).into_owned());
    let (kind, value) = (field("type_url")?, field("value")?);
    let value = general_purpose::STANDARD.encode(value.as_bytes()?);
    Some(json!({ "@type": kind.as_str()?, "value": value }))
}

/// "gRPC over HTTP2": everything but visible ASCII, and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for code in ALL {
            assert_eq!(Code::of(code as i32), code);
        }
        assert_eq!(Code::of(17), Code::Unknown);
        assert_eq!(Code::NotFound.http(), 404);
        assert_eq!(Code::of_http(StatusCode::CREATED), Code::Ok);
    }

    #[test]
    fn what_is_written_is_read() {
        let status = Status { code: Code::Aborted, message: "50 % ü\n".to_owned(), details: Some(vec![8, 10]) };
        let fields = status.fields();
        assert_eq!(fields[1].1, "50 %25 %C3%BC%0A");
        let value = |at: usize| Some(fields[at].1.clone());
        assert_eq!(Status::read([value(0), value(1), value(2)]), Some(status));
        assert_eq!(Status::read([None, value(1), None]), None);
        assert_eq!(Status::read([Some("x".to_owned()), None, None]).unwrap().code, Code::Unknown);
    }
}
