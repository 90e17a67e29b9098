//! The operator log: the gateway's own messages, on stderr, one line per event.
//!
//! A line has a level, a message and fields. The message is a fixed text that names the kind of event; variable parts
//! go into fields. People get text, machines get JSON lines; with [`Format::Auto`] a terminal decides.
//!
//! Nothing that happens a million times may fill a disk: each kind of message has a budget of [`LINES_PER_WINDOW`]
//! lines in [`WINDOW`]. Lines beyond it are counted, and the next line of that kind that is written says how many were
//! suppressed. Nor can a caller be delayed: lines go through a [`LineWriter`], so a data core may log.
//!
//! The logger is the one global of the process, because faults are reported from everywhere and passing it to every
//! room would obscure the purpose of those rooms. Rejected: `tracing`. Its spans have a cost on the data path that
//! nothing here needs, and it has no budget per message.

use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::json_line::JsonLine;
use super::line_writer::{LineWriter, Output};
use super::write_rfc3339;

/// The variable parts of an event, by name. Names are snake_case.
pub type Fields<'a> = &'a [(&'a str, &'a dyn fmt::Display)];

/// Writes one event. `message` is a fixed text, which identifies the budget.
pub fn log(level: Level, message: &str, fields: Fields<'_>) {
    global().write(message, &Event { level, message, fields, report: None });
}

/// Writes one event whose message is not fixed, for example a plugin's. `kind` identifies the budget.
pub fn log_as(kind: &str, level: Level, message: &str, fields: Fields<'_>) {
    global().write(kind, &Event { level, message, fields, report: None });
}

/// Writes one event with a text of several lines, such as rendered diagnostics. On a terminal the line breaks are kept.
pub fn log_report(level: Level, message: &str, report: &str) {
    global().write(message, &Event { level, message, fields: &[], report: Some(report) });
}

/// Writes one event like [`log_as`]; the lines after the message's first one are its report, such as a guest's stack.
pub fn log_lines(kind: &str, level: Level, text: &str, fields: Fields<'_>) {
    let (message, report) = text.split_once('\n').map_or((text, None), |(message, report)| (message, Some(report)));
    global().write(kind, &Event { level, message, fields, report });
}

/// Whether a line of this level would be written.
pub fn enabled(level: Level) -> bool {
    global().enabled(level)
}

/// Sets the level and the format; until then the defaults apply. The format of a process does not change: a second call
/// only sets the level.
pub fn init(settings: Settings) {
    LOGGER.get_or_init(|| Logger::to_stderr(settings)).set_level(settings.level);
}

/// Lines suppressed so far because their kind was over its budget.
pub fn suppressed() -> u64 {
    global().suppressed.load(Ordering::Relaxed)
}

/// Writes what is queued, for at most `deadline`; blocks meanwhile. Later lines are not written.
pub fn close(deadline: Duration) {
    if let Some(writer) = LOGGER.get().and_then(|logger| logger.writer.as_ref()) {
        writer.close(deadline);
    }
}

/// The operator's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    pub level: Level,
    pub format: Format,
}

/// The severity of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For people who work on the gateway or on a plugin.
    Debug,
    /// A change of state: started, reloaded, draining.
    #[default]
    Info,
    /// Something failed and the gateway dealt with it.
    Warn,
    /// Something failed and somebody must act.
    Error,
}

/// The format of lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text if stderr is a terminal, otherwise JSON lines.
    #[default]
    Auto,
    Text,
    Json,
}

/// The log itself. The process has one; tests make their own.
struct Logger {
    /// `None` if the writer thread could not be started: then there is nowhere to report to.
    writer: Option<LineWriter>,
    level: AtomicU8,
    style: Style,
    budgets: Vec<Budget>,
    started: Instant,
    suppressed: AtomicU64,
}

#[derive(Clone, Copy)]
enum Style {
    Text { colour: bool },
    Json,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

fn global() -> &'static Logger {
    LOGGER.get_or_init(|| Logger::to_stderr(Settings::default()))
}

impl Logger {
    fn to_stderr(settings: Settings) -> Self {
        let terminal = io::stderr().is_terminal();
        let text = settings.format == Format::Text || (settings.format == Format::Auto && terminal);
        // https://no-color.org: any value that is not empty.
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Logger::new(Output::Stderr, settings.level, if text { Style::Text { colour } } else { Style::Json })
    }

    fn new(output: Output, level: Level, style: Style) -> Self {
        // If stderr cannot be written there is no other place to report it.
        let writer = LineWriter::start("log", output, QUEUE_BYTES, QUEUES, |_| {}).ok();
        let mut budgets = Vec::new();
        budgets.resize_with(KINDS, Budget::default);
        Logger {
            writer,
            level: AtomicU8::new(level as u8),
            style,
            budgets,
            started: Instant::now(),
            suppressed: AtomicU64::new(0),
        }
    }

    fn enabled(&self, level: Level) -> bool {
        level as u8 >= self.level.load(Ordering::Relaxed)
    }

    fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    fn write(&self, kind: &str, event: &Event<'_>) {
        self.write_at(kind, event, self.started.elapsed(), SystemTime::now());
    }

    fn write_at(&self, kind: &str, event: &Event<'_>, uptime: Duration, time: SystemTime) {
        let Some(writer) = self.writer.as_ref().filter(|_| self.enabled(event.level)) else { return };
        let Some(left_out) = self.budget(kind).take(uptime) else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        writer.write(|out| match self.style {
            Style::Text { colour } => event.format_text(out, time, left_out, colour),
            Style::Json => event.format_json(out, time, left_out),
        });
    }

    /// Kinds share a budget if their hashes collide: that bounds their number, whatever callers pass.
    fn budget(&self, kind: &str) -> &Budget {
        let mut hasher = DefaultHasher::new();
        kind.hash(&mut hasher);
        &self.budgets[hasher.finish() as usize % KINDS]
    }
}

/// The budget of one kind of message: the number of the current window in the upper half, its lines in the lower half.
#[derive(Default)]
struct Budget(AtomicU64);

impl Budget {
    /// Takes one line from the budget; returns how many were suppressed before it. `None` if nothing is left in this
    /// window.
    fn take(&self, uptime: Duration) -> Option<u64> {
        // The first window is number 1, so that a new budget is never in it.
        let now = (uptime.as_secs() / WINDOW.as_secs() + 1) & u64::from(u32::MAX);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (window, lines) = (state >> 32, state & u64::from(u32::MAX));
            let lines = if window == now { (lines + 1).min(u32::MAX.into()) } else { 1 };
            Some(now << 32 | lines)
        });
        let (Ok(before) | Err(before)) = taken;
        let (window, lines) = (before >> 32, before & u64::from(u32::MAX));
        if window != now {
            return Some(lines.saturating_sub(LINES_PER_WINDOW));
        }
        (lines < LINES_PER_WINDOW).then_some(0)
    }
}

struct Event<'a> {
    level: Level,
    message: &'a str,
    fields: Fields<'a>,
    report: Option<&'a str>,
}

impl Event<'_> {
    fn format_json(&self, out: &mut Vec<u8>, time: SystemTime, left_out: u64) {
        let mut line = JsonLine::begin(out);
        line.plain("time", |out| write_rfc3339(out, time));
        line.text("level", self.level.name());
        line.text("message", self.message);
        for (name, value) in self.fields {
            line.display(name, value);
        }
        if let Some(report) = self.report {
            line.text("report", report);
        }
        if left_out > 0 {
            line.number("left_out", left_out);
        }
        line.end();
    }

    fn format_text(&self, out: &mut Vec<u8>, time: SystemTime, left_out: u64, colour: bool) {
        write_rfc3339(out, time);
        let (on, off) = if colour { (self.level.colour(), "\x1b[0m") } else { ("", "") };
        out.extend_from_slice(format!(" {on}{:<5}{off} ", self.level.name()).as_bytes());
        let mut text = Visible(out);
        // Writing to memory does not fail; if a Display reports an error, what it wrote stays.
        let _ = text.write_str(self.message);
        for (name, value) in self.fields {
            let value = value.to_string();
            let quoted = value.is_empty() || value.contains([' ', '"', '=']);
            let _ = if quoted { write!(text, " {name}={value:?}") } else { write!(text, " {name}={value}") };
        }
        if left_out > 0 {
            let _ = write!(text, " ({left_out} more like this were left out)");
        }
        for line in self.report.unwrap_or_default().lines() {
            text.0.extend_from_slice(b"\n  ");
            let _ = text.write_str(line);
        }
        out.push(b'\n');
    }
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Level::Debug => "\x1b[2m",
            Level::Info => "\x1b[32m",
            Level::Warn => "\x1b[33m",
            Level::Error => "\x1b[31m",
        }
    }
}

/// Text with control characters spelled out, so that no peer can control the operator's terminal.
struct Visible<'a>(&'a mut Vec<u8>);

impl fmt::Write for Visible<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            match piece.chars().next_back().filter(|last| last.is_control()) {
                Some(control) => {
                    self.0.extend_from_slice(&piece.as_bytes()[..piece.len() - control.len_utf8()]);
                    self.0.extend_from_slice(control.escape_default().to_string().as_bytes());
                }
                None => self.0.extend_from_slice(piece.as_bytes()),
            }
        }
        Ok(())
    }
}

/// How many lines of one kind are written in a [`WINDOW`]: ten at once are enough to understand, and one per second on
/// average is under 30 MB a day.
const LINES_PER_WINDOW: u64 = 10;

const WINDOW: Duration = Duration::from_secs(10);

/// How many kinds have a budget of their own.
const KINDS: usize = 256;

