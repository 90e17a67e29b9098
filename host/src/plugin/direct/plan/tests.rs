//! Small components by hand; those of real compilers are met in the tests of whole plugins.
#![allow(clippy::unwrap_used)]

use wasmparser::{ComponentExternalKind, Parser, Payload};

use super::*;

/// A memory in a module of its own, and a main module that is given this memory: no shim is needed.
const PLAIN: &str = r#"(component
    (import "test:pkg/log@1.0.0" (instance $log
        (export "write" (func (param "text" string)))
        (export "name" (func (result string)))
        (export "sink" (type (sub resource)))))
    (alias export $log "sink" (type $sink))
    (core module $memory
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 8))
    (core module $main
        (import "env" "memory" (memory 1))
        (import "log" "write" (func (param i32 i32)))
        (import "log" "name" (func (param i32)))
        (import "log" "drop" (func (param i32)))
        (func (export "hook") (param i32 i32) (result i32) i32.const 8)
        (func (export "after") (param i32)))
    (core instance $memory (instantiate $memory))
    (alias core export $memory "memory" (core memory $m))
    (core func $write (canon lower (func $log "write") (memory $m) string-encoding=utf8))
    (core func $name (canon lower (func $log "name") (memory $m) (realloc (core func $memory "realloc"))))
    (core func $drop (canon resource.drop $sink))
    (core instance $main (instantiate $main
        (with "env" (instance $memory))
        (with "log" (instance
            (export "write" (func $write)) (export "name" (func $name)) (export "drop" (func $drop))))))
    (func $hook (param "name" string) (result string) (canon lift (core func $main "hook")
        (memory $m) (realloc (core func $memory "realloc")) (post-return (core func $main "after"))))
    (instance $hooks (export "on-name" (func $hook)))
    (export "test:pkg/hook@1.0.0" (instance $hooks)))"#;

/// As wit-component produces it: with a shim, a fixup, and exports passed through a nested component.
const SHIMMED: &str = r#"(component
    (import "test:pkg/log@1.0.0" (instance $log
        (export "write" (func (param "text" string)))
        (export "name" (func (result string)))
        (export "level" (func (result u32)))
        (export "sink" (type (sub resource)))))
    (core module $main
        (import "log" "name" (func (param i32)))
        (import "log" "level" (func (result i32)))
        (import "log" "write" (func (param i32 i32)))
        (import "log" "drop" (func (param i32)))
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 8)
        (func (export "hook") (param i32 i32) (result i32) i32.const 8)
        (func (export "after") (param i32))
        (func (export "stop")))
    (core module $shim
        (type $two (func (param i32 i32)))
        (type $one (func (param i32)))
        (table (export "$imports") 2 2 funcref)
        (func (export "0") (type $two) local.get 0 local.get 1 i32.const 0 call_indirect (type $two))
        (func (export "1") (type $one) local.get 0 i32.const 1 call_indirect (type $one)))
    (core module $fixup
        (import "" "0" (func (param i32 i32)))
        (import "" "1" (func (param i32)))
        (import "" "$imports" (table 2 2 funcref))
        (elem (i32.const 0) func 0 1))
    (core instance $shim (instantiate $shim))
    (core func $level (canon lower (func $log "level")))
    (alias export $log "sink" (type $sink))
    (core func $drop (canon resource.drop $sink))
    (core instance $main (instantiate $main (with "log" (instance
        (export "name" (func $shim "1"))
        (export "level" (func $level))
        (export "write" (func $shim "0"))
        (export "drop" (func $drop))))))
    (alias core export $main "memory" (core memory $m))
    (core func $write (canon lower (func $log "write") (memory $m) string-encoding=utf8))
    (core func $name (canon lower (func $log "name") (memory $m) (realloc (core func $main "realloc"))))
    (core instance (instantiate $fixup (with "" (instance
        (export "0" (func $write)) (export "1" (func $name)) (export "$imports" (table $shim "$imports"))))))
    (func $hook (param "name" string) (result string) (canon lift (core func $main "hook")
        (memory $m) (realloc (core func $main "realloc")) (post-return (core func $main "after"))))
    (func $stop (canon lift (core func $main "stop")))
    (component $wrapper
        (import "import-func-stop" (func $stop))
        (import "import-func-on-name" (func $hook (param "name" string) (result string)))
        (export $named "on-name" (func $hook))
        (export "on-alias" (func $named))
        (export "stop" (func $stop)))
    (instance $hooks (instantiate $wrapper
        (with "import-func-on-name" (func $hook)) (with "import-func-stop" (func $stop))))
    (export "test:pkg/hook@1.0.0" (instance $hooks)))"#;

