//! The upstreams that a plugin was granted, for the strings of its configuration that name one.
//!
//! The schema of a plugin marks such a string with the format [`UPSTREAM`]. Otherwise a name that the plugin may not
//! call would be found with the first request, and a plugin that lets requests pass without an answer would let all of
//! them pass.

use std::collections::BTreeSet;

use super::diagnostic::Diagnostic;
use super::text::quoted;

/// What one plugin may call, and what there is.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// The plugin's name in gateway.json.
    pub plugin: String,
    /// The upstreams that it was granted.
    pub upstreams: BTreeSet<String>,
    /// All upstreams.
    pub known: BTreeSet<String>,
}

impl Granted {
    /// Says why `name` cannot be called. It is shown as `written` if it came from `${..}`.
    pub(super) fn refuse(&self, diagnostic: Diagnostic, name: &str, written: &str, is_expanded: bool) -> Diagnostic {
        let shown = if is_expanded { written.to_owned() } else { quoted(name) };
        if self.known.contains(name) {
            let others = self.upstreams.iter().map(|granted| quoted(granted));
            let names = others.chain([shown.clone()]).collect::<Vec<_>>().join(", ");
            let plugin = quoted(&self.plugin);
            let message = format!("the upstream {shown} is not granted to the plugin {plugin}");
            let grant = format!("\"plugins\": {{ {plugin}: {{ \"grants\": {{ \"upstreams\": [{names}] }} }} }}");
            return Diagnostic { message, ..diagnostic }.with_help(format!("to grant it: {grant}"));
        }
        let diagnostic = Diagnostic { message: format!("there is no upstream {shown}"), ..diagnostic };
        let known = self.known.iter().map(String::as_str);
        let diagnostic = if is_expanded { diagnostic } else { diagnostic.with_suggestion(name, known.clone()) };
        diagnostic.with_help(match self.known.len() {
            0 => "no upstream is defined".to_owned(),
            count if count > MOST_LISTED => format!("there are: {}, …", joined(known)),
            _ => format!("there are: {}", joined(known)),
        })
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.take(MOST_LISTED).collect::<Vec<_>>().join(", ")
}

/// The JSON Schema format of a string that names an upstream for the plugin to call.
pub const UPSTREAM: &str = "gateway-upstream";
const MOST_LISTED: usize = 20;
