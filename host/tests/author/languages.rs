//! From an empty folder to a measured plugin, in each language; and one policy in all of them.

use crate::folder::{Folder, repository};

#[test]
fn a_rust_plugin_from_an_empty_folder() {
    from_an_empty_folder("rust", "log, exchange");
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
    let value = folder.run(&["plugin", "inspect", "--json", "build/front-door.wasm"]).good();
    let value: serde_json::Value = serde_json::from_str(&value.stdout).unwrap();
    let mut held: Vec<&str> = value["imports"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut wanted: Vec<&str> = imports.split(", ").collect();
    held.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(held, wanted);
    assert_eq!(value["config_schema"]["required"][0], "word");

    let component = "build/front-door.wasm";
    let measured =
        folder.run(&["plugin", "bench", "--component", component, "--time", "20", "tests/cases.json"]).good();
    for case in ["the word opens the door", "another word does not", "no word does not"] {
        let line = measured.stdout.lines().find(|line| line.contains(case)).expect(case);
        let fresh: f64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
        assert!(fresh > 0.0, "{line}");
    }
}

fn hold_the_policy(language: &str) {
    let folder = Folder::project(language, "policy");
    let policies = repository().join("tests/policies");
    folder.lay_over(&policies.join(language));
    let cases = policies.join("cases.json");
    let tested = folder.run(&["plugin", "test", cases.to_str().unwrap()]).good();
    tested.says("\n12 good, 0 bad\n");
    folder.run(&["plugin", "inspect", "build/policy.debug.wasm"]).good().says("grants    upstreams\n");
}

/// `contract.d.ts` is made by `plugin-sdk/js/generate-types.mjs`; what was added to the contract since is missing in it.
#[test]
fn the_types_for_javascript_have_the_whole_contract() {
    let contract = std::fs::read_to_string(repository().join("wit/plugin.wit")).unwrap();
    let types = std::fs::read_to_string(repository().join("plugin-sdk/js/contract.d.ts")).unwrap();
    let (mut interface, mut functions) = ("", 0);
    for line in contract.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("interface ") {
            interface = name.split([' ', '{']).next().unwrap();
        }
        let Some((name, _)) = line.split_once(": func(") else { continue };
        let module =
            types.split("declare module ").find(|text| text.starts_with(&format!("'gatewright:plugin/{interface}@")));
        let module = module.unwrap_or_else(|| panic!("{interface} is missing: run plugin-sdk/js/generate-types.mjs"));
        let declared = format!("export function {}(", camel_case(name));
        assert!(module.contains(&declared), "{interface}.{name} is missing: run plugin-sdk/js/generate-types.mjs");
        functions += 1;
    }
    assert!(functions > 40, "only {functions} functions were found");
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
