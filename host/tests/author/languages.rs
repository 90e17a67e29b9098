//! From an empty folder to a measured plugin, in each language; and one policy in all of them.

use crate::folder::{Folder, repository};

#[test]
fn a_rust_plugin_from_an_empty_folder() {
    from_an_empty_folder("rust", "log, exchange");
}

#[test]
fn what_inspect_says_to_machines() {
    let folder = Folder::project("rust", "front-door");
    let value = folder.run(&["plugin", "inspect", "--json"]).good();
    let at = value.stdout.find('{').unwrap();
    let value: serde_json::Value = serde_json::from_str(&value.stdout[at..]).unwrap();
    assert_eq!(value["config_schema"]["required"][0], "word");
    assert!(value["imports"].as_array().unwrap().contains(&"exchange".into()), "{value}");
}

#[test]
fn a_javascript_plugin_from_an_empty_folder() {
    from_an_empty_folder("js", "exchange, log");
}

#[test]
fn a_typescript_plugin_from_an_empty_folder() {
    from_an_empty_folder("ts", "exchange, log");
}

#[test]
fn a_python_plugin_from_an_empty_folder() {
    from_an_empty_folder("python", "exchange, log");
}

#[test]
fn a_c_plugin_from_an_empty_folder() {
    from_an_empty_folder("c", "exchange");
}

#[test]
fn a_go_plugin_from_an_empty_folder() {
    from_an_empty_folder("go", "exchange, log, random");
}

/// With the toolchain alone: no component is built.
#[test]
fn a_go_plugin_is_tested_with_go_test() {
    let folder = Folder::project("go", "front-door");
    let _ = std::fs::remove_dir_all(folder.path().join("build"));
    folder.go(&["vet", "./...", "gatewright/gatewrighttest"]).good();
    folder.go(&["test", ".", "gatewright/gatewrighttest"]).good().says("ok  \tgatewright/gatewrighttest");
    assert!(!folder.path().join("build").exists());

    // The tests ignore what a build leaves there.
    folder.run(&["plugin", "build"]).good();
    folder.go(&["test", "./..."]).good();

    let source = folder.read("plugin.go");
    folder.write("plugin.go", source.replace("headers.Remove(\"x-word\"), ", ""));
    folder.go(&["test", "."]).bad().says("the upstream sees the word \"sesame\"");

    folder.lay_over(&repository().join("tests/policies/go"));
    folder.go(&["test", "."]).good();
}

#[test]
fn the_policy_in_c() {
    hold_the_policy("c");
}

#[test]
fn the_policy_in_go() {
    hold_the_policy("go");
}

#[test]
fn the_policy_in_rust() {
    hold_the_policy("rust");
}

#[test]
fn the_policy_in_javascript() {
    hold_the_policy("js");
}

#[test]
fn the_policy_in_typescript() {
    hold_the_policy("ts");
}

#[test]
fn the_policy_in_python() {
    hold_the_policy("python");
}

