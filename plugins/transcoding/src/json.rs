//! Messages as JSON, by the mapping of proto3; and `google.api.HttpBody`, which carries any content.

use gatewright_sdk::{StatusCode, serde::de::IgnoredAny};
use prost_reflect::{
    DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions,
    Value,
};

use crate::{Code, Refusal};

/// How messages are read and written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether unknown fields are ignored. Otherwise they are refused.
    pub lenient: bool,
    /// Whether fields without a value are written too.
    pub defaults: bool,
    /// Whether enumerations are written as numbers.
    pub numbers: bool,
    /// Whether fields have the names of the `.proto` file.
    pub original_names: bool,
}

impl Options {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Refusal`] says where it is wrong.
    pub fn message(
        &self,
        of: &MessageDescriptor,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<DynamicMessage, Refusal> {
        if is_http_body(of) {
            return http_body(of, content_type, bytes).ok_or_else(|| Refusal::bad("The body cannot be read."));
        }
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let options = DeserializeOptions::new().deny_unknown_fields(!self.lenient);
        let message = DynamicMessage::deserialize_with_options(of.clone(), &mut reader, &options);
        let message = message.and_then(|message| reader.end().map(|()| message));
        message.map_err(|error| Refusal::bad(&format!("The body cannot be read: {error}.")))
    }

    /// Reads one field of a message.
    ///
    /// # Errors
    /// As [`Options::message`].
    pub fn field(
        &self,
        message: &mut DynamicMessage,
        field: &FieldDescriptor,
        content_type: Option<&str>,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        if let (Kind::Message(of), false) = (field.kind(), field.is_list() || field.is_map()) {
            message.set_field(field, Value::Message(self.message(&of, content_type, bytes)?));
            return Ok(());
        }
        // It must be exactly one value, or it could add fields to the message that is put around it.
        serde_json::from_slice::<IgnoredAny>(bytes)
            .map_err(|error| Refusal::bad(&format!("The body cannot be read: {error}.")))?;
        let name = serde_json::Value::from(field.json_name());
        let around = [format!("{{{name}:").as_bytes(), bytes, b"}"].concat();
        let read = self.message(&message.descriptor(), None, &around)?;
        message.set_field(field, read.get_field(field).into_owned());
        Ok(())
    }

    /// Writes a message.
    ///
    /// # Errors
    /// [`Refusal`] if it has no form in JSON, such as an `Any` of an unknown type.
    pub fn write(&self, message: &DynamicMessage, to: &mut Vec<u8>) -> Result<(), Refusal> {
        let mut writer = serde_json::Serializer::new(to);
        message.serialize_with_options(&mut writer, &self.written()).map_err(|error| unwritable(&error))
    }

    /// Returns the JSON of a message.
    ///
    /// # Errors
    /// As [`Options::write`].
    pub fn bytes(&self, message: &DynamicMessage) -> Result<Vec<u8>, Refusal> {
        let mut bytes = Vec::with_capacity(256);
        self.write(message, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes one field of a message.
    ///
    /// # Errors
    /// As [`Options::write`].
    pub fn bytes_of_field(&self, message: &DynamicMessage, field: &FieldDescriptor) -> Result<Vec<u8>, Refusal> {
        let value = message.get_field(field);
        if let (Value::Message(inner), false) = (value.as_ref(), field.is_map()) {
            return match http_body_of(inner) {
                Some((_, data)) => Ok(data),
                None => self.bytes(inner),
            };
        }
        // Other kinds can only be written as a field of a message, and one without a value only if defaults are
        // written.
        let mut around = DynamicMessage::new(message.descriptor());
        around.set_field(field, value.into_owned());
        let name = if self.original_names { field.name() } else { field.json_name() };
        for options in [self.written(), self.written().skip_default_fields(false)] {
            let written = around.serialize_with_options(serde_json::value::Serializer, &options);
            if let Some(value) = written.map_err(|error| unwritable(&error))?.get_mut(name) {
                return serde_json::to_vec(value).map_err(|error| unwritable(&error));
            }
        }
        Ok(b"null".to_vec())
    }

    const fn written(&self) -> SerializeOptions {
        SerializeOptions::new()
            .skip_default_fields(!self.defaults)
            .use_enum_numbers(self.numbers)
            .use_proto_field_name(self.original_names)
    }
}

fn unwritable(error: &serde_json::Error) -> Refusal {
    let detail = format!("The answer has no form in JSON: {error}.");
    Refusal::new(StatusCode::BAD_GATEWAY, Code::Internal, &detail)
}

/// Whether a message is an `HttpBody`.
#[must_use]
pub fn is_http_body(of: &MessageDescriptor) -> bool {
    of.full_name() == "google.api.HttpBody"
}

fn http_body(of: &MessageDescriptor, content_type: Option<&str>, bytes: &[u8]) -> Option<DynamicMessage> {
    let mut body = DynamicMessage::new(of.clone());
    let content_type = content_type.unwrap_or_default().to_owned();
    body.try_set_field_by_name("content_type", Value::String(content_type)).ok()?;
    body.try_set_field_by_name("data", Value::Bytes(bytes.to_vec().into())).ok()?;
    Some(body)
}

/// The media type and the bytes of an `HttpBody`.
#[must_use]
pub fn http_body_of(message: &DynamicMessage) -> Option<(String, Vec<u8>)> {
    if !is_http_body(&message.descriptor()) {
        return None;
    }
    let content_type = message.get_field_by_name("content_type")?.as_str()?.to_owned();
    let data = message.get_field_by_name("data")?.as_bytes()?.to_vec();
    Some((content_type, data))
}
