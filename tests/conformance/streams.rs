//! RFC 9113 §5.1 the states of a stream, its number, how many there may be, §5.3 priorities.

use crate::case::Permit::{Alive, GoAway, Reset, Status};
use crate::case::{
    CANCEL, Case, NO_ERROR, PROTOCOL_ERROR, Permit, REFUSED_STREAM, STREAM_CLOSED, case, run,
};
use crate::h2raw::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PRIORITIZED, RST_STREAM, WINDOW_UPDATE,
};
use crate::peer::{block, request};

#[test]
fn idle() {
    run(&[
        case(
            "5.1 idle: DATA",
            |peer| peer.data(1, b"x", true),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 idle: RST_STREAM",
            |peer| peer.reset(1, CANCEL),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 idle: WINDOW_UPDATE",
            |peer| peer.window(1, 100),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 idle: CONTINUATION",
            |peer| peer.continuation(1, &block(&request("GET", "/bad")), true),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 idle: PRIORITY",
            |peer| {
                peer.priority(1, 0);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "5.1 idle: DATA beyond the streams there were",
            |peer| {
                peer.closed(1);
                peer.data(3, b"x", true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 idle: WINDOW_UPDATE of a stream that is the server's",
            |peer| peer.window(2, 100),
            &[GoAway(PROTOCOL_ERROR)],
        ),
    ]);
}

#[test]
fn half_closed() {
    run(&[
        case(
            "5.1 half-closed (remote): DATA",
            |peer| {
                peer.half_closed(1);
                peer.data(1, b"x", true);
            },
            &[Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)],
        ),
        case(
            "5.1 half-closed (remote): HEADERS",
            |peer| {
                peer.half_closed(1);
                peer.headers(1, &[("x-trailer", "1")], true);
            },
            &[Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)],
        ),
        case(
            "5.1 half-closed (remote): CONTINUATION",
            |peer| {
                peer.half_closed(1);
                peer.continuation(1, &block(&[("x", "y")]), true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 half-closed (remote): WINDOW_UPDATE and PRIORITY",
            |peer| {
                peer.half_closed(1);
                peer.window(1, 100);
                peer.priority(1, 0);
                peer.quiet();
            },
            &[Alive],
        ),
        case(
            "5.1 half-closed (remote): RST_STREAM",
            |peer| {
                peer.half_closed(1);
                peer.reset(1, CANCEL);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1 half-closed (remote) by DATA: DATA",
            |peer| {
                peer.open(1);
                peer.data(1, b"x", true);
                peer.data(1, b"y", false);
            },
            &[Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)],
        ),
        case(
            "5.1 half-closed (remote) by trailers: DATA",
            |peer| {
                peer.open(1);
                peer.headers(1, &[("x-trailer", "1")], true);
                peer.data(1, b"y", false);
            },
            &[Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)],
        ),
    ]);
}

/// A frame on a stream that is closed may be ignored, or be taken for an error of either kind.
const ON_CLOSED: &[Permit] = &[Alive, Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)];

/// HEADERS there are those of a number that was used, as well.
const HEADERS_ON_CLOSED: &[Permit] = &[
    Alive,
    Reset(1, STREAM_CLOSED),
    GoAway(STREAM_CLOSED),
    GoAway(PROTOCOL_ERROR),
];

#[test]
fn closed() {
    const CASES: &[Case] = &[
        case(
            "5.1 closed: DATA",
            |peer| {
                peer.closed(1);
                peer.data(1, b"x", true);
            },
            ON_CLOSED,
        ),
        case(
            "5.1 closed: HEADERS",
            |peer| {
                peer.closed(1);
                peer.get(1, "/bad");
            },
            HEADERS_ON_CLOSED,
        ),
        case(
            "5.1 closed: CONTINUATION",
            |peer| {
                peer.closed(1);
                peer.continuation(1, &block(&[("x", "y")]), true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1 closed: WINDOW_UPDATE",
            |peer| {
                peer.closed(1);
                peer.window(1, 100);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1 closed: RST_STREAM",
            |peer| {
                peer.closed(1);
                peer.reset(1, NO_ERROR);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1 closed: PRIORITY",
            |peer| {
                peer.closed(1);
                peer.priority(1, 0);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1 closed by RST_STREAM: DATA",
            |peer| {
                peer.open(1);
                peer.reset(1, CANCEL);
                peer.data(1, b"x", true);
            },
            ON_CLOSED,
        ),
        case(
            "5.1 closed by RST_STREAM: HEADERS",
            |peer| {
                peer.open(1);
                peer.reset(1, CANCEL);
                peer.get(1, "/bad");
            },
            HEADERS_ON_CLOSED,
        ),
        case(
            "5.1 closed by the server: DATA on its way",
            |peer| {
                peer.open(1);
                peer.window(1, (1 << 31) - 1);
                peer.find(RST_STREAM, |frame| frame.stream == 1);
                peer.data(1, b"x", false);
                peer.data(1, b"y", true);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1 closed by the server: trailers on their way",
            |peer| {
                peer.open(1);
                peer.window(1, (1 << 31) - 1);
                peer.find(RST_STREAM, |frame| frame.stream == 1);
                // The next block refers to it.
                let mut fields = vec![0x40, 1, b'x', 1, b'y'];
                peer.block(1, &fields, true);
                fields = block(&request("GET", "/"));
                fields.push(0xbe);
                peer.block(3, &fields, true);
            },
            &[Status(3, 200)],
        ),
        case(
            "5.1.1 closed without a word, by a stream after it: DATA",
            |peer| {
                peer.closed(5);
                peer.data(3, b"x", true);
            },
            &[
                Alive,
                Reset(3, STREAM_CLOSED),
                GoAway(STREAM_CLOSED),
                GoAway(PROTOCOL_ERROR),
            ],
        ),
    ];
    run(CASES);
}

#[test]
fn numbers_and_how_many() {
    run(&[
        case(
            "5.1.1 an even number",
            |peer| peer.get(2, "/bad"),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1.1 a number below the last",
            |peer| {
                peer.closed(5);
                peer.get(3, "/bad");
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1.1 no number",
            |peer| peer.get(0, "/bad"),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.1.1 numbers may be left out",
            |peer| {
                peer.closed(7);
                peer.get(0x7fff_ffff, "/");
            },
            &[Status(0x7fff_ffff, 200)],
        ),
        case(
            "5.1.2 one stream more than there may be",
            |peer| {
                assert_eq!(peer.setting(3, u32::MAX), 20);
                for stream in (1..40).step_by(2) {
                    peer.half_closed(stream);
                }
                peer.get(41, "/bad");
            },
            &[
                Reset(41, REFUSED_STREAM),
                Reset(41, PROTOCOL_ERROR),
                GoAway(PROTOCOL_ERROR),
            ],
        ),
        case(
            "5.1.2 a refused one leaves the field table as it is for others",
            |peer| {
                for stream in (1..40).step_by(2) {
                    peer.half_closed(stream);
                }
                let mut fields = block(&request("GET", "/bad"));
                fields.extend([0x40, 3, b'x', b'-', b'a', 1, b'y']);
                peer.block(41, &fields, true);
                peer.find(RST_STREAM, |frame| frame.stream == 41);
                peer.reset(1, CANCEL);
                let mut fields = block(&request("GET", "/seen"));
                fields.push(0xbe);
                peer.block(43, &fields, true);
                peer.answered(43, b"x-a=y");
            },
            &[Alive],
        ),
        case(
            "5.1.2 one that has ended makes room",
            |peer| {
                for stream in (1..38).step_by(2) {
                    peer.half_closed(stream);
                }
                for stream in (39..99).step_by(2) {
                    peer.closed(stream);
                }
            },
            &[Alive],
        ),
    ]);
}

/// Priorities mean nothing any more (§5.3.2); that a stream depends on itself may be told.
const ON_ITSELF: &[Permit] = &[
    Status(1, 200),
    Reset(1, PROTOCOL_ERROR),
    GoAway(PROTOCOL_ERROR),
];

#[test]
fn priorities() {
    run(&[
        case(
            "5.3 HEADERS that depend on themselves",
            |peer| {
                let fields = block(&request("GET", "/"));
                let payload = [&[0, 0, 0, 1, 255][..], &fields].concat();
                peer.frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, &payload);
            },
            ON_ITSELF,
        ),
        case(
            "5.3 PRIORITY that depends on itself",
            |peer| {
                peer.priority(1, 1);
                peer.get(1, "/");
            },
            ON_ITSELF,
        ),
        case(
            "5.3 PRIORITY in a circle, of streams there never are",
            |peer| {
                peer.priority(9, 11);
                peer.priority(11, 9 | 1 << 31);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "5.3 PRIORITY within a body",
            |peer| {
                peer.post(1, "/echo");
                peer.frame(DATA, 0, 1, b"one");
                peer.priority(1, 0);
                peer.frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
                peer.frame(DATA, END_STREAM, 1, b"two");
                peer.answered(1, b"onetwo");
            },
            &[Alive],
        ),
    ]);
}
