//! What the documents say holds: every configuration in them loads, and the checked-in schema is the gateway's own.

use gatewright_tests::repository;

#[test]
fn the_schema_in_docs_is_fresh() {
    let fresh = serde_json::to_string_pretty(&gatewright::gateway::schema().unwrap()).unwrap();
    let kept = std::fs::read_to_string(repository().join("docs/gateway.schema.json")).unwrap();
    assert!(kept.trim_end() == fresh, "docs/gateway.schema.json is stale; run `make schema`");
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut pages = vec![repository().join("README.md")];
    for folder in ["docs", "docs/plugins"] {
        let folder = std::fs::read_dir(repository().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        pages.extend(folder.filter(|page| page.extension().is_some_and(|it| it == "md")));
    }
    let authority = gatewright_tests::Authority::new("documents");
    let mut checked = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for fence in text.replace("```jsonc\n", "```json\n").split("```json\n").skip(1) {
            let config = fence.split("```").next().unwrap();
            // A reader of some pages has built a plugin by then.
            if !config.contains("\"routes\"") || config.contains("file:build/") {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("gateway.json");
            // What the pages name as if it were there.
            for file in ["keys.json", "jwks.json"] {
                std::fs::write(folder.path().join(file), "{\"keys\":[]}").unwrap();
            }
            std::fs::write(folder.path().join("redis.key"), "open-sesame").unwrap();
            std::fs::write(folder.path().join("admin.token"), "a token of the operator").unwrap();
            std::fs::write(folder.path().join("openapi.json"), r#"{"openapi":"3.1.0","paths":{}}"#).unwrap();
            std::fs::copy(repository().join("tests/grpc/notes.proto"), folder.path().join("shop.proto")).unwrap();
            std::fs::write(folder.path().join("sticky.key"), "sixteen bytes or more").unwrap();
            std::fs::write(folder.path().join("id.secret"), "secret").unwrap();
            std::fs::write(folder.path().join("cookies.key"), "thirty-two bytes or more for cookies").unwrap();
            std::fs::write(folder.path().join("hmac.key"), "thirty-two bytes or more for hmac").unwrap();
            for stem in ["shop", "api", "gateway"] {
                authority.issue(&[&format!("{stem}.test")]).write(folder.path(), stem);
            }
            for file in ["clients.pem", "internal-ca.pem"] {
                std::fs::write(folder.path().join(file), authority.pem()).unwrap();
            }
            std::fs::write(folder.path().join("users.htpasswd"), HTPASSWD).unwrap();
            for (guest, name) in [("guest-service", "shop.wasm"), ("guest-middleware", "between.wasm")] {
                std::fs::copy(gatewright_tests::guest(guest), folder.path().join(name)).unwrap();
            }
            std::fs::write(&path, with_defaults(config)).unwrap();
            // What is in a registry is not there; everything else about it is looked at.
            if config.contains("oci://") {
                let names: Vec<&str> = gatewright::stock::names().collect();
                let loaded = gatewright::config::Loaded::read(&path, &names);
                loaded.unwrap_or_else(|report| panic!("{}:\n{}", page.display(), report.render(false)));
                checked += 1;
                continue;
            }
            if let Err(error) = gatewright::gateway::build(&path) {
                panic!("{}:\n{error}", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} configurations were found");
}

#[test]
fn every_feature_of_the_gateway_api_names_tests_that_are_there() {
    let page = std::fs::read_to_string(repository().join("docs/routing.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| Support")).collect();
    assert!(rows.len() >= 30, "only {} features", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [feature, here, tests] = cells.as_slice() else { panic!("{row}") };
        let tests: Vec<&str> = tests.split('`').filter(|name| name.contains("::")).collect();
        assert!(!tests.is_empty() || here.starts_with("no: "), "{feature} has no test and no reason");
        for test in tests {
            let (module, name) = test.rsplit_once("::").unwrap();
            let file = repository().join(format!("tests/e2e/{}.rs", module.replace("::", "/")));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{feature}: {test}: {error}"));
            let is_there = ["", "async "].iter().any(|kind| {
                ["#[test]", "#[tokio::test]"]
                    .iter()
                    .any(|attribute| text.contains(&format!("{attribute}\n{kind}fn {name}(")))
            });
            assert!(is_there, "{feature}: there is no test {test}");
        }
    }
}

const HTPASSWD: &str = "ada:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n";

/// Variables in the examples stand for secrets that a reader has; here they have a value of the right kind.
fn with_defaults(config: &str) -> String {
    let mut text = String::new();
    for (index, part) in config.split("${").enumerate() {
        match part.split_once('}') {
            // A file that is named is there.
            Some((name, rest)) if name.starts_with("file:") => text.push_str(&format!("${{{name}}}{rest}")),
            Some((_, rest)) if index > 0 => text.push_str(&format!("a-value-that-is-long-enough-for-any-key{rest}")),
            _ => text.push_str(part),
        }
    }
    text
}
