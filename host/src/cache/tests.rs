#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::body::Body;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const NOW: u64 = 784_111_777;
const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AN_HOUR_AGO: &str = "Sun, 06 Nov 1994 07:49:37 GMT";

fn rules() -> Rules {
    Rules {
        max_body: 1000,
        wait: std::time::Duration::from_secs(5),
        default_ttl: None,
        stale_while_revalidate: None,
        stale_if_error: None,
        client_directives: true,
        cookies: false,
        own_cookies: Arc::default(),
        cache_status: true,
    }
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    headers
}

fn asked(fields: &[(&str, &str)]) -> Asked {
    Asked::of(&headers(fields), &rules(), false)
}

/// The response as it is stored; `None` if it is not.
fn entry(status: u16, response: &[(&str, &str)], request: &[(&str, &str)]) -> Option<Entry> {
    with_body(status, response, request, Bytes::from_static(b"0123456789"))
}

fn with_body(status: u16, response: &[(&str, &str)], request: &[(&str, &str)], body: Bytes) -> Option<Entry> {
    let status = StatusCode::from_u16(status).unwrap();
    let fields = headers(request);
    let asked = Asked::of(&fields, &rules(), false);
    let head = Head::of(&asked, &rules(), &fields, status, &headers(response), NOW, 0)?;
    Some(head.with_body(body))
}

