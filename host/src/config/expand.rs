//! `${VAR}`, `${VAR:-default}`, `${file:path}` and `${base64:path}` inside a string; `$${` is a literal `${`.
//!
//! Only strings are expanded, and only once: an expanded value is never expanded again, so a secret that contains `${`
//! stays as it is. There is no nesting and no other `$`, so regular expressions rarely need the escape.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::text::quoted;
use crate::regular_file;

/// The source of the values: the process, or a test.
pub trait Environment {
    /// None if it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The content of a file; a relative path is relative to the configuration's directory.
    fn file(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// The environment of this process.
#[derive(Clone, Debug)]
pub struct Process {
    /// The directory of relative paths.
    pub directory: PathBuf,
}

impl Process {
    /// For a configuration file: paths are relative to its directory.
    pub fn beside(file: &Path) -> Process {
        Process { directory: file.parent().map(Path::to_path_buf).unwrap_or_default() }
    }
}

impl Environment for Process {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> io::Result<Vec<u8>> {
        regular_file::read(&self.directory.join(path), LARGEST_FILE)
    }
}

/// A string with what stands for its `${..}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Each `${..}` as written, with the value that took its place.
    pub(super) values: Vec<(String, String)>,
}

/// Why one `${..}` could not be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
    /// Its position in the string.
    pub(super) range: Range<usize>,
}

/// Expands `text`. None if there is nothing to expand, which is nearly always the case.
pub(super) fn expand(text: &str, environment: &dyn Environment) -> Result<Option<Expanded>, Vec<Fault>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut values = Vec::new();
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
        let start = at + found;
        if text.get(at..start).is_some_and(|before| before.ends_with('$')) {
            expanded.push_str(text.get(at..start).unwrap_or_default());
            expanded.push('{');
            at = start + 2;
            continue;
        }
        expanded.push_str(text.get(at..start).unwrap_or_default());
        let inner = text.get(start + 2..).unwrap_or_default();
        let Some(length) = inner.find('}') else {
            let help = "close it with \"}\", or write \"$${\" for a literal \"${\"".to_owned();
            faults.push(Fault { message: "\"${\" is not closed".to_owned(), help, range: start..text.len() });
            return Err(faults);
        };
        let end = start + 2 + length + 1;
        match value_of(inner.get(..length).unwrap_or_default(), environment) {
            Ok(value) => {
                expanded.push_str(&value);
                values.push((text.get(start..end).unwrap_or_default().to_owned(), value));
            }
            Err((message, help)) => faults.push(Fault { message, help, range: start..end }),
        }
        at = end;
    }
    expanded.push_str(text.get(at..).unwrap_or_default());
    if faults.is_empty() { Ok(Some(Expanded { text: expanded, values })) } else { Err(faults) }
}

/// The value of the text between the braces, or a message and a help.
fn value_of(inner: &str, environment: &dyn Environment) -> Result<String, (String, String)> {
    let cannot_read = |path: &str, error: io::Error| {
        let help = "a relative path begins at the directory of the configuration file".to_owned();
        (format!("cannot read the file {}: {error}", quoted(path)), help)
    };
    if let Some(path) = inner.strip_prefix("base64:") {
        return Ok(BASE64.encode(environment.file(path).map_err(|error| cannot_read(path, error))?));
    }
    if let Some(path) = inner.strip_prefix("file:") {
        let content = environment.file(path).map_err(|error| cannot_read(path, error))?;
        let mut text = String::from_utf8(content).map_err(|_| {
            let help = format!("write ${{base64:{path}}} where base64 of it is wanted");
            (format!("the file {} is not text in UTF-8", quoted(path)), help)
        })?;
        // Editors and `echo` end a file with a newline that is not part of the value.
        let without_newline = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text).len());
        text.truncate(without_newline.unwrap_or(text.len()));
        return Ok(text);
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        let message = format!("{} is not the name of an environment variable", quoted(name));
        return Err((message, "write \"$${\" where a literal \"${\" is meant".to_owned()));
    }
    // As in a shell, the default also replaces an empty value.
    match (environment.variable(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err((
            format!("the environment variable {name} is not set"),
            format!("set it, or give a default: ${{{name}:-value}}"),
        )),
    }
}

const LARGEST_FILE: u64 = 1024 * 1024;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// `HOST` is "h", `EMPTY` is empty, `SECRET` is "hunter2"; the file `token` holds "abc" and a newline, `binary` no text.
    pub(in crate::config) struct Fake;

    impl Environment for Fake {
        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "HOST" => "h",
                "EMPTY" => "",
                "SECRET" => "hunter2",
                "TRICKY" => "${HOST}",
                _ => return None,
            };
            Some(value.to_owned())
        }

        fn file(&self, path: &str) -> io::Result<Vec<u8>> {
            match path {
                "token" => Ok(b"abc\r\n".to_vec()),
                "binary" => Ok(vec![0xff, 0x00]),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
            }
        }
    }

    #[test]
    fn expansions() {
        for (text, expected) in [
            ("plain", None),
            ("$HOST {HOST} $", None),
            ("${HOST}", Some("h")),
            ("a${HOST}b${HOST}", Some("ahbh")),
            ("${EMPTY}", Some("")),
            ("${EMPTY:-d}", Some("d")),
            ("${NONE:-d e:-f}", Some("d e:-f")),
            ("${NONE:-}", Some("")),
            ("${TRICKY}", Some("${HOST}")),
            ("${file:token}", Some("abc")),
            ("${base64:token}", Some("YWJjDQo=")),
            ("${base64:binary}", Some("/wA=")),
            ("$${HOST}", Some("${HOST}")),
            ("$$${HOST}", Some("$${HOST}")),
            ("$${${HOST}", Some("${h")),
            ("é${HOST}é", Some("éhé")),
        ] {
            let expanded = expand(text, &Fake).map(|expanded| expanded.map(|expanded| expanded.text));
            assert_eq!(expanded, Ok(expected.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn each_value_is_known_by_what_was_written() {
        let pairs = |text: &str| expand(text, &Fake).ok().flatten().map(|expanded| expanded.values).unwrap_or_default();
        let owned = |written: &str, value: &str| (written.to_owned(), value.to_owned());
        assert!(pairs("a$${b}").is_empty());
        assert_eq!(pairs("é${SECRET}-$${x}${NONE:-d}"), [owned("${SECRET}", "hunter2"), owned("${NONE:-d}", "d")]);
    }

    #[test]
    fn faults_are_positioned_and_all_reported() {
        for (text, ranges) in [
            ("${", &[(0, 2)][..]),
            ("a${HOST", &[(1, 7)]),
            ("é${NONE}é${file:none}", &[(2, 9), (11, 23)]),
            ("${file:binary}${base64:none}", &[(0, 14), (14, 28)]),
            ("${}", &[(0, 3)]),
            ("${A B}", &[(0, 6)]),
            ("${source.address}", &[(0, 17)]),
            ("${NONE} ${", &[(0, 7), (8, 10)]),
        ] {
            let faults = expand(text, &Fake).err().unwrap_or_default();
            let found: Vec<_> = faults.iter().map(|fault| (fault.range.start, fault.range.end)).collect();
            assert_eq!(found, ranges, "{text}");
        }
    }
}
