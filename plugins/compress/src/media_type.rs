//! Which media types are compressed.

/// A list of patterns.
#[derive(Debug)]
pub(crate) struct MediaTypes(Vec<Pattern>);

#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// `*/*`
    Any,
    /// `text/*`, as `text/`
    Of(String),
    /// `*+json`, as `+json`
    Suffix(String),
    Exactly(String),
}

impl MediaTypes {
    /// # Errors
    /// Which text is not a pattern, for the operator.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        texts.iter().map(|text| pattern(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a `Content-Type` fits one of them.
    pub(crate) fn have(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Any => true,
            Pattern::Of(prefix) => essence.starts_with(prefix.as_str()),
            Pattern::Suffix(suffix) => essence.ends_with(suffix.as_str()),
            Pattern::Exactly(exactly) => essence == *exactly,
        })
    }
}

/// Types that are text, more or less; most others are compressed already.
pub(crate) fn usual() -> Vec<String> {
    [
        "text/*",
        "*+json",
        "*+xml",
        "application/json",
        "application/x-ndjson",
        "application/xml",
        "application/javascript",
        "application/wasm",
        "application/graphql-response+json",
        "font/ttf",
        "font/otf",
        "image/bmp",
        "image/x-icon",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn pattern(text: &str) -> Result<Pattern, String> {
    let lower = text.to_ascii_lowercase();
    let is_token =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic() && !b"*/;,".contains(&byte));
    let pattern = match (lower.as_str(), lower.split_once('/')) {
        ("*/*", _) => Pattern::Any,
        (_, Some((kind, "*"))) if is_token(kind) => Pattern::Of(format!("{kind}/")),
        (_, Some((kind, subtype))) if is_token(kind) && is_token(subtype) => Pattern::Exactly(lower),
        (suffix, None) if suffix.strip_prefix("*+").is_some_and(is_token) => {
            Pattern::Suffix(suffix.trim_start_matches('*').to_owned())
        }
        _ => {
            return Err(format!(
                "types: {text:?} is not a media type such as \"application/json\", \"text/*\", \"*+json\" or \"*/*\""
            ));
        }
    };
    Ok(pattern)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn types_fit_or_do_not() {
        let types = MediaTypes::parse(&usual()).unwrap();
        for (kind, fits) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("text/event-stream", true),
            ("application/json", true),
            ("application/problem+json;charset=utf-8", true),
            ("image/svg+xml", true),
            ("application/jsonx", false),
            ("application/octet-stream", false),
            ("image/png", false),
            ("video/mp4", false),
            ("application/grpc", false),
            ("", false),
            ("text", false),
        ] {
            assert_eq!(types.have(kind), fits, "{kind:?}");
        }
        assert!(MediaTypes::parse(&["*/*".to_owned()]).unwrap().have("image/png"));
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in ["", "text", "text/", "/plain", "*", "*/plain", "te*/x", "*+", "text/plain; q=1", "a/b/c", "a b/c"]
        {
            assert!(MediaTypes::parse(&[text.to_owned()]).is_err(), "{text:?}");
        }
    }
}
