//! Components that nobody should have to trust: a good one that was cut or flipped, and, where `GATEWRIGHT_SUITES` names
//! the folder of the public suites, every module of the component model's own tests. The gateway takes them or says why
//! not; it never panics and never takes long.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gatewright::plugin::Engine;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastDirective};

/// How many damaged copies are tried without the suites.
const FEW: u32 = 20;
/// The same with them.
const MANY: u32 = 1000;
/// What loading one component may take on a busy machine. A damaged guest may loop in `describe`, until its limit.
const LONGEST: Duration = Duration::from_secs(15);

fn suites() -> Option<PathBuf> {
    std::env::var_os("GATEWRIGHT_SUITES").map(PathBuf::from)
}

/// Numbers that are the same in each run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

fn load(engine: &Engine, bytes: &[u8], what: &str) -> bool {
    let started = Instant::now();
    let loaded = engine.load(bytes);
    assert!(started.elapsed() < LONGEST, "{what} took {:?}", started.elapsed());
    match loaded {
        Ok(_) => true,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "{what}");
            false
        }
    }
}

#[test]
fn suite_damaged_copies_of_a_stock_plugin() {
    let good = gatewright::stock::component("echo").unwrap();
    let engine = Engine::new(None).unwrap();
    assert!(load(&engine, good, "the good one"));
    let copies = if suites().is_some() { MANY } else { FEW };
    let mut numbers = Numbers(7);
    for copy in 0..copies {
        let cut = numbers.below(good.len());
        assert!(!load(&engine, &good[..cut], &format!("cut at {cut}")), "cut at {cut}");
        let mut flipped = good.to_vec();
        for _ in 0..=numbers.below(4) {
            let (at, bit) = (numbers.below(good.len()), numbers.below(8));
            flipped[at] ^= 1 << bit;
        }
        load(&engine, &flipped, &format!("flipped copy {copy}"));
    }
}

#[test]
fn suite_component_model() {
    let Some(suites) = suites() else { return };
    let engine = Engine::new(None).unwrap();
    let (mut files, mut newer, mut components, mut accepted) = (0, 0, 0, 0);
    let mut folders = vec![suites.join("wasm-hostile/component-model")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "wast") {
                files += 1;
                let Some(modules) = modules(&path) else {
                    newer += 1;
                    continue;
                };
                for (line, bytes) in modules {
                    components += 1;
                    accepted += u32::from(load(&engine, &bytes, &format!("{}:{line}", path.display())));
                }
            }
        }
    }
    assert!(
        files > 3 * newer && components > files,
        "{files} files, {newer} of them not read, {components} components"
    );
    assert_eq!(accepted, 0, "none of them has the interfaces of a plugin");
    println!("{files} files ({newer} of another draft left out), {components} components, all refused in words");
}

/// Every module and component of a script as bytes, valid or not, with the line where it begins; nothing where the script
/// is written in a draft of the format that its parser does not know. What is not even text of WebAssembly has no bytes, and
/// is left out.
fn modules(path: &Path) -> Option<Vec<(usize, Vec<u8>)>> {
    let text = std::fs::read_to_string(path).unwrap();
    let buffer = ParseBuffer::new(&text).ok()?;
    let script: Wast = parser::parse(&buffer).ok()?;
    let mut found = Vec::new();
    for directive in script.directives {
        let line = directive.span().linecol_in(&text).0 + 1;
        let mut keep = |mut wat: QuoteWat<'_>| found.extend(wat.encode().ok().map(|bytes| (line, bytes)));
        match directive {
            WastDirective::Module(wat)
            | WastDirective::ModuleDefinition(wat)
            | WastDirective::AssertMalformed { module: wat, .. }
            | WastDirective::AssertInvalid { module: wat, .. } => keep(wat),
            WastDirective::AssertUnlinkable { module, .. } => keep(QuoteWat::Wat(module)),
            _ => {}
        }
    }
    Some(found)
}
