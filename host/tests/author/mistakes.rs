//! Mistakes of authors: a clear message, and nothing is changed.

use std::os::unix::fs::PermissionsExt;

use crate::folder::{Folder, Said};

#[test]
fn a_folder_that_is_not_empty_stays_as_it_is() {
    let folder = Folder::empty();
    folder.write("mine.txt", "mine");
    let said = folder.run(&["plugin", "new", "--lang", "rust", "a", "--path", "."]).bad();
    said.says(". is not empty, and nothing was written");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    folder.run(&["plugin", "new", "--lang", "js", "a"]).good().says("a is ready");
    folder.run(&["plugin", "new", "--lang", "js", "a"]).bad().says("a is not empty");
    folder.run(&["plugin", "new", "--lang", "js", "b", "--path", "mine.txt"]).bad().says("mine.txt: ");
    assert_eq!(folder.read("mine.txt"), "mine");
}

#[test]
fn a_name_and_a_language_that_cannot_be() {
    let folder = Folder::empty();
    for name in ["No_Bots", "2fast", "a/b", ".."] {
        folder.run(&["plugin", "new", "--lang", "rust", name]).bad().says("cannot be the name of a plugin");
    }
    let said = folder.run(&["plugin", "new", "--lang", "cobol", "a"]);
    assert_eq!(said.code, Some(2));
    said.says("invalid value 'cobol'");
    said.says("rust, js, ts, python, c, go");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_without_a_project() {
    let folder = Folder::empty();
    for command in ["build", "test", "bench", "run", "dev", "inspect", "sdk"] {
        folder.run(&["plugin", command]).bad().says("there is no plugin.json in .");
    }
    folder.write("plugin.json", "{\n  \"name\": \"a\",\n  \"langauge\": \"rust\"\n}");
    let said = folder.run(&["plugin", "build"]).bad();
    said.says("plugin.json:3:");
    said.says("did you mean \"language\"?");
}

#[test]
fn the_sdk_is_renewed_whole() {
    let folder = Folder::empty();
    folder.run(&["plugin", "new", "--lang", "ts", "a", "--path", "."]).good();
    let sdk = folder.read("sdk/plugin.js");
    folder.write("sdk/plugin.js", "old");
    folder.write("sdk/gone.js", "old");
    folder.write("src/plugin.ts", "mine");
    folder.run(&["plugin", "sdk"]).good();
    assert_eq!(folder.read("sdk/plugin.js"), sdk);
    assert!(!folder.path().join("sdk/gone.js").exists());
    assert_eq!(folder.read("src/plugin.ts"), "mine");
}

#[test]
fn a_missing_tool_is_named_with_what_installs_it() {
    for (language, tool, command) in [
        ("rust", "rustc is missing", "rustup target add wasm32-wasip2"),
        ("js", "npm is missing", "apt-get install nodejs npm"),
        ("ts", "npm is missing", "apt-get install nodejs npm"),
        ("c", "python3 is missing", "apt-get install python3 python3-venv"),
        ("go", "python3 is missing", "apt-get install python3 python3-venv"),
        ("python", "python3 is missing", "apt-get install python3 python3-venv"),
    ] {
        let folder = Folder::empty();
        folder.run(&["plugin", "new", "--lang", language, "a", "--path", "."]).good();
        let without = |path: &str| Said::of(folder.command(&["plugin", "build"]).env("PATH", path).output().unwrap());
        let said = without("/no/such/folder").bad();
        said.says(tool);
        said.says(command);
        assert!(!folder.path().join("build/a.wasm").exists());
    }
}

#[test]
fn a_missing_target_is_named_with_what_installs_it() {
    let folder = Folder::empty();
    folder.run(&["plugin", "new", "--lang", "rust", "a", "--path", "."]).good();
    let tools = tempfile::tempdir().unwrap();
    let rustc = tools.path().join("rustc");
    std::fs::write(&rustc, "#!/bin/sh\necho /no/such/folder\n").unwrap();
    std::fs::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let said = Said::of(folder.command(&["plugin", "build"]).env("PATH", tools.path()).output().unwrap()).bad();
    said.says("target for components is missing");
    said.says("rustup target add wasm32-wasip2");
}

#[test]
fn sources_that_do_not_build_leave_what_was_built() {
    let folder = Folder::project("js", "a");
    folder.run(&["plugin", "build"]).good();
    let built = std::fs::read(folder.path().join("build/a.wasm")).unwrap();
    folder.write("src/plugin.js", "export const lifecycle = {;");
    let said = folder.run(&["plugin", "build"]).bad();
    said.says("plugin.js:1");
    said.says("componentize-qjs failed");
    assert_eq!(std::fs::read(folder.path().join("build/a.wasm")).unwrap(), built);
}

#[test]
fn a_component_that_is_no_plugin() {
    let folder = Folder::empty();
    folder.write("cases.json", r#"{ "cases": [{ "name": "a" }] }"#);
    let other = "(component (instance $i) (export \"wasi:http/incoming-handler@0.2.3\" (instance $i)))";
    let core = "(module (func (export \"main\")))";
    for (file, bytes, words) in [
        (
            "other.wasm",
            wat::parse_str(other).unwrap(),
            "built for another world: it exports wasi:http/incoming-handler@0.2.3",
        ),
        ("core.wasm", wat::parse_str(core).unwrap(), "a core WebAssembly module, not a component"),
        ("text.wasm", b"not wasm".to_vec(), "this is not WebAssembly"),
    ] {
        folder.write(file, bytes);
        for arguments in [&["plugin", "inspect", file][..], &["plugin", "test", "--component", file, "cases.json"]] {
            let said = folder.run(arguments).bad();
            said.says(file);
            said.says(words);
        }
    }
    folder.run(&["plugin", "inspect", "nothing.wasm"]).bad().says("nothing.wasm: ");
}
