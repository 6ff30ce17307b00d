//! The start line and the ends of lines (RFC 9112 §2.2, §3).

use crate::case::Expect::{Forward, Reject};
use crate::case::{Case, Message, case, plain};
use crate::run;

const GET: Message = plain("GET", "/a");
const LENIENT: &str = "hyper takes a bare LF for the end of a line, and sends CRLF on";

pub(crate) const CASES: &[Case] = &[
    case(
        "an empty line before",
        b"\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Forward(GET)],
    ),
    case(
        "bare LF throughout",
        b"GET /a HTTP/1.1\nhost: a\n\n",
        &[Reject(400)],
    )
    .fails(LENIENT, &[Forward(GET)]),
    case(
        "a bare LF after the start line",
        b"GET /a HTTP/1.1\nhost: a\r\n\r\n",
        &[Reject(400)],
    )
    .fails(LENIENT, &[Forward(GET)]),
    case(
        "a bare LF after a field",
        b"GET /a HTTP/1.1\r\nhost: a\nx: b\r\n\r\n",
        &[Reject(400)],
    )
    .fails(LENIENT, &[Forward(GET)]),
    case(
        "a bare LF as the empty line",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\n",
        &[Reject(400)],
    )
    .fails(LENIENT, &[Forward(GET)]),
    case(
        "a bare LF before",
        b"\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    )
    .fails(LENIENT, &[Forward(GET)]),
    case(
        "a bare CR after the start line",
        b"GET /a HTTP/1.1\rhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a bare CR in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\rc\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a bare CR that hides a field",
        b"POST /a HTTP/1.1\r\nhost: a\r\nx: b\rcontent-length: 5\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "CR CR LF",
        b"GET /a HTTP/1.1\r\nhost: a\r\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a CR before the empty line",
        b"GET /a HTTP/1.1\r\nhost: a\r\n\r\r\n",
        &[Reject(400)],
    ),
    case(
        "a NUL in a value",
        b"GET /a HTTP/1.1\r\nhost: a\r\nx: b\0c\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a NUL in the target",
        b"GET /a\0b HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a NUL in the method",
        b"GE\0T /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case("no version", b"GET /a\r\nhost: a\r\n\r\n", &[Reject(400)]),
    case(
        "no target",
        b"GET HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case("a method alone", b"GET\r\nhost: a\r\n\r\n", &[Reject(400)]),
    case(
        "no method",
        b"/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space before",
        b" GET /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "two spaces before the target",
        b"GET  /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "two spaces before the version",
        b"GET /a  HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space after the version",
        b"GET /a HTTP/1.1 \r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a word after the version",
        b"GET /a HTTP/1.1 x\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space in the target",
        b"GET /a b HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a version within the target",
        b"GET /a HTTP/1.1/b HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "tabs between the words",
        b"GET\t/a\tHTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a tab after the method",
        b"GET\t/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a tab before the version",
        b"GET /a\tHTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a vertical tab between",
        b"GET\x0b/a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "DEL in the target",
        b"GET /a\x7f HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "bytes above ASCII in the target",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "UTF-8 in the target",
        b"GET /\xc3\xa9 HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a fragment after the host",
        b"GET http://a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    )
    .fails("a parsed target has lost it", &[Forward(plain("GET", "/"))]),
    case(
        "a fragment",
        b"GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    )
    .fails("a parsed target has lost it", &[Forward(GET)]),
    case(
        "no slash before the path",
        b"GET a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a query alone",
        b"GET ?a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a backslash",
        b"GET \\a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a byte of TLS",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a method with a colon",
        b"GET: /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a method with brackets",
        b"G(E)T /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a method above ASCII",
        b"G\xc9T /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a quoted method",
        b"\"GET\" /a HTTP/1.1\r\nhost: a\r\n\r\n",
        &[Reject(400)],
    ),
];

#[test]
fn lines() {
    run::requests(CASES);
}

/// What is too long or too much, each with a status of its own.
#[test]
fn sizes() {
    let get = |target: &str, fields: &str| -> &'static [u8] {
        format!("GET {target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
            .into_bytes()
            .leak()
    };
    let target: &'static str = format!("/{}", "a".repeat(8_000)).leak();
    let fields =
        |count: usize| -> String { (0..count).map(|at| format!("x-{at}: 1\r\n")).collect() };
    let middling = format!("/{}", "a".repeat(20_000));
    let long = format!("/{}", "a".repeat(70_000));
    run::requests(&[
        case(
            "a target of 8 kB",
            get(target, ""),
            Box::leak(Box::new([Forward(plain("GET", target))])),
        ),
        case("a target of 20 kB", get(&middling, ""), &[Reject(414)]),
        case("a target of 70 kB", get(&long, ""), &[Reject(414)])
            .fails("hyper counts the line among the fields", &[Reject(431)]),
        case("90 fields", get("/a", &fields(90)), &[Forward(GET)]),
        case("500 fields", get("/a", &fields(500)), &[Reject(431)]),
        case(
            "a field of 200 kB",
            get("/a", &format!("x: {}\r\n", "a".repeat(200_000))),
            &[Reject(431)],
        ),
        case(
            "a name of 70 kB",
            get("/a", &format!("{}: x\r\n", "a".repeat(70_000))),
            &[Reject(431)],
        ),
    ]);
}
