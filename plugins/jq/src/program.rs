//! A jq program: compiled from its text, and run on one document.
//!
//! Functions of jq that reach outside of the program, or have no meaning here, are left out: the environment, further
//! inputs, modules, the log, the process and the time zone of the machine. The rest gives the same results everywhere,
//! except for `now`.

use std::fmt;

use gatewright_sdk::{Exchange, StatusCode, json};
use jaq_core::{
    Compiler, Ctx, Vars,
    compile::Undefined,
    data,
    load::{self, Arena, File, Loader},
};
use jaq_json::Val;

use crate::value::{self, Unwritable};
use crate::variable::Variable;

type Data = data::JustLut<Val>;

/// A compiled program.
pub(crate) struct Program {
    filter: jaq_core::Filter<Data>,
    /// The values of the exchange that it uses, in the order in which they are passed.
    variables: Vec<Variable>,
}

/// Why there is no resulting body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The program chose the response to the client: `error({status: 422, detail: "..."})`.
    Refused { status: StatusCode, detail: String },
    /// It failed, in jq's words, which may contain values of the document.
    Error(String),
    /// It produced no value.
    Nothing,
    /// It produced several values.
    Several,
    /// The value is too large.
    TooLarge,
    /// The value is nested too deeply.
    TooDeep,
    /// The value is not JSON: bytes, or a member whose name is not text.
    NotJson,
}

impl Program {
    /// # Errors
    /// Says what is wrong with it, and where.
    pub(crate) fn compile(code: &str) -> Result<Self, String> {
        let is_left_out = |name: &str| LEFT_OUT.contains(&name);
        let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let functions = jaq_core::funs::<Data>().chain(jaq_std::funs()).chain(jaq_json::funs());
        let (arena, file) = (Arena::default(), File { code, path: () });
        let modules = Loader::new(definitions.filter(|definition| !is_left_out(definition.name)))
            .load(&arena, file)
            .map_err(|errors| first(errors.into_iter().flat_map(|(_, error)| unreadable(code, &error))))?;
        let variables: Vec<_> = Variable::ALL.into_iter().filter(|variable| code.contains(variable.name())).collect();
        let filter = Compiler::default()
            .with_funs(functions.filter(|(name, ..)| !is_left_out(name)))
            .with_global_vars(variables.iter().map(|variable| variable.name()))
            .compile(modules)
            .map_err(|errors| first(errors.into_iter().flat_map(|(_, errors)| unknown(code, &errors))))?;
        Ok(Self { filter, variables })
    }

    /// The body that the program makes of a document.
    pub(crate) fn run(&self, document: &json::Value, exchange: &Exchange, most: usize) -> Result<Vec<u8>, Failure> {
        let variables = self.variables.iter().map(|variable| variable.of(exchange));
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(variables));
        let mut given = self.filter.id.run((context, value::read(document)));
        let only = given.next().ok_or(Failure::Nothing)?.map_err(failure)?;
        match given.next() {
            None => {}
            Some(Ok(_)) => return Err(Failure::Several),
            Some(Err(error)) => return Err(failure(error)),
        }
        value::write(&only, most).map_err(|why| match why {
            Unwritable::TooLarge => Failure::TooLarge,
            Unwritable::TooDeep => Failure::TooDeep,
            Unwritable::NotJson => Failure::NotJson,
        })
    }
}

impl Failure {
    /// The metric's label.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Error(_) => "error",
            Self::Nothing => "nothing",
            Self::Several => "several",
            Self::TooLarge => "too-large",
            Self::TooDeep => "too-deep",
            Self::NotJson => "not-json",
        }
    }
}

fn failure(thrown: jaq_core::Exn<'_, Val>) -> Failure {
    let Ok(error) = thrown.get_err() else { return Failure::Error("it ended itself".to_owned()) };
    let thrown = error.into_val();
    let status = match member(&thrown, "status") {
        Some(Val::Num(number)) => number.as_isize().and_then(|status| u16::try_from(status).ok()),
        _ => None,
    };
    let status =
        status.filter(|status| (400..600).contains(status)).and_then(|status| StatusCode::from_u16(status).ok());
    match status {
        Some(status) => {
            let detail = member(&thrown, "detail").and_then(value::text).unwrap_or_default();
            Failure::Refused { status, detail: cut(detail, MOST_DETAIL) }
        }
        None => Failure::Error(cut(value::text(&thrown).unwrap_or_else(|| thrown.to_string()), MOST_DETAIL)),
    }
}

fn member<'a>(value: &'a Val, name: &str) -> Option<&'a Val> {
    match value {
        Val::Obj(members) => members.get(&Val::utf8_str(name.to_owned())),
        _ => None,
    }
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// Describes the parts that do not parse.
fn unreadable(code: &str, error: &load::Error<&str>) -> Vec<String> {
    match error {
        load::Error::Io(errors) => {
            errors.iter().map(|(found, _)| format!("{}: there are no modules here", place(code, found))).collect()
        }
        load::Error::Lex(errors) => errors
            .iter()
            .map(|(expected, found)| format!("{}: expected {}", place(code, found), expected.as_str()))
            .collect(),
        load::Error::Parse(errors) => errors
            .iter()
            .map(|(expected, found)| format!("{}: expected {}", place(code, found), expected.as_str()))
            .collect(),
    }
}

/// Describes the names that do not exist.
fn unknown(code: &str, errors: &[(&str, Undefined)]) -> Vec<String> {
    let line = |(name, kind): &(&str, Undefined)| {
        let arity = match kind {
            Undefined::Filter(arity) => format!("/{arity}"),
            _ => String::new(),
        };
        let why = if LEFT_OUT.contains(name) { "is not available here" } else { "is not defined" };
        format!("{}: the {} {name}{arity} {why}", place(code, name), kind.as_str())
    };
    errors.iter().map(line).collect()
}

fn first(mut errors: impl Iterator<Item = String>) -> String {
    errors.next().unwrap_or_else(|| "it is no program".to_owned())
}

/// Where a part of the program is.
fn place(code: &str, part: &str) -> String {
    let before = code.get(..load::span(code, part).start).unwrap_or(code);
    let line = before.rsplit('\n').next().unwrap_or_default();
    format!("line {}, column {}", before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("variables", &self.variables).finish_non_exhaustive()
    }
}

/// Left-out functions by name, and definitions that depend on them.
const LEFT_OUT: [&str; 9] =
    ["debug", "debug_empty", "env", "halt", "halt_error", "localtime", "stderr", "stderr_empty", "strflocaltime"];
/// Limit for the detail of an error, in bytes.
const MOST_DETAIL: usize = 1024;
