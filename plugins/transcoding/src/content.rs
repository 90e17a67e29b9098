//! What headers say about bodies.

/// Whether a media type is gRPC's, with any message format. gRPC-Web does not count.
#[must_use]
pub fn is_grpc(media_type: &str) -> bool {
    const NAME: &str = "application/grpc";
    let media_type = media_type.trim();
    let is_named = media_type.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    is_named && matches!(media_type.as_bytes().get(NAME.len()), None | Some(b'+' | b';'))
}

/// Whether a body with this `content-encoding` has a content coding.
#[must_use]
pub fn is_coded(encoding: Option<&str>) -> bool {
    encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        for (media_type, expected) in [
            ("application/grpc", true),
            (" Application/gRPC+proto", true),
            ("application/grpc; charset=x", true),
            ("application/grpc-web", false),
            ("application/grp", false),
            ("application/jso\u{fc}", false),
        ] {
            assert_eq!(is_grpc(media_type), expected, "{media_type}");
        }
        for (encoding, expected) in [(None, false), (Some(" Identity"), false), (Some("gzip"), true)] {
            assert_eq!(is_coded(encoding), expected, "{encoding:?}");
        }
    }
}
