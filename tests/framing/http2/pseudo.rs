//! Pseudo-fields of a request (RFC 9113 §8.3): each once, before the others, and none but those.

use super::Verdict::{Forward, Malformed, Reject};
use super::{Case, bare, get, requests};
use crate::case::{Message, plain};

const A: Message = plain("GET", "/a");
const METHOD: (&[u8], &[u8]) = (b":method", b"GET");
const SCHEME: (&[u8], &[u8]) = (b":scheme", b"http");
const PATH: (&[u8], &[u8]) = (b":path", b"/a");
const HOST: (&[u8], &[u8]) = (b":authority", b"a");

/// A GET whose path is this one.
macro_rules! path {
    ($path:expr) => {
        &[METHOD, SCHEME, (b":path", $path), HOST]
    };
}

/// A GET whose authority is this one.
macro_rules! authority {
    ($authority:expr) => {
        &[METHOD, SCHEME, PATH, (b":authority", $authority)]
    };
}

pub(crate) const CASES: &[Case] = &[
    get("a GET", &[], Forward(A.has(&[("host", "a")]))),
    bare(
        "another order",
        &[HOST, PATH, SCHEME, METHOD],
        Forward(A.has(&[("host", "a")])),
    ),
    bare(
        "Host in place of the authority",
        &[METHOD, SCHEME, PATH, (b"host", b"a")],
        Forward(A.has(&[("host", "a")])),
    ),
    get(
        "Host beside the same authority",
        &[(b"host", b"a")],
        Forward(A.has(&[("host", "a")])),
    ),
    get("Host of another case", &[(b"host", b"A")], Forward(A)),
    get(
        "Host beside another authority",
        &[(b"host", b"b")],
        Malformed,
    ),
    get("Host of another port", &[(b"host", b"a:81")], Malformed),
    get("Host twice", &[(b"host", b"a"), (b"host", b"a")], Malformed),
    get(
        "Host twice, the second another",
        &[(b"host", b"a"), (b"host", b"b")],
        Malformed,
    ),
    get(
        "an empty Host beside the authority",
        &[(b"host", b"")],
        Malformed,
    ),
    bare(
        "neither Host nor authority",
        &[METHOD, SCHEME, PATH],
        Malformed,
    ),
    bare(
        "Host twice, no authority",
        &[METHOD, SCHEME, PATH, (b"host", b"a"), (b"host", b"a")],
        Malformed,
    ),
    bare("no method", &[SCHEME, PATH, HOST], Malformed),
    bare("no scheme", &[METHOD, PATH, HOST], Malformed),
    bare("no path", &[METHOD, SCHEME, HOST], Malformed),
    bare("nothing", &[], Malformed),
    bare(
        "the method twice",
        &[METHOD, METHOD, SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "the scheme twice",
        &[METHOD, SCHEME, SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "the path twice",
        &[METHOD, SCHEME, PATH, PATH, HOST],
        Malformed,
    ),
    bare(
        "the path twice, the second another",
        &[METHOD, SCHEME, PATH, (b":path", b"/b"), HOST],
        Malformed,
    ),
    bare(
        "the authority twice",
        &[METHOD, SCHEME, PATH, HOST, HOST],
        Malformed,
    ),
    bare(
        "the authority twice, the second another",
        &[METHOD, SCHEME, PATH, HOST, (b":authority", b"b")],
        Malformed,
    ),
    bare(
        "a field before a pseudo-field",
        &[METHOD, SCHEME, (b"x", b"y"), PATH, HOST],
        Malformed,
    ),
    get(
        "a pseudo-field after the others",
        &[(b"x", b"y"), (b":path", b"/b")],
        Malformed,
    ),
    get(
        "an unknown pseudo-field",
        &[(b":version", b"HTTP/1.1")],
        Malformed,
    ),
    get(
        "a pseudo-field of responses",
        &[(b":status", b"200")],
        Malformed,
    ),
    get(
        "a pseudo-field of extended CONNECT",
        &[(b":protocol", b"websocket")],
        Malformed,
    ),
    get(
        "a pseudo-field in upper case",
        &[(b":PATH", b"/b")],
        Malformed,
    ),
    get("a colon alone", &[(b":", b"x")], Malformed),
    bare(
        "a query",
        path!(b"/a?b=%20&c"),
        Forward(plain("GET", "/a?b=%20&c")),
    ),
    bare(
        "a path of two slashes",
        path!(b"//b/../c"),
        Forward(plain("GET", "//b/../c")),
    ),
    bare("an empty path", path!(b""), Malformed),
    bare("a path without its slash", path!(b"a"), Malformed),
    bare("a query without a path", path!(b"?a"), Malformed),
    bare("an absolute path", path!(b"http://b/a"), Malformed),
    bare("an asterisk for GET", path!(b"*"), Malformed),
    bare(
        "OPTIONS *",
        &[(b":method", b"OPTIONS"), SCHEME, (b":path", b"*"), HOST],
        Forward(plain("OPTIONS", "*")),
    ),
    bare(
        "a path that starts with an asterisk",
        &[(b":method", b"OPTIONS"), SCHEME, (b":path", b"*a"), HOST],
        Malformed,
    ),
    bare("a space in the path", path!(b"/a b"), Malformed),
    bare("a version in the path", path!(b"/a HTTP/1.1"), Malformed),
    bare(
        "a request in the path",
        path!(b"/a HTTP/1.1\r\nhost: a\r\n\r\nGET /b"),
        Malformed,
    ),
    bare("a tab in the path", path!(b"/a\tb"), Malformed),
    bare("CR in the path", path!(b"/a\rb"), Malformed),
    bare("LF in the path", path!(b"/a\nb"), Malformed),
    bare("NUL in the path", path!(b"/a\0b"), Malformed),
    bare("DEL in the path", path!(b"/a\x7fb"), Malformed),
    bare("a byte above ASCII in the path", path!(b"/\xe9"), Malformed),
    bare("UTF-8 in the path", path!(b"/\xc3\xa9"), Malformed),
    bare("a fragment alone", path!(b"#a"), Malformed),
    bare(
        "a fragment alone, and no authority",
        &[METHOD, SCHEME, (b":path", b"#a"), (b"host", b"a")],
        Malformed,
    ),
    bare("a fragment", path!(b"/a#b"), Malformed),
    bare(
        "a port",
        authority!(b"a:8080"),
        Forward(A.has(&[("host", "a:8080")])),
    ),
    bare(
        "an IPv6 address",
        authority!(b"[::1]:80"),
        Forward(A.has(&[("host", "[::1]:80")])),
    ),
    bare("an empty authority", authority!(b""), Malformed),
    bare("userinfo", authority!(b"user@a"), Malformed),
    bare("a path in the authority", authority!(b"a/b"), Malformed),
    bare(
        "a scheme in the authority",
        authority!(b"http://a"),
        Malformed,
    ),
    bare("a list of authorities", authority!(b"a,b"), Malformed),
    bare("a space in the authority", authority!(b"a b"), Malformed),
    bare("CRLF in the authority", authority!(b"a\r\nx: y"), Malformed),
    bare(
        "a request in the authority",
        authority!(b"a\r\n\r\nGET /b HTTP/1.1\r\nhost: b"),
        Malformed,
    ),
    bare("NUL in the authority", authority!(b"a\0"), Malformed),
    bare(
        "a byte above ASCII in the authority",
        authority!(b"\xe9"),
        Malformed,
    ),
    bare("a port that is none", authority!(b"a:b"), Malformed),
    bare(
        "https without TLS",
        &[METHOD, (b":scheme", b"https"), PATH, HOST],
        Forward(A),
    ),
    bare(
        "an empty scheme",
        &[METHOD, (b":scheme", b""), PATH, HOST],
        Malformed,
    ),
    bare(
        "a scheme with a target",
        &[METHOD, (b":scheme", b"http://b/x?"), PATH, HOST],
        Malformed,
    ),
    bare(
        "a scheme with CRLF",
        &[METHOD, (b":scheme", b"http\r\n"), PATH, HOST],
        Malformed,
    ),
    bare(
        "a lower-case get is another method",
        &[(b":method", b"get"), SCHEME, PATH, HOST],
        Forward(plain("get", "/a")),
    ),
    bare(
        "HEAD",
        &[(b":method", b"HEAD"), SCHEME, PATH, HOST],
        Forward(plain("HEAD", "/a")),
    ),
    bare(
        "an unknown method",
        &[(b":method", b"M-SEARCH"), SCHEME, PATH, HOST],
        Forward(plain("M-SEARCH", "/a")),
    ),
    bare(
        "an empty method",
        &[(b":method", b""), SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "a space in the method",
        &[(b":method", b"GET /b"), SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "a request in the method",
        &[
            (b":method", b"GET /b HTTP/1.1\r\nhost: b\r\n\r\nGET"),
            SCHEME,
            PATH,
            HOST,
        ],
        Malformed,
    ),
    bare(
        "a colon in the method",
        &[(b":method", b"GE:T"), SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "a byte above ASCII in the method",
        &[(b":method", b"G\xc9T"), SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "CONNECT",
        &[(b":method", b"CONNECT"), (b":authority", b"a:80")],
        Malformed,
    ),
    bare(
        "CONNECT with a path",
        &[(b":method", b"CONNECT"), SCHEME, PATH, HOST],
        Malformed,
    ),
    bare(
        "CONNECT without an authority",
        &[(b":method", b"CONNECT")],
        Malformed,
    ),
    bare(
        "extended CONNECT to an unknown protocol",
        &[
            (b":method", b"CONNECT"),
            (b":protocol", b"x"),
            SCHEME,
            PATH,
            HOST,
        ],
        Reject(501),
    ),
];

#[test]
fn pseudo() {
    requests(CASES);
}
