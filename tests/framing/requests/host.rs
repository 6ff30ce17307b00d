//! `Host` and the forms of the target (RFC 9110 §7.2, RFC 9112 §3.2).

use crate::case::Expect::{Forward, Last, Reject};
use crate::case::{Case, case, plain};
use crate::run;

pub(crate) const CASES: &[Case] = &[
    case(
        "a name and a port",
        b"GET /a HTTP/1.1\r\nhost: api.test:8080\r\n\r\n",
        &[Forward(
            plain("GET", "/a").has(&[("host", "api.test:8080")]),
        )],
    ),
    case(
        "an IPv6 address",
        b"GET /a HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
        &[Forward(plain("GET", "/a").has(&[("host", "[::1]:80")]))],
    ),
    case(
        "an absolute target of the same host",
        b"GET http://api.test/a?b HTTP/1.1\r\nhost: api.test\r\n\r\n",
        &[Forward(plain("GET", "/a?b").has(&[("host", "api.test")]))],
    ),
    case(
        "an absolute target with the port that goes without saying",
        b"GET http://api.test:80/a HTTP/1.1\r\nhost: API.test\r\n\r\n",
        &[Forward(plain("GET", "/a"))],
    ),
    case(
        "an absolute target without a path",
        b"GET http://api.test HTTP/1.1\r\nhost: api.test\r\n\r\n",
        &[Forward(plain("GET", "/"))],
    ),
    case(
        "an absolute target of a query alone",
        b"GET http://api.test?b HTTP/1.1\r\nhost: api.test\r\n\r\n",
        &[Forward(plain("GET", "/?b"))],
    ),
    case(
        "odd but legal targets",
        b"GET //a/../b;c=d/%2F%00?e=%0d%0a&f[]={g}|h HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain(
            "GET",
            "//a/../b;c=d/%2F%00?e=%0d%0a&f[]={g}|h",
        ))],
    ),
    case(
        "OPTIONS *",
        b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("OPTIONS", "*"))],
    ),
    case(
        "OPTIONS of an absolute target without a path",
        b"OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("OPTIONS", "*"))],
    )
    .fails(
        "a parsed target does not tell whether a path of / was written",
        &[Forward(plain("OPTIONS", "/"))],
    ),
    case(
        "an asterisk for GET",
        b"GET * HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "two asterisks",
        b"OPTIONS ** HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an asterisk and a query",
        b"OPTIONS *?a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a name as the target",
        b"GET a.test HTTP/1.1\r\nhost: a.test\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a name and a port as the target of a GET",
        b"GET a.test:80 HTTP/1.1\r\nhost: a.test:80\r\n\r\n",
        &[Reject(400)],
    ),
    case("missing", b"GET /a HTTP/1.1\r\n\r\n", &[Reject(400)]),
    case(
        "missing beside an absolute target",
        b"GET http://api.test/a HTTP/1.1\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "missing in HTTP/1.0",
        b"GET /a HTTP/1.0\r\n\r\n",
        &[Last(plain("GET", "/a"))],
    ),
    case(
        "twice",
        b"GET /a HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice the same",
        b"GET /a HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice in HTTP/1.0",
        b"GET /a HTTP/1.0\r\nhost: a\r\nHOST: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "empty, which says that there is no authority",
        b"GET /a HTTP/1.1\r\nhost:\r\n\r\n",
        &[Forward(plain("GET", "/a").has(&[("host", "")]))],
    ),
    case(
        "a list",
        b"GET /a HTTP/1.1\r\nhost: a, b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a list without a space",
        b"GET /a HTTP/1.1\r\nhost: a,b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space",
        b"GET /a HTTP/1.1\r\nhost: a b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a path",
        b"GET /a HTTP/1.1\r\nhost: a/b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a query",
        b"GET /a HTTP/1.1\r\nhost: a?b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a fragment",
        b"GET /a HTTP/1.1\r\nhost: a#b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a scheme",
        b"GET /a HTTP/1.1\r\nhost: http://a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "userinfo",
        b"GET /a HTTP/1.1\r\nhost: user@a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "two ports",
        b"GET /a HTTP/1.1\r\nhost: a:80:81\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a port that is none",
        b"GET /a HTTP/1.1\r\nhost: a:b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a port past 65535",
        b"GET /a HTTP/1.1\r\nhost: a:65536\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a port alone",
        b"GET /a HTTP/1.1\r\nhost: :80\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a bracket left open",
        b"GET /a HTTP/1.1\r\nhost: [::1\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a bracket never opened",
        b"GET /a HTTP/1.1\r\nhost: ::1]\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "something behind the brackets",
        b"GET /a HTTP/1.1\r\nhost: [::1]a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "brackets round a name",
        b"GET /a HTTP/1.1\r\nhost: [a.test]\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a byte above ASCII",
        b"GET /a HTTP/1.1\r\nhost: a\xff\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a quote",
        b"GET /a HTTP/1.1\r\nhost: a\"b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "half an escape",
        b"GET /a HTTP/1.1\r\nhost: a%2\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target of another host",
        b"GET http://b/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target of another port",
        b"GET http://a:81/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target beside another port",
        b"GET http://a/a HTTP/1.1\r\nhost: a:81\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target with userinfo",
        b"GET http://user@a/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target with userinfo that looks like the host",
        b"GET http://a:80@b/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target with userinfo, and Host with it",
        b"GET http://user@a/a HTTP/1.1\r\nhost: user@a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an absolute target of no host",
        b"GET http:///a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "with an underscore",
        b"GET /a HTTP/1.1\r\nhost: a\r\nh_ost: b\r\n\r\n",
        &[Forward(plain("GET", "/a"))],
    ),
    case(
        "named in Connection, and still passed on",
        b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: host\r\n\r\n",
        &[Forward(plain("GET", "/a").has(&[("host", "a")]))],
    ),
];

#[test]
fn host() {
    run::requests(CASES);
}
