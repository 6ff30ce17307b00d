//! RFC 9113 §6.10 CONTINUATION.

use crate::case::Permit::{Alive, GoAway, Status};
use crate::case::{PROTOCOL_ERROR, case, run};
use crate::h2raw::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PADDED};
use crate::peer::{block, padded, request};

#[test]
fn pieces() {
    run(&[
        case(
            "6.10 several",
            |peer| {
                let fields = block(&request("GET", "/"));
                let (first, rest) = fields.split_at(fields.len() / 3);
                let (second, third) = rest.split_at(rest.len() / 2);
                peer.frame(HEADERS, END_STREAM, 1, first);
                peer.continuation(1, second, false);
                peer.continuation(1, third, true);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.10 of nothing",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/")));
                peer.continuation(1, &[], false);
                peer.continuation(1, &[], true);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.10 all of the block in it",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &[]);
                peer.continuation(1, &block(&request("GET", "/")), true);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.10 its END_STREAM is no flag",
            |peer| {
                peer.frame(HEADERS, 0, 1, &block(&request("POST", "/echo")));
                peer.frame(CONTINUATION, END_HEADERS | END_STREAM, 1, &[]);
                peer.data(1, b"body", true);
                peer.answered(1, b"body");
            },
            &[Alive],
        ),
        case(
            "6.10 its block is not padded",
            |peer| {
                let fields = block(&request("GET", "/"));
                let (first, rest) = fields.split_at(10);
                peer.frame(HEADERS, END_STREAM | PADDED, 1, &padded(20, first));
                peer.frame(CONTINUATION, END_HEADERS | PADDED, 1, rest);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.10 of trailers",
            |peer| {
                peer.post(1, "/echo");
                peer.data(1, b"body", false);
                let fields = block(&[("x-sum", "1")]);
                peer.frame(HEADERS, END_STREAM, 1, &fields[..4]);
                peer.continuation(1, &fields[4..], true);
                peer.answered(1, b"body");
            },
            &[Alive],
        ),
        case(
            "6.10 a large head",
            |peer| {
                let long = "y".repeat(10_000);
                let fields = [&request("GET", "/")[..], &[("x-a", &long), ("x-b", &long)]];
                let fields = block(&fields.concat());
                let (first, rest) = fields.split_at(12_000);
                peer.frame(HEADERS, END_STREAM, 1, first);
                peer.continuation(1, rest, true);
            },
            &[Status(1, 200)],
        ),
    ]);
}

#[test]
fn places() {
    run(&[
        case(
            "6.10 on no stream",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.continuation(0, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 on another stream",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.continuation(3, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 at the very beginning",
            |peer| peer.continuation(1, &block(&request("GET", "/bad")), true),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 after HEADERS that end the block",
            |peer| {
                peer.open(1);
                peer.continuation(1, &block(&[("x", "y")]), true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 after a CONTINUATION that ends the block",
            |peer| {
                peer.frame(HEADERS, 0, 1, &block(&request("POST", "/held")));
                peer.continuation(1, &[], true);
                peer.continuation(1, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 after DATA",
            |peer| {
                peer.open(1);
                peer.data(1, b"x", false);
                peer.continuation(1, &block(&[("x", "y")]), true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 DATA within a block",
            |peer| {
                peer.frame(HEADERS, 0, 1, &block(&request("POST", "/bad")));
                peer.data(1, b"x", true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 HEADERS of the same stream within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.headers(1, &[("x", "y")], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.10 another stream's between two",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.continuation(1, &[], false);
                peer.get(3, "/bad");
                peer.continuation(1, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
    ]);
}
