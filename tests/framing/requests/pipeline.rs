//! Several messages in one piece: each is one, and what is behind a bad one is none.

use crate::case::Expect::{Broken, Close, Forward, Last, Reject};
use crate::case::{Case, case, chunked, counted, plain};
use crate::run;

pub(crate) const CASES: &[Case] = &[
    case(
        "three",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nHEAD /b HTTP/1.1\r\nhost: b\r\n\r\n\
          GET /c HTTP/1.1\r\nhost: c\r\n\r\n",
        &[
            Forward(plain("GET", "/a")),
            Forward(plain("HEAD", "/b")),
            Forward(plain("GET", "/c")),
        ],
    ),
    case(
        "bodies of either framing between",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\
          POST /b HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n\
          GET /c HTTP/1.1\r\nhost: c\r\ncontent-length: 1\r\n\r\ng",
        &[
            Forward(counted("POST", "/a", b"abc")),
            Forward(chunked("POST", "/b", b"def")),
            Forward(counted("GET", "/c", b"g")),
        ],
    ),
    case(
        "an empty line between",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc\r\n\
          GET /b HTTP/1.1\r\nhost: b\r\n\r\n",
        &[
            Forward(counted("POST", "/a", b"abc")),
            Forward(plain("GET", "/b")),
        ],
    ),
    case(
        "one that ends the connection",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\
          \r\n",
        &[Last(plain("GET", "/a"))],
    ),
    case(
        "a second with two lengths",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: b\r\ncontent-length: 1\r\n\
          content-length: 2\r\n\r\nab",
        &[Forward(plain("GET", "/a")), Reject(400)],
    ),
    case(
        "a second that is no message",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\n\0\0\0\0\r\n\r\n",
        &[Forward(plain("GET", "/a")), Reject(400)],
    ),
    case(
        "a second without a host",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        &[Forward(plain("GET", "/a")), Reject(400)],
    ),
    case(
        "a second with a coding of its own",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi\
          POST /b HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked, cow\r\n\r\n0\r\n\r\n",
        &[Forward(counted("POST", "/a", b"hi")), Reject(400)],
    ),
    case(
        "a second whose chunks are bad",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPOST /b HTTP/1.1\r\nhost: b\r\n\
          transfer-encoding: chunked\r\n\r\nx\r\n\r\n",
        &[Forward(plain("GET", "/a")), Broken(400)],
    ),
    case(
        "a refused one, and a whole one behind it",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: cow\r\n\r\n\
          GET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a refused host, and a whole one behind it",
        b"GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a refused one with a length, and a whole one behind it",
        b"POST /a HTTP/1.1\r\nhost: a b\r\ncontent-length: 2\r\n\r\nhi\
          GET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a refused one with chunks, and a whole one behind it",
        b"POST /a HTTP/1.1\r\nhost: a b\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
          GET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a body without framing is a request of its own, and a bad one",
        b"POST /a HTTP/1.1\r\nhost: a\r\n\r\nhello=world\r\n\r\n",
        &[Forward(plain("POST", "/a")), Reject(400)],
    ),
    case(
        "bytes of HTTP/2 behind",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[Forward(plain("GET", "/a")), Close],
    ),
];

#[test]
fn pipeline() {
    run::requests(CASES);
}
