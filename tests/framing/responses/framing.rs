//! The length and the coding of an answer (RFC 9112 §6.3): what is doubtful about them is refused,
//! as nobody knows where the next answer on that connection begins.

use crate::case::Body::{Chunked, Length};
use crate::case::Outcome::{Pass, Refuse};
use crate::case::{Answer, Reply, answer, reply};
use crate::run;

const HELLO: Answer = answer(200, Length(b"hello"));

pub(crate) const REPLIES: &[Reply] = &[
    reply(
        "a length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Pass(HELLO),
    ),
    reply(
        "a length of zero",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Pass(answer(200, Length(b""))),
    ),
    reply(
        "leading zeros",
        b"HTTP/1.1 200 OK\r\ncontent-length: 005\r\n\r\nhello",
        Pass(HELLO),
    ),
    reply(
        "chunks",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Pass(answer(200, Chunked(b"hello"))),
    ),
    reply(
        "a body that looks like an answer",
        b"HTTP/1.1 200 OK\r\ncontent-length: 38\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\
          \r\n",
        Pass(answer(
            200,
            Length(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        )),
    ),
    reply(
        "two lengths",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        Refuse(502),
    ),
    reply(
        "equal lengths",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a list of lengths",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a list of two",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5,6\r\n\r\nhello!",
        Refuse(502),
    ),
    reply(
        "a plus sign",
        b"HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a minus sign",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "hexadecimal",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a space within",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1 0\r\n\r\nhelloworld",
        Refuse(502),
    ),
    reply(
        "an empty length",
        b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a length of 2^64",
        b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a length of 2^64 - 1, which hyper gives a meaning of its own",
        b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a length with an underscore",
        b"HTTP/1.1 200 OK\r\ncontent_length: 5\r\ncontent-length: 5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a length before a coding",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a coding before a length",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "a coding beside an answer hidden by a length",
        b"HTTP/1.1 200 OK\r\ncontent-length: 43\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "identity",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello",
        Refuse(502),
    )
    .closed(),
    reply(
        "gzip",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhello",
        Refuse(502),
    )
    .closed(),
    reply(
        "gzip, chunked",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "chunked, gzip",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "chunked, chunked",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "the coding twice",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n\
          0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "xchunked",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "an empty coding",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding:\r\n\r\nhello",
        Refuse(502),
    )
    .closed(),
    reply(
        "a coding with a parameter",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked;a\r\n\r\n0\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "a coding with a byte above ASCII",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\xff\r\n\r\n0\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "a coding with an underscore",
        b"HTTP/1.1 200 OK\r\ntransfer_encoding: chunked\r\ncontent-length: 5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "a coding in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "a length named in Connection",
        b"HTTP/1.1 200 OK\r\nconnection: content-length\r\ncontent-length: 5\r\n\r\nhello",
        Pass(HELLO),
    ),
    reply(
        "a coding named in Connection",
        b"HTTP/1.1 200 OK\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        Pass(answer(200, Chunked(b"hello"))),
    ),
];

#[test]
fn framing() {
    run::responses(REPLIES);
}
