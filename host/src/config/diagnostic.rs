//! What is wrong, where, and what to do: one [`Diagnostic`] per mistake, one [`Report`] per text.
//!
//! A report is shown on the terminal in rustc's style, with an excerpt and a caret, and as JSON for tools. Both only
//! ever show the text as written, so that a secret from `${VAR}` cannot end up in a log.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

/// Byte offsets in the text.
pub type Span = Range<usize>;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in one line.
    pub message: String,
    /// A few words next to the caret; may be empty.
    pub label: String,
    /// JSON pointer (RFC 6901) of the value or key; empty for the whole document.
    pub pointer: String,
    /// None if there is no text to show: the file could not be read.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn new(message: impl Into<String>, pointer: impl Into<String>, span: Option<Span>) -> Diagnostic {
        Diagnostic { message: message.into(), label: String::new(), pointer: pointer.into(), span, help: None }
    }

    pub fn with_label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = label.into();
        self
    }

    pub fn with_help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// Labels the caret with the candidate that `wrong` was probably meant to be.
    pub fn with_suggestion<'a>(self, wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Diagnostic {
        match suggest(wrong, candidates) {
            Some(right) => self.with_label(format!("did you mean \"{right}\"?")),
            None => self,
        }
    }
}

/// Everything that is wrong with one text, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The name of the file, as given by the operator.
    pub file: String,
    pub text: Arc<Text>,
    /// At most [`MOST_DIAGNOSTICS`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were.
    pub omitted: usize,
}

impl Report {
    /// Sorts by position, removes duplicates, and limits the number.
    pub fn new(file: impl Into<String>, text: Arc<Text>, mut diagnostics: Vec<Diagnostic>) -> Report {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.as_ref().map(|span| (span.start, span.end)));
        diagnostics.dedup();
        let omitted = diagnostics.len().saturating_sub(MOST_DIAGNOSTICS);
        diagnostics.truncate(MOST_DIAGNOSTICS);
        Report { file: file.into(), text, diagnostics, omitted }
    }

    /// As the terminal shows it, without a newline at the end. `color` adds ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut parts: Vec<String> = Vec::with_capacity(self.diagnostics.len() + 1);
        parts.extend(self.diagnostics.iter().map(|diagnostic| renderer.render(&[self.group(diagnostic)])));
        parts.push(self.summary());
        parts.join("\n\n")
    }

    /// For tools: an array with one object per mistake. `line` and `column` begin at 1, `column` counts characters, and
    /// `end` is the first position after it; all three are null if there is no position.
    pub fn to_json(&self) -> Value {
        self.diagnostics
            .iter()
            .map(|diagnostic| {
                let start = diagnostic.span.as_ref().map(|span| self.text.position(span.start));
                let end = diagnostic.span.as_ref().map(|span| self.text.position(span.end));
                json!({
                    "file": self.file,
                    "line": start.map(|(line, _)| line),
                    "column": start.map(|(_, column)| column),
                    "end": end.map(|(line, column)| json!({ "line": line, "column": column })),
                    "message": diagnostic.message,
                    "label": Some(&diagnostic.label).filter(|label| !label.is_empty()),
                    "help": diagnostic.help,
                    "pointer": diagnostic.pointer,
                })
            })
            .collect()
    }

    fn summary(&self) -> String {
        let count = self.diagnostics.len() + self.omitted;
        let errors = if count == 1 { "1 error".to_owned() } else { format!("{count} errors") };
        match self.omitted {
            0 => format!("{}: {errors}", self.file),
            omitted => format!("{}: {errors}, {omitted} of them not shown", self.file),
        }
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(diagnostic.message.as_str()));
        if let Some(span) = &diagnostic.span {
            group = self.with_excerpt(group, span, &diagnostic.label);
        } else {
            group = group.element(Origin::path(self.file.as_str()));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }

    /// The line with the caret. The renderer gets only that line, because it scans everything it is given; of an
    /// enormous line (minified JSON) it gets only the part around the caret, with its position above.
    fn with_excerpt<'a>(&'a self, group: Group<'a>, span: &Span, label: &'a str) -> Group<'a> {
        let (line, column) = self.text.position(span.start);
        let range = self.text.line_range(span.start);
        let start = self.text.floor(span.start).clamp(range.start, range.end);
        let is_enormous = range.len() > LONGEST_LINE;
        let from = if is_enormous {
            self.text.floor(start.saturating_sub(AROUND_THE_CARET)).max(range.start)
        } else {
            range.start
        };
        let to = if is_enormous {
            self.text.floor(start.saturating_add(AROUND_THE_CARET)).min(range.end)
        } else {
            range.end
        };
        let excerpt = self.text.as_str().get(from..to).unwrap_or_default();
        let end = self.text.floor(span.end).clamp(start, to);

        let annotation = AnnotationKind::Primary.span(start - from..end - from);
        let annotation = if label.is_empty() { annotation } else { annotation.label(label) };
        let snippet = Snippet::source(excerpt).line_start(line).annotation(annotation);
        if is_enormous {
            let origin = Origin::path(self.file.as_str()).line(line).char_column(column);
            return group.element(origin).element(snippet.line_numbering(false));
        }
        group.element(snippet.path(self.file.as_str()))
    }
}

