//! An OpenAPI 3.1 document: the operation of a request, and the schemas of its parts.

use gatewright_sdk::{
    Exchange, json_schema,
    serde_json::{Map, Value},
};

use crate::{BodyRules, check, document, parameter, refusal::Refusal};

/// The operations of a document.
#[derive(Debug)]
pub(crate) struct Document {
    base: String,
    paths: Vec<Path>,
}

#[derive(Debug)]
struct Path {
    segments: Vec<Segment>,
    operations: Vec<(String, Operation)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

#[derive(Debug, Default)]
struct Operation {
    parameters: Vec<Parameter>,
    body: Option<BodyRules>,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    place: Place,
    required: bool,
    explode: bool,
    /// The schema, as far as it is needed to parse values; and its place in the document.
    schema: Option<(Value, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// The operation of a request.
#[derive(Debug)]
pub(crate) struct Match<'a> {
    operation: &'a Operation,
    /// Values of the parameters in the path.
    path: Vec<(String, String)>,
}

impl Document {
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(source: &Value, base: &str) -> Result<Self, String> {
        let whole = document(source).map_err(|why| format!("openapi: {why}"))?;
        let version = whole.get("openapi").and_then(Value::as_str).unwrap_or_default();
        if !version.starts_with("3.1.") {
            return Err(format!("openapi: the document is of version {version:?}, and 3.1 is needed"));
        }
        if !(base.is_empty() || base.starts_with('/')) || base.ends_with('/') {
            return Err(format!("base_path: {base:?} does not begin with \"/\", or it ends with one"));
        }
        let mut places = Vec::new();
        let reader = Reader { whole: &whole };
        let paths = whole.get("paths").and_then(Value::as_object).ok_or("openapi: the document has no paths")?;
        let mut read = Vec::new();
        for (template, item) in paths {
            let place = format!("/paths/{}", escape(template));
            let path = reader
                .path(template, item, &place, &mut places)
                .map_err(|why| format!("openapi: {template}: {why}"))?;
            read.push(path);
        }
        // Of several paths that match, the one that has a word where the other has a parameter.
        read.sort_by_key(|path| {
            path.segments.iter().map(|segment| matches!(segment, Segment::Parameter(_))).collect::<Vec<_>>()
        });
        places.sort();
        places.dedup();
        json_schema::declare("openapi", &whole.to_string(), &places).map_err(|why| format!("openapi: {why}"))?;
        Ok(Self { base: base.to_owned(), paths: read })
    }

    /// The operation for a target.
    pub(crate) fn find(&self, target: &str, method: &str) -> Result<Match<'_>, Refusal> {
        let path = target.split('?').next().unwrap_or_default();
        let inside = path.strip_prefix(self.base.as_str()).ok_or_else(Refusal::unknown_path)?;
        let method = method.to_ascii_lowercase();
        let mut allowed = Vec::new();
        for path in &self.paths {
            let Some(values) = path.fits(inside) else { continue };
            if let Some((_, operation)) = path.operations.iter().find(|(have, _)| *have == method) {
                return Ok(Match { operation, path: values });
            }
            allowed.extend(path.operations.iter().map(|(method, _)| method.to_ascii_uppercase()));
        }
        Err(if allowed.is_empty() { Refusal::unknown_path() } else { Refusal::unknown_method(allowed.join(", ")) })
    }
}

impl Match<'_> {
    pub(crate) fn body(&self) -> Option<BodyRules> {
        self.operation.body.clone()
    }

    /// Records what is wrong with the parameters.
    pub(crate) fn check_parameters(&self, exchange: &Exchange, refusal: &mut Refusal) -> Result<(), Refusal> {
        let query = parameter::query(&exchange.path())?;
        for parameter in &self.operation.parameters {
            let (part, values) = match parameter.place {
                Place::Path => ("path", named(&self.path, &parameter.name)),
                Place::Query => ("query", named(&query, &parameter.name)),
                Place::Header => {
                    let values = exchange.request_headers().values(&parameter.name);
                    ("header", values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect())
                }
                Place::Cookie => ("cookie", named(&cookies(exchange), &parameter.name)),
            };
            let at = format!("/{}", escape(&parameter.name));
            if values.is_empty() {
                if parameter.required {
                    refusal.add(part, at, "it is missing".to_owned());
                }
                continue;
            }
            let Some((schema, place)) = &parameter.schema else { continue };
            let value = parameter::value(schema, &values, parameter.explode).to_string();
            check("openapi", place, value.as_bytes(), |pointer, message| {
                refusal.add(part, format!("{at}{pointer}"), message)
            })?;
        }
        Ok(())
    }
}

fn named(values: &[(String, String)], name: &str) -> Vec<String> {
    values.iter().filter(|(have, _)| have == name).map(|(_, value)| value.clone()).collect()
}

fn cookies(exchange: &Exchange) -> Vec<(String, String)> {
    let fields = exchange.request_headers().values("cookie");
    let fields = fields.iter().map(|field| String::from_utf8_lossy(field).into_owned());
    let pairs: Vec<String> =
        fields.flat_map(|field| field.split(';').map(|pair| pair.trim().to_owned()).collect::<Vec<_>>()).collect();
    pairs
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

impl Path {
    /// The values of its parameters, if a path matches.
    fn fits(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut values = Vec::new();
        let mut parts = path.strip_prefix('/')?.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(word) => (word == part).then_some(())?,
                Segment::Parameter(name) if !part.is_empty() => values.push((name.clone(), parameter::decode(part))),
                Segment::Parameter(_) => return None,
            }
        }
        parts.next().is_none().then_some(values)
    }
}

