//! Whether the bounds and the rules of `registries` make sense.

use super::{Checker, MILLISECOND};
use crate::config::registry::RegistryHost;
use crate::config::sections::Sections;
use crate::config::text::quoted;

impl Checker<'_> {
    pub(super) fn registries(&mut self, sections: &Sections<'_>) {
        let Some(registries) = sections.registries else { return };
        self.within("/registries/connect_timeout", registries.connect_timeout, MILLISECOND, "60s");
        self.within("/registries/timeout", registries.timeout, MILLISECOND, "1h");
        self.within("/registries/max_size", registries.max_size, "1KiB", "64MiB");
        for (at, rule) in registries.verify.iter().enumerate() {
            let pointer = format!("/registries/verify/{at}/prefix");
            let is_double = registries.verify[..at].iter().any(|other| other.segments() == rule.segments());
            if is_double {
                let message = format!("there is a rule for the prefix {} already", quoted(&rule.prefix));
                let double = self.document.at_value(&pointer, message);
                self.found
                    .push(double.with_help("write the keys of both into one: a signature by one of them is enough"));
            }
            let host = rule.prefix.split('/').next().unwrap_or_default();
            // A rule that is for nothing is an open door.
            if !rule.prefix.is_empty()
                && let Err(reason) = host.parse::<RegistryHost>()
            {
                let wrong = self.document.at_value(&pointer, format!("this prefix is for no plugin: {reason}"));
                self.found.push(wrong.with_help("it begins with a registry, without \"oci://\": \"ghcr.io/acme\""));
            }
        }
    }
}
