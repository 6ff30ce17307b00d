//! What concerns one connection alone (RFC 9110 §7.6.1, §7.8, §10.1.1): it goes no further, and
//! takes nothing with it that the message is framed or addressed by.

use crate::case::Expect::{Continue, Forward, Last, Reject};
use crate::case::{Case, Message, case, chunked, counted, plain};
use crate::run;

const GET: Message = plain("GET", "/a");

pub(crate) const CASES: &[Case] = &[
    case(
        "fields that are named go no further",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: x-one, X-Two\r\nconnection: x-three\r\n\
          x-one: 1\r\nX-TWO: 2\r\nx-three: 3\r\nx-four: 4\r\n\r\n",
        &[Forward(GET.has(&[("x-four", "4")]).lacks(&["x-one", "x-two", "x-three", "connection"]))],
    ),
    case(
        "fields of one connection go no further",
        b"GET /a HTTP/1.1\r\nhost: a\r\nkeep-alive: timeout=5\r\nproxy-connection: keep-alive\r\n\
          te: gzip\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "odd members",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: ,, \t,x-one ,\"x\",x y,\xff\r\nx-one: 1\r\n\
          \r\n",
        &[Forward(GET.lacks(&["x-one", "connection"]))],
    ),
    case(
        "an empty one",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection:\r\n\r\n",
        &[Forward(GET.lacks(&["connection"]))],
    ),
    case(
        "names Host, the length and the coding",
        b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: Host, Content-Length, Transfer-Encoding\r\n\
          content-length: 5\r\n\r\nhello",
        &[Forward(counted("POST", "/a", b"hello").has(&[("host", "a")]))],
    ),
    case(
        "names the coding of a chunked body",
        b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: close, transfer-encoding\r\n\
          transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Last(chunked("POST", "/a", b"hello"))],
    ),
    case(
        "names a pseudo-field",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: :method, :path\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "names the way the request is authorized",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: authorization, cookie\r\n\
          authorization: Basic YTpi\r\ncookie: a=1\r\n\r\n",
        &[Forward(GET.lacks(&["authorization", "cookie"]))],
    ),
    case(
        "upgrade to h2c goes no further",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
          http2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        &[Forward(GET.lacks(&["http2-settings", "connection"]))],
    ),
    case(
        "upgrade to h2c that Connection does not name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        &[Forward(GET.lacks(&["connection"]))],
    ),
    case(
        "upgrade to HTTP/2 over TLS",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: TLS/1.2, HTTP/2.0\r\n\r\n",
        &[Forward(GET.lacks(&["connection"]))],
    ),
    case(
        "upgrade to h2c with a body",
        b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\
          content-length: 5\r\n\r\nhello",
        &[Forward(counted("POST", "/a", b"hello"))],
    ),
    case(
        "upgrade in HTTP/1.0",
        b"GET /a HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        &[Last(GET.lacks(&["connection"]))],
    ),
    case(
        "websocket that Connection does not name is no upgrade",
        b"GET /a HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "expects to be told, and has sent its body",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        &[Continue(counted("POST", "/a", b"hello"))],
    ),
    case(
        "expects to be told in HTTP/1.0, where that means nothing",
        b"POST /a HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        &[Last(counted("POST", "/a", b"hello"))],
    ),
    case(
        "expects to be told, and has no body",
        b"GET /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "expects to be told, and chunks",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ntransfer-encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        &[Continue(chunked("POST", "/a", b"hello"))],
    ),
    case(
        "expects something unknown, which a server may ignore",
        b"GET /a HTTP/1.1\r\nhost: a\r\nexpect: miracles\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "expects something unknown of its body",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue, miracles\r\n\
          content-length: 5\r\n\r\nhello",
        &[Continue(counted("POST", "/a", b"hello"))],
    ),
    case(
        "expects in vain beside an ambiguous length",
        b"POST /a HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\
          content-length: 6\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "websocket is asked for, and may be refused",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        &[Forward(GET.has(&[("upgrade", "websocket")]))],
    ),
    case(
        "websocket with a body is no upgrade",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          content-length: 5\r\n\r\nhello",
        &[Forward(counted("GET", "/a", b"hello"))],
    ),
    case(
        "websocket with chunks is no upgrade",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
          transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forward(chunked("GET", "/a", b"hello"))],
    ),
    case(
        "websocket or h2c",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket, h2c\r\n\
          sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "websocket, and h2c in a second field",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
          upgrade: h2c\r\nsec-websocket-version: 13\r\n\
          sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "something that nobody allowed",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: foo/2\r\n\r\n",
        &[Forward(GET)],
    ),
];

#[test]
fn connection() {
    run::requests(CASES);
}