#[test]
fn what_is_kept_and_for_how_long() {
    let max_age = ("cache-control", "max-age=60");
    for (status, response, request, fresh) in [
        (200, vec![max_age], vec![], Some(60)),
        (200, vec![("cache-control", "max-age=60, s-maxage=5")], vec![], Some(5)),
        (200, vec![("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("date", DATE)], vec![], Some(60)),
        (200, vec![("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), max_age], vec![], Some(60)),
        (200, vec![("expires", "0")], vec![], None),
        (200, vec![("expires", "0"), ("etag", "\"a\"")], vec![], Some(0)),
        (200, vec![("last-modified", AN_HOUR_AGO), ("date", DATE)], vec![], Some(360)),
        (200, vec![("last-modified", "Sun, 06 Nov 1904 07:49:37 GMT")], vec![], Some(0)),
        (200, vec![], vec![], None),
        (200, vec![("etag", "\"a\"")], vec![], Some(0)),
        (201, vec![("etag", "\"a\"")], vec![], None),
        (201, vec![max_age], vec![], Some(60)),
        (404, vec![("last-modified", AN_HOUR_AGO), ("date", DATE)], vec![], Some(360)),
        (500, vec![max_age], vec![], Some(60)),
        (599, vec![max_age], vec![], Some(60)),
        (599, vec![("cache-control", "max-age=60, must-understand")], vec![], None),
        (200, vec![("cache-control", "max-age=60, no-store, must-understand")], vec![], Some(60)),
        (206, vec![max_age], vec![], None),
        (304, vec![max_age], vec![], None),
        (200, vec![("cache-control", "no-store, max-age=60")], vec![], None),
        (200, vec![("cache-control", "private, max-age=60")], vec![], None),
        (200, vec![("cache-control", "private=\"x-own\", max-age=60")], vec![], Some(60)),
        (200, vec![("cache-control", "no-cache")], vec![], None),
        (200, vec![("cache-control", "no-cache"), ("etag", "\"a\"")], vec![], Some(0)),
        (200, vec![max_age, ("vary", "accept, *")], vec![], None),
        (200, vec![max_age], vec![("cache-control", "no-store")], None),
        (200, vec![max_age], vec![("authorization", "x")], None),
        (200, vec![("cache-control", "max-age=60, public")], vec![("authorization", "x")], Some(60)),
        (200, vec![("cache-control", "max-age=60, must-revalidate")], vec![("authorization", "x")], Some(60)),
        (200, vec![("cache-control", "s-maxage=60")], vec![("authorization", "x")], Some(60)),
        (200, vec![max_age, ("set-cookie", "a=b")], vec![], None),
        (200, vec![("cache-control", "public, max-age=60"), ("set-cookie", "a=b")], vec![], None),
        (200, vec![("cache-control", "max-age=60, no-cache=\"set-cookie\""), ("set-cookie", "a=b")], vec![], Some(60)),
        (200, vec![max_age], vec![("cookie", "a=b")], None),
        (200, vec![("cache-control", "public, max-age=60")], vec![("cookie", "a=b")], Some(60)),
        (200, vec![max_age, ("age", "60")], vec![], None),
        (200, vec![max_age, ("age", "0, 0")], vec![], None),
        (200, vec![max_age, ("age", "0"), ("age", "0")], vec![], None),
        (200, vec![max_age, ("age", "-1")], vec![], None),
        (200, vec![max_age, ("age", "59")], vec![], Some(60)),
    ] {
        let kept = entry(status, &response, &request);
        assert_eq!(kept.map(|entry| entry.life().fresh), fresh, "{status} {response:?} for {request:?}");
    }
    // Rules that ignore cookies.
    let lax = Rules { cookies: true, ..rules() };
    let fields = headers(&[("cookie", "a=b")]);
    let answer = headers(&[max_age, ("set-cookie", "a=b")]);
    let kept = Head::of(&Asked::of(&fields, &lax, false), &lax, &fields, StatusCode::OK, &answer, NOW, 0);
    assert!(kept.is_some());
    // The gateway's own cookies do not count, as long as there are no others.
    let own: [Box<str>; 2] = ["gw".into(), "gw2".into()];
    let sticky = Rules { own_cookies: Arc::from(own), ..rules() };
    for (cookies, is_somebodys) in [
        (vec!["gw=abc"], false),
        (vec!["gw=abc;gw2=d"], false),
        (vec!["gw=abc", "gw2=d"], false),
        (vec!["gw=abc; session=a"], true),
        (vec!["gw=abc", "session=a"], true),
        (vec!["session=gw"], true),
        (vec!["GW=abc"], true),
        (vec![""], true),
    ] {
        let fields: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
        assert_eq!(Asked::of(&headers(&fields), &sticky, false).is_authorised, is_somebodys, "{cookies:?}");
    }
    // However the caller was authenticated, the response is for that caller only.
    let identified = Asked::of(&HeaderMap::new(), &rules(), true);
    let mine = Head::of(&identified, &rules(), &HeaderMap::new(), StatusCode::OK, &headers(&[max_age]), NOW, 0);
    assert!(mine.is_none());
}

#[test]
fn who_gets_it() {
    use Verdict::{Ask, Fresh, Stale, Tolerated};
    for (response, request, later, verdict) in [
        ("max-age=60", "", 0, Fresh),
        ("max-age=60", "", 59, Fresh),
        ("max-age=60", "", 60, Ask),
        ("max-age=60", "max-age=30", 30, Fresh),
        ("max-age=60", "max-age=30", 31, Ask),
        ("max-age=60", "max-age=0", 1, Ask),
        ("max-age=60", "no-cache", 0, Ask),
        ("max-age=60", "min-fresh=10", 50, Fresh),
        ("max-age=60", "min-fresh=10", 51, Ask),
        ("max-age=60", "max-stale", 99, Tolerated),
        ("max-age=60", "max-stale=10", 70, Tolerated),
        ("max-age=60", "max-stale=10", 71, Ask),
        ("max-age=60, must-revalidate", "max-stale", 60, Ask),
        ("s-maxage=60", "max-stale", 60, Ask),
        ("max-age=60, stale-while-revalidate=10", "", 69, Stale),
        ("max-age=60, stale-while-revalidate=10", "", 70, Ask),
        ("max-age=60, stale-while-revalidate=10, must-revalidate", "", 61, Ask),
        ("no-cache", "", 0, Ask),
    ] {
        let kept = entry(200, &[("cache-control", response), ("etag", "\"a\"")], &[]).unwrap();
        let request = asked(&[("cache-control", request)]);
        assert_eq!(judge(&kept, &request.directives, NOW + later), verdict, "{response} / {request:?} after {later}");
    }
    let kept = entry(200, &[("cache-control", "max-age=60, stale-if-error=10")], &[]).unwrap();
    let nothing = Directives::default();
    assert!(may_serve_on_error(&kept, &nothing, NOW + 69) && !may_serve_on_error(&kept, &nothing, NOW + 70));
}

#[test]
fn variants_are_told_apart_by_what_vary_names() {
    let response = [("cache-control", "max-age=60"), ("vary", "Accept-Language, accept")];
    let kept = entry(200, &response, &[("accept", "a, b"), ("accept-language", "de")]).unwrap();
    for (fields, suits) in [
        (vec![("accept", "a,b"), ("accept-language", "de")], true),
        (vec![("accept", "a"), ("accept", "b"), ("accept-language", "de"), ("x", "y")], true),
        (vec![("accept", "b, a"), ("accept-language", "de")], false),
        (vec![("accept", "a, b")], false),
        (vec![("accept", "a, b"), ("accept-language", "")], false),
    ] {
        assert_eq!(kept.suits(&headers(&fields)), suits, "{fields:?}");
    }
}

#[test]
fn news_of_the_upstream_change_what_is_kept() {
    let response = [("cache-control", "max-age=60"), ("etag", "W/\"a\""), ("content-type", "text/x"), ("x", "1")];
    let kept = entry(200, &response, &[]).unwrap();
    let news = headers(&[
        ("cache-control", "max-age=5"),
        ("etag", "\"a\""),
        ("content-type", "text/y"),
        ("content-encoding", "no"),
        ("x", "2"),
        ("x", "3"),
    ]);
    let fresh = kept.refreshed(&asked(&[]), &rules(), &news, NOW + 100, 0).unwrap();
    let (status, fields, body) = fresh.answer(&Method::GET, &Conditions::default(), NOW + 103);
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"0123456789"[..]));
    assert!(fields["age"] == "3" && fields["content-type"] == "text/y", "{fields:?}");
    assert_eq!(fields.get_all("x").iter().collect::<Vec<_>>(), ["2", "3"]);
    assert!(!fields.contains_key("content-encoding") && fields["etag"] == "W/\"a\"");
    assert_eq!(fresh.ttl(NOW + 103), 2);
    let other = headers(&[("etag", "\"b\"")]);
    assert!(kept.refreshed(&asked(&[]), &rules(), &other, NOW, 0).is_none(), "it is about another");
    let gone = headers(&[("cache-control", "no-store")]);
    assert!(kept.refreshed(&asked(&[]), &rules(), &gone, NOW, 0).is_none());
}

#[test]
fn what_a_request_gets_of_it() {
    let kept = entry(200, &[("cache-control", "max-age=60"), ("etag", "\"a\"")], &[]).unwrap();
    for (method, field, status, length, body) in [
        (Method::GET, ("x", "y"), 200, Some("10"), "0123456789"),
        (Method::HEAD, ("x", "y"), 200, Some("10"), ""),
        (Method::GET, ("if-none-match", "\"a\""), 304, None, ""),
        (Method::HEAD, ("if-none-match", "\"a\""), 304, None, ""),
        (Method::GET, ("range", "bytes=2-4"), 206, Some("3"), "234"),
        (Method::GET, ("range", "bytes=10-"), 416, Some("0"), ""),
        (Method::HEAD, ("range", "bytes=2-4"), 200, Some("10"), ""),
    ] {
        let (got, fields, got_body) = kept.answer(&method, &Conditions::of(&headers(&[field])), NOW + 7);
        assert_eq!((got.as_u16(), &got_body[..]), (status, body.as_bytes()), "{method} {field:?}");
        assert_eq!(fields.get("content-length").map(|value| value.to_str().unwrap()), length, "{method} {field:?}");
        assert_eq!(fields["age"], "7");
    }
}

fn a_cache(bytes: u64) -> Arc<Cache> {
    Arc::new(Cache::new(bytes))
}

fn keep(cache: &Arc<Cache>, url: &str, response: &[(&str, &str)], request: &[(&str, &str)]) {
    let Some(Purge::Url(url)) = Purge::url(url) else { panic!("{url}") };
    let key = format!("route\n\n\n{url}");
    let Joined::Mine(ticket) = cache.join(&key) else { panic!("another fetches {url}") };
    cache.put(ticket, entry(200, response, request).unwrap());
}

fn has(cache: &Cache, url: &str, request: &[(&str, &str)]) -> bool {
    cache.find(&format!("route\n\n\n{url}"), &headers(request)).is_some()
}

#[test]
fn purges() {
    let tagged = |tags: &'static str| [("cache-control", "max-age=60"), ("cache-tag", tags)];
    let cache = a_cache(1 << 20);
    keep(&cache, "http://A.test:80/x", &tagged("one, two"), &[]);
    keep(&cache, "http://a.test/y", &tagged("two"), &[]);
    keep(&cache, "http://a.test/z", &[("cache-control", "max-age=60"), ("surrogate-key", "three four")], &[]);
    assert!(has(&cache, "http://a.test/x", &[]));
    assert_eq!(cache.purge(&Purge::url("http://a.test/x").unwrap()), 1);
    assert!(!has(&cache, "http://a.test/x", &[]) && has(&cache, "http://a.test/y", &[]));
    assert_eq!(cache.purge(&Purge::Tag("two".into())), 1);
    assert_eq!(cache.purge(&Purge::Tag("thre".into())), 0);
    assert_eq!(cache.purge(&Purge::Tag("four".into())), 1);
    keep(&cache, "http://a.test/x", &tagged("one"), &[]);
    assert_eq!((cache.purge(&Purge::All), cache.keys()), (1, 0));
    assert_eq!(cache.used_bytes(), 0);
    assert_eq!(Purge::url("ftp://a/x"), None);
}

#[test]
fn what_is_purged_while_it_is_fetched_is_not_stored() {
    let cache = a_cache(1 << 20);
    let key = "r\n\n\nhttp://a.test/x";
    for purge in [Purge::All, Purge::url("http://a.test/x").unwrap(), Purge::Tag("any".into())] {
        let Joined::Mine(ticket) = cache.join(key) else { panic!("another fetches") };
        cache.purge(&purge);
        cache.put(ticket, entry(200, &[("cache-control", "max-age=60")], &[]).unwrap());
        assert!(cache.find(key, &HeaderMap::new()).is_none(), "{purge:?}");
    }
    let Joined::Mine(ticket) = cache.join(key) else { panic!("another fetches") };
    cache.invalidate(key);
    cache.put(ticket, entry(200, &[("cache-control", "max-age=60")], &[]).unwrap());
    assert!(cache.find(key, &HeaderMap::new()).is_none());
}

/// Whatever its result, a fetch reads what is stored and writes it back. A purge in between must win.
#[test]
fn what_is_purged_between_a_look_and_what_follows_does_not_come_back() {
    for pass_until_s in [0, NOW] {
        let cache = a_cache(1 << 20);
        keep(&cache, "http://a.test/x", &[("cache-control", "max-age=60")], &[]);
        let Joined::Mine(ticket) = cache.join("route\n\n\nhttp://a.test/x") else { panic!("another fetches") };
        let entries = cache.known(&ticket);
        assert_eq!((entries.len(), cache.purge(&Purge::All)), (1, 1));
        cache.settle(ticket, Variants { entries, pass_until_s });
        assert!(!has(&cache, "http://a.test/x", &[]), "{pass_until_s}");
    }
    // The same for a response that is not stored.
    let cache = a_cache(1 << 20);
    let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
    cache.purge(&Purge::All);
    cache.pass(ticket, NOW);
    assert!(!cache.passes("k", NOW));
}

#[tokio::test]
async fn one_fetches_and_the_others_learn_how_it_ended() {
    type Ends = fn(&Cache, Ticket);
    let kept: Ends = |cache, ticket| cache.put(ticket, entry(200, &[("cache-control", "max-age=60")], &[]).unwrap());
    let not_kept: Ends = |cache, ticket| cache.pass(ticket, NOW);
    let failed: Ends = |_, ticket| drop(ticket);
    for (ends, expected) in [(kept, End::Answered), (not_kept, End::Answered), (failed, End::Abandoned)] {
        let cache = a_cache(1 << 20);
        let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
        let Joined::Others(waiting) = cache.join("k") else { panic!("two fetch") };
        let mut end = std::pin::pin!(waiting.end());
        tokio::select! {
            biased;
            _ = &mut end => panic!("it is not over"),
            () = std::future::ready(()) => {}
        }
        ends(&cache, ticket);
        assert_eq!(end.await, expected);
        assert!(matches!(cache.join("k"), Joined::Mine(_)), "the turn is over");
    }
}

#[test]
fn nobody_waits_for_what_was_just_not_kept() {
    let cache = a_cache(1 << 20);
    let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
    assert!(!cache.passes("k", NOW));
    cache.pass(ticket, NOW);
    assert!(cache.passes("k", NOW + PASS_SECONDS - 1) && !cache.passes("k", NOW + PASS_SECONDS));
}

#[test]
fn memory_is_bounded() {
    let cache = a_cache(100_000);
    for number in 0..2_000 {
        let agent = number.to_string();
        let response = [("cache-control", "max-age=60"), ("vary", "user-agent")];
        keep(&cache, &format!("http://a.test/{}", number % 500), &response, &[("user-agent", &agent)]);
        assert!(cache.used_bytes() <= 100_000, "{}", cache.used_bytes());
    }
    assert!(cache.keys() > 10);
    let Joined::Mine(ticket) = cache.join("large") else { panic!("another fetches") };
    let body = vec![0; 200_000].into();
    cache.put(ticket, with_body(200, &[("cache-control", "max-age=60")], &[], body).unwrap());
    assert!(cache.find("large", &HeaderMap::new()).is_none(), "larger than everything");
}

/// A shard of the shelf takes nothing larger than its share: such a response must not be waited for, counted or
/// reported as stored.
#[test]
fn what_takes_more_than_there_is_for_one_key_is_not_kept() {
    for mebibytes in [1, 16, 64, 256] {
        let cache = a_cache(mebibytes << 20);
        let fields = headers(&[("cache-control", "max-age=60")]);
        let head = || Head::of(&asked(&[]), &rules(), &HeaderMap::new(), StatusCode::OK, &fields, NOW, 0).unwrap();
        let room = usize::try_from(cache.room("k", &head()).unwrap()).unwrap();
        assert!(room >= (mebibytes << 20).min(7 << 20) as usize * 9 / 10, "{mebibytes}: {room}");
        for (length, stored) in [(room + 1, 0), (room, 1)] {
            let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
            let body = Body::Full(vec![b'x'; length].into());
            let draft = Draft::begin(ticket, head(), usize::MAX, &body);
            assert_eq!(draft.is_some(), stored > 0, "{mebibytes}: {length}");
            drop(draft.map(|draft| record(draft, body)));
            assert_eq!(cache.passes("k", NOW), stored == 0, "{mebibytes}: {length}");
            assert_eq!(cache.counted(Event::Stored), stored, "{mebibytes}: {length}");
            assert_eq!(cache.find("k", &HeaderMap::new()).is_some(), stored > 0, "{mebibytes}: {length}");
        }
        let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
        cache.put(ticket, head().with_body(vec![b'x'; room + 1].into()));
        assert_eq!(cache.counted(Event::Stored), 1, "{mebibytes}");
    }
}

#[test]
fn where_a_key_takes_too_much_its_oldest_variants_go() {
    let cache = a_cache(1 << 20);
    for agent in ["a", "b", "c"] {
        let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
        let response = [("cache-control", "max-age=60"), ("vary", "user-agent")];
        let body = vec![b'x'; 400 << 10].into();
        cache.put(ticket, with_body(200, &response, &[("user-agent", agent)], body).unwrap());
    }
    let has = |agent| cache.find("k", &headers(&[("user-agent", agent)])).is_some();
    assert_eq!((has("a"), has("b"), has("c")), (false, true, true));
}

#[tokio::test]
async fn a_body_is_stored_when_it_is_whole_and_not_too_long() {
    use http_body_util::BodyExt as _;
    for (length, is_stored) in [(0, true), (1000, true), (1001, false)] {
        let cache = a_cache(1 << 20);
        let Joined::Mine(ticket) = cache.join("k") else { panic!("another fetches") };
        let fields = headers(&[("cache-control", "max-age=60")]);
        let head = Head::of(&asked(&[]), &rules(), &HeaderMap::new(), StatusCode::OK, &fields, NOW, 0).unwrap();
        let body = Body::Full(vec![b'x'; length].into());
        let body = match Draft::begin(ticket, head, 1000, &body) {
            Some(draft) => record(draft, body),
            None => body,
        };
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), length);
        assert_eq!(cache.find("k", &HeaderMap::new()).is_some(), is_stored, "{length}");
        assert!(matches!(cache.join("k"), Joined::Mine(_)), "the turn is over");
    }
}

proptest! {
    /// Whatever a server says, the cache serves nothing that it does not itself consider fresh, and never panics.
    #[test]
    fn any_cache_control_is_survived(text in "[ -~]{0,80}", later in 0..10_000_u64) {
        if let Some(kept) = entry(200, &[("cache-control", &text)], &[]) {
            let verdict = judge(&kept, &Directives::default(), NOW + later);
            prop_assert_eq!(verdict == Verdict::Fresh, kept.ttl(NOW + later) > 0 && !kept.life().always_ask);
        }
    }
}
