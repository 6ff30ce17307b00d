//! RFC 9113 §8.1 messages: their parts, their lengths, their trailers, and what is malformed.

use crate::case::Permit::{Alive, GoAway, Reset, Status};
use crate::case::{
    ENHANCE_YOUR_CALM, MALFORMED, NO_ERROR, PROTOCOL_ERROR, Permit, STREAM_CLOSED, case, run,
    status,
};
use crate::h2raw::{DATA, END_STREAM, HEADERS, RST_STREAM};
use crate::peer::{block, request};

#[test]
fn lengths() {
    run(&[
        case(
            "8.1.1 as much as was said",
            |peer| {
                peer.post_with(1, "/echo", &[("content-length", "6")]);
                peer.data(1, b"one", false);
                peer.data(1, b"two", true);
                peer.answered(1, b"onetwo");
            },
            &[Alive],
        ),
        case(
            "8.1.1 a length of nothing, and nothing",
            |peer| peer.get_with(1, "/", &[("content-length", "0")]),
            &[Status(1, 200)],
        ),
        case(
            "8.1.1 a length and no DATA",
            |peer| peer.get_with(1, "/bad", &[("content-length", "1")]),
            MALFORMED,
        ),
        case(
            "8.1.1 a length and DATA of nothing",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "1")]);
                peer.data(1, b"", true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 less than was said",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "5")]);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 more than was said",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "3")]);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 more than was said, in the second DATA",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "5")]);
                peer.data(1, b"four", false);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 more than nothing",
            |peer| {
                // As a request of nothing it is whole before the DATA comes.
                peer.post_with(1, "/", &[("content-length", "0")]);
                peer.data(1, b"x", true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 less than was said, and trailers",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "5")]);
                peer.data(1, b"four", false);
                peer.headers(1, &[("x-sum", "4")], true);
            },
            MALFORMED,
        ),
        case(
            "8.1.1 two lengths",
            |peer| {
                let lengths = [("content-length", "4"), ("content-length", "5")];
                peer.post_with(1, "/bad", &lengths);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "RFC 9110 §8.6 a length that is a list",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "4, 4")]);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "RFC 9110 §8.6 a length with a sign",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "+4")]);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
        case(
            "RFC 9110 §8.6 a length below zero",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "-1")]);
                peer.data(1, b"", true);
            },
            MALFORMED,
        ),
        case(
            "RFC 9110 §8.6 a length of no digit",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "")]);
                peer.data(1, b"", true);
            },
            MALFORMED,
        ),
        case(
            "RFC 9110 §8.6 a length beyond 64 bits",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "18446744073709551620")]);
                peer.data(1, b"four", true);
            },
            MALFORMED,
        ),
    ]);
}

#[test]
fn trailers() {
    run(&[
        case(
            "8.1 after DATA",
            |peer| {
                peer.post(1, "/echo");
                peer.data(1, b"body", false);
                peer.headers(1, &[("x-sum", "4")], true);
                peer.answered(1, b"body");
            },
            &[Alive],
        ),
        case(
            "8.1 without DATA",
            |peer| {
                peer.post(1, "/");
                peer.headers(1, &[("x-sum", "0")], true);
            },
            &[Status(1, 200)],
        ),
        case(
            "8.1 that do not end the stream",
            |peer| {
                peer.post(1, "/bad");
                peer.data(1, b"body", false);
                peer.headers(1, &[("x-sum", "4")], false);
            },
            MALFORMED,
        ),
        case(
            "8.1 twice",
            |peer| {
                peer.post(1, "/bad");
                peer.headers(1, &[("x-sum", "4")], false);
                peer.headers(1, &[("x-sum", "4")], true);
            },
            MALFORMED,
        ),
        case(
            "8.1 with a pseudo-field of requests",
            |peer| {
                peer.post(1, "/");
                peer.data(1, b"body", false);
                peer.headers(1, &[(":method", "GET")], true);
            },
            MALFORMED,
        ),
        case(
            "8.1 with a pseudo-field of responses",
            |peer| {
                peer.post(1, "/bad");
                peer.data(1, b"body", false);
                peer.headers(1, &[("x-sum", "4"), (":status", "200")], true);
            },
            MALFORMED,
        ),
        case(
            "8.1 with an upper-case name",
            |peer| {
                peer.post(1, "/bad");
                peer.data(1, b"body", false);
                peer.headers(1, &[("X-Sum", "4")], true);
            },
            MALFORMED,
        ),
        case(
            "8.2.2 with a field of the connection",
            |peer| {
                peer.post(1, "/bad");
                peer.data(1, b"body", false);
                peer.headers(1, &[("transfer-encoding", "chunked")], true);
            },
            MALFORMED,
        ),
        case(
            "8.1 DATA behind",
            |peer| {
                peer.open(1);
                peer.headers(1, &[("x-sum", "4")], true);
                peer.data(1, b"more", true);
            },
            &[Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)],
        ),
    ]);
}