/// Reads a document, following references within it.
struct Reader<'a> {
    whole: &'a Value,
}

impl<'a> Reader<'a> {
    fn path(&self, template: &str, item: &'a Value, place: &str, places: &mut Vec<String>) -> Result<Path, String> {
        let segments = template.strip_prefix('/').ok_or("it does not begin with \"/\"")?.split('/');
        let segment = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => Ok(Segment::Parameter(name.to_owned())),
            None if part.contains(['{', '}']) => Err(format!("{part:?} is neither a word nor one parameter")),
            None => Ok(Segment::Literal(part.to_owned())),
        };
        let segments = segments.map(segment).collect::<Result<_, _>>()?;
        let (item, place) = self.follow(item, place)?;
        let shared = self.parameters(item, &place, places)?;
        let mut operations = Vec::new();
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let place = format!("{place}/{method}");
            let mut parameters = self.parameters(operation, &place, places)?;
            let own: Vec<(String, Place)> = parameters.iter().map(|own| (own.name.clone(), own.place)).collect();
            let shared = shared.iter().filter(|shared| !own.contains(&(shared.name.clone(), shared.place)));
            parameters.extend(shared.map(Parameter::copy));
            let body = self.body(operation, &place, places)?;
            operations.push((method.to_owned(), Operation { parameters, body }));
        }
        Ok(Path { segments, operations })
    }

    fn parameters(&self, of: &'a Value, place: &str, places: &mut Vec<String>) -> Result<Vec<Parameter>, String> {
        let list = of.get("parameters").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut parameters = Vec::new();
        for (index, parameter) in list.iter().enumerate() {
            let (parameter, place) = self.follow(parameter, &format!("{place}/parameters/{index}"))?;
            let text = |name: &str| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
            let is = |name: &str| parameter.get(name).and_then(Value::as_bool);
            let (name, within) = (text("name").to_owned(), text("in"));
            let (within, name) = match within {
                "path" => (Place::Path, name),
                "query" => (Place::Query, name),
                // These are described by the body's rules and by the gateway (OpenAPI 3.1 section 4.8.12.2).
                "header"
                    if ["accept", "content-type", "authorization"].contains(&name.to_ascii_lowercase().as_str()) =>
                {
                    continue;
                }
                "header" => (Place::Header, name.to_ascii_lowercase()),
                "cookie" => (Place::Cookie, name),
                other => return Err(format!("the parameter {name:?} is in {other:?}")),
            };
            let schema = match parameter.get("schema") {
                None => None,
                Some(schema) => {
                    let place = format!("{place}/schema");
                    places.push(place.clone());
                    // The type of a value may be behind a reference.
                    Some((self.follow(schema, &place)?.0.clone(), place))
                }
            };
            let style = parameter.get("style").and_then(Value::as_str);
            let is_form = matches!(within, Place::Query | Place::Cookie);
            let explode = is_form && is("explode").unwrap_or(matches!(style, None | Some("form")));
            let required = is("required").unwrap_or(within == Place::Path);
            parameters.push(Parameter { name, place: within, required, explode, schema });
        }
        Ok(parameters)
    }

    fn body(&self, operation: &'a Value, place: &str, places: &mut Vec<String>) -> Result<Option<BodyRules>, String> {
        let Some(body) = operation.get("requestBody") else { return Ok(None) };
        let (body, place) = self.follow(body, &format!("{place}/requestBody"))?;
        let none = Map::new();
        let content = body.get("content").and_then(Value::as_object).unwrap_or(&none);
        let mut types = Vec::new();
        for (kind, media) in content {
            let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let is_json = essence == "application/json" || essence.ends_with("+json");
            let schema =
                media.get("schema").filter(|_| is_json).map(|_| format!("{place}/content/{}/schema", escape(kind)));
            places.extend(schema.clone());
            types.push((essence, schema));
        }
        let required = body.get("required").and_then(Value::as_bool).unwrap_or(false);
        Ok(Some(BodyRules { name: "openapi", types, required }))
    }

    /// The target of a reference, and its place.
    fn follow(&self, value: &'a Value, place: &str) -> Result<(&'a Value, String), String> {
        let (mut value, mut place) = (value, place.to_owned());
        for _ in 0..MOST_REFERENCES {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok((value, place)) };
            let inside =
                reference.strip_prefix('#').ok_or_else(|| format!("{reference:?} is outside of the document"))?;
            let pointer = parameter::decode(inside);
            value = self.whole.pointer(&pointer).ok_or_else(|| format!("there is nothing at {reference:?}"))?;
            place = pointer;
        }
        Err("references go in a circle".to_owned())
    }
}

impl Parameter {
    fn copy(&self) -> Self {
        let Self { name, place, required, explode, schema } = self;
        Self { name: name.clone(), place: *place, required: *required, explode: *explode, schema: schema.clone() }
    }
}

/// A name as a segment of a JSON Pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// How many references may follow one another.
const MOST_REFERENCES: usize = 16;
