//! A resolved rule of `google.api.http`: which parts of a request are which fields of a message.

use gatewright_sdk::StatusCode;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

use crate::{Code, Method, Query, Refusal, Template, json, query};

/// One rule of a method.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The position of the method in its schema.
    pub method: usize,
    template: Template,
    /// The fields of the template, each as a path of fields.
    variables: Vec<Vec<FieldDescriptor>>,
    pub body: BodyOf,
    /// The field of the response that is the body; the whole response if there is none.
    pub response_body: Option<FieldDescriptor>,
}

/// The part of a message that is the body.
#[derive(Clone, Debug, PartialEq)]
pub enum BodyOf {
    Nothing,
    Message,
    Field(FieldDescriptor),
}

/// Parts of a request that make a message.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub values: &'a [String],
    pub query: &'a str,
    pub content_type: Option<&'a str>,
    pub body: &'a [u8],
}

/// The rules of a method, with their HTTP methods (`None` is any).
pub(crate) fn of(
    at: usize,
    method: &Method,
    descriptor: &MethodDescriptor,
    pool: &DescriptorPool,
) -> Result<Vec<(Option<String>, Binding)>, String> {
    let options = descriptor.options();
    let rule = pool.get_extension_by_name("google.api.http").filter(|extension| options.has_extension(extension));
    let Some(rule) = rule.map(|extension| options.get_extension(&extension).into_owned()) else {
        let template = Template::parse(&method.path)?;
        let binding =
            Binding { method: at, template, variables: Vec::new(), body: BodyOf::Message, response_body: None };
        return Ok(vec![(Some("POST".to_owned()), binding)]);
    };
    let rule = rule.as_message().ok_or("google.api.http is no message")?;
    let mut bindings = vec![one(at, method, rule)?];
    for more in list(rule, "additional_bindings") {
        if !list(&more, "additional_bindings").is_empty() {
            return Err("an additional binding has additional bindings".to_owned());
        }
        bindings.push(one(at, method, &more)?);
    }
    Ok(bindings)
}

fn one(at: usize, method: &Method, rule: &DynamicMessage) -> Result<(Option<String>, Binding), String> {
    let verbs = ["get", "put", "post", "delete", "patch"];
    let plain = verbs.into_iter().find_map(|verb| Some((verb.to_ascii_uppercase(), text(rule, verb)?)));
    let custom = || {
        let custom = rule.get_field_by_name("custom")?.into_owned();
        let custom = custom.as_message()?;
        Some((text(custom, "kind")?, text(custom, "path")?))
    };
    let (verb, path) = plain.or_else(custom).ok_or("a rule has no method of HTTP, or no path")?;
    let template = Template::parse(&path).map_err(|why| format!("{path:?}: {why}"))?;
    let variables = template
        .fields()
        .map(|name| variable(&method.input, name).map_err(|why| format!("{path:?}: the variable {name:?} {why}")));
    let variables = variables.collect::<Result<Vec<_>, _>>()?;
    let field = |of: &MessageDescriptor, name: &str, what: &str| {
        of.get_field_by_name(name).ok_or_else(|| format!("{path:?}: {what} {name:?} is no field of {}", of.full_name()))
    };
    let body = match text(rule, "body").as_deref() {
        None => BodyOf::Nothing,
        Some("*") => BodyOf::Message,
        Some(name) => BodyOf::Field(field(&method.input, name, "the body")?),
    };
    let response_body = text(rule, "response_body").map(|name| field(&method.output, &name, "the response body"));
    let binding = Binding { method: at, template, variables, body, response_body: response_body.transpose()? };
    Ok((Some(verb).filter(|verb| verb != "*"), binding))
}

/// A field of the path: it does not repeat, and it has a single value.
fn variable(input: &MessageDescriptor, name: &str) -> Result<Vec<FieldDescriptor>, String> {
    let path = query::fields(input, name)?;
    let last = path.last().ok_or("is empty")?;
    if last.is_list() || last.is_map() {
        return Err("repeats".to_owned());
    }
    match last.kind() {
        Kind::Message(of) if !crate::scalar::has_text(&of) => Err("is a message".to_owned()),
        _ => Ok(path),
    }
}

fn text(of: &DynamicMessage, name: &str) -> Option<String> {
    of.get_field_by_name(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list(of: &DynamicMessage, name: &str) -> Vec<DynamicMessage> {
    let values = of.get_field_by_name(name).map(std::borrow::Cow::into_owned);
    let values = values.as_ref().and_then(Value::as_list).unwrap_or_default();
    values.iter().filter_map(|value| value.as_message().cloned()).collect()
}

impl Binding {
    #[must_use]
    pub const fn template(&self) -> &Template {
        &self.template
    }

    /// The message of a request. The path takes precedence, since routes and policies were applied to it.
    ///
    /// # Errors
    /// [`Refusal`] says what is wrong with the request.
    pub fn message(
        &self,
        input: &MessageDescriptor,
        parts: Parts<'_>,
        query: &Query,
        options: &json::Options,
    ) -> Result<DynamicMessage, Refusal> {
        let mut message = DynamicMessage::new(input.clone());
        if !parts.body.is_empty() {
            match &self.body {
                BodyOf::Nothing => return Err(Refusal::bad("This method takes no body.")),
                BodyOf::Message => message = options.message(input, parts.content_type, parts.body)?,
                BodyOf::Field(field) => options.field(&mut message, field, parts.content_type, parts.body)?,
            }
        }
        query.apply(parts.query, &mut message)?;
        for (path, value) in self.variables.iter().zip(parts.values) {
            query::set(&mut message, path, value, false).map_err(|why| {
                let name: Vec<&str> = path.iter().map(FieldDescriptor::name).collect();
                Refusal::bad(&format!("{:?} in the path {why}.", name.join(".")))
            })?;
        }
        Ok(message)
    }

    /// The request of a message: path with query, and the body. The reverse of [`Binding::message`].
    ///
    /// # Errors
    /// [`Refusal`] says what cannot be expressed in it.
    pub fn request(
        &self,
        message: &DynamicMessage,
        options: &json::Options,
    ) -> Result<(String, Option<Vec<u8>>), Refusal> {
        let mut rest = message.clone();
        let mut names = self.template.fields().zip(&self.variables);
        let path = self.template.expand(|field| {
            let (_, path) = names.by_ref().find(|(name, _)| *name == field)?;
            take(&mut rest, path)
        });
        let mut path = path.ok_or_else(|| {
            Refusal::bad(&format!("The message has no fields that the path {} could have.", self.template))
        })?;
        let body = match &self.body {
            BodyOf::Nothing => None,
            BodyOf::Message => return Ok((path, Some(options.bytes(&rest)?))),
            BodyOf::Field(field) => {
                let body = options.bytes_of_field(&rest, field)?;
                rest.clear_field(field);
                Some(body)
            }
        };
        let query = Query::of(&rest).ok_or_else(|| {
            Refusal::new(StatusCode::NOT_IMPLEMENTED, Code::Unimplemented, "The message does not fit into a query.")
        })?;
        if !query.is_empty() {
            path.push('?');
            path.push_str(&query);
        }
        Ok((path, body))
    }
}

/// Takes the text of a field out of a message.
fn take(message: &mut DynamicMessage, path: &[FieldDescriptor]) -> Option<String> {
    let (last, before) = path.split_last()?;
    let mut within = message;
    for field in before {
        within = within.get_field_mut(field).as_message_mut()?;
    }
    let text = crate::scalar::text(&last.kind(), within.get_field(last).as_ref());
    within.clear_field(last);
    text
}
