//! Who may use the admin API.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri, header, request};

use super::problem::Problem;
use super::{Access, Settings};

/// Refuses requests that a browser was tricked into. A page of a foreign site that was rebound to 127.0.0.1 still sends
/// its own name as `Host`, and a page that posts across sites sends its own as `Origin`.
///
/// On an address that is not loopback nothing is checked here: its names are up to the operator, and no page can know
/// the token that is required there.
pub(super) fn check_host(settings: &Settings, request: &request::Parts) -> Result<(), Problem> {
    if !is_loopback(settings.address.ip()) {
        return Ok(());
    }
    // In absolute form the target's authority counts, and Host is ignored (RFC 9112, section 3.2.2).
    let named = match request.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => sole_value(&request.headers, header::HOST).and_then(|host| host.parse().ok()),
    };
    let Some(named) = named else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "The request needs one valid Host header."));
    };
    if !is_local(&named) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "The admin API answers to localhost and loopback addresses only: this protects it from DNS rebinding.",
        ));
    }
    let foreign = |origin: &str| !origin.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some_and(is_local));
    if request.headers.get_all(header::ORIGIN).iter().any(|origin| origin.to_str().map_or(true, foreign)) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "The admin API does not answer pages of other sites."));
    }
    Ok(())
}

/// Refuses everybody if the running configuration has no admin API, or if it requires no token and the address is not
/// loopback: the socket is still the one opened at the start, whatever the configuration says now.
pub(super) fn check_open(settings: &Settings, access: &Access) -> Result<(), Problem> {
    let reason = match access {
        Access::Closed => "The configuration has no admin API any more.",
        Access::Open if !is_loopback(settings.address.ip()) => {
            "The configuration asks for no token, and without one nobody may come to this address."
        }
        _ => return Ok(()),
    };
    Err(Problem::new(StatusCode::FORBIDDEN, reason))
}

/// Refuses requests without the token, if there is one. The comparison takes the same time however much of a token is
/// right, and however long it is.
pub(super) fn check_token(access: &Access, headers: &HeaderMap) -> Result<(), Problem> {
    let Access::Token(token) = access else { return Ok(()) };
    let shown = sole_value(headers, header::AUTHORIZATION).and_then(bearer).unwrap_or_default();
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    // A blank token would let everybody in.
    let is_token = !token.trim().is_empty();
    if is_token && verify_slices_are_equal(hash(shown).as_ref(), hash(token.trim()).as_ref()).is_ok() {
        return Ok(());
    }
    let problem = Problem::new(StatusCode::UNAUTHORIZED, "The request needs the admin token as Authorization: Bearer.");
    Err(problem.with_header(header::WWW_AUTHENTICATE, "Bearer realm=\"gatewright-admin\""))
}

/// Also for IPv4 addresses written as IPv6.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if authority.as_str().contains('@') {
        return false;
    }
    // RFC 6761, section 6.3: these names always mean loopback.
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_loopback)
}

/// `Bearer TOKEN`; the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of a header that is there once.
fn sole_value(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn parts(target: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = http::Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn status(result: Result<(), Problem>) -> u16 {
        result.map_or_else(|problem| problem.into_response().status().as_u16(), |()| 200)
    }

    #[test]
    fn hosts_and_origins_on_loopback() {
        let settings = Settings::default();
        for (target, headers, expected) in [
            ("/", &[("host", "localhost")][..], 200),
            ("/", &[("host", "LOCALHOST.:9901")], 200),
            ("/", &[("host", "gateway.localhost:1")], 200),
            ("/", &[("host", "127.0.0.1:9901")], 200),
            ("/", &[("host", "127.9.9.9")], 200),
            ("/", &[("host", "[::1]:9901")], 200),
            ("/", &[("host", "[::ffff:127.0.0.1]")], 200),
            ("http://localhost/", &[("host", "evil.example")], 200),
            ("http://evil.example/", &[("host", "localhost")], 421),
            ("/", &[("host", "evil.example")], 421),
            ("/", &[("host", "localhost.evil.example")], 421),
            ("/", &[("host", "evil-localhost")], 421),
            ("/", &[("host", "127.0.0.1.evil.example")], 421),
            ("/", &[("host", "localhost@evil.example")], 421),
            ("/", &[("host", "evil@localhost")], 421),
            ("/", &[("host", "0.0.0.0")], 421),
            ("/", &[("host", "10.0.0.1")], 421),
            ("/", &[], 400),
            ("/", &[("host", "")], 400),
            ("/", &[("host", "localhost"), ("host", "localhost")], 400),
            ("/", &[("host", "localhost"), ("origin", "http://localhost:9901")], 200),
            ("/", &[("host", "localhost"), ("origin", "https://evil.example")], 403),
            ("/", &[("host", "localhost"), ("origin", "null")], 403),
            ("/", &[("host", "localhost"), ("origin", "")], 403),
        ] {
            assert_eq!(status(check_host(&settings, &parts(target, headers))), expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn another_address_answers_to_any_name() {
        let settings = Settings { address: "0.0.0.0:9901".parse().unwrap(), ..Settings::default() };
        assert_eq!(status(check_host(&settings, &parts("/", &[("host", "gateway.example")]))), 200);
    }

    #[test]
    fn tokens() {
        let access = Access::Token("s3cret\n".into());
        for (headers, expected) in [
            (&[("authorization", "Bearer s3cret")][..], 200),
            (&[("authorization", "bearer  s3cret ")], 200),
            (&[("authorization", "Bearer s3cre")], 401),
            (&[("authorization", "Bearer s3cret2")], 401),
            (&[("authorization", "Bearer ")], 401),
            (&[("authorization", "Basic s3cret")], 401),
            (&[("authorization", "s3cret")], 401),
            (&[("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")], 401),
            (&[], 401),
        ] {
            assert_eq!(status(check_token(&access, &parts("/", headers).headers)), expected, "{headers:?}");
        }
        assert_eq!(status(check_token(&Access::Open, &HeaderMap::new())), 200);
        let nothing = parts("/", &[("authorization", "Bearer ")]).headers;
        assert_eq!(status(check_token(&Access::Token("\n".into()), &nothing)), 401);
    }

    #[test]
    fn nobody_comes_in_without_a_token_from_elsewhere_or_where_it_is_closed() {
        let (near, far) =
            (Settings::default(), Settings { address: "0.0.0.0:9901".parse().unwrap(), ..Settings::default() });
        for (access, near_status, far_status) in
            [(Access::Open, 200, 403), (Access::Closed, 403, 403), (Access::Token("s3cret".into()), 200, 200)]
        {
            assert_eq!(status(check_open(&near, &access)), near_status);
            assert_eq!(status(check_open(&far, &access)), far_status);
        }
    }
}
