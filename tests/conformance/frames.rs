//! RFC 9113 §4.1 frames, §4.2 their sizes, §4.3 and §5.5 what stands between them.

use crate::case::Permit::{Alive, GoAway, Reset, Status};
use crate::case::{COMPRESSION_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, case, run};
use crate::h2raw::{
    DATA, END_HEADERS, END_STREAM, HEADERS, MAX_PAYLOAD, PING, PRIORITIZED, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};
use crate::peer::{block, request};

/// The bit of the stream that means nothing.
const RESERVED: u32 = 1 << 31;

/// A kind of frame that nobody knows.
const UNKNOWN: u8 = 0xbb;

#[test]
fn what_nobody_knows_is_ignored() {
    run(&[
        case(
            "4.1 an unknown kind of frame",
            |peer| {
                peer.frame(UNKNOWN, 0xff, 0, b"whatever");
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "4.1 an unknown kind of frame on a stream that is idle",
            |peer| {
                peer.frame(UNKNOWN, 0, 7, &[]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "5.5 an unknown kind of frame within a body",
            |peer| {
                peer.post(1, "/echo");
                peer.data(1, b"one", false);
                peer.frame(UNKNOWN, 0xff, 1, &[7; 64]);
                peer.data(1, b"two", true);
                peer.answered(1, b"onetwo");
            },
            &[Alive],
        ),
        case(
            "4.1 unknown flags of PING",
            |peer| {
                peer.frame(PING, 0xfe, 0, b"flagged!");
                peer.find(PING, |frame| frame.payload == b"flagged!" && frame.has(1));
            },
            &[Alive],
        ),
        case(
            "4.1 unknown flags of SETTINGS",
            |peer| {
                peer.frame(SETTINGS, 0xfe, 0, &[]);
                peer.acknowledged(2);
            },
            &[Alive],
        ),
        case(
            "4.1 unknown flags of HEADERS and DATA",
            |peer| {
                let fields = block(&request("POST", "/echo"));
                peer.frame(HEADERS, END_HEADERS | 0xd2, 1, &fields);
                peer.frame(DATA, 0xf6, 1, b"one");
                peer.frame(DATA, 0xf6 | END_STREAM, 1, b"two");
                peer.answered(1, b"onetwo");
            },
            &[Alive],
        ),
        case(
            "4.1 the reserved bit of SETTINGS and PING",
            |peer| {
                peer.frame(SETTINGS, 0, RESERVED, &[]);
                peer.frame(PING, 0, RESERVED, b"reserved");
                peer.find(PING, |frame| frame.payload == b"reserved");
            },
            &[Alive],
        ),
        case(
            "4.1 the reserved bit of a request",
            |peer| {
                let fields = block(&request("POST", "/echo"));
                peer.frame(HEADERS, END_HEADERS, 1 | RESERVED, &fields);
                peer.frame(DATA, END_STREAM, 1 | RESERVED, b"body");
                peer.answered(1, b"body");
            },
            &[Alive],
        ),
        case(
            "6.9 the reserved bit of an increment",
            |peer| {
                peer.window(0, 1 | RESERVED);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "6.5.2 an unknown setting",
            |peer| {
                peer.settings(&[(0xff, 0), (0x1234, u32::MAX)]);
                peer.acknowledged(2);
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn sizes_are_kept() {
    run(&[
        case(
            "4.2 the largest DATA",
            |peer| {
                peer.post(1, "/echo");
                peer.data(1, &[b'x'; MAX_PAYLOAD], true);
                peer.answered(1, &[b'x'; MAX_PAYLOAD]);
            },
            &[Alive],
        ),
        case(
            "4.2 DATA that is too large",
            |peer| {
                peer.open(1);
                peer.data(1, &[0; MAX_PAYLOAD + 1], false);
            },
            &[Reset(1, FRAME_SIZE_ERROR), GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "4.2 HEADERS that are too large",
            |peer| {
                let long = "x".repeat(MAX_PAYLOAD);
                peer.get_with(1, "/bad", &[("x-long", &long)]);
            },
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "4.2 CONTINUATION that is too large",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.continuation(1, &block(&[("x", &"x".repeat(MAX_PAYLOAD))]), true);
            },
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "4.2 a frame of the connection that is too large",
            |peer| peer.frame(PING, 0, 0, &[0; MAX_PAYLOAD + 1]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "4.2 an unknown frame that is too large",
            |peer| peer.frame(UNKNOWN, 0, 0, &[0; MAX_PAYLOAD + 1]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "4.2 the greatest length there is, and nothing of it",
            |peer| peer.write(&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
    ]);
}

#[test]
fn field_blocks_are_whole() {
    run(&[
        case(
            "4.3 a block that is none",
            |peer| peer.block(1, &[0x00, 0x85, 0xf2, 0xb2, 0x4a, 0x84], true),
            &[GoAway(COMPRESSION_ERROR)],
        ),
        case(
            "4.3 a block that ends within a field",
            |peer| {
                let fields = block(&request("GET", "/bad"));
                peer.block(1, &fields[..fields.len() - 2], true);
            },
            &[GoAway(COMPRESSION_ERROR)],
        ),
        case(
            "4.3 PRIORITY of the same stream within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.priority(1, 0);
                peer.continuation(1, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 HEADERS of another stream within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.get(3, "/bad");
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 SETTINGS within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.settings(&[]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 PING within a block",
            |peer| peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad"))),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 WINDOW_UPDATE within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 RST_STREAM within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "5.5 an unknown frame within a block",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.frame(UNKNOWN, 0, 1, &[]);
                peer.continuation(1, &[], true);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "4.3 a stream depends on another before its block",
            |peer| {
                let fields = block(&request("GET", "/"));
                let payload = [&[0, 0, 0, 3, 255][..], &fields].concat();
                peer.frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, &payload);
            },
            &[Status(1, 200)],
        ),
    ]);
}
