//! Queries as fields of a message.

use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use crate::{refusal::Refusal, scalar};

/// How to read queries.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Names to ignore.
    pub ignored: Vec<String>,
    /// Whether names that are not fields are ignored. Otherwise they are refused.
    pub lenient: bool,
    /// Whether "+" is a space, as in forms of browsers.
    pub plus_is_space: bool,
}

impl Query {
    /// Puts the arguments of a query into a message.
    ///
    /// # Errors
    /// [`Refusal`] names the argument.
    pub fn apply(&self, query: &str, message: &mut DynamicMessage) -> Result<(), Refusal> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name, self.plus_is_space).ok_or_else(|| Refusal::bad("The query is not UTF-8."))?;
            if self.ignored.contains(&name) {
                continue;
            }
            let refuse = |why: &str| Refusal::bad(&format!("The argument {name:?} of the query {why}."));
            let path = match fields(&message.descriptor(), &name) {
                Ok(path) => path,
                Err(_) if self.lenient => continue,
                Err(why) => return Err(refuse(why)),
            };
            let value = decoded(value, self.plus_is_space).ok_or_else(|| refuse("is not UTF-8"))?;
            set(message, &path, &value, true).map_err(|why| refuse(&why))?;
        }
        Ok(())
    }

    /// The query that represents a message; `None` if it cannot be one. The reverse of [`Query::apply`].
    #[must_use]
    pub fn of(message: &DynamicMessage) -> Option<String> {
        let mut arguments = Vec::new();
        collect(message, "", &mut arguments).then(|| arguments.join("&"))
    }
}

fn collect(message: &DynamicMessage, prefix: &str, arguments: &mut Vec<String>) -> bool {
    let escaped =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    message.fields().all(|(field, value)| {
        let name = format!("{prefix}{}", field.json_name());
        let kind = field.kind();
        let mut add = |value: &Value| match scalar::text(&kind, value) {
            Some(text) => {
                arguments.push(format!("{name}={}", escaped(&text)));
                true
            }
            None => false,
        };
        match value {
            Value::List(values) => values.iter().all(add),
            Value::Message(inner) if !scalar::has_text(&inner.descriptor()) => {
                collect(inner, &format!("{name}."), arguments)
            }
            value => add(value),
        }
    })
}

/// Text of a query or a path.
#[must_use]
pub fn decoded(text: &str, plus_is_space: bool) -> Option<String> {
    let spaced = if plus_is_space { text.replace('+', " ") } else { text.to_owned() };
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

/// The fields along a path of names, each by its name or by its name in JSON.
///
/// # Errors
/// Why the path leads nowhere, as the end of a sentence.
pub(crate) fn fields(of: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, &'static str> {
    let mut message = Some(of.clone());
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    for name in path.split('.') {
        if fields.len() == DEEPEST {
            return Err("is nested too deeply");
        }
        let within = message.take().ok_or("leads into something that has no fields")?;
        let field = within.get_field_by_name(name).or_else(|| within.get_field_by_json_name(name));
        let field = field.ok_or("is not a field")?;
        if let (Kind::Message(inner), false) = (field.kind(), field.is_list() || field.is_map()) {
            message = Some(inner);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// Sets the field at a path. A repeated field gets one more value if it `may_repeat`.
///
/// # Errors
/// Why not, as the end of a sentence.
pub(crate) fn set(
    message: &mut DynamicMessage,
    path: &[FieldDescriptor],
    text: &str,
    may_repeat: bool,
) -> Result<(), String> {
    let Some((last, before)) = path.split_last() else { return Ok(()) };
    let mut within = message;
    for field in before {
        within = within.get_field_mut(field).as_message_mut().ok_or("leads into something that has no fields")?;
    }
    if last.is_map() {
        return Err("is a map, which a query cannot have".to_owned());
    }
    let value = scalar::parse(&last.kind(), text)?;
    match within.get_field_mut(last) {
        Value::List(values) if may_repeat => values.push(value),
        Value::List(_) => return Err("is a list".to_owned()),
        place => *place = value,
    }
    Ok(())
}

/// As deep as prost reads a message; writing needs stack for each level.
const DEEPEST: usize = 100;
