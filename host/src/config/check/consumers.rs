//! Whether the plugins that consumers name exist, and whether a consumer sets claims that the gateway writes itself.

use super::Checker;
use crate::config::document::child;
use crate::config::sections::Sections;
use crate::config::text::quoted;

impl Checker<'_> {
    /// Plugins that are not there, and claims that the gateway writes itself.
    pub(super) fn consumers(&mut self, sections: &Sections<'_>) {
        for (name, consumer) in &sections.consumers {
            let pointer = child("/consumers", name);
            let keyed = [
                ("credentials", consumer.credentials.keys().collect::<Vec<_>>()),
                ("limits", consumer.limits.keys().collect()),
            ];
            for (key, plugins) in keyed {
                for plugin in plugins.into_iter().filter(|plugin| !self.plugins.known.contains(plugin.as_str())) {
                    let pointer = child(&child(&pointer, key), plugin);
                    let wrong = self.document.at_key(&pointer, format!("there is no plugin {}", quoted(plugin)));
                    self.found.push(wrong.with_suggestion(plugin, self.plugins.listed.iter().copied()));
                }
            }
            for claim in ["consumer", "groups"].into_iter().filter(|claim| consumer.claims.contains_key(*claim)) {
                let pointer = child(&child(&pointer, "claims"), claim);
                let message = format!("the claim {} is the gateway's own", quoted(claim));
                let help = match claim {
                    "consumer" => "it is the consumer's name",
                    _ => "write \"groups\" beside \"claims\"",
                };
                self.found.push(self.document.at_key(&pointer, message).with_help(help));
            }
        }
    }
}
