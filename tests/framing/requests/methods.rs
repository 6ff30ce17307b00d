//! Methods: all that are tokens go on as they are, but CONNECT, which asks for a tunnel.

use crate::case::Expect::{Forward, Reject};
use crate::case::{Case, case, chunked, counted, plain};
use crate::run;

pub(crate) const CASES: &[Case] = &[
    case(
        "HEAD",
        b"HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("HEAD", "/a"))],
    ),
    case(
        "OPTIONS",
        b"OPTIONS /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("OPTIONS", "/a"))],
    ),
    case(
        "TRACE",
        b"TRACE /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("TRACE", "/a"))],
    ),
    case(
        "a method of WebDAV",
        b"PROPFIND /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        &[Forward(counted("PROPFIND", "/a", b"hi"))],
    ),
    case(
        "a method that nobody knows",
        b"M-SEARCH /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("M-SEARCH", "/a"))],
    ),
    case(
        "a method that nobody knows, in chunks",
        b"FROB /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        &[Forward(chunked("FROB", "/a", b"hi"))],
    ),
    case(
        "every character that a method may have",
        b"!#$%&'*+-.^_`|~0Az /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("!#$%&'*+-.^_`|~0Az", "/a"))],
    ),
    case(
        "a lower-case get is another method",
        b"get /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("get", "/a"))],
    ),
    case(
        "a mixed-case Post is another method",
        b"Post /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        &[Forward(counted("Post", "/a", b"hi"))],
    ),
    case(
        "a lower-case head gets a body",
        b"head /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("head", "/a"))],
    ),
    case(
        "CONNECT",
        b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "CONNECT of a path",
        b"CONNECT /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "CONNECT with a body that looks like a request",
        b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\ncontent-length: 35\r\n\r\n\
          GET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "CONNECT without a port",
        b"CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a method that asks for another by a field",
        b"POST /a HTTP/1.1\r\nhost: a\r\nx-http-method-override: DELETE\r\ncontent-length: 0\r\n\
          \r\n",
        &[Forward(counted("POST", "/a", b""))],
    ),
    case(
        "the preface of HTTP/2 in HTTP/1.1",
        b"PRI * HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
];

#[test]
fn methods() {
    run::requests(CASES);
}
