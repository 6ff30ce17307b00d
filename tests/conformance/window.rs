//! RFC 9113 §5.2 and §6.9 flow control, in both directions.

use crate::case::Permit::{Alive, GoAway, Reset, Status};
use crate::case::{CANCEL, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, LARGE, PROTOCOL_ERROR, case, run};
use crate::h2raw::{DATA, END_STREAM, PADDED, PING, RST_STREAM, WINDOW_UPDATE};
use crate::peer::{Peer, padded};

const INITIAL_WINDOW_SIZE: u16 = 4;

/// The greatest window (§6.9.1).
const MOST: u32 = (1 << 31) - 1;

#[test]
fn increments() {
    run(&[
        case(
            "6.9 of nothing, of the connection",
            |peer| peer.window(0, 0),
            &[GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.9 of nothing, of a stream",
            |peer| {
                peer.half_closed(1);
                peer.window(1, 0);
            },
            &[Reset(1, PROTOCOL_ERROR), GoAway(PROTOCOL_ERROR)],
        ),
        case(
            "6.9 too short",
            |peer| peer.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.9 too long",
            |peer| peer.frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1, 0]),
            &[GoAway(FRAME_SIZE_ERROR)],
        ),
        case(
            "6.9.1 beyond the greatest, of the connection",
            |peer| {
                peer.window(0, MOST);
            },
            &[GoAway(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.9.1 beyond the greatest, of a stream",
            |peer| {
                peer.half_closed(1);
                peer.window(1, MOST);
            },
            &[Reset(1, FLOW_CONTROL_ERROR), GoAway(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.9.1 beyond the greatest, by two",
            |peer| {
                peer.half_closed(1);
                peer.window(1, MOST - 65_535);
                peer.window(1, 1);
            },
            &[Reset(1, FLOW_CONTROL_ERROR), GoAway(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.9.1 up to the greatest",
            |peer| {
                peer.window(0, MOST - 65_535);
                peer.get(1, "/");
            },
            &[Status(1, 200)],
        ),
        case(
            "6.9.2 beyond the greatest, by a setting",
            |peer| {
                peer.half_closed(1);
                peer.window(1, MOST - 65_535);
                peer.settings(&[(INITIAL_WINDOW_SIZE, 65_536)]);
            },
            &[GoAway(FLOW_CONTROL_ERROR)],
        ),
    ]);
}

/// Waits for so many bytes of DATA on this stream, in however many frames.
fn takes(peer: &mut Peer, stream: u32, count: usize) {
    let mut taken = 0;
    while taken < count {
        let (length, ends) = peer.taken(stream);
        taken += length;
        assert!(!ends || taken == count, "it ends at {taken}");
    }
    assert_eq!(taken, count);
}

#[test]
fn what_is_sent_fits() {
    run(&[
        case(
            "6.9.1 nothing without a window",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 0)]);
                peer.get(1, "/small");
                peer.head(1);
                peer.quiet();
                peer.window(1, 10);
                takes(peer, 1, 10);
            },
            &[Alive],
        ),
        case(
            "6.9.1 one byte at a time",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 1)]);
                peer.get(1, "/small");
                for left in (0..10).rev() {
                    let (length, ends) = peer.taken(1);
                    assert_eq!((length, ends && left > 0), (1, false));
                    peer.window(1, 1);
                }
            },
            &[Alive],
        ),
        case(
            "6.9.1 no more than the connection's",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 1_000_000)]);
                peer.get(1, "/large");
                takes(peer, 1, 65_535);
                peer.quiet();
                peer.window(0, 1);
                takes(peer, 1, 1);
                peer.quiet();
                peer.window(0, 1_000_000);
                takes(peer, 1, LARGE - 65_536);
            },
            &[Alive],
        ),
        case(
            "6.9.1 no more than the stream's",
            |peer| {
                peer.window(0, 1_000_000);
                peer.get(1, "/large");
                takes(peer, 1, 65_535);
                peer.quiet();
                peer.window(1, 10_000);
                takes(peer, 1, 10_000);
                peer.quiet();
                peer.window(1, 1_000_000);
                takes(peer, 1, LARGE - 75_535);
            },
            &[Alive],
        ),
        case(
            "5.2.1 a stream without a window is not in the way of others",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 0)]);
                peer.get(1, "/large");
                peer.head(1);
                peer.get(3, "/small");
                peer.head(3);
                peer.window(3, 10);
                takes(peer, 3, 10);
                peer.quiet();
            },
            &[Alive],
        ),
        case(
            "6.9.1 a stream that is reset gives back what it has of the connection's",
            |peer| {
                peer.get(1, "/large");
                takes(peer, 1, 65_535);
                peer.reset(1, CANCEL);
                peer.get(3, "/small");
                peer.head(3);
                peer.quiet();
                peer.window(0, 10);
                takes(peer, 3, 10);
            },
            &[Alive],
        ),
        case(
            "6.9.1 an end without content needs no window",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 0)]);
                peer.headers(1, &crate::peer::request("HEAD", "/small"), true);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.9.2 a window that grows by a setting",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 3)]);
                peer.get(1, "/small");
                takes(peer, 1, 3);
                peer.quiet();
                peer.settings(&[(INITIAL_WINDOW_SIZE, 5)]);
                takes(peer, 1, 2);
                peer.quiet();
                peer.window(1, 100);
                takes(peer, 1, 5);
            },
            &[Alive],
        ),
        case(
            "6.9.2 a window below zero",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 6)]);
                peer.get(1, "/small");
                takes(peer, 1, 6);
                // Six were sent: four below.
                peer.settings(&[(INITIAL_WINDOW_SIZE, 2)]);
                peer.acknowledged(1);
                peer.window(1, 4);
                peer.quiet();
                peer.window(1, 1);
                takes(peer, 1, 1);
                peer.quiet();
                peer.settings(&[(INITIAL_WINDOW_SIZE, 5)]);
                takes(peer, 1, 3);
            },
            &[Alive],
        ),
        case(
            "6.9.2 a setting is not about the connection's window",
            |peer| {
                peer.get(1, "/large");
                takes(peer, 1, 65_535);
                peer.settings(&[(INITIAL_WINDOW_SIZE, 1_000_000)]);
                peer.quiet();
                peer.window(0, 1_000_000);
                takes(peer, 1, LARGE - 65_535);
            },
            &[Alive],
        ),
        case(
            "6.9.2 streams that open later have the new window",
            |peer| {
                peer.settle(&[(INITIAL_WINDOW_SIZE, 4)]);
                for stream in [1, 3] {
                    peer.get(stream, "/small");
                    takes(peer, stream, 4);
                }
                peer.quiet();
            },
            &[Alive],
        ),
    ]);
}

