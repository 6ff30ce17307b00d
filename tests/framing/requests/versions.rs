//! Versions: HTTP/1.1 and HTTP/1.0, and nothing that only looks like them (RFC 9112 §2.3).

use crate::case::Expect::{Forward, Last, Reject};
use crate::case::{Case, Message, case, counted, plain};
use crate::run;

const GET: Message = plain("GET", "/a");

pub(crate) const CASES: &[Case] = &[
    case(
        "HTTP/1.0 ends its connection",
        b"GET /a HTTP/1.0\r\nhost: a\r\n\r\n",
        &[Last(GET)],
    ),
    case(
        "HTTP/1.0 that asks to go on",
        b"GET /a HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "HTTP/1.0 that asks to go on and to end",
        b"GET /a HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\nconnection: close\r\n\r\n",
        &[Last(GET)],
    ),
    case(
        "HTTP/1.0 with a body",
        b"POST /a HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        &[Last(counted("POST", "/a", b"hello"))],
    ),
    case(
        "HTTP/1.0 with a body and no length: there is none",
        b"POST /a HTTP/1.0\r\nhost: a\r\n\r\n",
        &[Last(plain("POST", "/a"))],
    ),
    case(
        "HTTP/1.1 that asks to end",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: Close\r\n\r\n",
        &[Last(GET)],
    ),
    case(
        "HTTP/1.1 that asks to end, in a list",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: foo, close\r\n\r\n",
        &[Last(GET)],
    ),
    case(
        "HTTP/1.2",
        b"GET /a HTTP/1.2\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/1.10",
        b"GET /a HTTP/1.10\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/1.01",
        b"GET /a HTTP/1.01\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/01.1",
        b"GET /a HTTP/01.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/0.9",
        b"GET /a HTTP/0.9\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/2.0",
        b"GET /a HTTP/2.0\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/2",
        b"GET /a HTTP/2\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/3",
        b"GET /a HTTP/3\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/1",
        b"GET /a HTTP/1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/1.",
        b"GET /a HTTP/1.\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP 1.1",
        b"GET /a HTTP 1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/1,1",
        b"GET /a HTTP/1,1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "lower case",
        b"GET /a http/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "mixed case",
        b"GET /a Http/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTPS/1.1",
        b"GET /a HTTPS/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "HTTP/+1.1",
        b"GET /a HTTP/+1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "RTSP/1.0",
        b"DESCRIBE /a RTSP/1.0\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "SIP/2.0",
        b"OPTIONS /a SIP/2.0\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
];

#[test]
fn versions() {
    run::requests(CASES);
}
