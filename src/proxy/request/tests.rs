use super::*;
use crate::config::model;
use crate::proxy::error::ProxyError;
use crate::proxy::survey::{is_host, survey};

fn limits(max_header_bytes: usize) -> model::Downstream {
    model::Downstream {
        max_header_bytes,
        ..model::Downstream::for_tests()
    }
}

fn head(target: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

#[test]
fn what_two_parsers_could_read_differently_is_refused() {
    let host = ("host", "a");
    for (target, fields, refused) in [
        ("/", &[host] as &[_], false),
        ("/", &[], true),
        ("/", &[host, host], true),
        ("/", &[("host", "a b")], true),
        ("http://a/", &[host], false),
        ("http://a", &[host], false),
        ("http://a#b", &[host], false),
        ("http://a:80/", &[host], false),
        ("http://b/", &[host], true),
        ("/", &[host, ("transfer-encoding", "Chunked")], false),
        ("/", &[host, ("transfer-encoding", "gzip, chunked")], true),
        (
            "/",
            &[
                host,
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            true,
        ),
        ("/", &[host, ("transfer_encoding", "chunked")], true),
        ("/", &[host, ("content-length", "5")], false),
        ("/", &[host, ("content-length", "")], true),
        ("/", &[host, ("content-length", "+5")], true),
        (
            "/",
            &[host, ("content-length", "5"), ("content-length", "5")],
            true,
        ),
        (
            "/",
            &[
                host,
                ("content-length", "5"),
                ("transfer-encoding", "chunked"),
            ],
            true,
        ),
        ("*", &[host], true),
        ("a", &[host], true),
        ("/\u{e9}", &[host], true),
    ] {
        let found = survey(&head(target, fields), &limits(8192));
        let found = matches!(found, Err(ProxyError::BadRequest(_)));
        assert_eq!(found, refused, "{target} {fields:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_a_port() {
    for host in [
        "",
        "a",
        "a.b-c_d",
        "a:",
        "a:80",
        "a:65535",
        "1.2.3.4:80",
        "[::1]",
        "[::1]:80",
        "a%20b",
    ] {
        assert!(is_host(host.as_bytes()), "{host}");
    }
    for host in [
        ":80", "a:b", "a:65536", "a:+1", "a:80:81", "a b", "a,b", "a/b", "a@b", "a%2", "a%zz",
        "[::1", "::1", "[::1]a", "[a]", "[]", "[::1]:x", "\u{e9}",
    ] {
        assert!(!is_host(host.as_bytes()), "{host}");
    }
}

#[test]
fn a_head_is_measured_whole() {
    let request = head("/ten-bytes", &[("host", "a"), ("x-y", "z")]);
    let size = 10 + (4 + 1 + 4) + (3 + 1 + 4);
    assert!(survey(&request, &limits(size)).is_ok());
    assert_eq!(
        survey(&request, &limits(size - 1)).err(),
        Some(ProxyError::HeadTooLarge)
    );
}

#[test]
fn fields_of_this_hop_go_no_further_and_an_id_is_made() {
    let mut request = head(
        "http://a/x?y",
        &[
            ("host", "a"),
            ("connection", "keep-alive, X-Mine, x-request-id, host"),
            ("x-mine", "1"),
            ("x-request-id", "2"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("x-kept", "3"),
        ],
    );
    let surveyed = survey(&request, &limits(8192)).unwrap();
    prepare(&mut request, &surveyed, None);
    let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    // That trailers are taken is said again to the next hop.
    assert_eq!(
        names,
        [
            "connection",
            "expect",
            "host",
            "te",
            "x-kept",
            "x-request-id"
        ]
    );
    assert_eq!(request.headers()["connection"], "te");
    assert_ne!(request.headers()["x-request-id"], "2");
    assert_eq!(request.uri(), "/x?y");
}

#[test]
fn crumbs_are_joined_without_the_empty_ones() {
    for (crumbs, joined) in [
        (&["a=b", "c=d"] as &[_], "a=b; c=d"),
        (&["", "a=b", "", "c=d", ""], "a=b; c=d"),
        (&["", ""], ""),
    ] {
        let mut headers = HeaderMap::new();
        for crumb in crumbs {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        join_cookies(&mut headers);
        let found: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(found, [joined], "{crumbs:?}");
    }
}
