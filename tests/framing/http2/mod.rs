//! HTTP/2 on either side: frames of a caller, frames of an upstream.
//!
//! A recipient has to treat a malformed message as an error of its stream (RFC 9113 §8.1.1): the
//! others of the connection go on, unless the whole connection is in doubt.

mod answers;
mod bodies;
mod connection;
mod pseudo;
mod replies;
mod upstream;
mod values;

use std::net::SocketAddr;

use crate::case::{Message, Unfit, plain};
use crate::h2raw::{self, END_HEADERS, END_STREAM, End, Frame, Link};
use crate::run::{self, Checked, Seen};
use crate::support::PATIENCE;
use crate::upstreams::{Event, Upstream};

/// Names and values as they are on the wire.
pub(crate) type Fields = &'static [(&'static [u8], &'static [u8])];

/// One request of a caller that writes frames.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    name: &'static str,
    /// The fields, in this order; those of a lawful GET or POST come first.
    pseudo: Fields,
    fields: Fields,
    /// What comes after the fields. The last piece ends the stream, unless that is left open.
    body: &'static [Piece],
    /// The last piece does not end the stream.
    open: bool,
    expect: Verdict,
}

#[derive(Clone, Copy)]
pub(crate) enum Piece {
    Data(&'static [u8]),
    /// Fields after the body, which need not be the last piece.
    Trailers(Fields),
    Reset,
}

/// What is to become of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// An error of its stream or its connection, or a 400: no upstream gets the whole of it.
    Malformed,
    /// A local reply of this status; nothing of it goes on.
    Reject(u16),
    /// Goes on as this.
    Forward(Message),
    /// The caller has taken it back: no upstream gets the whole of it.
    Gone,
}

const GET: Fields = &[
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/a"),
    (b":authority", b"a"),
];
const POST: Fields = &[
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a"),
    (b":authority", b"a"),
];

/// The request that follows a case's own on the same connection.
const NEXT: Fields = &[
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/next"),
    (b":authority", b"next"),
];

/// A GET of `/a` with these fields.
pub(crate) const fn get(name: &'static str, fields: Fields, expect: Verdict) -> Case {
    Case {
        name,
        pseudo: GET,
        fields,
        body: &[],
        open: false,
        expect,
    }
}

/// A POST to `/a` with these fields and this body.
pub(crate) const fn post(
    name: &'static str,
    fields: Fields,
    body: &'static [Piece],
    expect: Verdict,
) -> Case {
    Case {
        pseudo: POST,
        body,
        ..get(name, fields, expect)
    }
}

/// A request of these fields alone.
pub(crate) const fn bare(name: &'static str, fields: Fields, expect: Verdict) -> Case {
    Case {
        pseudo: &[],
        ..get(name, fields, expect)
    }
}

impl Case {
    /// The stream does not end.
    pub(crate) const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    fn frames(&self, stream: u32) -> Vec<Frame> {
        let fields = [self.pseudo, self.fields].concat();
        let mut frames = vec![Frame::headers(stream, &fields, false)];
        frames.extend(self.body.iter().map(|piece| match piece {
            Piece::Data(data) => Frame::data(stream, data, false),
            Piece::Trailers(fields) => Frame::headers(stream, fields, false),
            Piece::Reset => Frame::reset(stream, 8),
        }));
        if let Some(last) = frames.last_mut()
            && !self.open
            && last.kind != h2raw::RST_STREAM
        {
            last.flags |= END_STREAM;
        }
        frames
    }
}

/// What a caller got on its stream, and on one that it opened next.
pub(crate) struct Got {
    case: h2raw::Message,
    next: Option<h2raw::Message>,
}

/// Runs a family of requests: HTTP/2 from the caller, HTTP/1 to the upstream.
#[track_caller]
pub(crate) fn requests(cases: &[Case]) {
    requests_to("", &[], cases);
}

