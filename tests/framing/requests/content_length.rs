//! `Content-Length`: one field, digits alone (RFC 9110 §8.6, RFC 9112 §6.3).

use crate::case::Expect::{Broken, Forward, Last, Reject};
use crate::case::{Case, case, counted, plain};
use crate::run;

const FOLDED: &str = "hyper folds equal lengths into one before anyone sees them";

pub(crate) const CASES: &[Case] = &[
    case(
        "a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        &[Forward(counted("POST", "/a", b"hello"))],
    ),
    case(
        "zero",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        &[Forward(counted("POST", "/a", b""))],
    ),
    case(
        "leading zeros are digits",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 005\r\n\r\nhello",
        &[Forward(counted("POST", "/a", b"hello"))],
    ),
    case(
        "white space around",
        b"POST /a HTTP/1.1\r\nhost: a\r\nContent-Length: \t 5 \t\r\n\r\nhello",
        &[Forward(counted("POST", "/a", b"hello"))],
    ),
    case(
        "a body that looks like a request",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 28\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\
          \r\n",
        &[Forward(counted(
            "POST",
            "/a",
            b"GET /b HTTP/1.1\r\nhost: b\r\n\r\n",
        ))],
    ),
    case(
        "a GET with a body",
        b"GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        &[Forward(counted("GET", "/a", b"hello"))],
    ),
    case(
        "a HEAD with a body",
        b"HEAD /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        &[Forward(counted("HEAD", "/a", b"hello"))],
    ),
    case(
        "a DELETE with a body",
        b"DELETE /a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi",
        &[Forward(counted("DELETE", "/a", b"hi"))],
    ),
    case(
        "a GET of length zero",
        b"GET /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        &[Forward(counted("GET", "/a", b""))],
    ),
    case(
        "none at all",
        b"POST /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(plain("POST", "/a"))],
    ),
    case(
        "twice, unequal",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        &[Reject(400)],
    ),
    case(
        "twice, equal",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
        &[Reject(400)],
    )
    .fails(FOLDED, &[Forward(counted("POST", "/a", b"hello"))]),
    case(
        "twice, equal but for zeros",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 05\r\n\r\nhello",
        &[Reject(400)],
    )
    .fails(FOLDED, &[Forward(counted("POST", "/a", b"hello"))]),
    case(
        "three times, the last unequal",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\
          content-length: 0\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "twice, apart",
        b"POST /a HTTP/1.1\r\ncontent-length: 0\r\nhost: a\r\nCONTENT-LENGTH: 5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a list of equal values",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a list of unequal values",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\nhello!",
        &[Reject(400)],
    ),
    case(
        "a list with an empty member",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5,\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a plus sign",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a minus sign",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "minus zero",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: -0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space within",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1 0\r\n\r\nhelloworld",
        &[Reject(400)],
    ),
    case(
        "hexadecimal",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a hexadecimal digit",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: a\r\n\r\nhelloworld",
        &[Reject(400)],
    ),
    case(
        "a fraction",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5.0\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "an exponent",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5e0\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "digit separators",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1_0\r\n\r\nhelloworld",
        &[Reject(400)],
    ),
    case(
        "a quoted number",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: \"5\"\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a parameter",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5;a\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "empty",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length:\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "white space alone",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: \t \r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a word",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: five\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "digits of another script",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: \xd9\xa5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a NUL after it",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\0\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a vertical tab before it",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: \x0b5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "no-break space before it",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: \xa05\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "2^64",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551616\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "2^64 and 5: no wrapping around",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551621\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "2^64 - 1, which hyper gives a meaning of its own",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\nhello",
        &[Reject(400)],
    )
    .fails("hyper calls it too large itself", &[Reject(431)]),
    case(
        "more digits than any number has",
        b"POST /a HTTP/1.1\r\nhost: a\r\n\
          content-length: 99999999999999999999999999999999999999995\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "longer than what comes",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nhello",
        &[Broken(499)],
    )
    .finished(),
    case(
        "with an underscore",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent_length: 5\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "beside one with an underscore",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nContent_Length: 0\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "named in Connection, and still what frames the message",
        b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: content-length\r\ncontent-length: 5\r\n\r\n\
          hello",
        &[Forward(counted("POST", "/a", b"hello"))],
    ),
    case(
        "as long as it says, and another request behind",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n\
          GET /b HTTP/1.1\r\nhost: b\r\n\r\n",
        &[
            Forward(counted("POST", "/a", b"")),
            Forward(plain("GET", "/b")),
        ],
    ),
    case(
        "shorter than the body: its rest is no request",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nhello",
        &[
            Forward(counted("POST", "/a", b"hell")),
            Last(plain("oGET", "/next")),
        ],
    ),
];

#[test]
fn content_length() {
    run::requests(CASES);
}
