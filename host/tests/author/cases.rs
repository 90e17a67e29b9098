//! Test cases run against a stock plugin, which needs no language's tools.

use crate::folder::{Folder, Said};

#[test]
fn what_differs_is_shown_and_the_exit_status_says_so() {
    let said = test(
        "headers",
        r#"{
          "config": { "request": { "set": { "x-a": "1" } }, "response": { "set": { "x-b": "2" } } },
          "cases": [
            { "name": "fine", "expect": { "request": { "headers": { "x-a": "1" } }, "response": { "headers": { "x-b": "2" } } } },
            { "name": "wrong value", "expect": { "request": { "headers": { "x-a": "2" } } } },
            { "name": "missing",
              "request": { "path": "/a", "body": "hello" },
              "expect": { "request": { "path": "/b", "absent": ["x-a"], "body": "bye" }, "response": { "status": 201 } } },
            { "name": "steps", "steps": [{}, { "expect": { "answered": true } }] },
            { "name": "accepted", "refused": "anything" },
            { "name": "refused", "config": { "request": { "set": { "x a": "1" } } } }
          ]
        }"#,
    );
    let said = said.bad();
    for words in [
        "good  fine\n",
        "BAD   wrong value (cases.json:5)\n      request.headers.x-a\n        - 2\n        + 1\n",
        "BAD   missing (cases.json:6)\n",
        "      request.path\n        - /b\n        + /a\n",
        "      request.headers.x-a\n        - (none)\n        + 1\n",
        "      request.body\n        - bye\n        + hello\n",
        "      response.status\n        - 201\n        + 200\n",
        "      step 2\n      answered\n        - true\n        + false\n",
        "BAD   accepted (cases.json:10)\n      the configuration\n        - refused: anything\n        + accepted\n",
        "BAD   refused (cases.json:11)\n",
        "\n1 good, 5 bad\n",
    ] {
        said.says(words);
    }
}

#[test]
fn counters_bodies_and_answers_are_the_real_ones() {
    test(
        "rate-limit",
        r#"{
          "config": { "limit": "2/min", "by": "ip" },
          "cases": [{ "name": "the third is too many", "steps": [
            { "expect": { "answered": false } },
            { "expect": { "answered": false } },
            { "expect": { "answered": true, "response": { "status": 429 } } },
            { "request": { "client": "192.0.2.9" }, "expect": { "answered": false } }
          ] }]
        }"#,
    )
    .good();
    test(
        "request-size",
        r#"{
          "config": { "limit": "4B" },
          "cases": [
            { "name": "short", "request": { "method": "POST", "body": "1234" }, "expect": { "request": { "body": "1234" } } },
            { "name": "long", "request": { "method": "POST", "chunks": ["123", "45"] },
              "expect": { "answered": true, "response": { "status": 413 } } }
          ]
        }"#,
    )
    .good();
}

#[test]
fn only_some_cases() {
    let cases = r#"{ "cases": [{ "name": "one" }, { "name": "two", "expect": { "answered": true } }] }"#;
    let folder = folder("headers", cases);
    let run = |only| folder.run(&["plugin", "test", "--component", "plugin.wasm", "cases.json", "--only", only]);
    run("one").good().says("\n1 good, 0 bad\n");
    run("two").bad().says("\n0 good, 1 bad\n");
    run("three").bad().says("no case has \"three\" in its name");
    let bench = ["plugin", "bench", "--component", "plugin.wasm", "cases.json", "--time", "1", "--only", "three"];
    folder.run(&bench).bad().says("nothing was measured");
}

#[test]
fn mistakes_in_a_file_of_cases_have_their_places() {
    for (cases, place, words) in [
        ("{", "cases.json:1:", "error"),
        ("{ \"cases\": [] }", "cases.json:1:", "nothing would be tested"),
        ("{ \"casse\": [] }", "cases.json:1:", "did you mean \"cases\"?"),
        (
            "{ \"cases\": [\n{ \"name\": \"a\", \"expect\": { \"respons\": {} } }] }",
            "cases.json:2:",
            "did you mean \"response\"?",
        ),
        ("{ \"cases\": [\n{ \"name\": \"a\", \"expect\": {}, \"steps\": [{}] }] }", "cases.json:2:", "either steps"),
        ("{ \"cases\": [\n{ \"name\": \"a\", \"response\": { \"status\": 99 } }] }", "cases.json:2:", "99"),
        ("{ \"cases\": [\n{ \"name\": \"a\", \"request\": { \"headers\": { \"x\": 7 } } }] }", "cases.json:2:", "7"),
        (
            "{ \"cases\": [\n{ \"name\": \"a\", \"request\": { \"headers\": { \"x y\": \"1\" } } }] }",
            "cases.json:2:",
            "the field \"x y\" cannot be sent",
        ),
        (
            "{ \"cases\": [{ \"name\": \"a\", \"steps\": [\n{ \"response\": { \"headers\": { \"x\": \"1\\n2\" } } }] }] }",
            "cases.json:2:",
            "the field \"x\" cannot be sent",
        ),
        (
            "{ \"upstreams\": { \"u\": [\n{ \"response\": { \"headers\": { \"x\": [\"1\", \"\\u0001\"] } } }] }, \"cases\": [{ \"name\": \"a\" }] }",
            "cases.json:2:",
            "the field \"x\" cannot be sent",
        ),
        (
            "{ \"cases\": [{ \"name\": \"a\",\n\"request\": { \"body\": \"1\", \"json\": 1 } }] }",
            "cases.json:2:",
            "more than one of \"body\", \"json\" and \"chunks\"",
        ),
    ] {
        let said = test("headers", cases).bad();
        said.says(place);
        said.says(words);
    }
}

fn test(plugin: &str, cases: &str) -> Said {
    folder(plugin, cases).run(&["plugin", "test", "--component", "plugin.wasm", "cases.json"])
}

/// A folder with the component of a stock plugin and a file of cases.
fn folder(plugin: &str, cases: &str) -> Folder {
    let folder = Folder::empty();
    folder.write("plugin.wasm", gatewright::stock::component(plugin).unwrap());
    folder.write("cases.json", cases);
    folder
}
