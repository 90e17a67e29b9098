//! The world of a component, read from its exports and imports before it is compiled, because it decides which engine compiles
//! the component.

use wasmparser::{Parser, Payload};

use crate::plugin::artifact::MOST_NAMED;
use crate::plugin::load_error::LoadError;

/// The worlds of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// `wasi:http/proxy@0.2`.
    Proxy,
    /// `wasi:http/service@0.3`.
    Service,
    /// `wasi:http/middleware@0.3`: a service that imports the handler that it exports.
    Middleware,
}

/// The world of a component; a 0.3 world if it exports both handlers.
///
/// # Errors
/// It has none of these worlds, or cannot be read.
pub(super) fn of(component: &[u8]) -> Result<World, LoadError> {
    let Names { imports, exports } = names(component).map_err(|error| LoadError::Invalid(error.to_string()))?;
    let has = |names: &[String], handler: &str| names.iter().any(|name| name.starts_with(handler));
    match (has(&exports, HANDLER), has(&exports, "wasi:http/incoming-handler@0.2.")) {
        (true, _) if has(&imports, HANDLER) => Ok(World::Middleware),
        (true, _) => Ok(World::Service),
        (false, true) => Ok(World::Proxy),
        (false, false) => Err(LoadError::NoService(exports.into_iter().take(MOST_NAMED).collect())),
    }
}

const HANDLER: &str = "wasi:http/handler@0.3.";

#[derive(Default)]
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
}

/// What the component itself imports and exports, without the components and modules nested in it.
fn names(component: &[u8]) -> wasmparser::Result<Names> {
    let mut names = Names::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ComponentSection { .. } | Payload::ModuleSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.imports.push(import?.name.full_name().into_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    names.exports.push(export?.name.full_name().into_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_component_says_itself_what_it_is() {
        let exports = |names: &[&str]| {
            let exports: String = names.iter().map(|name| format!("(export {name:?} (instance $i))")).collect();
            wat::parse_str(format!("(component (instance $i) {exports})")).unwrap()
        };
        for (names, world) in [
            (&["wasi:http/incoming-handler@0.2.0"][..], Some(World::Proxy)),
            (&["wasi:http/incoming-handler@0.2.12", "a:b/c"], Some(World::Proxy)),
            (&["a:b/c", "wasi:http/handler@0.3.0"], Some(World::Service)),
            (&["wasi:http/incoming-handler@0.2.0", "wasi:http/handler@0.3.2"], Some(World::Service)),
            (&["wasi:http/incoming-handler@0.3.0"], None),
            (&["wasi:http/handler@0.2.0"], None),
            (&["wasi:http/handler@0.30.0"], None),
            (&["wasi:http/types@0.3.0"], None),
            (&[], None),
        ] {
            assert_eq!(of(&exports(names)).ok(), world, "{names:?}");
        }
    }

    #[test]
    fn what_exports_a_handler_and_imports_it_is_middleware() {
        for (import, world) in [
            ("wasi:http/handler@0.3.2", World::Middleware),
            ("wasi:http/client@0.3.2", World::Service),
            ("wasi:http/outgoing-handler@0.2.0", World::Service),
        ] {
            let text = format!(
                "(component (import {import:?} (instance)) (instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i)))"
            );
            assert_eq!(of(&wat::parse_str(text).unwrap()).unwrap(), world, "{import}");
        }
    }

    #[test]
    fn what_is_inside_and_what_is_imported_do_not_count() {
        for text in [
            "(component (component (instance $i) (export \"wasi:http/handler@0.3.0\" (instance $i))))",
            "(component (import \"wasi:http/handler@0.3.0\" (instance)))",
            "(component (core module (func (export \"wasi:http/handler@0.3.0\"))))",
        ] {
            let refused = of(&wat::parse_str(text).unwrap()).unwrap_err().to_string();
            assert!(refused.ends_with("it exports nothing"), "{refused}");
        }
        let cut = wat::parse_str("(component (instance $i) (export \"a:b/c\" (instance $i)))").unwrap();
        assert!(matches!(of(&cut[..cut.len() - 3]), Err(LoadError::Invalid(_))));
    }
}
