//! RFC 9113 §8.3 pseudo-fields, §8.5 CONNECT.

use crate::case::Permit::{Reset, Status};
use crate::case::{MALFORMED, PROTOCOL_ERROR, Permit, case, run};
use crate::peer::{Peer, request};

/// A request of these fields alone.
fn of(peer: &mut Peer, fields: &[(&str, &str)]) {
    peer.headers(1, fields, true);
}

/// A good request, but for this pseudo-field: another value, or none.
fn but(peer: &mut Peer, name: &str, value: Option<&str>) {
    let fields = request("GET", "/bad").into_iter();
    let fields = fields.filter_map(|field| match value {
        Some(value) if field.0 == name => Some((field.0, value)),
        None if field.0 == name => None,
        _ => Some(field),
    });
    of(peer, &fields.collect::<Vec<_>>());
}

#[test]
fn which_there_are() {
    run(&[
        case(
            "8.3 one that nobody knows, among the others",
            |peer| {
                of(
                    peer,
                    &[&[(":test", "1")][..], &request("GET", "/bad")].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3 one of responses",
            |peer| {
                of(
                    peer,
                    &[&[(":status", "200")][..], &request("GET", "/bad")].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3 behind another field",
            |peer| {
                of(
                    peer,
                    &[&[("x-a", "1")][..], &request("GET", "/bad")].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3 one of them behind another field",
            |peer| {
                let fields = [
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "a.test"),
                ];
                let late = [("x-a", "1"), (":path", "/bad")];
                of(peer, &[&fields[..], &late].concat());
            },
            MALFORMED,
        ),
        case(
            "8.3 in upper case",
            |peer| {
                of(
                    peer,
                    &[&[(":Method", "GET")][..], &request("GET", "/bad")].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3 a colon and no more",
            |peer| {
                of(
                    peer,
                    &[&[(":", "GET")][..], &request("GET", "/bad")].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "RFC 8441 §4 :protocol without CONNECT",
            |peer| {
                of(
                    peer,
                    &[&request("GET", "/bad")[..], &[(":protocol", "websocket")]].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3.1 no :method",
            |peer| but(peer, ":method", None),
            MALFORMED,
        ),
        case(
            "8.3.1 no :scheme",
            |peer| but(peer, ":scheme", None),
            MALFORMED,
        ),
        case("8.3.1 no :path", |peer| but(peer, ":path", None), MALFORMED),
        case(
            "8.3.1 :method twice",
            |peer| {
                of(
                    peer,
                    &[&request("GET", "/bad")[..], &[(":method", "GET")]].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3.1 :scheme twice",
            |peer| {
                of(
                    peer,
                    &[&request("GET", "/bad")[..], &[(":scheme", "http")]].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3.1 :path twice",
            |peer| {
                of(
                    peer,
                    &[&request("GET", "/bad")[..], &[(":path", "/bad")]].concat(),
                )
            },
            MALFORMED,
        ),
        case(
            "8.3.1 :authority twice",
            |peer| {
                of(
                    peer,
                    &[&request("GET", "/bad")[..], &[(":authority", "b.test")]].concat(),
                )
            },
            MALFORMED,
        ),
    ]);
}

#[test]
fn what_they_say() {
    run(&[
        case(
            "8.3.1 :method of nothing",
            |peer| but(peer, ":method", Some("")),
            MALFORMED,
        ),
        case(
            "8.3.1 :method that is no token",
            |peer| but(peer, ":method", Some("GET /x HTTP/1.1")),
            MALFORMED,
        ),
        case(
            "8.3.1 :scheme of nothing",
            |peer| but(peer, ":scheme", Some("")),
            MALFORMED,
        ),
        case(
            "8.3.1 :scheme that is none",
            |peer| but(peer, ":scheme", Some("ht tp")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path of nothing",
            |peer| but(peer, ":path", Some("")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path that begins with no slash",
            |peer| but(peer, ":path", Some("bad")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path that is a whole URI",
            |peer| but(peer, ":path", Some("http://b.test/bad")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path with a space",
            |peer| but(peer, ":path", Some("/bad HTTP/1.1")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path with a line's end",
            |peer| but(peer, ":path", Some("/bad\r\nx: y")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path with a fragment",
            |peer| but(peer, ":path", Some("/#part")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path that is an asterisk, of GET",
            |peer| but(peer, ":path", Some("*")),
            MALFORMED,
        ),
        case(
            "8.3.1 :path that is an asterisk, of OPTIONS",
            |peer| of(peer, &request("OPTIONS", "*")),
            &[Status(1, 200)],
        ),
        case(
            "8.3.1 :path with a query and no more than a slash",
            |peer| of(peer, &request("GET", "/?a=/b?c")),
            &[Status(1, 200)],
        ),
        case(
            "8.3.1 :authority with a user",
            |peer| but(peer, ":authority", Some("user:word@a.test")),
            MALFORMED,
        ),
        case(
            "8.3.1 :authority of nothing",
            |peer| but(peer, ":authority", Some("")),
            MALFORMED,
        ),
        case(
            "8.3.1 :authority that is none",
            |peer| but(peer, ":authority", Some("a.test/bad")),
            MALFORMED,
        ),
        case(
            "8.3.1 neither :authority nor Host",
            |peer| but(peer, ":authority", None),
            MALFORMED,
        ),
        case(
            "8.3.1 Host in place of :authority",
            |peer| {
                let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
                of(peer, &[&fields[..], &[("host", "a.test")]].concat());
            },
            &[Status(1, 200)],
        ),
        case(
            "8.3.1 Host of another authority",
            |peer| peer.get_with(1, "/bad", &[("host", "b.test")]),
            MALFORMED,
        ),
        case(
            "8.3.1 Host of the same authority",
            |peer| peer.get_with(1, "/", &[("host", "a.test")]),
            &[Status(1, 200)],
        ),
        case(
            "8.3.1 Host twice",
            |peer| peer.get_with(1, "/bad", &[("host", "a.test"), ("host", "a.test")]),
            MALFORMED,
        ),
    ]);
}

/// It is legal, and not served.
const NOT_SERVED: &[Permit] = &[
    Status(1, 400),
    Status(1, 403),
    Status(1, 404),
    Status(1, 405),
    Status(1, 501),
    Reset(1, PROTOCOL_ERROR),
];

#[test]
fn connect() {
    run(&[
        case(
            "8.5 to somewhere",
            |peer| {
                of(
                    peer,
                    &[(":method", "CONNECT"), (":authority", "bad.test:443")],
                )
            },
            NOT_SERVED,
        ),
        case(
            "8.5 with :scheme and :path",
            |peer| of(peer, &request("CONNECT", "/bad")),
            MALFORMED,
        ),
        case(
            "8.5 with :path",
            |peer| {
                let fields = [(":method", "CONNECT"), (":path", "/bad")];
                of(
                    peer,
                    &[&fields[..], &[(":authority", "bad.test:443")]].concat(),
                );
            },
            MALFORMED,
        ),
        case(
            "8.5 with :scheme",
            |peer| {
                let fields = [(":method", "CONNECT"), (":scheme", "http")];
                of(
                    peer,
                    &[&fields[..], &[(":authority", "bad.test:443")]].concat(),
                );
            },
            MALFORMED,
        ),
        case(
            "8.5 to nowhere",
            |peer| of(peer, &[(":method", "CONNECT")]),
            MALFORMED,
        ),
        case(
            "8.5 to a host without a port",
            |peer| of(peer, &[(":method", "CONNECT"), (":authority", "bad.test")]),
            MALFORMED,
        ),
    ]);
}
