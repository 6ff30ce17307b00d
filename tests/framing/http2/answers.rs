//! Answers of HTTP/2 upstreams, to callers of either version: what is malformed is a 502 or, once
//! its head has gone, visibly broken off (RFC 9113 §8.1.1).

use super::replies::{ask, check};
use super::{END_STREAM, Fields};
use crate::case::Body::{Chunked, Length, None};
use crate::case::Outcome::{Abort, Pass, Refuse};
use crate::case::{Answer, Failure, Outcome, Unfit, answer};
use crate::h2raw::{Frame, RST_STREAM};
use crate::run;
use crate::upstreams::{Upstream, saw_framed};

/// One answer of an upstream that writes frames.
struct Reply {
    name: &'static str,
    method: &'static str,
    pieces: &'static [Piece],
    /// The last piece does not end the stream.
    open: bool,
    expect: Outcome,
    /// As good as that: which it is depends on how many frames come at once.
    or: &'static [Outcome],
    failure: Option<Failure<Outcome>>,
}

enum Piece {
    Fields(Fields),
    Data(&'static [u8]),
    Reset(u32),
    /// Fields that end the stream, whatever follows.
    Last(Fields),
}

use Piece::{Data, Fields as Head, Last, Reset};

const fn reply(name: &'static str, pieces: &'static [Piece], expect: Outcome) -> Reply {
    Reply {
        name,
        method: "GET",
        pieces,
        open: false,
        expect,
        or: &[],
        failure: Option::None,
    }
}

impl Reply {
    const fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    const fn open(mut self) -> Self {
        self.open = true;
        self
    }

    const fn or(mut self, or: &'static [Outcome]) -> Self {
        self.or = or;
        self
    }

    const fn fails(mut self, why: &'static str, instead: &'static [Outcome]) -> Self {
        self.failure = Some(Failure { why, instead });
        self
    }

