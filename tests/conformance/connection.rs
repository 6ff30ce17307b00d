//! RFC 9113 §3.4 the preface, §5.4 how a connection ends for an error.

use crate::case::{CANCEL, NO_ERROR, PROTOCOL_ERROR, Permit, case, run, run_on};
use crate::h2raw::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, Gone, HEADERS, MAX_PAYLOAD, PING, PREFACE,
    RST_STREAM, SETTINGS,
};
use crate::peer::{block, request};

/// The GOAWAY may be left out.
const NO_PREFACE: &[Permit] = &[Permit::GoAway(PROTOCOL_ERROR), Permit::Closed];

/// Frames that are more than is read at once, and fewer than the windows let a caller send.
const BEHIND: usize = 16;

#[test]
fn the_preface_comes_first() {
    run_on(
        "prior",
        &[
            case(
                "3.4 another method",
                |peer| {
                    peer.start_over();
                    peer.write(b"GET * HTTP/2.0\r\n\r\nSM\r\n\r\n");
                },
                NO_PREFACE,
            ),
            case(
                "3.4 another end",
                |peer| {
                    peer.start_over();
                    peer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r");
                },
                NO_PREFACE,
            ),
            case(
                "3.4 too short, and frames behind",
                |peer| {
                    peer.start_over();
                    peer.write(&PREFACE[..18]);
                    peer.settings(&[]);
                },
                NO_PREFACE,
            ),
            case(
                "3.4 none, but frames",
                |peer| {
                    peer.start_over();
                    peer.settings(&[]);
                    peer.get(1, "/bad");
                },
                NO_PREFACE,
            ),
            case(
                "3.4 HTTP/1.1",
                |peer| {
                    peer.start_over();
                    peer.write(b"GET /bad HTTP/1.1\r\nhost: a.test\r\n\r\n");
                },
                NO_PREFACE,
            ),
            case(
                "3.4 something else than SETTINGS behind",
                |peer| {
                    peer.start_over();
                    peer.write(PREFACE);
                    peer.get(1, "/");
                },
                NO_PREFACE,
            ),
            case(
                "3.4 PING behind, and SETTINGS after that",
                |peer| {
                    peer.start_over();
                    peer.write(PREFACE);
                    peer.frame(PING, 0, 0, b"too soon");
                    peer.settings(&[]);
                },
                NO_PREFACE,
            ),
        ],
    );
}

#[test]
fn the_preface_may_come_in_any_pieces() {
    run(&[
        case(
            "3.4 byte by byte",
            |peer| {
                peer.start_over();
                for byte in PREFACE {
                    peer.write(&[*byte]);
                }
                peer.settings(&[]);
                peer.get(1, "/pieces");
            },
            &[Permit::Status(1, 200)],
        ),
        case(
            "3.4 with a request in the same piece",
            |peer| {
                peer.start_over();
                let mut bytes = PREFACE.to_vec();
                bytes.extend(Frame::new(SETTINGS, 0, 0, &[]).encode());
                let fields = block(&request("GET", "/at-once"));
                bytes.extend(Frame::new(HEADERS, END_STREAM | END_HEADERS, 1, &fields).encode());
                peer.write(&bytes);
            },
            &[Permit::Status(1, 200)],
        ),
        case(
            "3.4 the server's begins with SETTINGS",
            |peer| {
                let first = peer.next().expect("a frame");
                assert!(first.kind == SETTINGS && !first.has(ACK) && first.stream == 0);
            },
            &[Permit::Alive],
        ),
        case(
            "3.4 half of it, and then the end",
            |peer| {
                peer.start_over();
                peer.write(&PREFACE[..12]);
                peer.start_over();
                peer.write(PREFACE);
                peer.settings(&[]);
            },
            &[Permit::Alive],
        ),
    ]);
}

#[test]
fn errors_end_what_they_concern() {
    run(&[
        case(
            "5.4.1 before any stream",
            |peer| peer.frame(PING, 0, 1, &[0; 8]),
            &[Permit::GoAwayLast(PROTOCOL_ERROR, 0)],
        ),
        case(
            "5.4.1 after a stream",
            |peer| {
                peer.closed(1);
                peer.frame(PING, 0, 1, &[0; 8]);
            },
            &[Permit::GoAwayLast(PROTOCOL_ERROR, 1)],
        ),
        case(
            "5.4.1 with streams in flight",
            |peer| {
                peer.half_closed(1);
                peer.open(3);
                peer.frame(PING, 0, 1, &[0; 8]);
            },
            &[Permit::GoAwayLast(PROTOCOL_ERROR, 3)],
        ),
        case(
            "5.4.1 what comes behind is not taken up",
            |peer| {
                peer.frame(DATA, 0, 0, b"x");
                peer.get(1, "/bad");
            },
            &[Permit::GoAwayLast(PROTOCOL_ERROR, 0)],
        ),
        case(
            "5.4.1 what comes behind does not take the GOAWAY back",
            |peer| {
                let fault = Frame::new(DATA, 0, 0, b"x").encode();
                let behind = Frame::new(DATA, 0, 1, &[0; MAX_PAYLOAD]).encode();
                peer.write(&[fault, behind.repeat(BEHIND)].concat());
                peer.find(GOAWAY, |frame| frame.number(4) == PROTOCOL_ERROR);
                assert_eq!(peer.next(), Err(Gone::Closed));
            },
            &[Permit::Closed],
        ),
        case(
            "5.4.2 other streams go on",
            |peer| {
                peer.post(1, "/echo");
                peer.half_closed(3);
                peer.window(3, (1 << 31) - 1);
                peer.find(RST_STREAM, |frame| frame.stream == 3);
                peer.data(1, b"still here", true);
            },
            &[Permit::Status(1, 200)],
        ),
        case(
            "5.4.2 a reset is not answered by a reset",
            |peer| {
                peer.half_closed(1);
                peer.reset(1, CANCEL);
                peer.quiet();
            },
            &[Permit::Alive],
        ),
        case(
            "5.4.2 a reset of an unknown code is a reset",
            |peer| {
                peer.half_closed(1);
                peer.reset(1, 0xdead_beef);
                peer.quiet();
            },
            &[Permit::Alive],
        ),
        case(
            "7 GOAWAY of an unknown code is a GOAWAY",
            |peer| {
                peer.get(1, "/");
                peer.frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0xde, 0xad, 0xbe, 0xef]);
                peer.answered(1, b"ok");
            },
            &[Permit::Alive, Permit::GoAway(NO_ERROR), Permit::Closed],
        ),
    ]);
}
