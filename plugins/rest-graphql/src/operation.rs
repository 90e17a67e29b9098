//! The stored operation: which operation of the document it is, and which variables it declares.

use apollo_parser::{Parser, cst};

/// A declared variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) has_default: bool,
}

/// A type in the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Float,
    Boolean,
    /// `String` and `ID`.
    Text,
    /// Types of the schema: enumerations, scalars, input objects.
    Other,
    List(Box<Kind>),
    NonNull(Box<Kind>),
}

impl Variable {
    /// Whether the upstream refuses a request without it.
    pub(crate) const fn is_required(&self) -> bool {
        matches!(self.kind, Kind::NonNull(_)) && !self.has_default
    }
}

/// The variables of the executed operation.
///
/// # Errors
/// What is wrong, as a clause.
pub(crate) fn variables(document: &str, operation: Option<&str>) -> Result<Vec<Variable>, String> {
    let tree = Parser::new(document).recursion_limit(NESTING).parse();
    if let Some(error) = tree.errors().next() {
        return Err(format!("at byte {}: {}", error.index(), error.message().trim_end_matches('.')));
    }
    let mut operations = Vec::new();
    for definition in tree.document().definitions() {
        match definition {
            cst::Definition::OperationDefinition(operation) => operations.push(operation),
            cst::Definition::FragmentDefinition(_) => {}
            _ => return Err("it defines types".to_owned()),
        }
    }
    let name = |operation: &cst::OperationDefinition| operation.name().map(|name| name.text().to_string());
    let chosen = match operation {
        Some(wanted) => operations.iter().find(|operation| name(operation).as_deref() == Some(wanted)),
        None if operations.len() > 1 => return Err("it has several operations; \"operation\" says which".to_owned()),
        None => operations.first(),
    };
    let chosen = chosen.ok_or_else(|| match operation {
        Some(wanted) => format!("it has no operation {wanted:?}"),
        None => "it has no operation".to_owned(),
    })?;
    if chosen.operation_type().is_some_and(|kind| kind.subscription_token().is_some()) {
        return Err("a subscription has no end, and a response has".to_owned());
    }
    let definitions = chosen.variable_definitions().into_iter().flat_map(|all| all.variable_definitions());
    definitions
        .map(|definition| {
            let name = definition.variable().and_then(|variable| variable.name()).ok_or("a variable has no name")?;
            Ok(Variable {
                name: name.text().to_string(),
                kind: kind(&definition.ty().ok_or("a variable has no type")?)?,
                has_default: definition.default_value().is_some(),
            })
        })
        .collect()
}

fn kind(written: &cst::Type) -> Result<Kind, String> {
    let nothing = || "a type is not whole".to_owned();
    Ok(match written {
        cst::Type::NamedType(named) => match named.name().ok_or_else(nothing)?.text().as_ref() {
            "Int" => Kind::Int,
            "Float" => Kind::Float,
            "Boolean" => Kind::Boolean,
            "String" | "ID" => Kind::Text,
            _ => Kind::Other,
        },
        cst::Type::ListType(list) => Kind::List(Box::new(kind(&list.ty().ok_or_else(nothing)?)?)),
        cst::Type::NonNullType(inner) => {
            let inner = match (inner.named_type(), inner.list_type()) {
                (Some(named), _) => cst::Type::NamedType(named),
                (None, Some(list)) => cst::Type::ListType(list),
                (None, None) => return Err(nothing()),
            };
            Kind::NonNull(Box::new(kind(&inner)?))
        }
    })
}

/// How deep a document may be nested.
const NESTING: usize = 200;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn declarations() {
        let document = "query A($id: ID!, $n: Int = 5, $tags: [[String!]!], $in: Filter!) { a } \
                        mutation B($x: Float! = 1.5, $b: Boolean) { b ...f } fragment f on T { g }";
        let told = |operation| {
            let variables = variables(document, Some(operation)).unwrap();
            let told = variables.iter().map(|it| format!("{}:{:?}:{}", it.name, it.kind, it.is_required()));
            told.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            told("A"),
            "id:NonNull(Text):true n:Int:false tags:List(NonNull(List(NonNull(Text)))):false in:NonNull(Other):true"
        );
        assert_eq!(told("B"), "x:NonNull(Float):false b:Boolean:false");
        assert_eq!(variables("{ a }", None), Ok(Vec::new()));
        for (document, operation, why) in [
            (document, None, "several"),
            (document, Some("C"), "no operation \"C\""),
            ("fragment f on T { g }", None, "no operation"),
            ("subscription { a }", None, "subscription"),
            ("type T { a: Int }", None, "defines types"),
            ("{ a", None, "at byte"),
            ("", None, "at byte"),
        ] {
            let refused = variables(document, operation).unwrap_err();
            assert!(refused.contains(why), "{document}: {refused}");
        }
    }
}