#[test]
fn answers() {
    run(&[
        case(
            "8.1 none to HEAD but its fields",
            |peer| {
                peer.headers(1, &request("HEAD", "/small"), true);
                let frame = peer.find(HEADERS, |_| true);
                assert!(frame.has(END_STREAM), "{frame:?}");
                assert_eq!(status(peer.fields()), Some(200));
            },
            &[Alive],
        ),
        case(
            "8.1 a local reply, and the rest is not wanted",
            |peer| {
                peer.post_with(1, "/bad", &[("content-length", "x")]);
                peer.find(RST_STREAM, |frame| {
                    frame.stream == 1 && matches!(frame.number(0), NO_ERROR | PROTOCOL_ERROR)
                });
            },
            &[Alive],
        ),
        case(
            "8.1 many at once, each its own",
            |peer| {
                for stream in [1, 3, 5, 7, 9] {
                    peer.post(stream, "/echo");
                }
                for stream in [9, 1, 5, 3, 7] {
                    peer.data(stream, format!("body {stream}").as_bytes(), true);
                }
                for stream in [1, 3, 5, 7, 9] {
                    peer.answered(stream, format!("body {stream}").as_bytes());
                }
            },
            &[Alive],
        ),
        case(
            "8.1.1 what is malformed leaves the others alone",
            |peer| {
                peer.post(1, "/echo");
                peer.post_with(3, "/bad", &[("content-length", "3")]);
                peer.frame(DATA, END_STREAM, 3, b"four");
                peer.data(1, b"well", true);
                peer.answered(1, b"well");
            },
            &[Alive],
        ),
        case(
            "8.1.1 what is malformed leaves the field table as it is for others",
            |peer| {
                let mut fields = block(&request("GET", "/bad"));
                fields.extend([0x40, 3, b'x', b'-', b'a', 1, b'y']);
                fields.extend(block(&[("connection", "x-a")]));
                peer.block(1, &fields, true);
                let mut fields = block(&request("GET", "/seen"));
                fields.push(0xbe);
                peer.block(3, &fields, true);
                peer.answered(3, b"x-a=y");
            },
            &[Alive],
        ),
        case(
            "10.5.1 a head that is too large",
            |peer| {
                // Four thousand bytes, remembered and repeated.
                let mut fields = block(&request("GET", "/bad"));
                fields.extend(b"\x40\x03x-a\x7f\xa1\x1e");
                fields.extend([b'y'; 4000]);
                fields.extend([0xbe; 30]);
                peer.block(1, &fields, true);
            },
            TOO_LARGE,
        ),
        case(
            "10.5.1 a head that is too large as it comes",
            |peer| {
                let long = "y".repeat(15_000);
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                for name in ["x-a", "x-b", "x-c", "x-d", "x-e"] {
                    peer.continuation(1, &block(&[(name, &long)]), name == "x-e");
                }
            },
            FAR_TOO_LARGE,
        ),
    ]);
}

/// Told by a status or not at all.
const TOO_LARGE: &[Permit] = &[Status(1, 431), Reset(1, PROTOCOL_ERROR)];

/// The connection may end for it (§10.5).
const FAR_TOO_LARGE: &[Permit] = &[
    Status(1, 431),
    Reset(1, PROTOCOL_ERROR),
    GoAway(ENHANCE_YOUR_CALM),
];