#[test]
fn a_plain_component() {
    let realloc = Some(place(0, "realloc"));
    assert_eq!(
        plan(PLAIN).unwrap(),
        Plan {
            instances: vec![
                CoreInstance { module: 0, imports: vec![] },
                CoreInstance {
                    module: 1,
                    imports: vec![
                        imported("env", "memory", Source::Export(place(0, "memory"))),
                        imported("log", "write", function("write", None)),
                        imported("log", "name", function("name", realloc.clone())),
                        imported("log", "drop", Source::Drop),
                    ],
                },
            ],
            memory: place(0, "memory"),
            exports: vec![lifted("on-name", place(1, "hook"), realloc, Some(place(1, "after")))],
        }
    );
}

#[test]
fn shim_and_fixup_go_and_exports_are_found_behind_their_wrapper() {
    let realloc = Some(place(0, "realloc"));
    let hook = |name| lifted(name, place(0, "hook"), realloc.clone(), Some(place(0, "after")));
    assert_eq!(
        plan(&shimmed(&[])).unwrap(),
        Plan {
            instances: vec![CoreInstance {
                module: 0,
                imports: vec![
                    imported("log", "name", function("name", realloc.clone())),
                    imported("log", "level", function("level", None)),
                    imported("log", "write", function("write", None)),
                    imported("log", "drop", Source::Drop),
                ],
            }],
            memory: place(0, "memory"),
            exports: vec![hook("on-name"), hook("on-alias"), lifted("stop", place(0, "stop"), None, None)],
        }
    );
}

#[test]
fn a_shim_is_followed_to_the_slot_that_it_calls() {
    let crossed = shimmed(&[
        ("local.get 1 i32.const 0", "local.get 1 i32.const 1"),
        ("local.get 0 i32.const 1 call", "local.get 0 i32.const 0 call"),
        ("func 0 1)", "func 1 0)"),
    ]);
    assert_eq!(plan(&crossed), plan(&shimmed(&[])));
}

#[test]
fn shim_and_fixup_stay_if_anything_about_them_is_different() {
    for (what, changes) in [
        ("more code", &[("local.get 1 i32.const 0", "nop local.get 1 i32.const 0")][..]),
        ("code after the call", &[("call_indirect (type $two)", "call_indirect (type $two) nop")]),
        ("other arguments", &[("local.get 0 local.get 1", "local.get 1 local.get 0")]),
        ("locals", &[("(type $two) local.get", "(type $two) (local i32) local.get")]),
        ("a slot that nobody fills", &[("local.get 1 i32.const 0", "local.get 1 i32.const 2")]),
        ("a slot below zero", &[("local.get 1 i32.const 0", "local.get 1 i32.const -1")]),
        ("a slot of another type", &[("local.get 1 i32.const 0", "local.get 1 i32.const 1")]),
        ("a memory", &[("(table (export", "(memory 1) (table (export")]),
        ("a global", &[("(table (export", "(global i32 (i32.const 0)) (table (export")]),
        ("a second table", &[("(table (export", "(table 1 funcref) (table (export")]),
        (
            "a start",
            &[
                ("(elem (i32", "(import \"\" \"stop\" (func $stop)) (start $stop) (elem (i32"),
                ("(export \"1\" (func $name))", "(export \"1\" (func $name)) (export \"stop\" (func $main \"stop\"))"),
            ],
        ),
        ("a function of the fixup", &[("(elem (i32", "(func) (elem (i32")]),
        ("not from the first slot", &[("(elem (i32.const 0) func 0 1)", "(elem (i32.const 1) func 0)")]),
        ("too many for the table", &[("func 0 1)", "func 0 1 0)")]),
        ("two segments", &[("func 0 1)", "func 0 1) (elem (i32.const 0) func 0)")]),
        ("a segment that waits", &[("(elem (i32.const 0) func 0 1)", "(elem func 0 1)")]),
        ("a segment of expressions", &[("func 0 1)", "funcref (ref.func 0) (ref.func 1))")]),
        ("what it writes is not lowered", &[("(export \"1\" (func $name))", "(export \"1\" (func $main \"after\"))")]),
        (
            "the table is used elsewhere",
            &[
                ("(memory (export", "(import \"log\" \"table\" (table 2 2 funcref)) (memory (export"),
                ("(func $shim \"0\"))", "(func $shim \"0\")) (export \"table\" (table $shim \"$imports\"))"),
            ],
        ),
        (
            "a function is used elsewhere",
            &[("(post-return (core func $main \"after\")", "(post-return (core func $shim \"1\")")],
        ),
    ] {
        assert_eq!(plan(&shimmed(changes)).unwrap().instances.len(), 3, "{what}");
    }
}

#[test]
fn options_that_a_plan_cannot_express_leave_none() {
    for (what, changes) in [
        ("UTF-16", &[("string-encoding=utf8", "string-encoding=utf16")][..]),
        ("Latin-1", &[("string-encoding=utf8", "string-encoding=latin1+utf16")]),
        (
            "async",
            &[
                ("(export \"write\" (func (param \"text\"", "(export \"write\" (func async (param \"text\""),
                ("\"write\" (func (param i32 i32))", "\"write\" (func (param i32 i32) (result i32))"),
                ("(memory $m) string-encoding=utf8", "(memory $m) async"),
            ],
        ),
        (
            "two memories",
            &[
                ("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1) (memory (export \"other\") 1)"),
                ("(memory $m) string-encoding=utf8", "(memory (core memory $memory \"other\"))"),
            ],
        ),
    ] {
        assert_eq!(plan(&changed(PLAIN, changes)), None, "{what}");
    }
}

