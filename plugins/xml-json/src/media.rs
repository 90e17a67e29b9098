//! Media types.

/// The media type of written documents.
pub(crate) const XML: &str = "application/xml; charset=utf-8";

/// `application/xml`, `text/xml`, or any type with the suffix `+xml` (RFC 7303).
pub(crate) fn is_xml(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/xml" || essence == "text/xml" || essence.ends_with("+xml")
}

/// Whether the parameter `charset` is missing, or names UTF-8 or a subset of it.
pub(crate) fn is_utf8(content_type: &str) -> bool {
    let charsets = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    charsets
        .into_iter()
        .all(|charset| ["utf-8", "utf8", "us-ascii"].iter().any(|one| charset.eq_ignore_ascii_case(one)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for (kind, xml, utf8) in [
            ("text/xml", true, true),
            ("Application/SOAP+XML; action=\"a\"; Charset=\"UTF-8\"", true, true),
            ("application/xml;charset=iso-8859-1", true, false),
            ("application/xml; charset=utf-16", true, false),
            ("text/html", false, true),
            ("application/xmlx", false, true),
            ("", false, true),
        ] {
            assert_eq!((is_xml(kind), is_utf8(kind)), (xml, utf8), "{kind}");
        }
    }
}
