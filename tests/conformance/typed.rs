//! RFC 9113 §6.1 DATA, §6.2 HEADERS, §6.3 PRIORITY, §6.4 RST_STREAM.

use crate::case::Permit::{Alive, GoAway, Reset, Status};
use crate::case::{CANCEL, FRAME_SIZE_ERROR, PROTOCOL_ERROR, case, run};
use crate::h2raw::{
    DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PRIORITIZED, PRIORITY, RST_STREAM,
};
use crate::peer::{block, padded, request};

#[test]
fn data() {
    run(&[
        case(
            "6.1 on no stream",
            |peer| peer.data(0, b"x", false),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.1 padding is no content",
            |peer| {
                peer.post(1, "/echo");
                peer.frame(DATA, PADDED, 1, &padded(200, b"con"));
                peer.frame(DATA, PADDED, 1, &padded(0, b"te"));
                peer.frame(DATA, PADDED | END_STREAM, 1, &padded(3, b"nt"));
                peer.answered(1, b"content");
            },
            &[Alive],
        ),
        case(
            "6.1 padding alone",
            |peer| {
                peer.post(1, "/echo");
                peer.frame(DATA, PADDED, 1, &padded(255, b""));
                peer.frame(DATA, PADDED | END_STREAM, 1, &padded(255, b""));
                peer.answered(1, b"");
            },
            &[Alive],
        ),
        case(
            "6.1 as much padding as payload",
            |peer| {
                peer.open(1);
                peer.frame(DATA, PADDED | END_STREAM, 1, &[5, 0, 0, 0, 0]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.1 more padding than payload",
            |peer| {
                peer.open(1);
                peer.frame(DATA, PADDED, 1, &[255, 0, 0, 0, 0]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.1 padded, and not even a length",
            |peer| {
                peer.open(1);
                peer.frame(DATA, PADDED, 1, &[]);
            },
            &[GoAway(PROTOCOL_ERROR), GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.1 empty",
            |peer| {
                peer.post(1, "/echo");
                peer.data(1, b"", false);
                peer.data(1, b"x", false);
                peer.data(1, b"", true);
                peer.answered(1, b"x");
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn headers() {
    run(&[
        case(
            "6.2 on no stream",
            |peer| peer.get(0, "/bad"),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.2 padded",
            |peer| {
                let payload = padded(17, &block(&request("GET", "/")));
                peer.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &payload);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.2 padded, with a priority",
            |peer| {
                let fields = [&[0, 0, 0, 0, 15][..], &block(&request("GET", "/"))].concat();
                let flags = END_HEADERS | END_STREAM | PADDED | PRIORITIZED;
                peer.frame(HEADERS, flags, 1, &padded(9, &fields));
            },
            &[Status(1, 200)],
        ),
        case(
            "6.2 more padding than payload",
            |peer| {
                let fields = block(&request("GET", "/bad"));
                let payload = [&[255][..], &fields[..20]].concat();
                peer.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &payload);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.2 as much padding as payload",
            |peer| {
                let flags = END_HEADERS | END_STREAM | PADDED;
                peer.frame(HEADERS, flags, 1, &[4, 0x82, 0x86, 0x84]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.2 padding that takes the priority",
            |peer| {
                let flags = END_HEADERS | END_STREAM | PADDED | PRIORITIZED;
                peer.frame(HEADERS, flags, 1, &[5, 0, 0, 0, 0, 15, 0x82, 0x86, 0x84]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.2 padded, and not even a length",
            |peer| peer.frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, &[]),
            &[GoAway(PROTOCOL_ERROR), GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.2 half a priority",
            |peer| peer.frame(HEADERS, END_HEADERS | PRIORITIZED, 1, &[0, 0, 0]),
            &[GoAway(FRAME_SIZE_ERROR), GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.2 a block of no fields",
            |peer| peer.block(1, &[], true),
            &[Reset(1, PROTOCOL_ERROR), Status(1, 400)],
        ),
    ]);
}

#[test]
fn priority() {
    run(&[
        case(
            "6.3 on no stream",
            |peer| peer.priority(0, 1),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.3 too short",
            |peer| {
                peer.half_closed(1);
                peer.frame(PRIORITY, 0, 1, &[0; 4]);
            },
            &[Reset(1, FRAME_SIZE_ERROR), GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.3 too long",
            |peer| {
                peer.half_closed(1);
                peer.frame(PRIORITY, 0, 1, &[0; 6]);
            },
            &[Reset(1, FRAME_SIZE_ERROR), GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.3 on a stream of the server's",
            |peer| {
                peer.priority(2, 0);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
    ]);
}

#[test]
fn rst_stream() {
    run(&[
        case(
            "6.4 on no stream",
            |peer| peer.reset(0, CANCEL),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.4 on an idle stream",
            |peer| peer.reset(1, CANCEL),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.4 on an idle stream of the server's",
            |peer| peer.reset(2, CANCEL),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.4 too short",
            |peer| {
                peer.half_closed(1);
                peer.frame(RST_STREAM, 0, 1, &[0; 3]);
            },
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.4 too long",
            |peer| {
                peer.half_closed(1);
                peer.frame(RST_STREAM, 0, 1, &[0; 5]);
            },
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.4 twice",
            |peer| {
                peer.half_closed(1);
                peer.reset(1, CANCEL);
                peer.reset(1, CANCEL);
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "6.4 in the middle of a response",
            |peer| {
                peer.get(1, "/large");
                peer.taken(1);
                peer.reset(1, CANCEL);
                peer.window(0, 1_000_000);
                peer.get(3, "/");
                peer.answered(3, b"ok");
            },
            &[Alive],
        ),
    ]);
}
