//! Bodies of answers: whole, or visibly not (RFC 9112 §6.3, §7.1, §8).

use crate::case::Body::{Chunked, Length, None};
use crate::case::Outcome::{Abort, Pass, Refuse};
use crate::case::{Answer, Reply, answer, reply};
use crate::run;

const HELLO: Answer = answer(200, Chunked(b"hello"));

macro_rules! chunks {
    ($body:literal) => {
        concat!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

pub(crate) const REPLIES: &[Reply] = &[
    reply(
        "ended by the connection",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        Pass(HELLO),
    )
    .closed(),
    reply(
        "ended by the connection in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        Pass(HELLO),
    )
    .closed(),
    reply(
        "ended by the connection, and empty",
        b"HTTP/1.1 200 OK\r\n\r\n",
        Pass(answer(200, Chunked(b""))),
    )
    .closed(),
    reply(
        "a length, then an end",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Pass(answer(200, Length(b"hello"))),
    )
    .closed(),
    reply(
        "shorter than its length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello",
        Abort(200),
    )
    .closed(),
    reply(
        "a length, and no body",
        b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n",
        Abort(200),
    )
    .closed(),
    reply(
        "longer than its length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello",
        Pass(answer(200, Length(b"hell"))),
    ),
    reply(
        "an answer that nobody asked for behind it",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
          HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-saw: GET /stolen\r\n\r\nbad",
        Pass(answer(200, Length(b"hello"))),
    ),
    reply(
        "an answer that nobody asked for behind chunks",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-saw: GET /stolen\r\n\r\nbad",
        Pass(HELLO),
    ),
    reply(
        "two chunks",
        chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        Pass(HELLO),
    ),
    reply(
        "an extension",
        chunks!("5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        Pass(HELLO),
    ),
    reply("no end", chunks!("5\r\nhello\r\n"), Abort(200)).closed(),
    reply("an end within a chunk", chunks!("6\r\nhello"), Abort(200)).closed(),
    reply(
        "an end within a size",
        chunks!("5\r\nhello\r\n0"),
        Abort(200),
    )
    .closed(),
    reply(
        "an end before the empty line",
        chunks!("5\r\nhello\r\n0\r\n"),
        Abort(200),
    )
    .closed(),
    reply("no chunk", chunks!(""), Abort(200)).closed(),
    reply(
        "a size that is none",
        chunks!("x\r\nhello\r\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a size of 2^64",
        chunks!("10000000000000000\r\nhello\r\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "longer than its size",
        chunks!("4\r\nhello\r\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "shorter than its size",
        chunks!("6\r\nhello\r\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a bare LF after the size",
        chunks!("5\nhello\r\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a bare LF after the data",
        chunks!("5\r\nhello\n0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "no CRLF after the data",
        chunks!("5\r\nhello0\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a trailer that is none",
        chunks!("5\r\nhello\r\n0\r\nx sum: 1\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a folded trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1\r\n 2\r\n\r\n"),
        Abort(200),
    ),
    reply(
        "a trailer",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
      5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
        Pass(HELLO.trailed(&[("x-sum", "1")])),
    ),
    reply(
        "trailers that must not be any",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\
          trailer: content-length, transfer-encoding, x-sum\r\n\r\n5\r\nhello\r\n0\r\n\
          content-length: 3\r\ntransfer-encoding: chunked\r\nx-sum: 1\r\n\r\n",
        Pass(HELLO.trailed(&[("x-sum", "1")])),
    ),
    reply(
        "HEAD with a length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        Pass(answer(200, None).has(&[("content-length", "5")])),
    )
    .to("HEAD"),
    reply(
        "HEAD with a coding",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        Pass(answer(200, None)),
    )
    .to("HEAD"),
    reply(
        "HEAD without either",
        b"HTTP/1.1 200 OK\r\n\r\n",
        Pass(answer(200, None).lacks(&["content-length"])),
    )
    .to("HEAD"),
    reply(
        "HEAD with a body, which is none",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Pass(answer(200, None)),
    )
    .to("HEAD"),
    reply(
        "HEAD with a body that looks like an answer",
        b"HTTP/1.1 200 OK\r\ncontent-length: 59\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-saw: GET /stolen\r\n\r\n",
        Pass(answer(200, None)),
    )
    .to("HEAD"),
    reply(
        "204",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        Pass(answer(204, None)),
    ),
    reply(
        "204 with a length of zero",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(204, None)),
    ),
    reply(
        "204 with a length",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello",
        Pass(answer(204, None)),
    ),
    reply(
        "204 with a coding",
        b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Pass(answer(204, None)),
    ),
    reply(
        "304 with a length",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        Pass(answer(304, None)),
    ),
    reply(
        "304 with a body, which is none",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello",
        Pass(answer(304, None)),
    ),
    reply(
        "205 with a length of zero",
        b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(205, Length(b""))),
    ),
    reply(
        "HEAD with two lengths",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        Refuse(502),
    )
    .to("HEAD"),
    reply(
        "HEAD with a length that is none",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n",
        Refuse(502),
    )
    .to("HEAD"),
    reply(
        "HEAD with an empty length",
        b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        Refuse(502),
    )
    .to("HEAD"),
    reply(
        "HEAD with a length and a coding",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        Refuse(502),
    )
    .to("HEAD"),
    reply(
        "304 with two lengths",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
        Refuse(502),
    ),
];

#[test]
fn bodies() {
    run::responses(REPLIES);
}
