//! RFC 9113 §8.2 fields: names, values, those of a connection, cookies.

use crate::case::Permit::{Alive, Status};
use crate::case::{MALFORMED, case, run};

#[test]
fn names() {
    run(&[
        case(
            "8.2.1 in upper case",
            |peer| peer.get_with(1, "/bad", &[("X-Test", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 of nothing",
            |peer| peer.get_with(1, "/bad", &[("", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with a space",
            |peer| peer.get_with(1, "/bad", &[("x y", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with a colon",
            |peer| peer.get_with(1, "/bad", &[("x:y", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with a line's end",
            |peer| peer.get_with(1, "/bad", &[("x\r\ny", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with NUL",
            |peer| peer.get_with(1, "/bad", &[("x\0y", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with DEL",
            |peer| peer.get_with(1, "/bad", &[("x\x7fy", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 beyond ASCII",
            |peer| peer.get_with(1, "/bad", &[("x\u{e9}", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.1 of every legal character",
            |peer| peer.get_with(1, "/", &[("x!#$%&'*+-.^_`|~09az", "1")]),
            &[Status(1, 200)],
        ),
    ]);
}

#[test]
fn values() {
    run(&[
        case(
            "8.2.1 with NUL",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a\0b")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with CR",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a\rb")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with LF",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a\nb")]),
            MALFORMED,
        ),
        case(
            "8.2.1 with a field behind it",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a\r\nx-injected: b")]),
            MALFORMED,
        ),
        case(
            "8.2.1 a space before",
            |peer| peer.get_with(1, "/bad", &[("x-test", " a")]),
            MALFORMED,
        ),
        case(
            "8.2.1 a space behind",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a ")]),
            MALFORMED,
        ),
        case(
            "8.2.1 a tab before",
            |peer| peer.get_with(1, "/bad", &[("x-test", "\ta")]),
            MALFORMED,
        ),
        case(
            "8.2.1 a tab behind",
            |peer| peer.get_with(1, "/bad", &[("x-test", "a\t")]),
            MALFORMED,
        ),
        case(
            "8.2.1 blanks inside, bytes beyond ASCII, nothing at all",
            |peer| {
                let values = [("x-ab", "a \t b"), ("x-test", "\u{e9}"), ("x-ac", "")];
                peer.get_with(1, "/seen", &values);
                peer.answered(1, b"x-ab=a \t b|x-ac=");
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn of_the_connection() {
    run(&[
        case(
            "8.2.2 Connection",
            |peer| peer.get_with(1, "/bad", &[("connection", "keep-alive")]),
            MALFORMED,
        ),
        case(
            "8.2.2 Connection with the name of a field",
            |peer| peer.get_with(1, "/bad", &[("connection", "x-a"), ("x-a", "1")]),
            MALFORMED,
        ),
        case(
            "8.2.2 Proxy-Connection",
            |peer| peer.get_with(1, "/bad", &[("proxy-connection", "keep-alive")]),
            MALFORMED,
        ),
        case(
            "8.2.2 Keep-Alive",
            |peer| peer.get_with(1, "/bad", &[("keep-alive", "timeout=5")]),
            MALFORMED,
        ),
        case(
            "8.2.2 Transfer-Encoding",
            |peer| {
                peer.post_with(1, "/bad", &[("transfer-encoding", "chunked")]);
                peer.data(1, b"0\r\n\r\n", true);
            },
            MALFORMED,
        ),
        case(
            "8.2.2 Upgrade",
            |peer| peer.get_with(1, "/bad", &[("upgrade", "websocket")]),
            MALFORMED,
        ),
        case(
            "8.2.2 TE with something else than trailers",
            |peer| peer.get_with(1, "/bad", &[("te", "trailers, deflate;q=0.5")]),
            MALFORMED,
        ),
        case(
            "8.2.2 TE twice, one of them with something else",
            |peer| peer.get_with(1, "/bad", &[("te", "trailers"), ("te", "gzip")]),
            MALFORMED,
        ),
        case(
            "8.2.2 TE with trailers",
            |peer| peer.get_with(1, "/", &[("te", "trailers")]),
            &[Status(1, 200)],
        ),
    ]);
}

#[test]
fn cookies() {
    run(&[
        case(
            "8.2.3 crumbs are one field for HTTP/1.1",
            |peer| {
                let crumbs = [("cookie", "a=b"), ("x-a", "1"), ("cookie", "c=d; e=f")];
                peer.get_with(1, "/seen", &[&crumbs[..], &[("cookie", "g=h")]].concat());
                let message = peer.message(1);
                let mut seen: Vec<_> = message.data.split(|byte| *byte == b'|').collect();
                seen.sort();
                assert_eq!(seen, [&b"cookie=a=b; c=d; e=f; g=h"[..], b"x-a=1"]);
            },
            &[Alive],
        ),
        case(
            "8.2.3 one stays as it is",
            |peer| {
                peer.get_with(1, "/seen", &[("cookie", "a=b;c=d")]);
                peer.answered(1, b"cookie=a=b;c=d");
            },
            &[Alive],
        ),
    ]);
}
