//! Names and values of fields (RFC 9113 §8.2.1): what HTTP/1 could take for the end of a line, or
//! for a request, goes no further.

use super::Verdict::{Forward, Malformed};
use super::{Case, get, requests};
use crate::case::{Message, plain};

const A: Message = plain("GET", "/a");

pub(crate) const CASES: &[Case] = &[
    get(
        "bytes above ASCII in a value",
        &[(b"x", b"caf\xe9 \xff")],
        Forward(A.has(&[("x", "caf\u{e9} \u{ff}")])),
    ),
    get(
        "a tab within a value",
        &[(b"x", b"a\tb")],
        Forward(A.has(&[("x", "a\tb")])),
    ),
    get(
        "an empty value",
        &[(b"x", b"")],
        Forward(A.has(&[("x", "")])),
    ),
    get(
        "every character that a name may have",
        &[(b"!#$%&'*+-.^`|~09az", b"b")],
        Forward(A.has(&[("!#$%&'*+-.^`|~09az", "b")])),
    ),
    get("an upper-case name", &[(b"X-Upper", b"a")], Malformed),
    get(
        "an upper-case letter at the end",
        &[(b"x-loweR", b"a")],
        Malformed,
    ),
    get(
        "an upper-case length",
        &[(b"Content-Length", b"5")],
        Malformed,
    ),
    get(
        "an upper-case coding",
        &[(b"Transfer-Encoding", b"chunked")],
        Malformed,
    ),
    get("an empty name", &[(b"", b"a")], Malformed),
    get("a space in a name", &[(b"x y", b"a")], Malformed),
    get("a space after a name", &[(b"x ", b"a")], Malformed),
    get("a colon in a name", &[(b"x:y", b"a")], Malformed),
    get("a line in a name", &[(b"x: y\r\nz", b"a")], Malformed),
    get("CR in a name", &[(b"x\ry", b"a")], Malformed),
    get("LF in a name", &[(b"x\ny", b"a")], Malformed),
    get("NUL in a name", &[(b"x\0", b"a")], Malformed),
    get("a control byte in a name", &[(b"x\x01", b"a")], Malformed),
    get("DEL in a name", &[(b"x\x7f", b"a")], Malformed),
    get(
        "a byte above ASCII in a name",
        &[(b"x\xe9", b"a")],
        Malformed,
    ),
    get("CR in a value", &[(b"x", b"a\rb")], Malformed),
    get("LF in a value", &[(b"x", b"a\nb")], Malformed),
    get("NUL in a value", &[(b"x", b"a\0b")], Malformed),
    get("CRLF in a value", &[(b"x", b"a\r\ny: b")], Malformed),
    get(
        "a coding in a value",
        &[(b"x", b"a\r\ntransfer-encoding: chunked")],
        Malformed,
    ),
    get(
        "a request in a value",
        &[(b"x", b"a\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n")],
        Malformed,
    ),
    get("a fold in a value", &[(b"x", b"a\r\n b")], Malformed),
    get("CR at the end of a value", &[(b"x", b"a\r")], Malformed),
    get(
        "LF at the beginning of a value",
        &[(b"x", b"\na")],
        Malformed,
    ),
    get("a control byte in a value", &[(b"x", b"a\x01b")], Malformed),
    get("DEL in a value", &[(b"x", b"a\x7fb")], Malformed),
    get("a space before a value", &[(b"x", b" a")], Malformed),
    get("a space after a value", &[(b"x", b"a ")], Malformed),
    get(
        "a length with an underscore",
        &[(b"content_length", b"5")],
        Malformed,
    ),
    get(
        "a coding with an underscore",
        &[(b"transfer_encoding", b"chunked")],
        Malformed,
    ),
    get(
        "cookies in pieces",
        &[(b"cookie", b"a=1"), (b"cookie", b"b=2")],
        Forward(A.has(&[("cookie", "a=1; b=2")])),
    ),
];

#[test]
fn values() {
    requests(CASES);
}
