//! Field lines: names, values, and what may not stand between them (RFC 9112 §5).

use crate::case::Expect::{Forward, Reject};
use crate::case::{Case, Message, case, plain};
use crate::run;

const GET: Message = plain("GET", "/a");

pub(crate) const CASES: &[Case] = &[
    case(
        "every character that a name may have",
        b"GET /a HTTP/1.1\r\nhost: a\r\n!#$%&'*+-.^`|~09AZaz: b\r\n\r\n",
        &[Forward(GET.has(&[("!#$%&'*+-.^`|~09azaz", "b")]))],
    ),
    case(
        "bytes above ASCII in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: caf\xe9 \xff\r\n\r\n",
        &[Forward(GET.has(&[("x", "caf\u{e9} \u{ff}")]))],
    ),
    case(
        "a tab within a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\tc\r\n\r\n",
        &[Forward(GET.has(&[("x", "b\tc")]))],
    ),
    case(
        "an empty value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx:\r\ny: \t\r\n\r\n",
        &[Forward(GET.has(&[("x", ""), ("y", "")]))],
    ),
    case(
        "no space after the colon, colons in the value",
        b"GET /a HTTP/1.1\r\nhost:a\r\nx:b:c\r\n\r\n",
        &[Forward(GET.has(&[("host", "a"), ("x", "b:c")]))],
    ),
    case(
        "white space around a value",
        b"GET /a HTTP/1.1\r\nhost: \t a \r\nx: \t b c \t \r\n\r\n",
        &[Forward(GET.has(&[("host", "a"), ("x", "b c")]))],
    ),
    case(
        "a name that another has with an underscore",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx_y: b\r\n\r\n",
        &[Forward(GET.has(&[("x_y", "b")]))],
    ),
    case(
        "a space before the colon",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a tab before the colon",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\t: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space before the colon of a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length : 5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a space before the colon of Host",
        b"GET /a HTTP/1.1\r\nhost : a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx y: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an empty name",
        b"GET /a HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a colon alone",
        b"GET /a HTTP/1.1\r\nhost: a\r\n:\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "no colon",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a NUL in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\0: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a control byte in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\x01: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "DEL in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\x7f: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a byte above ASCII in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx\xe9: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a slash in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx/y: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "brackets in a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx[y]: b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "quotes round a name",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\"x\": b\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a control byte in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\x01c\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a backspace in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\x08c\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a vertical tab in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\x0bc\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a form feed after a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\x0c\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an escape in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: \x1b[0m\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "DEL in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\x7f\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a folded value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "folded by a tab",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\r\n\tc\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "folded to nothing",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\r\n \r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a folded length",
        b"POST /a HTTP/1.1\r\nhost: a\r\nx: b\r\n content-length: 5\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "a fold within a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n 0\r\n\r\nhelloworld",
        &[Reject(400)],
    ),
    case(
        "white space before the first field",
        b"GET /a HTTP/1.1\r\n host: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a tab before the first field",
        b"GET /a HTTP/1.1\r\n\thost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "white space before the first field, which then is no Host",
        b"GET /a HTTP/1.1\r\n x: b\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
];

#[test]
fn fields() {
    run::requests(CASES);
}
