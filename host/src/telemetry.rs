//! Telemetry: the access log, the operator log and the metrics.
//!
//! Nothing here ever makes a data core wait. Each core counts in its own cells and formats into its own buffers; the
//! reader sums and writes. Other rooms get handles (`metrics.route("orders")`) when a snapshot is built, so that on the
//! request path nothing is looked up by name.

/// An enum of fixed label values, with their text.
macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$about_value:meta])* $value:ident => $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$about_value])* $value,)+ }

        impl $name {
            /// Every value, in the order of its number.
            pub const ALL: &[$name] = &[$($name::$value,)+];

            /// The text in logs and labels.
            pub fn name(self) -> &'static str {
                match self { $($name::$value => $text,)+ }
            }
        }
    };
}

pub mod access_log;
pub mod connection_record;
pub mod counters;
pub mod durations;
pub mod exposition;
pub mod json_line;
pub mod layer4_metrics;
pub mod line_writer;
pub mod log;
pub mod metrics;
pub mod plugin_metrics;
mod process;
pub mod server_metrics;
pub mod timestamp;
pub mod upstream_metrics;

pub use access_log::{AccessLog, Outcome, Record};
pub use connection_record::ConnectionRecord;
pub use log::{Fields, Level, enabled, log, log_as, log_lines, log_report};
pub use metrics::Metrics;
pub use timestamp::write_rfc3339;
