//! Fields of an answer (RFC 9112 §5): nothing that splits it, nothing of its own connection.

use crate::case::Body::Length;
use crate::case::Outcome::{Pass, Refuse};
use crate::case::{Answer, Reply, answer, reply};
use crate::run;

const OK: Answer = answer(200, Length(b""));
const LENIENT: &str = "hyper takes a bare LF for the end of a line, and sends CRLF on";

macro_rules! with {
    ($fields:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $fields, "content-length: 0\r\n\r\n").as_bytes()
    };
}

pub(crate) const REPLIES: &[Reply] = &[
    reply(
        "fields of one connection, and those that are named",
        with!(
            "connection: x-one, keep-alive\r\nx-one: 1\r\nx-two: 2\r\nkeep-alive: timeout=5\r\n\
               proxy-connection: close\r\nupgrade: h2c\r\nte: trailers\r\n"
        ),
        Pass(OK.has(&[("x-two", "2")]).lacks(&["connection", "x-one"])),
    ),
    reply(
        "bytes above ASCII, tabs, and nothing at all",
        b"HTTP/1.1 200 OK\r\nx-one: caf\xe9\tau lait\r\nx-two:\r\ncontent-length: 0\r\n\r\n",
        Pass(OK.has(&[("x-one", "caf\u{e9}\tau lait"), ("x-two", "")])),
    ),
    reply(
        "a name with an underscore",
        with!("x_one: 1\r\n"),
        Pass(OK.has(&[("x_one", "1")])),
    ),
    reply("a bare CR in a value", with!("x: a\rb\r\n"), Refuse(502)),
    reply(
        "a bare CR that hides a field",
        with!("x: a\rset-cookie: b=1\r\n"),
        Refuse(502),
    ),
    reply(
        "a bare LF after a value",
        with!("x: a\nset-cookie: b=1\r\n"),
        Refuse(502),
    )
    .fails(
        LENIENT,
        &[Pass(OK.has(&[("x", "a"), ("set-cookie", "b=1")]))],
    ),
    reply("a NUL in a value", with!("x: a\0b\r\n"), Refuse(502)),
    reply(
        "a control byte in a value",
        with!("x: a\u{1}b\r\n"),
        Refuse(502),
    ),
    reply("DEL in a value", with!("x: a\u{7f}b\r\n"), Refuse(502)),
    reply(
        "a vertical tab before a value",
        with!("x: \u{b}a\r\n"),
        Refuse(502),
    ),
    reply("a folded value", with!("x: a\r\n b\r\n"), Refuse(502)),
    reply(
        "white space before the first field",
        with!(" x: a\r\n"),
        Refuse(502),
    ),
    reply("a space before the colon", with!("x : a\r\n"), Refuse(502)),
    reply(
        "a space before the colon of a length",
        b"HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello",
        Refuse(502),
    )
    .closed(),
    reply("a tab before the colon", with!("x\t: a\r\n"), Refuse(502)),
    reply("a space in a name", with!("x y: a\r\n"), Refuse(502)),
    reply("an empty name", with!(": a\r\n"), Refuse(502)),
    reply("no colon", with!("x\r\n"), Refuse(502)),
    reply("a NUL in a name", with!("x\0: a\r\n"), Refuse(502)),
    reply(
        "a control byte in a name",
        with!("x\u{1}: a\r\n"),
        Refuse(502),
    ),
    reply("brackets in a name", with!("x[]: a\r\n"), Refuse(502)),
    reply(
        "a byte above ASCII in a name",
        b"HTTP/1.1 200 OK\r\nx\xe9: a\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
];

#[test]
fn fields() {
    run::responses(REPLIES);
}

/// Heads beyond every limit.
#[test]
fn sizes() {
    let head = |fields: &str| -> &'static [u8] {
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n")
            .into_bytes()
            .leak()
    };
    let many: String = (0..2_000).map(|at| format!("x-{at}: 1\r\n")).collect();
    let large = format!("x: {}\r\n", "a".repeat(1_000_000));
    let replies = vec![
        reply("2000 fields", head(&many), Refuse(502)),
        reply("a field of 1 MB", head(&large), Refuse(502)),
    ];
    run::responses(replies.leak());
}