#[test]
fn a_component_with_more_in_it_has_no_plan() {
    for more in [
        "(type (resource (rep i32)))",
        "(import \"sink\" (type $own (sub resource))) (core func (canon resource.drop $own))",
        "(import \"function\" (func))",
        "(import \"module\" (core module))",
        "(import \"component\" (component))",
        "(export \"other\" (instance $log))",
        "(export \"module\" (core module $main))",
        "(export \"GATEWRIGHT-core-module0\" (func $hook))",
        "(component (core module))",
        "(component (component))",
        "(component (type (resource (rep i32))))",
        "(core func (canon task.cancel))",
        "(core func (canon lower (func $hook) (memory $m) (realloc (core func $memory \"realloc\"))))",
    ] {
        let more = format!("{more} (instance $hooks (export");
        assert_eq!(plan(&changed(PLAIN, &[("(instance $hooks (export", &more)])), None, "{more}");
    }
    for text in ["(component)", "(module)", "(component (core module $m) (core instance (instantiate $m)))"] {
        assert_eq!(plan(text), None, "{text}");
    }
}

#[test]
fn a_component_with_very_much_in_it_has_no_plan() {
    for (types, has_plan) in [(10_000, true), (20_000, false)] {
        let more = format!("{} (instance $hooks (export", "(type u8)".repeat(types));
        assert_eq!(plan(&changed(PLAIN, &[("(instance $hooks (export", &more)])).is_some(), has_plan, "{types}");
    }
}

#[test]
fn types_and_plain_functions_besides_do_not_matter() {
    for more in [
        "(type (func))",
        "(core type (func))",
        "(export \"plain\" (func $hook))",
        "(type $number u32) (export \"number\" (type $number))",
        "(type $number u32) (import \"number\" (type (eq $number)))",
        "(import \"test:pkg/types@1.0.0\" (instance $types (export \"sink\" (type (sub resource)))))
         (alias export $types \"sink\" (type $other)) (core func (canon resource.drop $other))",
        "(import \"test:pkg/types@1.0.0\" (instance $outer
             (export \"inner\" (instance (export \"sink\" (type (sub resource)))))))
         (alias export $outer \"inner\" (instance $inner))
         (alias export $inner \"sink\" (type $other)) (core func (canon resource.drop $other))",
    ] {
        let text = changed(PLAIN, &[("(instance $hooks (export", &format!("{more} (instance $hooks (export"))]);
        assert_eq!(plan(&text), plan(PLAIN), "{more}");
    }
}

#[test]
fn modules_are_exported_besides_what_is_there() {
    // More than 127, so that numbers take two bytes.
    let component = wat::parse_str(format!("(component {})", "(core module)".repeat(200))).unwrap();
    let exporting = exporting_modules(&component, 200);
    assert!(exporting.starts_with(&component));
    let exports: Vec<_> = Parser::new(0)
        .parse_all(&exporting)
        .filter_map(|payload| match payload.unwrap() {
            Payload::ComponentExportSection(exports) => Some(exports.into_iter().map(Result::unwrap)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(exports.len(), 200);
    for (index, export) in (0..).zip(exports) {
        assert_eq!(export.name.name, module_name(index));
        assert_eq!((export.kind, export.index, export.ty), (ComponentExternalKind::Module, index, None));
    }
}

#[test]
fn broken_components_do_no_harm() {
    let whole = wat::parse_str(SHIMMED).unwrap();
    for at in 0..whole.len() {
        read(&whole[..at]);
        for flipped in [0x01, 0x04, 0x80, 0xff] {
            let mut broken = whole.clone();
            broken[at] ^= flipped;
            read(&broken);
        }
    }
}

fn plan(text: &str) -> Option<Plan> {
    read(&wat::parse_str(text).unwrap()).map(|(plan, _)| plan)
}

fn shimmed(changes: &[(&str, &str)]) -> String {
    changed(SHIMMED, changes)
}

fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from}");
        text.replace(from, to)
    })
}

fn place(instance: usize, name: &str) -> Place {
    Place { instance, name: name.to_owned() }
}

fn imported(module: &str, name: &str, source: Source) -> Imported {
    Imported { module: module.to_owned(), name: name.to_owned(), source }
}

fn function(name: &str, realloc: Option<Place>) -> Source {
    Source::Function { interface: "test:pkg/log@1.0.0".to_owned(), function: name.to_owned(), realloc }
}

fn lifted(name: &str, core: Place, realloc: Option<Place>, post_return: Option<Place>) -> Lifted {
    let (interface, function) = ("test:pkg/hook@1.0.0".to_owned(), name.to_owned());
    Lifted { interface, function, core, realloc, post_return }
}