/// As [`requests`], to upstreams with these further lines in their section.
#[track_caller]
pub(crate) fn requests_to(section: &str, unfit: Unfit, cases: &[Case]) {
    let upstreams = cases.iter().map(|_| Upstream::recording()).collect();
    let seen = run::run(upstreams, section, |index, address| {
        exchange(address, &cases[index].frames(1))
    });
    let mut wrong = String::new();
    for (case, seen) in cases.iter().zip(&seen) {
        let found = run::fits(case.name, check(&case.expect, seen), unfit);
        let got = format!("{:?}, then {:?}", seen.got.case, seen.got.next);
        run::note(&mut wrong, case.name, found, seen, got);
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Sends these frames, and a request behind them on a stream of its own.
fn exchange(address: SocketAddr, frames: &[Frame]) -> Got {
    let mut link = Link::connect(address, PATIENCE);
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    link.write(&bytes);
    let taken_back = frames.iter().any(|frame| frame.kind == h2raw::RST_STREAM);
    let case = if taken_back {
        h2raw::Message::ended(End::Reset(8))
    } else {
        link.message(1)
    };
    let over = matches!(case.end, End::GoAway(_) | End::Lost(_));
    let next = (!over).then(|| {
        link.send(&Frame::headers(3, NEXT, true));
        link.message(3)
    });
    Got { case, next }
}

fn check(expect: &Verdict, seen: &Seen<Got>) -> Checked {
    let Got { case, next } = &seen.got;
    let breaks = matches!(expect, Verdict::Malformed | Verdict::Gone);
    let kept = |event: &&Event| !matches!(event, Event::Part(_)) || !breaks;
    let events: Vec<&Event> = seen.events.iter().filter(kept).collect();
    let mut events = events.into_iter();
    match expect {
        Verdict::Malformed => {
            let is_error = matches!(case.end, End::Reset(_) | End::GoAway(_));
            if !(is_error || case.status() == 400) || !case.all("x-saw").is_empty() {
                return Err("not refused".to_owned());
            }
        }
        Verdict::Reject(status) => {
            if case.status() != *status || case.end != End::Whole {
                return Err(format!("not refused with {status}"));
            }
        }
        Verdict::Gone => {}
        Verdict::Forward(message) => {
            answered(case, message)?;
            run::arrived(events.next(), message)?;
        }
    }
    if let Some(next) = next {
        answered(next, &plain("GET", "/next"))?;
        run::arrived(events.next(), &plain("GET", "/next"))?;
    } else if !matches!(case.end, End::GoAway(_)) {
        return Err("the connection ended without a word".to_owned());
    }
    run::nothing_more(events.as_slice(), seen)
}

/// The whole answer to this request.
fn answered(answer: &h2raw::Message, asked: &Message) -> Checked {
    let wanted = format!("{} {}", asked.method, asked.target);
    let body = if asked.method == "HEAD" { "" } else { &wanted };
    if answer.status() != 200 || answer.end != End::Whole {
        return Err(format!("no answer to {wanted}"));
    }
    if answer.all("x-saw") != [&*wanted] || answer.data != body.as_bytes() {
        return Err(format!("an answer to something else than {wanted}"));
    }
    lawful(answer)
}

/// That nothing of an answer is what HTTP/2 forbids (RFC 9113 §8.2, §8.3.2).
fn lawful(answer: &h2raw::Message) -> Checked {
    const NEVER: [&str; 5] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "upgrade",
    ];
    for (at, (name, value)) in answer.fields.iter().enumerate() {
        let name = h2raw::text(name);
        let is_upper = name.contains(|c: char| c.is_ascii_uppercase());
        let is_bad = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
        let is_odd = (at > 0 && name.starts_with(':')) || (at == 0 && name != ":status");
        if NEVER.contains(&&*name) || is_upper || is_odd || value.iter().any(is_bad) {
            return Err(format!("an answer with {name}"));
        }
    }
    let lengths = answer.all("content-length");
    let is_right = |length: &String| length.parse() == Ok(answer.data.len());
    match lengths.as_slice() {
        [] => Ok(()),
        // Of an answer to HEAD, it tells what a GET would get.
        [_] if answer.data.is_empty() || answer.end != End::Whole => Ok(()),
        [length] if is_right(length) => Ok(()),
        _ => Err(format!("an answer of lengths {lengths:?}")),
    }
}

/// A field block that no list of fields describes.
#[test]
fn blocks() {
    let headers = |block: &[u8]| {
        vec![Frame::new(
            h2raw::HEADERS,
            END_HEADERS | END_STREAM,
            1,
            block,
        )]
    };
    let good = h2raw::hpack::encode(GET.iter().copied());
    let cut = &good[..good.len() - 1];
    let seen = run::run(vec![Upstream::recording()], "", |_, address| {
        for block in [
            b"\x80".as_slice(),
            b"\xff\xff\xff\xff\xff\xff\x0f",
            b"\x00\x85",
            cut,
            b"\x3f\xff\xff\x7f",
        ] {
            let got = exchange(address, &headers(block));
            assert!(
                matches!(got.case.end, End::GoAway(_)),
                "{block:?}: {:?}",
                got.case
            );
        }
        let split = [
            Frame::new(h2raw::HEADERS, END_STREAM, 1, &good[..3]),
            Frame::new(h2raw::CONTINUATION, 0, 1, &good[3..10]),
            Frame::new(h2raw::CONTINUATION, END_HEADERS, 1, &good[10..]),
        ];
        exchange(address, &split)
    });
    let [seen] = &seen[..] else {
        panic!("one case")
    };
    let verdict = check(&Verdict::Forward(plain("GET", "/a")), seen);
    assert_eq!(verdict, Ok(()), "{:?}", seen.got.case);
}

/// What is too long or too much, with a status of its own.
#[test]
fn sizes() {
    let target = |length: usize| -> Fields {
        let path: &'static [u8] = format!("/{}", "a".repeat(length)).into_bytes().leak();
        vec![GET[0], GET[1], (b":path", path), GET[3]].leak()
    };
    let fields = |count: usize| -> Fields {
        let name = |at: usize| -> &'static [u8] { format!("x-{at}").into_bytes().leak() };
        let fields: Vec<(&[u8], &[u8])> = (0..count).map(|at| (name(at), &b"1"[..])).collect();
        fields.leak()
    };
    requests(&[
        bare("a target of 10 kB", target(10_000), Verdict::Reject(414)),
        get(
            "90 fields",
            fields(90),
            Verdict::Forward(plain("GET", "/a")),
        ),
        get("300 fields", fields(300), Verdict::Reject(431)),
    ]);
}