/// How much may wait for stderr, and in how many shares. Any thread may log; the budgets keep the lines few, so a share
/// of 64 KiB is plenty.
const QUEUE_BYTES: usize = 1 << 20;
const QUEUES: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::UNIX_EPOCH;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Writes events of `(kind, event, second)` and returns the output.
    fn lines(style: Style, level: Level, events: &[(&str, Event<'_>, u64)]) -> String {
        let sink = Sink::default();
        let logger = Logger::new(Output::Other(Box::new(sink.clone())), level, style);
        for (kind, event, second) in events {
            let uptime = Duration::from_secs(*second);
            logger.write_at(kind, event, uptime, UNIX_EPOCH + uptime);
        }
        assert!(logger.writer.unwrap().close(Duration::from_secs(20)));
        let written = sink.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    const PLAIN: Style = Style::Text { colour: false };

    fn event<'a>(level: Level, message: &'a str, fields: Fields<'a>) -> Event<'a> {
        Event { level, message, fields, report: None }
    }

    #[test]
    fn text_for_people() {
        let fields: Fields<'_> = &[("upstream", &"orders"), ("reason", &"no \"healthy\" endpoint"), ("ejected", &3)];
        let report = Event { report: Some("error: x\n  --> y"), ..event(Level::Error, "refused", &[]) };
        let out = lines(PLAIN, Level::Info, &[("k", event(Level::Warn, "failed", fields), 0), ("r", report, 1)]);
        assert_eq!(
            out,
            "1970-01-01T00:00:00.000000Z warn  failed upstream=orders reason=\"no \\\"healthy\\\" endpoint\" ejected=3\n\
             1970-01-01T00:00:01.000000Z error refused\n  error: x\n    --> y\n"
        );
    }

    #[test]
    fn json_for_machines() {
        let fields: Fields<'_> = &[("port", &8080)];
        let report = Event { report: Some("a\nb"), ..event(Level::Info, "started", fields) };
        let out = lines(Style::Json, Level::Info, &[("k", report, 0)]);
        assert_eq!(
            out,
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":\"info\",\"message\":\"started\",\
             \"port\":\"8080\",\"report\":\"a\\nb\"}\n"
        );
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        let hostile = "a\x1b[2Jb\r\n\u{9b}c\u{7f}";
        let fields: Fields<'_> = &[("path", &hostile)];
        for style in [PLAIN, Style::Json] {
            let report = Event { report: Some(hostile), ..event(Level::Warn, hostile, fields) };
            let out = lines(style, Level::Info, &[("k", report, 0)]);
            let bad = out.chars().find(|character| character.is_control() && *character != '\n');
            assert_eq!(bad, None, "{out:?}");
        }
        let out = lines(PLAIN, Level::Info, &[("k", event(Level::Warn, hostile, fields), 0)]);
        assert_eq!(out.lines().count(), 1, "{out:?}");
    }

    #[test]
    fn levels_below_the_chosen_one_are_left_out() {
        let all = [Level::Debug, Level::Info, Level::Warn, Level::Error];
        let events: Vec<_> = all.iter().map(|level| (level.name(), event(*level, level.name(), &[]), 0)).collect();
        for (index, chosen) in all.into_iter().enumerate() {
            let out = lines(PLAIN, chosen, &events);
            let written: Vec<_> = out.lines().filter_map(|line| line.rsplit(' ').next()).collect();
            let expected: Vec<_> = all[index..].iter().map(|level| level.name()).collect();
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_cut_off_and_counted() {
        let mut events = Vec::new();
        for _ in 0..1000 {
            events.push(("flood", event(Level::Warn, "flood", &[]), 3));
        }
        events.push(("other", event(Level::Warn, "other", &[]), 3));
        events.push(("flood", event(Level::Warn, "flood", &[]), 10));
        events.push(("flood", event(Level::Warn, "flood", &[]), 20));
        let out = lines(PLAIN, Level::Info, &events);
        let flood: Vec<_> = out.lines().filter(|line| line.contains("flood")).collect();
        assert_eq!(flood.len() as u64, LINES_PER_WINDOW + 2);
        assert!(flood[10].ends_with("warn  flood (990 more like this were left out)"), "{}", flood[10]);
        assert!(flood[11].ends_with("warn  flood"), "{}", flood[11]);
        assert_eq!(out.lines().filter(|line| line.contains("other")).count(), 1);
    }

    #[test]
    fn a_plugin_that_varies_its_message_stays_in_its_budget() {
        let messages: Vec<_> = (0..100).map(|number| format!("message {number}")).collect();
        let events: Vec<_> = messages.iter().map(|text| ("plugin geo", event(Level::Info, text, &[]), 0)).collect();
        assert_eq!(lines(Style::Json, Level::Info, &events).lines().count() as u64, LINES_PER_WINDOW);
    }

    #[test]
    fn a_budget_counts_exactly_under_concurrency() {
        let budget = Budget::default();
        let granted: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|_| budget.take(Duration::ZERO).is_some()).count()))
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(granted as u64, LINES_PER_WINDOW);
        assert_eq!(budget.take(WINDOW), Some(2000 - LINES_PER_WINDOW));
    }
}
