//! What holds of the source as a whole: which room may name which, and that no file outgrows its reader.
//!
//! The table is the architecture. A new arrow in the code fails this test until it is added here, where a reviewer sees
//! it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of `host/src` and the rooms that each may name.
const ROOMS: &[(&str, &[&str])] = &[
    // Pure: time and randomness are arguments.
    ("router", &[]),
    ("balance", &[]),
    ("health", &[]),
    ("headers", &[]),
    ("retry", &[]),
    ("api_versions", &[]),
    ("rewrite", &["headers"]),
    ("networks", &[]),
    ("proxy_protocol", &["networks"]),
    // As written; nothing of how it runs.
    ("regular_file", &[]),
    ("config", &["regular_file"]),
    ("body", &[]),
    ("intake", &[]),
    ("outgoing", &["body"]),
    ("thread_priority", &[]),
    ("drain", &[]),
    ("stock", &[]),
    ("watch", &["regular_file", "telemetry"]),
    ("cache", &["body", "telemetry"]),
    ("capability", &["regular_file", "tls"]),
    ("telemetry", &[]),
    ("admission", &[]),
    ("listener", &["drain", "proxy_protocol"]),
    ("tls", &["drain", "regular_file"]),
    ("tunnel", &["drain"]),
    // It is told of a connection's handshake, and its requests say so.
    ("http", &["body", "drain", "headers", "intake", "outgoing", "problem", "tls", "tunnel"]),
    ("problem", &["exchange"]),
    ("discovery", &["regular_file"]),
    // A reference is parsed once, where it is written.
    ("registry", &["config", "regular_file", "tls"]),
    // At layer 4 there is nothing between socket and upstream.
    ("l4", &["balance", "drain", "proxy_protocol", "telemetry", "upstream"]),
    ("mirror", &["body", "upstream"]),
    (
        "upstream",
        &[
            "balance",
            "body",
            "discovery",
            "health",
            "intake",
            "outgoing",
            "proxy_protocol",
            "retry",
            "telemetry",
            "tls",
            "tunnel",
        ],
    ),
    ("exchange", &["plugin", "router", "telemetry", "tls", "tunnel"]),
    (
        "plugin",
        &["body", "capability", "exchange", "problem", "regular_file", "telemetry", "thread_priority", "upstream"],
    ),
    (
        "snapshot",
        &[
            "admission",
            "api_versions",
            "balance",
            "body",
            "cache",
            "capability",
            "config",
            "discovery",
            "exchange",
            "headers",
            "health",
            "http",
            "l4",
            "mirror",
            "networks",
            "plugin",
            "proxy_protocol",
            "registry",
            "retry",
            "rewrite",
            "router",
            "stock",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    (
        "proxy",
        &[
            "admission",
            "api_versions",
            "body",
            "cache",
            "exchange",
            "headers",
            "http",
            "mirror",
            "plugin",
            "problem",
            "rewrite",
            "snapshot",
            "tunnel",
            "upstream",
        ],
    ),
    ("admin", &["telemetry"]),
    (
        "gateway",
        &[
            "admin",
            "body",
            "cache",
            "capability",
            "config",
            "discovery",
            "drain",
            "exchange",
            "health",
            "http",
            "l4",
            "listener",
            "mirror",
            "plugin",
            "proxy",
            "registry",
            "retry",
            "snapshot",
            "stock",
            "telemetry",
            "thread_priority",
            "tls",
            "upstream",
            "watch",
        ],
    ),
    // What authors of plugins do; it starts gateways, and walks exchanges through chains without one.
    (
        "author",
        &["body", "capability", "config", "exchange", "gateway", "plugin", "registry", "telemetry", "tls", "watch"],
    ),
    (
        "cli",
        &[
            "api_versions",
            "author",
            "config",
            "gateway",
            "headers",
            "l4",
            "mirror",
            "regular_file",
            "retry",
            "router",
            "snapshot",
            "telemetry",
            "upstream",
        ],
    ),
];

/// Crates that only some rooms may name.
const CRATES: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin"]),
    ("wasmtime_wasi", &["plugin"]),
    ("wasmtime_wasi_http", &["plugin"]),
    ("rustls", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("tokio_rustls", &["tls"]),
    ("rcgen", &["tls"]),
    ("x509_parser", &["tls"]),
    ("hyper", &["admin", "body", "http", "registry", "upstream"]),
    (
        "tokio",
        &[
            "admin",
            "admission",
            "author",
            "cache",
            "capability",
            "discovery",
            "drain",
            "gateway",
            "http",
            "intake",
            "l4",
            "listener",
            "mirror",
            "outgoing",
            "plugin",
            "proxy",
            "registry",
            "tls",
            "tunnel",
            "upstream",
            "watch",
        ],
    ),
    ("hickory_resolver", &["discovery"]),
    ("redis", &["capability"]),
    ("quick_cache", &["cache"]),
    ("schemars", &["author", "config"]),
    ("notify", &["watch"]),
];

#[test]
fn rooms_name_only_the_rooms_they_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        ROOMS.iter().map(|(room, may)| (*room, may.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: the room {room} is not in the table", file.display()));
            continue;
        };
        for named in names_after(&text, "crate::") {
            if named != room && allowed.contains_key(named.as_str()) && !may.contains(named.as_str()) {
                wrong.push(format!("{}: {room} names {named}", file.display()));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "arrows that the table does not have:\n{}", wrong.join("\n"));
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (room, file, text) in sources() {
        for (name, rooms) in CRATES {
            if !rooms.contains(&room.as_str()) && mentions(&text, name) {
                wrong.push(format!("{}: {room} names the crate {name}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "crates where they do not belong:\n{}", wrong.join("\n"));
}

/// What a plugin refuses as no attribute has to be none.
#[test]
fn the_sdk_knows_the_attributes_of_the_gateway() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let mut known = BTreeSet::new();
    for (file, prefix) in [
        ("host/src/exchange.rs", ""),
        ("host/src/tls/peer.rs", "connection.tls."),
        ("host/src/tls/client_certificate.rs", "connection.tls.client."),
    ] {
        let text = read(file);
        let (_, body) = text.split_once("fn attribute(&self, name: &str)").unwrap();
        let (body, _) = body.split_once("\n    }\n").unwrap();
        let arms = body.lines().filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
        known.extend(arms.map(|(name, _)| format!("{prefix}{name}")));
    }
    let rules = read("plugin-sdk/rust/src/rules.rs");
    let (_, list) = rules.split_once("pub const ATTRIBUTES").unwrap();
    let (list, _) = list.split_once("];\n").unwrap();
    let listed: BTreeSet<String> =
        list.lines().filter_map(|line| Some(line.trim().strip_prefix('"')?.strip_suffix("\",")?.to_owned())).collect();
    assert_eq!(listed, known);
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(_, file, text)| (file, text[..text.rfind("#[cfg(test)]").unwrap_or(text.len())].lines().count()))
        .filter(|(_, lines)| *lines > LINES)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "a room is missing in:\n{}", long.join("\n"));
}

/// Lines of a file before its tests.
const LINES: usize = 430;

/// Room, path and text of every source file of the gateway, tests of their own left out.
fn sources() -> Vec<(String, PathBuf, String)> {
    let root = gatewright_tests::repository().join("host/src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files
        .into_iter()
        .filter_map(|path| {
            let inside = path.strip_prefix(&root).ok()?.to_owned();
            let first = inside.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
            let is_test = inside.file_stem().is_some_and(|stem| stem == "tests" || stem == "laws");
            let text = std::fs::read_to_string(&path).ok()?;
            (!is_test && first != "lib" && first != "main").then_some((first, inside, text))
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // What only tests see may name anything.
            if path.file_name().is_some_and(|name| name != "tests") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The identifiers right after `prefix`, also inside the braces of a `use`.
fn names_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut names = BTreeSet::new();
    for rest in code.split(prefix).skip(1) {
        match rest.strip_prefix('{') {
            None => drop(names.insert(identifier(rest))),
            Some(list) => {
                let mut depth = 0;
                for part in list.split_inclusive(['{', '}', ',']) {
                    if depth == 0 {
                        names.insert(identifier(part.trim_start()));
                    }
                    depth += part.matches('{').count() as i32 - part.matches('}').count() as i32;
                    if depth < 0 {
                        break;
                    }
                }
            }
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether code (not a comment) says `name::`.
fn mentions(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(&path).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
        })
    })
}