fn from_an_empty_folder(language: &str, imports: &str) {
    let folder = Folder::project(language, "front-door");
    let tested = folder.run(&["plugin", "test"]).good();
    tested.says("good  the word opens the door, and goes no further\n");
    tested.says("\n4 good, 0 bad\n");

    folder.run(&["plugin", "build"]).good().says("build/front-door.wasm (");
    let inspected = folder.run(&["plugin", "inspect", "build/front-door.wasm"]).good();
    for line in [
        "plugin    front-door 0.1.0\n",
        "contract  gatewright:plugin@0.1.0\n",
        "hooks     on-request\n",
        "grants    none\n",
    ] {
        inspected.says(line);
    }
    inspected.says("\"required\": [\n    \"word\"\n  ]");
    let held = inspected.stdout.lines().find_map(|line| line.strip_prefix("imports")).unwrap();
    let sorted = |names: &str| {
        let mut names: Vec<String> = names.split(", ").map(|name| name.trim().to_owned()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(held), sorted(imports));

    let component = "build/front-door.wasm";
    let measured =
        folder.run(&["plugin", "bench", "--component", component, "--time", "20", "tests/cases.json"]).good();
    let memory = measured.stdout.split_once("; ").unwrap().1;
    assert!(memory.split(' ').next().unwrap().parse::<f64>().unwrap() > 0.0, "{memory}");
    for case in ["the word opens the door", "another word does not", "no word does not"] {
        let line = measured.stdout.lines().find(|line| line.contains(case)).expect(case);
        let fresh: f64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        assert!(fresh > 0.0, "{line}");
    }
}

/// A hook must be written and exported by the world; if one half is missing, the language's own tools report it.
#[test]
fn a_hook_without_its_other_half_is_told() {
    for (language, file, hook, unexported, unwritten) in [
        (
            "c",
            "src/plugin.c",
            "void gw_on_response(bool end_of_stream, gw_decision *decision) {\n  (void)end_of_stream;\n  gw_proceed(decision);\n}\n",
            "no previous prototype for function 'exports_gatewright_plugin_response_hook_on_response'",
            "undefined symbol: exports_gatewright_plugin_response_hook_on_response",
        ),
        (
            "go",
            "plugin.go",
            "func (d *door) OnResponse(gatewright.Exchange, bool) (gatewright.Decision, error) {\n\treturn gatewright.Proceed(), nil\n}\n",
            "OnResponse would never run: wit/world.wit does not export it",
            "does not satisfy gatewright.ResponseHook (missing method OnResponse)",
        ),
    ] {
        let folder = Folder::project(language, "half");
        let written = folder.read(file);
        folder.write(file, format!("{written}\n{hook}"));
        folder.run(&["plugin", "test"]).bad().says(unexported);
        folder.write(file, written);
        let world = folder.read("wit/world.wit");
        let line = "  export gatewright:plugin/request-hook@0.1.0;\n";
        folder.write("wit/world.wit", world.replace(line, &format!("{line}{}", line.replace("request", "response"))));
        folder.run(&["plugin", "build"]).bad().says(unwritten);
    }
}

/// The log shows the author where it failed; the case shows that it did.
#[test]
fn what_goes_wrong_in_c_has_a_place() {
    let folder = Folder::project("c", "lost");
    folder.write(
        "src/plugin.c",
        folder.read("src/plugin.c").replace("  gw_proceed(decision);", "  gw_fail(\"no way on\");"),
    );
    let said = folder.run(&["plugin", "test", "--only", "the word opens"]).bad();
    for words in ["no way on", "trapped in on-request", "src/plugin.c:"] {
        said.says(words);
    }
}

/// For Go: the place of a failure is shown, endless waits end, and secret random numbers are drawn anew in each
/// instance.
#[test]
fn what_goes_wrong_in_go_has_a_place() {
    // The project has the name of one of Go's own packages, which must work like any other.
    let folder = Folder::project("go", "plugin");
    let source = folder.read("plugin.go").replace("\"errors\"", "\"crypto/rand\"\n\t\"errors\"");
    let proceed = "return gatewright.Proceed(), errors";
    let way = |what: &str, statement: &str| {
        format!("if what, _ := headers.Get(\"x-what\"); what == \"{what}\" {{\n{statement}\n}}\n")
    };
    let ways = [
        way("panic", "panic(\"no way on\")"),
        way("error", "return gatewright.Proceed(), headers.Set(\"connection\", \"close\")"),
        way("wait", "<-make(chan int)"),
        way("draw", "return gatewright.Problem(403, rand.Text(), \"\"), nil"),
    ];
    folder.write("plugin.go", source.replace(proceed, &(ways.concat() + proceed)));
    let case = |what: &str| {
        format!(
            r#"{{ "name": "{what}", "request": {{ "headers": {{ "x-word": "sesame", "x-what": "{what}" }} }},
            "expect": {{ "response": {{ "body": "" }} }} }}"#
        )
    };
    let cases = ["panic", "error", "wait", "draw", "draw"].map(case).join(",");
    folder.write("tests/cases.json", format!(r#"{{ "config": {{ "word": "sesame" }}, "cases": [{cases}] }}"#));
    let said = folder.run(&["plugin", "test"]).bad();
    for words in [
        "panic: no way on",
        "plugin.go:",
        "(*door).OnRequest",
        "connection: the gateway keeps this for itself",
        "all goroutines are asleep - deadlock!",
        "trapped in on-request",
    ] {
        said.says(words);
    }
    let drawn: Vec<&str> = said.stdout.split("\"about:blank\",\"title\":\"").skip(1).map(|rest| &rest[..26]).collect();
    assert!(drawn.len() == 2 && drawn[0] != drawn[1], "{drawn:?}\n{}", said.stdout);
}

/// Clients' JSON may have texts that cannot be encoded as UTF-8, and bodies may be invalid UTF-8: neither ends a
/// plugin, and the valid parts stay.
#[test]
fn what_is_no_text_becomes_replacement_characters() {
    let javascript = r#"
        import { definePlugin, respond, text } from "../sdk/plugin.js";
        import { setAttribute } from "../sdk/exchange.js";
        import { info } from "../sdk/log.js";

        const half = JSON.parse('"a\\ud83db\\ud83d\\ude00"');

        export const { lifecycle, requestHook } = definePlugin({
          name: "halves",
          onRequest() {
            setAttribute("half", half);
            info(half, { half });
            const read = text(Uint8Array.from([0xc3, 0xa9, 0xff, 0xed, 0xa0, 0x80, 0xe2, 0x82, 0xac, 0xf0, 0x9f]));
            return respond(200, { headers: { "x-half": half }, body: half + read });
          },
        });
        "#;
    let python = r#"
import json

from gatewright import Plugin, log, plugin, respond
from gatewright.exchange import set_attribute


@plugin
class Halves(Plugin):
    name = "halves"

    def on_request(self, end_of_stream):
        half = json.loads('"a\\ud83db\\ud83d\\ude00"')
        set_attribute("half", half)
        log.info(half, half=half)
        return respond(200, {"x-half": half}, half)
"#;
    let read = "\u{e9}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{20ac}\u{fffd}\u{fffd}";
    for (language, file, source, read) in [("js", "src/plugin.js", javascript, read), ("python", "main.py", python, "")]
    {
        let folder = Folder::project(language, "halves");
        folder.write(file, source);
        let half = "a\u{fffd}b\u{1f600}";
        let expect = serde_json::json!({
            "attributes": { "plugin.halves.half": half },
            "response": { "headers": { "x-half": half }, "body": format!("{half}{read}") },
        });
        let cases = serde_json::json!({ "cases": [{ "name": "halves", "expect": expect }] });
        folder.write("tests/cases.json", cases.to_string());
        folder.run(&["plugin", "test"]).good().says("\n1 good, 0 bad\n");
    }
}

/// For JavaScript: the place of a failure is shown, and what replaces a clock.
#[test]
fn what_goes_wrong_in_javascript_has_a_place() {
    let folder = Folder::project("js", "lost");
    let source = folder.read("src/plugin.js");
    let opened = "request.headers.set(\"x-door\", \"open\");";
    assert!(source.contains(opened), "{source}");
    let no_clock = "a plugin has no clock of its own";
    for (statement, words) in [
        ("null.nowhere;", "TypeError: cannot read property 'nowhere' of null"),
        ("Date.now();", no_clock),
        ("new Date();", no_clock),
        ("Date();", no_clock),
    ] {
        folder.write("src/plugin.js", source.replace(opened, statement));
        let said = folder.run(&["plugin", "test", "--only", "the word opens"]).bad();
        [words, "src/plugin.js:", "at onRequest"].iter().for_each(|words| said.says(words));
    }
    let fine = "if (new Date(0).toISOString() !== \"1970-01-01T00:00:00.000Z\") throw new Error(\"another day\");";
    folder.write("src/plugin.js", source.replace(opened, &format!("{fine} {opened}")));
    folder.run(&["plugin", "test", "--only", "the word opens"]).good();
}

/// For Python: the place of a failure is shown, in a hook and in the code for the configuration. There are no sources
/// to quote from.
#[test]
fn what_goes_wrong_in_python_has_a_place() {
    let folder = Folder::project("python", "lost");
    let source = folder.read("main.py");
    for (good, bad, words) in [
        (
            "request.headers[\"x-door\"] = \"open\"",
            "{}.nowhere",
            ["AttributeError: 'dict' object has no attribute 'nowhere'", "main.py\", line ", ", in on_request"],
        ),
        (
            "self.word = config[\"word\"]",
            "self.word = config.word",
            ["refused the configuration: AttributeError: ", "main.py\", line ", ", in configure"],
        ),
    ] {
        assert!(source.contains(good), "{source}");
        folder.write("main.py", source.replace(good, &format!("print('on', 'the way')\n        {bad}")));
        let said = folder.run(&["plugin", "test", "--only", "the word opens"]).bad();
        words.iter().chain(&["info  on the way"]).for_each(|words| said.says(words));
    }
}

/// In C there is no system to print to, and none is emulated.
#[test]
fn a_call_of_the_system_in_c_is_refused() {
    let folder = Folder::project("c", "talker");
    let source = folder.read("src/plugin.c");
    let printing =
        source.replace("  gw_proceed(decision);", "  printf(\"%d\", end_of_stream);\n  gw_proceed(decision);");
    folder.write("src/plugin.c", format!("#include <stdio.h>\n{printing}"));
    folder.run(&["plugin", "build"]).bad().says("the code calls the operating system (printf, fopen, time, ...)");
    assert!(!folder.path().join("build/talker.wasm").exists());
}

fn hold_the_policy(language: &str) {
    let folder = Folder::project(language, "policy");
    let policies = repository().join("tests/policies");
    folder.lay_over(&policies.join(language));
    let cases = policies.join("cases.json");
    let tested = folder.run(&["plugin", "test", cases.to_str().unwrap()]).good();
    tested.says("\n12 good, 0 bad\n");
    // However often it is measured, it stays the first request, which the counter lets pass.
    let first = "a key becomes a caller with a tier";
    let measured =
        ["plugin", "bench", "--json", "--time", "20", "--component", "build/policy.debug.wasm", "--only", first];
    let measured = folder.run(&[&measured[..], &[cases.to_str().unwrap()]].concat()).good();
    let figures: serde_json::Value = serde_json::from_str(&measured.stdout).unwrap();
    assert_eq!(figures["cases"][0]["answered"], 0.0, "{figures}");
    folder.run(&["plugin", "inspect", "build/policy.debug.wasm"]).good().says("grants    upstreams\n");
}

/// `contract.d.ts` is generated by `plugin-sdk/js/generate-types.mjs`; later additions to the contract are missing in
/// it.
#[test]
fn the_types_for_javascript_have_the_whole_contract() {
    let contract = std::fs::read_to_string(repository().join("wit/plugin.wit")).unwrap();
    let types = std::fs::read_to_string(repository().join("plugin-sdk/js/contract.d.ts")).unwrap();
    let (mut interface, mut functions) = ("", 0);
    for line in contract.lines() {
        if let Some(name) = line.strip_prefix("interface ") {
            interface = name.split([' ', '{']).next().unwrap();
        }
        let declared = match line.trim().split_once(": func(") {
            Some((name, _)) => format!("export function {}(", camel_case(name)),
            None => match line.strip_prefix(' ').and_then(|line| line.trim().strip_prefix("/// ")) {
                Some(words) => words.to_owned(),
                None => continue,
            },
        };
        let module =
            types.split("declare module ").find(|text| text.starts_with(&format!("'gatewright:plugin/{interface}@")));
        let module = module.unwrap_or_else(|| panic!("{interface} is missing: run plugin-sdk/js/generate-types.mjs"));
        assert!(
            module.contains(&declared),
            "{interface}: {declared:?} is missing: run plugin-sdk/js/generate-types.mjs"
        );
        functions += usize::from(declared.starts_with("export function"));
    }
    assert!(functions > 40, "only {functions} functions were found");
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