/// A text and the offsets of its lines, so that positions are found without scanning it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    text: String,
    line_starts: Vec<usize>,
}

impl Text {
    pub fn new(text: impl Into<String>) -> Text {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Text { text, line_starts }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte offset, both from 1; columns count characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.floor(offset);
        let line = self.line(offset);
        let start = self.line_range(offset).start;
        (line, self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1)
    }

    /// The line of a byte offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The range of the line of a byte offset, without its end.
    fn line_range(&self, offset: usize) -> Span {
        let line = self.line(offset.min(self.text.len()));
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| next.saturating_sub(1));
        let carriage_return = self.text.get(start..end).is_some_and(|line| line.ends_with('\r'));
        start..end - usize::from(carriage_return)
    }

    /// The nearest character boundary at or before `offset`.
    fn floor(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        (0..=offset).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text::new(text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// The candidate nearest to `wrong`, if it is near enough: one edit for every three letters, ignoring case and the
/// difference of `-` and `_`, or one of the two being a prefix of the other.
pub fn suggest<'a>(wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time proportional to the product of both lengths, and no name of ours is longer.
    if wrong.len() > 128 {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let wrong = plain(wrong);
    let letters = wrong.chars().count();
    // Any two names of one or two letters are near each other.
    let allowed = if letters < 3 { 0 } else { letters / 3 };
    let distance = |candidate: &str| {
        let candidate = plain(candidate);
        let beginning =
            wrong.len() >= 3 && candidate.starts_with(&wrong) || candidate.len() >= 3 && wrong.starts_with(&candidate);
        let edits = strsim::damerau_levenshtein(&wrong, &candidate);
        if beginning { edits.min(allowed) } else { edits }
    };
    let near = candidates.into_iter().map(|candidate| (distance(candidate), candidate));
    near.filter(|(edits, _)| *edits <= allowed).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// A report shows no more: whoever fixes a file starts with the first mistakes.
pub const MOST_DIAGNOSTICS: usize = 100;
/// Bytes. The renderer truncates lines itself, but only after scanning every character.
const LONGEST_LINE: usize = 16 * 1024;
const AROUND_THE_CARET: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn report(text: &str, span: Span) -> Report {
        let diagnostic = Diagnostic::new("wrong", "/a", Some(span)).with_label("here").with_help("mend it");
        Report::new("gateway.json", Arc::new(text.into()), vec![diagnostic])
    }

    #[test]
    fn columns_count_characters() {
        let report = report("{\n  \"münchen\": 1\n}", 16..17);
        assert_eq!(report.text.position(16), (2, 14), "ü is two bytes and one column");
        let expected = "error: wrong\n --> gateway.json:2:14\n  |\n2 |   \"münchen\": 1\n  |              ^ here\n  |\n  = help: mend it\n\ngateway.json: 1 error";
        assert_eq!(report.render(false), expected);
        assert_eq!(report.to_json()[0]["end"], json!({ "line": 2, "column": 15 }));
    }

    #[test]
    fn no_span_panics_the_renderer() {
        let texts = [
            "",
            "\n",
            "é",
            "a\r\nb\r\n",
            "\u{feff}{}",
            "\t\t{\u{0}}",
            "x\u{1b}[31m",
            &"é".repeat(5_000),
            &"\n".repeat(9),
        ];
        for text in texts {
            for start in 0..=text.len().min(40) {
                for end in start..=text.len().min(45) {
                    report(text, start..end).render(end % 2 == 0);
                }
            }
            report(text, text.len()..text.len()).render(false);
            report(text, text.len() + 5..text.len() + 9).render(false);
        }
    }

    #[test]
    fn a_minified_line_is_cut_around_the_caret() {
        let text = format!("[{}", "1,".repeat(500_000));
        let shown = report(&text, 600_001..600_002).render(false);
        assert!(shown.len() < 800 && shown.contains("gateway.json:1:600002"), "{shown}");
    }

    #[test]
    fn mistakes_are_in_order_once_and_bounded() {
        let mistakes = (0..250).rev().map(|at| Diagnostic::new("wrong", "", Some(at / 2..at / 2 + 1))).collect();
        let report = Report::new("f", Arc::new(Text::new("x".repeat(250))), mistakes);
        assert_eq!((report.diagnostics.len(), report.omitted), (100, 25));
        assert!(report.render(false).ends_with("f: 125 errors, 25 of them not shown"));
    }

    #[test]
    fn suggestions() {
        let keys = ["listeners", "upstreams", "routes", "least-requests", "on_error"];
        for (wrong, right) in [
            ("lisners", Some("listeners")),
            ("Routes", Some("routes")),
            ("route", Some("routes")),
            ("least_requests", Some("least-requests")),
            ("onerror", Some("on_error")),
            ("least", Some("least-requests")),
            ("servers", None),
            ("", None),
            ("x", None),
            ("to", None),
        ] {
            assert_eq!(suggest(wrong, keys), right, "{wrong}");
        }
    }
}
