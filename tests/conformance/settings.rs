//! RFC 9113 §6.5 SETTINGS.

use crate::case::Permit::{Alive, GoAway, Status};
use crate::case::{FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, case, run};
use crate::h2raw::{ACK, PING, SETTINGS};

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

#[test]
fn forms() {
    run(&[
        case(
            "6.5 an acknowledgement with a payload",
            |peer| peer.frame(SETTINGS, ACK, 0, &[0, 3, 0, 0, 0, 1]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.5 on a stream",
            |peer| peer.frame(SETTINGS, 0, 1, &[0, 3, 0, 0, 0, 1]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5 an acknowledgement on a stream",
            |peer| peer.frame(SETTINGS, ACK, 1, &[]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5 half a setting",
            |peer| peer.frame(SETTINGS, 0, 0, &[0, 3, 0]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.5 a setting and a half",
            |peer| peer.frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1, 0, 3, 0]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.5 none at all",
            |peer| {
                peer.settings(&[]);
                peer.acknowledged(2);
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn values() {
    run(&[
        case(
            "6.5.2 ENABLE_PUSH of 2",
            |peer| peer.settings(&[(ENABLE_PUSH, 2)]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5.2 ENABLE_PUSH of 0 and 1",
            |peer| {
                peer.settings(&[(ENABLE_PUSH, 1), (ENABLE_PUSH, 0)]);
                peer.acknowledged(2);
            },
            &[Alive],
        ),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE of more than there can be",
            |peer| peer.settings(&[(INITIAL_WINDOW_SIZE, 1 << 31)]),
            &[GoAway(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.5.2 INITIAL_WINDOW_SIZE as great as can be",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE of less than what is always allowed",
            |peer| peer.settings(&[(MAX_FRAME_SIZE, 16_383)]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE of more than 24 bits",
            |peer| peer.settings(&[(MAX_FRAME_SIZE, 1 << 24)]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5.2 MAX_FRAME_SIZE as great as can be",
            |peer| {
                peer.settings(&[(MAX_FRAME_SIZE, (1 << 24) - 1)]);
                peer.settings(&[(MAX_FRAME_SIZE, 16_384)]);
                peer.acknowledged(3);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "6.5.2 MAX_CONCURRENT_STREAMS of 0 is about the server's",
            |peer| {
                peer.settle(&[(MAX_CONCURRENT_STREAMS, 0)]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "6.5.2 MAX_HEADER_LIST_SIZE is a wish",
            |peer| {
                peer.settle(&[(MAX_HEADER_LIST_SIZE, 10_000)]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "RFC 8441 §3 ENABLE_CONNECT_PROTOCOL of a client",
            |peer| {
                peer.settle(&[(ENABLE_CONNECT_PROTOCOL, 1)]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
    ]);
}

#[test]
fn synchronisation() {
    run(&[
        case(
            "6.5.3 each is acknowledged",
            |peer| {
                for size in 0..10 {
                    peer.settings(&[(HEADER_TABLE_SIZE, size)]);
                }
                peer.acknowledged(11);
            },
            &[Alive],
        ),
        case(
            "6.5.3 acknowledged before what comes behind is answered",
            |peer| {
                peer.acknowledged(1);
                peer.settings(&[(MAX_HEADER_LIST_SIZE, 16_384)]);
                peer.frame(PING, 0, 0, b"settled?");
                loop {
                    let frame = peer.next().expect("a frame");
                    assert!(frame.kind != PING, "answered before");
                    if frame.kind == SETTINGS && frame.has(ACK) {
                        break;
                    }
                }
            },
            &[Alive],
        ),
        case(
            "6.5.3 the last of several values counts",
            |peer| {
                peer.settle(&[
                    (INITIAL_WINDOW_SIZE, 100),
                    (INITIAL_WINDOW_SIZE, 0),
                    (INITIAL_WINDOW_SIZE, 3),
                ]);
                peer.get(1, "/small");
                assert_eq!(peer.taken(1), (3, false));
                peer.quiet();
            },
            &[Alive],
        ),
        case(
            "6.5.3 values are taken in their order",
            |peer| peer.settings(&[(MAX_FRAME_SIZE, 1), (MAX_FRAME_SIZE, 16_384)]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.5.3 the server's are acknowledged once",
            |peer| {
                peer.setting(INITIAL_WINDOW_SIZE, 65_535);
                peer.frame(SETTINGS, ACK, 0, &[]);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
    ]);
}
