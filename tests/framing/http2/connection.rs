//! Fields of one connection, which HTTP/2 has not (RFC 9113 §8.2.2).

use super::Piece::Data;
use super::Verdict::{Forward, Malformed};
use super::{Case, get, post, requests};
use crate::case::{Message, plain};

const A: Message = plain("GET", "/a");

pub(crate) const CASES: &[Case] = &[
    get("connection", &[(b"connection", b"close")], Malformed),
    get(
        "connection that names a field",
        &[(b"connection", b"x-one"), (b"x-one", b"1")],
        Malformed,
    ),
    get(
        "connection that names Host",
        &[(b"connection", b"host")],
        Malformed,
    ),
    get("an empty connection", &[(b"connection", b"")], Malformed),
    get("keep-alive", &[(b"keep-alive", b"timeout=5")], Malformed),
    get(
        "proxy-connection",
        &[(b"proxy-connection", b"keep-alive")],
        Malformed,
    ),
    get(
        "transfer-encoding",
        &[(b"transfer-encoding", b"chunked")],
        Malformed,
    ),
    get(
        "transfer-encoding, identity",
        &[(b"transfer-encoding", b"identity")],
        Malformed,
    ),
    post(
        "transfer-encoding and a body",
        &[(b"transfer-encoding", b"chunked")],
        &[Data(b"0\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n")],
        Malformed,
    ),
    post(
        "transfer-encoding beside a length",
        &[
            (b"transfer-encoding", b"chunked"),
            (b"content-length", b"5"),
        ],
        &[Data(b"0\r\n\r\n")],
        Malformed,
    ),
    get("upgrade", &[(b"upgrade", b"websocket")], Malformed),
    get(
        "upgrade to h2c",
        &[
            (b"upgrade", b"h2c"),
            (b"http2-settings", b"AAMAAABkAAQAAP__"),
        ],
        Malformed,
    ),
    get(
        "te, trailers",
        &[(b"te", b"trailers")],
        Forward(A.has(&[("te", "trailers")])),
    ),
    get("te, something else", &[(b"te", b"gzip")], Malformed),
    get(
        "te, trailers and something else",
        &[(b"te", b"trailers, deflate")],
        Malformed,
    ),
    get(
        "te twice, the second something else",
        &[(b"te", b"trailers"), (b"te", b"gzip")],
        Malformed,
    ),
];

#[test]
fn connection() {
    requests(CASES);
}
