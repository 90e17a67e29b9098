//! Whether the limits and rules of `registries` make sense.

use super::{Checker, MILLISECOND};
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
            // A rule that applies to nothing is an open door.
            if let Some(reason) = rule.is_for_nothing() {
                let wrong = self.document.at_value(&pointer, format!("this prefix is for no plugin: {reason}"));
                let help = "it is a registry, or a path in it by whole segments, without \"oci://\", a tag or \"*\": \
                            \"ghcr.io/acme\"";
                self.found.push(wrong.with_help(help));
            }
        }
    }
}