/// What may be sent of a body.
struct Upload {
    stream: i64,
    connection: i64,
}

impl Upload {
    fn new(peer: &mut Peer) -> Self {
        Self {
            stream: peer.setting(INITIAL_WINDOW_SIZE, 65_535).into(),
            connection: 65_535,
        }
    }

    /// Waits until what was sent has been seen.
    fn settle(&mut self, peer: &mut Peer) {
        peer.frame(PING, 0, 0, b"settled!");
        self.until(peer, PING);
    }

    /// Waits for a frame of this kind. What is given back to the connection may come before it.
    fn until(&mut self, peer: &mut Peer, kind: u8) {
        loop {
            let frame = peer.next().expect("a frame");
            if frame.kind == kind {
                return;
            }
            if frame.kind == WINDOW_UPDATE && frame.stream == 0 {
                self.connection += i64::from(frame.number(0));
            }
        }
    }

    /// Waits until so many bytes fit on this stream, and takes them.
    fn take(&mut self, peer: &mut Peer, stream: u32, count: i64) {
        while self.stream < count || self.connection < count {
            let update = peer.find(WINDOW_UPDATE, |_| true);
            let increment = i64::from(update.number(0));
            match update.stream {
                0 => self.connection += increment,
                found if found == stream => self.stream += increment,
                _ => {}
            }
        }
        self.stream -= count;
        self.connection -= count;
    }
}

#[test]
fn what_is_received_is_given_back() {
    run(&[
        case(
            "6.9 DATA, as it is read",
            |peer| {
                let mut upload = Upload::new(peer);
                peer.post(1, "/");
                for _ in 0..100 {
                    upload.take(peer, 1, 10_000);
                    peer.data(1, &[0; 10_000], false);
                }
                peer.data(1, b"", true);
            },
            &[Status(1, 200)],
        ),
        case(
            "6.9.1 padding",
            |peer| {
                let mut upload = Upload::new(peer);
                peer.post(1, "/");
                for _ in 0..300 {
                    upload.take(peer, 1, 1256);
                    peer.frame(DATA, PADDED, 1, &padded(255, &[b'x'; 1000]));
                }
                peer.frame(DATA, PADDED | END_STREAM, 1, &padded(0, b""));
            },
            &[Status(1, 200)],
        ),
        case(
            "6.9 DATA of streams that are reset",
            |peer| {
                let mut upload = Upload::new(peer);
                let initial = upload.stream;
                for stream in (1..80).step_by(2) {
                    peer.post(stream, "/stalled");
                    upload.stream = initial;
                    upload.take(peer, stream, 60_000);
                    for _ in 0..4 {
                        peer.data(stream, &[0; 15_000], false);
                    }
                    peer.reset(stream, CANCEL);
                    // One by one: many at once are a flood.
                    upload.settle(peer);
                }
                peer.get(81, "/");
            },
            &[Status(81, 200)],
        ),
        case(
            "5.1 DATA of streams that the server has reset",
            |peer| {
                let mut upload = Upload::new(peer);
                peer.open(1);
                upload.settle(peer);
                peer.window(1, (1 << 31) - 1);
                upload.until(peer, RST_STREAM);
                for _ in 0..160 {
                    upload.stream = 10_000;
                    upload.take(peer, 1, 10_000);
                    peer.data(1, &[0; 10_000], false);
                }
                peer.get(3, "/");
            },
            &[Status(3, 200)],
        ),
        case(
            "6.9.1 more than the stream's",
            |peer| {
                let window = peer.setting(INITIAL_WINDOW_SIZE, 65_535);
                assert_eq!(window, 65_535);
                peer.post(1, "/stalled");
                for _ in 0..4 {
                    peer.data(1, &[0; 16_384], false);
                }
            },
            &[Reset(1, FLOW_CONTROL_ERROR), GoAway(FLOW_CONTROL_ERROR)],
        ),
        case(
            "6.9.1 more than the connection's",
            |peer| {
                // All streams together have what the connection has: it takes one more.
                for stream in (1..=41).step_by(2) {
                    peer.post(stream, "/stalled");
                    for _ in 0..4 {
                        peer.data(stream, &[0; 16_383], false);
                    }
                }
            },
            &[GoAway(FLOW_CONTROL_ERROR)],
        ),
    ]);
}
