//! Bodies of requests: as long as their length says (RFC 9113 §8.1.1), with trailers at their end.

use super::Piece::{Data, Reset, Trailers};
use super::Verdict::{Forward, Gone, Malformed};
use super::{Case, get, post, requests};
use crate::case::{chunked, counted, plain};

const LENGTH: (&[u8], &[u8]) = (b"content-length", b"5");

pub(crate) const CASES: &[Case] = &[
    post(
        "no length",
        &[],
        &[Data(b"hello")],
        Forward(chunked("POST", "/a", b"hello")),
    ),
    post(
        "a length",
        &[LENGTH],
        &[Data(b"hello")],
        Forward(counted("POST", "/a", b"hello")),
    ),
    post(
        "a length in pieces",
        &[LENGTH],
        &[Data(b"he"), Data(b""), Data(b"llo"), Data(b"")],
        Forward(counted("POST", "/a", b"hello")),
    ),
    post(
        "a length of zero",
        &[(b"content-length", b"0")],
        &[],
        Forward(counted("POST", "/a", b"")),
    ),
    post(
        "a length of zero and empty data",
        &[(b"content-length", b"0")],
        &[Data(b"")],
        Forward(counted("POST", "/a", b"")),
    ),
    post("no body", &[], &[], Forward(plain("POST", "/a"))),
    post(
        "empty data",
        &[],
        &[Data(b"")],
        Forward(chunked("POST", "/a", b"")),
    ),
    Case {
        body: &[Data(b"hello")],
        ..get(
            "a GET with data and no length",
            &[],
            Forward(chunked("GET", "/a", b"hello")),
        )
    },
    Case {
        body: &[Data(b"")],
        ..get(
            "a GET with empty data",
            &[],
            Forward(chunked("GET", "/a", b"")),
        )
    },
    post(
        "data that looks like chunks",
        &[],
        &[Data(b"0\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n")],
        Forward(chunked(
            "POST",
            "/a",
            b"0\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n",
        )),
    ),
    post(
        "data that looks like a request",
        &[(b"content-length", b"28")],
        &[Data(b"GET /b HTTP/1.1\r\nhost: b\r\n\r\n")],
        Forward(counted("POST", "/a", b"GET /b HTTP/1.1\r\nhost: b\r\n\r\n")),
    ),
    post(
        "shorter than its length",
        &[LENGTH],
        &[Data(b"hell")],
        Malformed,
    ),
    post(
        "longer than its length",
        &[LENGTH],
        &[Data(b"hello!")],
        Malformed,
    ),
    post(
        "longer than its length, by a request",
        &[LENGTH],
        &[Data(b"hello"), Data(b"GET /b HTTP/1.1\r\nhost: b\r\n\r\n")],
        Malformed,
    ),
    post(
        "data beyond a length of zero",
        &[(b"content-length", b"0")],
        &[Data(b"GET /b HTTP/1.1\r\nhost: b\r\n\r\n")],
        Malformed,
    ),
    post("a length and no data", &[LENGTH], &[], Malformed),
    get("a GET with a length and no data", &[LENGTH], Malformed),
    post(
        "two equal lengths",
        &[LENGTH, LENGTH],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "two lengths",
        &[LENGTH, (b"content-length", b"6")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "a list of lengths",
        &[(b"content-length", b"5, 5")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "a sign",
        &[(b"content-length", b"+5")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "a minus sign",
        &[(b"content-length", b"-5")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "hexadecimal",
        &[(b"content-length", b"0x5")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "an empty length",
        &[(b"content-length", b"")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "an empty length and no body",
        &[(b"content-length", b"")],
        &[],
        Malformed,
    ),
    post(
        "a space within",
        &[(b"content-length", b"1 0")],
        &[Data(b"helloworld")],
        Malformed,
    ),
    post(
        "a length of 2^64",
        &[(b"content-length", b"18446744073709551616")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "a length of 2^64 and 5",
        &[(b"content-length", b"18446744073709551621")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "CRLF in a length",
        &[(b"content-length", b"5\r\nx: y")],
        &[Data(b"hello")],
        Malformed,
    ),
    post(
        "trailers",
        &[],
        &[Data(b"hello"), Trailers(&[(b"x-sum", b"1")])],
        Forward(chunked("POST", "/a", b"hello")),
    ),
    post(
        "trailers after a length",
        &[LENGTH],
        &[Data(b"hello"), Trailers(&[(b"x-sum", b"1")])],
        Forward(counted("POST", "/a", b"hello")),
    ),
    post(
        "trailers after too few",
        &[LENGTH],
        &[Data(b"hell"), Trailers(&[(b"x-sum", b"1")])],
        Malformed,
    ),
    post(
        "trailers without data",
        &[],
        &[Trailers(&[(b"x-sum", b"1")])],
        Forward(chunked("POST", "/a", b"")),
    ),
    post(
        "announced trailers that must not be any",
        &[(b"trailer", b"content-length, transfer-encoding, host")],
        &[
            Data(b"hello"),
            Trailers(&[(b"content-length", b"3"), (b"host", b"b")]),
        ],
        Forward(chunked("POST", "/a", b"hello")),
    ),
    post(
        "trailers that do not end the stream",
        &[],
        &[Data(b"hello"), Trailers(&[(b"x-sum", b"1")]), Data(b"more")],
        Malformed,
    ),
    post(
        "trailers that do not end the stream, and nothing after",
        &[],
        &[Data(b"hello"), Trailers(&[(b"x-sum", b"1")])],
        Malformed,
    )
    .open(),
    post(
        "a pseudo-field in trailers",
        &[],
        &[Data(b"hello"), Trailers(&[(b":path", b"/b")])],
        Malformed,
    ),
    post(
        "a status in trailers",
        &[],
        &[Data(b"hello"), Trailers(&[(b":status", b"200")])],
        Malformed,
    ),
    post(
        "connection in trailers",
        &[],
        &[Data(b"hello"), Trailers(&[(b"connection", b"close")])],
        Malformed,
    ),
    post(
        "a coding in trailers",
        &[],
        &[
            Data(b"hello"),
            Trailers(&[(b"transfer-encoding", b"chunked")]),
        ],
        Malformed,
    ),
    post(
        "an upper-case name in trailers",
        &[],
        &[Data(b"hello"), Trailers(&[(b"X-Sum", b"1")])],
        Malformed,
    ),
    post(
        "CRLF in trailers",
        &[(b"trailer", b"x-sum")],
        &[
            Data(b"hello"),
            Trailers(&[(b"x-sum", b"1\r\n\r\nGET /b HTTP/1.1")]),
        ],
        Malformed,
    ),
    post(
        "taken back before its end",
        &[],
        &[Data(b"hel"), Reset],
        Gone,
    ),
    post(
        "taken back before its length",
        &[LENGTH],
        &[Data(b"hel"), Reset],
        Gone,
    ),
    post(
        "expects to be told",
        &[(b"expect", b"100-continue"), LENGTH],
        &[Data(b"hello")],
        Forward(counted("POST", "/a", b"hello")),
    ),
];

#[test]
fn bodies() {
    requests(CASES);
}
