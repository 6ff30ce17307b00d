//! RFC 9113 §6.6 PUSH_PROMISE, §6.7 PING, §6.8 GOAWAY.

use crate::case::Permit::{Alive, Closed, GoAway, Status};
use crate::case::{FRAME_SIZE_ERROR, NO_ERROR, PROTOCOL_ERROR, case, run};
use crate::h2raw::{ACK, END_HEADERS, GOAWAY, PING, PUSH_PROMISE};
use crate::peer::{block, request};

#[test]
fn push_promise() {
    run(&[
        case(
            "6.6 from a client",
            |peer| {
                peer.half_closed(1);
                let payload = [&[0, 0, 0, 2][..], &block(&request("GET", "/bad"))].concat();
                peer.frame(PUSH_PROMISE, END_HEADERS, 1, &payload);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.6 from a client, on no stream",
            |peer| {
                let payload = [&[0, 0, 0, 2][..], &block(&request("GET", "/bad"))].concat();
                peer.frame(PUSH_PROMISE, END_HEADERS, 0, &payload);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
    ]);
}

#[test]
fn ping() {
    run(&[
        case(
            "6.7 is answered by the same",
            |peer| {
                for opaque in [b"\0\0\0\0\0\0\0\0", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"] {
                    peer.frame(PING, 0, 0, opaque);
                    let answer = peer.find(PING, |_| true);
                    assert!(answer.has(ACK) && answer.stream == 0);
                    assert_eq!(answer.payload, opaque);
                }
            },
            &[Alive],
        ),
        case(
            "6.7 each is answered, in order",
            |peer| {
                for number in 0..10 {
                    peer.frame(PING, 0, 0, &[number; 8]);
                }
                for number in 0..10 {
                    peer.find(PING, |frame| frame.payload == [number; 8]);
                }
            },
            &[Alive],
        ),
        case(
            "6.7 an answer is not answered",
            |peer| {
                peer.frame(PING, ACK, 0, b"answered");
                peer.frame(PING, 0, 0, b"question");
                let answer = peer.find(PING, |_| true);
                assert_eq!(answer.payload, b"question");
            },
            &[Alive],
        ),
        case(
            "6.7 on a stream",
            |peer| {
                peer.half_closed(1);
                peer.frame(PING, 0, 1, &[0; 8]);
            },
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.7 too short",
            |peer| peer.frame(PING, 0, 0, &[0; 6]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.7 too long",
            |peer| peer.frame(PING, 0, 0, &[0; 9]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.7 an answer of nothing",
            |peer| peer.frame(PING, ACK, 0, &[]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.7 goes ahead of a response that waits for a window",
            |peer| {
                peer.settle(&[(4, 0)]);
                peer.get(1, "/large");
                peer.head(1);
                peer.quiet();
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn goaway() {
    run(&[
        case(
            "6.8 on a stream",
            |peer| peer.frame(GOAWAY, 0, 1, &[0; 8]),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.8 too short",
            |peer| peer.frame(GOAWAY, 0, 0, &[0; 7]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.8 what was asked before is answered",
            |peer| {
                peer.post(1, "/echo");
                peer.frame(GOAWAY, 0, 0, &[0; 8]);
                peer.data(1, b"goes on", true);
                peer.answered(1, b"goes on");
            },
            &[Alive, GoAway(NO_ERROR), Closed],
        ),
        case(
            "6.8 with a reason that nobody reads",
            |peer| {
                peer.get(1, "/");
                peer.frame(GOAWAY, 0, 0, &[&[0; 8][..], &[b'x'; 1000]].concat());
                peer.answered(1, b"ok");
            },
            &[Alive, GoAway(NO_ERROR), Closed],
        ),
        case(
            "6.8 of a client is about the server's streams alone",
            |peer| {
                peer.frame(GOAWAY, 0, 0, &[0; 8]);
                peer.get(1, "/");
            },
            &[Status(1, 200), GoAway(NO_ERROR), Closed],
        ),
    ]);
}