    fn frames(&self, stream: u32) -> Vec<Frame> {
        let frame = |piece: &Piece| match piece {
            Head(fields) => Frame::headers(stream, fields, false),
            Last(fields) => Frame::headers(stream, fields, true),
            Data(data) => Frame::data(stream, data, false),
            Reset(code) => Frame::reset(stream, *code),
        };
        let mut frames: Vec<Frame> = self.pieces.iter().map(frame).collect();
        if let Some(last) = frames.last_mut()
            && !self.open
            && last.kind != RST_STREAM
        {
            last.flags |= END_STREAM;
        }
        frames
    }
}

const OK: (&[u8], &[u8]) = (b":status", b"200");
const FIVE: (&[u8], &[u8]) = (b"content-length", b"5");
const HELLO: Answer = answer(200, Chunked(b"hello"));
const COUNTED: Answer = answer(200, Length(b"hello"));
const LOST: &str = "the library drops them before anyone sees them";

/// An answer with this field, and a body.
macro_rules! with {
    ($name:expr, $value:expr) => {
        &[Head(&[OK, ($name, $value)]), Data(b"hello")]
    };
}

/// An answer of this status, without a body.
macro_rules! status {
    ($status:expr) => {
        &[Head(&[(b":status", $status)])]
    };
}

const REPLIES: &[Reply] = &[
    reply("no length", &[Head(&[OK]), Data(b"hello")], Pass(HELLO)),
    reply(
        "a length",
        &[
            Head(&[OK, FIVE]),
            Data(b"he"),
            Data(b""),
            Data(b"llo"),
            Data(b""),
        ],
        Pass(COUNTED),
    ),
    reply("no body", &[Head(&[OK])], Pass(answer(200, Length(b"")))),
    reply(
        "trailers that are announced",
        &[
            Head(&[OK, (b"trailer", b"x-sum")]),
            Data(b"hello"),
            Head(&[(b"x-sum", b"1")]),
        ],
        Pass(HELLO.trailed(&[("x-sum", "1")])),
    ),
    reply(
        "trailers that nobody announced",
        &[Head(&[OK]), Data(b"hello"), Head(&[(b"x-sum", b"1")])],
        Pass(HELLO.trailed(&[("x-sum", "1")])),
    ),
    reply(
        "data that looks like chunks",
        &[Head(&[OK]), Data(b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
        Pass(answer(200, Chunked(b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))),
    ),
    reply(
        "HEAD with a length",
        &[Head(&[OK, FIVE])],
        Pass(answer(200, None).has(&[("content-length", "5")])),
    )
    .to("HEAD"),
    reply(
        "HEAD without a length",
        &[Head(&[OK])],
        Pass(answer(200, None)),
    )
    .to("HEAD"),
    reply("204", status!(b"204"), Pass(answer(204, None))),
    reply(
        "304 with a length",
        &[Head(&[(b":status", b"304"), FIVE])],
        Pass(answer(304, None)),
    ),
    reply(
        "100, 102 and 103 before",
        &[
            Head(&[(b":status", b"100")]),
            Head(&[(b":status", b"102")]),
            Head(&[(b":status", b"103"), (b"link", b"</a>")]),
            Head(&[OK, FIVE]),
            Data(b"hello"),
        ],
        Pass(COUNTED.lacks(&["link"])),
    ),
    reply(
        "101",
        &[
            Head(&[(b":status", b"101")]),
            Head(&[OK, FIVE]),
            Data(b"hello"),
        ],
        Refuse(502),
    ),
    reply(
        "103 that ends the stream",
        &[Last(&[(b":status", b"103")])],
        Refuse(502),
    ),
    reply(
        "data after 103",
        &[Head(&[(b":status", b"103")]), Data(b"hello")],
        Refuse(502),
    ),
    reply("no status", &[Head(&[(b"x", b"y")])], Refuse(502)),
    reply("nothing", &[Head(&[])], Refuse(502)),
    reply("an empty status", status!(b""), Refuse(502)),
    reply("a status of two digits", status!(b"20"), Refuse(502)),
    reply("a status of four digits", status!(b"2000"), Refuse(502)),
    reply("a status of letters", status!(b"2oo"), Refuse(502)),
    reply("a status with a phrase", status!(b"200 OK"), Refuse(502)),
    reply("a status with a sign", status!(b"+20"), Refuse(502)),
    reply("a status with CRLF", status!(b"200\r\nx: y"), Refuse(502)),
    reply("099", status!(b"099"), Refuse(502)),
    reply("the status twice", &[Head(&[OK, OK])], Refuse(502)),
    reply(
        "a field before the status",
        &[Head(&[(b"x", b"y"), OK])],
        Refuse(502),
    ),
    reply(
        "a pseudo-field of requests",
        with!(b":path", b"/a"),
        Refuse(502),
    )
    .fails(
        "the library looks past it, and it goes no further",
        &[Pass(HELLO)],
    ),
    reply(
        "an unknown pseudo-field",
        with!(b":reason", b"OK"),
        Refuse(502),
    ),
    reply("an upper-case name", with!(b"X-Upper", b"a"), Refuse(502)),
    reply(
        "an upper-case length",
        with!(b"Content-Length", b"3"),
        Refuse(502),
    ),
    reply("connection", with!(b"connection", b"close"), Refuse(502)),
    reply(
        "keep-alive",
        with!(b"keep-alive", b"timeout=5"),
        Refuse(502),
    ),
    reply(
        "proxy-connection",
        with!(b"proxy-connection", b"close"),
        Refuse(502),
    ),
    reply(
        "transfer-encoding",
        with!(b"transfer-encoding", b"chunked"),
        Refuse(502),
    ),
    reply("upgrade", with!(b"upgrade", b"websocket"), Refuse(502)),
    reply("te", with!(b"te", b"gzip"), Refuse(502)),
    reply("an empty name", with!(b"", b"a"), Refuse(502)),
    reply("a space in a name", with!(b"x y", b"a"), Refuse(502)),
    reply("a colon in a name", with!(b"x:y", b"a"), Refuse(502)),
    reply("CRLF in a name", with!(b"x: y\r\nz", b"a"), Refuse(502)),
    reply("NUL in a name", with!(b"x\0", b"a"), Refuse(502)),
    reply("CR in a value", with!(b"x", b"a\rb"), Refuse(502)),
    reply("LF in a value", with!(b"x", b"a\nb"), Refuse(502)),
    reply("NUL in a value", with!(b"x", b"a\0b"), Refuse(502)),
    reply(
        "a control byte in a value",
        with!(b"x", b"a\x01b"),
        Refuse(502),
    ),
    reply(
        "a field in a value",
        with!(b"x", b"a\r\nset-cookie: b=1"),
        Refuse(502),
    ),
    reply(
        "an answer in a value",
        with!(b"x", b"a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0"),
        Refuse(502),
    ),
    reply("a space before a value", with!(b"x", b" a"), Refuse(502)),
    reply("a tab after a value", with!(b"x", b"a\t"), Refuse(502)),
    reply(
        "bytes above ASCII in a value",
        with!(b"x", b"caf\xe9"),
        Pass(HELLO.has(&[("x", "caf\u{e9}")])),
    ),
    reply(
        "two equal lengths",
        &[Head(&[OK, FIVE, FIVE]), Data(b"hello")],
        Refuse(502),
    ),
    reply(
        "two lengths",
        &[Head(&[OK, FIVE, (b"content-length", b"6")]), Data(b"hello")],
        Refuse(502),
    ),
    reply(
        "a list of lengths",
        with!(b"content-length", b"5, 5"),
        Refuse(502),
    ),
    reply("a sign", with!(b"content-length", b"+5"), Refuse(502)),
    reply(
        "an empty length",
        with!(b"content-length", b""),
        Refuse(502),
    ),
    reply(
        "a length of 2^64",
        with!(b"content-length", b"18446744073709551616"),
        Refuse(502),
    ),
    reply(
        "a length with an underscore",
        with!(b"content_length", b"5"),
        Refuse(502),
    ),
    reply(
        "a coding with an underscore",
        with!(b"transfer_encoding", b"chunked"),
        Refuse(502),
    ),
    reply(
        "HEAD with two lengths",
        &[Head(&[OK, FIVE, FIVE])],
        Refuse(502),
    )
    .to("HEAD"),
    reply(
        "shorter than its length",
        &[Head(&[OK, FIVE]), Data(b"hell")],
        Abort(200),
    ),
    reply(
        "longer than its length",
        &[Head(&[OK, FIVE]), Data(b"hello!")],
        Abort(200),
    ),
    reply(
        "an answer behind its length",
        &[
            Head(&[OK, FIVE]),
            Data(b"hello"),
            Data(
                b"HTTP/1.1 200 OK\r\n\
          content-length: 0\r\n\r\n",
            ),
        ],
        Abort(200),
    )
    .or(&[Pass(COUNTED)]),
    reply(
        "shorter than its length, with trailers",
        &[Head(&[OK, FIVE]), Data(b"hell"), Head(&[(b"x-sum", b"1")])],
        Abort(200),
    ),
    reply("a length and no data", &[Head(&[OK, FIVE])], Refuse(502)),
    reply(
        "data beyond a length of zero",
        &[Head(&[OK, (b"content-length", b"0")]), Data(b"hello")],
        Abort(200),
    )
    .or(&[Pass(answer(200, Length(b""))), Refuse(502)]),
    reply("a reset before its head", &[Reset(2)], Refuse(502)),
    reply(
        "a reset after its head",
        &[Head(&[OK]), Reset(2)],
        Abort(200),
    ),
    reply(
        "a reset in its body",
        &[Head(&[OK]), Data(b"hel"), Reset(8)],
        Abort(200),
    ),
    reply(
        "a reset without an error in its body",
        &[Head(&[OK]), Data(b"hel"), Reset(0)],
        Abort(200),
    ),
    reply(
        "a reset within its length",
        &[Head(&[OK, FIVE]), Data(b"hel"), Reset(0)],
        Abort(200),
    ),
    reply("data before its head", &[Data(b"hello")], Refuse(502)),
    reply(
        "trailers that do not end the stream",
        &[Head(&[OK]), Data(b"hello"), Head(&[(b"x-sum", b"1")])],
        Abort(200),
    )
    .open(),
    reply(
        "a status in trailers",
        &[Head(&[OK]), Data(b"hello"), Head(&[(b":status", b"200")])],
        Abort(200),
    )
    .fails(LOST, &[Pass(HELLO)]),
    reply(
        "connection in trailers",
        &[
            Head(&[OK]),
            Data(b"hello"),
            Head(&[(b"connection", b"close")]),
        ],
        Abort(200),
    ),
    reply(
        "CRLF in trailers",
        &[Head(&[OK]), Data(b"hello"), Head(&[(b"x", b"1\r\ny: 2")])],
        Abort(200),
    ),
];

fn upstreams() -> Vec<Upstream> {
    let framed = |reply: &'static Reply| {
        Upstream::framed(|request, stream| match request.start[1].as_str() {
            "/case" => reply.frames(stream),
            _ => saw_framed(request, stream),
        })
    };
    REPLIES.iter().map(framed).collect()
}

const HTTP2: &str = "protocol = \"http2\"";

/// What was found of an answer, or of its expected failure.
fn judged(reply: &Reply, check: impl Fn(&Outcome) -> run::Checked) -> run::Checked {
    match &reply.failure {
        Option::None => {
            let right = check(&reply.expect);
            let other = reply.or.iter().any(|expect| check(expect).is_ok());
            if other { Ok(()) } else { right }
        }
        Some(failure) => {
            let instead = failure.instead.iter().try_for_each(&check);
            run::still_fails(check(&reply.expect), instead, failure.why)
        }
    }
}

const UNFIT_FOR_HTTP1: Unfit = &[(
    "trailers that nobody announced",
    "hyper sends those alone that a `Trailer` field announces",
)];

#[test]
fn to_http1() {
    let seen = run::run(upstreams(), HTTP2, |index, address| {
        run::ask(address, REPLIES[index].method)
    });
    let mut wrong = String::new();
    for (reply, seen) in REPLIES.iter().zip(&seen) {
        let found = judged(reply, |expect| {
            run::check_response(expect, reply.method, seen)
        });
        let found = run::fits(reply.name, found, UNFIT_FOR_HTTP1);
        run::note(&mut wrong, reply.name, found, seen, seen.got.escape_ascii());
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn to_http2() {
    let seen = run::run(upstreams(), HTTP2, |index, address| {
        ask(address, REPLIES[index].method)
    });
    let mut wrong = String::new();
    for (reply, seen) in REPLIES.iter().zip(&seen) {
        let found = judged(reply, |expect| check(expect, reply.method, seen));
        let got = format!("{:?}, then {:?}", seen.got.case, seen.got.next);
        run::note(&mut wrong, reply.name, found, seen, got);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
