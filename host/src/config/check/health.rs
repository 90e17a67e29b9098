//! Whether an upstream's health settings fit together.

use super::{Checker, MILLISECOND};
use crate::config::Upstream;

impl Checker<'_> {
    /// `pointer` is the upstream's place.
    pub(super) fn health(&mut self, pointer: &str, upstream: &Upstream) {
        if let Some(health) = &upstream.health {
            let place = format!("{pointer}/health");
            self.within(&format!("{place}/interval"), health.interval, "100ms", "1d");
            let timeout = format!("{place}/timeout");
            if health.timeout.is_some_and(|timeout| timeout > health.interval) {
                let help = format!("the interval is \"{}\"; a probe ends before the next one begins", health.interval);
                let long = self.document.at_value(&timeout, "the timeout is longer than the interval");
                self.found.push(long.with_help(help));
            }
            let kind = health.grpc.is_some().then_some("grpc").or(health.tcp.is_some().then_some("tcp"));
            let foreign: &[&str] = match kind {
                Some("grpc") => &["tcp", "path", "method", "expect"],
                Some(_) => &["path", "method", "host", "headers", "expect"],
                None => &[],
            };
            for key in foreign {
                let pointer = format!("{place}/{key}");
                if self.document.value().pointer(&pointer).is_some() {
                    let kind = kind.unwrap_or_default();
                    let stray = self.document.at_key(&pointer, format!("\"{key}\" does nothing beside \"{kind}\""));
                    self.found.push(stray.with_help("a probe is either HTTP, or \"tcp\", or \"grpc\": leave one out"));
                }
            }
            for (name, value) in &health.headers {
                if value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
                    let pointer = crate::config::child(&format!("{place}/headers"), name.as_str());
                    let wrong = self.document.at_value(&pointer, "a header field cannot have a control character");
                    self.found.push(wrong);
                }
            }
        }
        let ejection = &upstream.ejection;
        let place = format!("{pointer}/ejection");
        self.within(&format!("{place}/time"), ejection.time, MILLISECOND, "1d");
        if let Some(max_time) = ejection.max_time {
            self.within(&format!("{place}/max_time"), max_time, MILLISECOND, "1d");
            if max_time < ejection.time {
                let pointer = format!("{place}/max_time");
                let short = self.document.at_value(&pointer, "the longest ejection is shorter than the first");
                self.found.push(short.with_help(format!("\"time\" is \"{}\"", ejection.time)));
            }
        }
        if let Some(rate) = &ejection.success_rate {
            self.within(&format!("{place}/success_rate/window"), rate.window, "100ms", "1h");
            if ejection.on.is_empty() {
                let idle = self.document.at_key(&format!("{place}/success_rate"), "nothing counts as a failure");
                self.found.push(idle.with_help("\"on\" is empty, which turns ejection off"));
            }
        }
    }
}
