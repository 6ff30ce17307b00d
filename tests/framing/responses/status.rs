//! Status lines (RFC 9112 §4).

use crate::case::Body::Length;
use crate::case::Outcome::{Pass, Refuse};
use crate::case::{Answer, Reply, answer, reply};
use crate::run;

const OK: Answer = answer(200, Length(b""));
const LENIENT: &str = "hyper takes a bare LF for the end of a line, and sends CRLF on";

pub(crate) const REPLIES: &[Reply] = &[
    reply(
        "no reason phrase",
        b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n",
        Pass(OK),
    ),
    reply(
        "neither phrase nor space",
        b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
        Pass(OK),
    ),
    reply(
        "an odd phrase",
        b"HTTP/1.1 200 \t: 500 (~)\r\ncontent-length: 0\r\n\r\n",
        Pass(OK),
    ),
    reply(
        "a phrase above ASCII",
        b"HTTP/1.1 200 \xc3\xa9\xff\r\ncontent-length: 0\r\n\r\n",
        Pass(OK),
    ),
    reply(
        "HTTP/1.0",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        Pass(OK),
    )
    .closed(),
    reply(
        "a status that nobody knows",
        b"HTTP/1.1 599 Odd\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(599, Length(b""))),
    ),
    reply(
        "a status past the classes, which callers take for a 5xx",
        b"HTTP/1.1 700 Odd\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(700, Length(b""))),
    ),
    reply(
        "999",
        b"HTTP/1.1 999 Odd\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(999, Length(b""))),
    ),
    reply(
        "099",
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "000",
        b"HTTP/1.1 000 Odd\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "two digits",
        b"HTTP/1.1 20 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "four digits",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a sign",
        b"HTTP/1.1 +20 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "letters",
        b"HTTP/1.1 2oo OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "no status",
        b"HTTP/1.1 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "no version",
        b"200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "HTTP/1.2",
        b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "HTTP/0.9",
        b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "HTTP/2.0",
        b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "lower case",
        b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "two spaces",
        b"HTTP/1.1  200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a tab",
        b"HTTP/1.1\t200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a space before",
        b" HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "an empty line before",
        b"\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    )
    .fails(
        "hyper skips empty lines before a status line, and they go no further",
        &[Pass(OK)],
    ),
    reply(
        "a NUL in the phrase",
        b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a bare CR in the phrase",
        b"HTTP/1.1 200 O\rx: y\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a bare LF after the phrase",
        b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    )
    .fails(LENIENT, &[Pass(OK)]),
    reply("a body alone", b"hello\r\n\r\n", Refuse(502)).closed(),
    reply(
        "HTML",
        b"<html>\r\n<body>hello</body>\r\n</html>\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply("a banner of SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", Refuse(502)).closed(),
    reply(
        "frames of HTTP/2",
        b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\x01",
        Refuse(502),
    )
    .closed(),
    reply("nothing", b"", Refuse(502)).closed(),
    reply("half a status line", b"HTTP/1.1 200", Refuse(502)).closed(),
    reply(
        "half a head",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "a request",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "an end that is asked for",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        Pass(OK.lacks(&["connection"])),
    ),
];

#[test]
fn status() {
    run::responses(REPLIES);
}
