//! The services for translation, from a descriptor set or from `.proto` files.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use miette::Diagnostic as _;
use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor, ServiceDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::{Binding, binding};

/// The sources of a schema: one of the first two.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// A `FileDescriptorSet` with all imports, in base64.
    pub descriptor_set: Option<&'a str>,
    /// `.proto` files by the names under which they import each other. Those of `google/protobuf`, and those in this
    /// crate's folder `protos`, may be left out.
    pub protos: &'a BTreeMap<String, String>,
    /// The services; all, if empty.
    pub services: &'a [String],
}

/// The services.
#[derive(Clone, Debug)]
pub struct Schema {
    pool: DescriptorPool,
    methods: Vec<Method>,
    /// The positions of the methods by their paths.
    by_path: BTreeMap<String, usize>,
}

/// A method of one of the services.
#[derive(Clone, Debug)]
pub struct Method {
    /// `/package.Service/Method`.
    pub path: String,
    pub input: MessageDescriptor,
    pub output: MessageDescriptor,
    pub client_streams: bool,
    pub server_streams: bool,
    descriptor: MethodDescriptor,
}

impl Schema {
    /// # Errors
    /// What is wrong, for the operator; in a `.proto` file with line and column.
    pub fn new(sources: Sources<'_>) -> Result<Self, String> {
        let pool = match (sources.descriptor_set, sources.protos.is_empty()) {
            (Some(set), true) => decoded(set)?,
            (None, false) => compiled(sources.protos)?,
            (Some(_), false) => return Err("\"descriptor_set\" and \"protos\" exclude each other".to_owned()),
            (None, true) => return Err("one of \"descriptor_set\" and \"protos\" is needed".to_owned()),
        };
        let mut methods = Vec::new();
        for service in services(&pool, sources.services)? {
            methods.extend(service.methods().map(Method::new));
        }
        if methods.is_empty() {
            return Err("there is no service in it".to_owned());
        }
        let by_path = methods.iter().enumerate().map(|(at, method)| (method.path.clone(), at)).collect();
        Ok(Self { pool, methods, by_path })
    }

    /// All types.
    #[must_use]
    pub const fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// All methods, in the order of their files.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The method at a path, with its position.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<(usize, &Method)> {
        let at = *self.by_path.get(path)?;
        Some((at, self.methods.get(at)?))
    }

    /// The rules of all methods, with their HTTP methods (`None` is any). A method without a rule is `POST
    /// /package.Service/Method` with the message as body.
    ///
    /// # Errors
    /// All mistakes in them.
    pub fn bindings(&self) -> Result<Vec<(Option<String>, Binding)>, String> {
        let (mut bindings, mut mistakes) = (Vec::new(), Vec::new());
        for (at, method) in self.methods.iter().enumerate() {
            match binding::of(at, method, &method.descriptor, &self.pool) {
                Ok(found) => bindings.extend(found),
                Err(why) => mistakes.push(format!("{}: {why}", method.path)),
            }
        }
        if mistakes.is_empty() { Ok(bindings) } else { Err(mistakes.join("; ")) }
    }
}

impl Method {
    fn new(descriptor: MethodDescriptor) -> Self {
        Self {
            path: format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name()),
            input: descriptor.input(),
            output: descriptor.output(),
            client_streams: descriptor.is_client_streaming(),
            server_streams: descriptor.is_server_streaming(),
            descriptor,
        }
    }
}

fn services(pool: &DescriptorPool, names: &[String]) -> Result<Vec<ServiceDescriptor>, String> {
    if names.is_empty() {
        return Ok(pool.services().collect());
    }
    let find = |name: &String| {
        pool.get_service_by_name(name).ok_or_else(|| {
            let there: Vec<String> = pool.services().map(|service| service.full_name().to_owned()).collect();
            format!("there is no service {name:?}, but {}", there.join(", "))
        })
    };
    names.iter().map(find).collect()
}

fn decoded(set: &str) -> Result<DescriptorPool, String> {
    let bytes = STANDARD.decode(set.trim()).map_err(|error| format!("descriptor_set: it is not base64: {error}"))?;
    let hint = "protoc makes a whole one with --include_imports --descriptor_set_out";
    let mut pool =
        DescriptorPool::decode(bytes.as_slice()).map_err(|error| format!("descriptor_set: {error} ({hint})"))?;
    let own = compiled(&BTreeMap::new())?;
    let missing: Vec<_> = own
        .file_descriptor_protos()
        .filter(|file| pool.get_file_by_name(file.name()).is_none())
        .filter(|file| file.name().starts_with("google/rpc/") || file.name().starts_with("google/protobuf/"))
        .cloned()
        .collect();
    // These types are only for error details; if the set has them under other file names, they are left out.
    let _ = pool.add_file_descriptor_protos(missing);
    Ok(pool)
}

fn compiled(protos: &BTreeMap<String, String>) -> Result<DescriptorPool, String> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Given(protos.clone()));
    resolver.add(Own);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    let standard = ["google/rpc/status.proto", "google/rpc/error_details.proto"];
    for name in protos.keys().map(String::as_str).chain(standard) {
        compiler.open_file(name).map_err(|error| explained(&error, protos))?;
    }
    Ok(compiler.descriptor_pool())
}

/// With file, line and column if they are known.
fn explained(error: &protox::Error, protos: &BTreeMap<String, String>) -> String {
    let Some((name, text)) = error.file().and_then(|name| protos.get_key_value(name)) else {
        return format!("protos: {error}");
    };
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    match offset.and_then(|offset| text.get(..offset)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("protos: {name}:{line}:{column}: {error}")
        }
        None => format!("protos: {name}: {error}"),
    }
}

/// The files of the configuration.
struct Given(BTreeMap<String, String>);

impl FileResolver for Given {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// The built-in files.
struct Own;

impl FileResolver for Own {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match OWN.iter().find(|(own, _)| *own == name) {
            Some((_, text)) => File::from_source(name, text),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

macro_rules! own {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../protos/", $name)))),*] };
}

const OWN: [(&str, &str); 5] = own![
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/api/httpbody.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
];
