//! Shows the differences of two texts.

/// The lines that differ, with context: ` ` in both, `-` expected, `+` found. Single-line texts are shown below each
/// other, and texts that only differ in their line ends in escaped form.
pub fn lines(expected: &str, found: &str) -> Vec<String> {
    if expected != found && expected.lines().eq(found.lines()) {
        return vec![format!("- {expected:?}"), format!("+ {found:?}")];
    }
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let before = expected.iter().zip(&found).take_while(same).count();
    let rest = expected.len().min(found.len()) - before;
    let after = expected.iter().rev().zip(found.iter().rev()).take(rest).take_while(same).count();
    let mut lines = Vec::new();
    let mut add = |mark: char, texts: &[&str]| lines.extend(texts.iter().map(|text| format!("{mark} {text}")));
    add(' ', part(&expected, before.saturating_sub(AROUND), before));
    add('-', part(&expected, before, expected.len() - after));
    add('+', part(&found, before, found.len() - after));
    add(' ', part(&expected, expected.len() - after, (expected.len() - after + AROUND).min(expected.len())));
    lines
}

fn part<'a, 't>(texts: &'a [&'t str], from: usize, to: usize) -> &'a [&'t str] {
    texts.get(from..to).unwrap_or_default()
}

/// Lines of context around a difference.
const AROUND: usize = 2;

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn only_what_differs_is_shown() {
        for (expected, found, shown) in [
            ("a", "b", vec!["- a", "+ b"]),
            ("a", "", vec!["- a"]),
            ("", "b", vec!["+ b"]),
            ("a\nb\nc", "a\nx\nc", vec!["  a", "- b", "+ x", "  c"]),
            ("1\n2\n3\n4\n5\n6\n7", "1\n2\n3\n4\n6\n7", vec!["  3", "  4", "- 5", "  6", "  7"]),
            ("a\na", "a\na\na", vec!["  a", "  a", "+ a"]),
            ("a", "a\n", vec!["- \"a\"", "+ \"a\\n\""]),
            ("a\nb", "a\r\nb", vec!["- \"a\\nb\"", "+ \"a\\r\\nb\""]),
        ] {
            assert_eq!(lines(expected, found), shown, "{expected:?} {found:?}");
        }
    }
}
