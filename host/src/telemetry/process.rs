//! The process itself: the `process_*` families of Prometheus' own client libraries, read from /proc.
//!
//! Values that cannot be read (on another system, or in a container without /proc) are left out.

use std::fs;
use std::time::SystemTime;

use super::exposition::{Exposition, Kind};
use super::metrics::unix_seconds;

pub(super) fn expose(page: &mut Exposition, started: SystemTime) {
    page.family("gatewright_build_info", Kind::Gauge, "1, with the version of the gateway.");
    page.sample("gatewright_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("process_start_time_seconds", Kind::Gauge, "When the process started, in Unix seconds.");
    page.sample("process_start_time_seconds", &[], unix_seconds(started));
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat)) {
        page.family("process_cpu_seconds_total", Kind::Counter, "User and system time.");
        page.measured("process_cpu_seconds_total", &[], seconds);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kibibytes) = status_number(&status, "VmRSS:") {
        page.family("process_resident_memory_bytes", Kind::Gauge, "Resident memory.");
        page.sample("process_resident_memory_bytes", &[], kibibytes.saturating_mul(1024));
    }
    if let Some(threads) = status_number(&status, "Threads:") {
        page.family("process_threads", Kind::Gauge, "Threads of the operating system.");
        page.sample("process_threads", &[], threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        page.family("process_open_fds", Kind::Gauge, "Open file descriptors.");
        page.sample("process_open_fds", &[], open.count() as u64);
    }
}

/// Fields 14 and 15 of proc_pid_stat(5), counted after the name in parentheses, which may itself contain anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / TICKS_PER_SECOND)
}

fn status_number(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

/// The kernel's unit for times in user space: 100 on every architecture that Rust's Linux targets cover.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("7 (x"), None);
        assert_eq!(cpu_seconds(""), None);
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n";
        assert_eq!((status_number(status, "VmRSS:"), status_number(status, "Threads:")), (Some(2048), Some(3)));
        assert_eq!(status_number(status, "VmSwap:"), None);
    }
}
