//! The syntax of a chunked body (RFC 9112 §7.1).

use crate::case::Expect::{Broken, Forward};
use crate::case::{Case, Message, case, chunked, plain};
use crate::run;

const HELLO: Message = chunked("POST", "/a", b"hello");

/// The head of every case before this body.
macro_rules! chunks {
    ($($body:expr),+) => {
        concat!(
            "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
            $($body),+
        )
        .as_bytes()
    };
}

pub(crate) const CASES: &[Case] = &[
    case(
        "two chunks",
        chunks!("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "leading zeros",
        chunks!("0005\r\nhello\r\n000\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "hexadecimal sizes of either case",
        chunks!("a\r\nhellohello\r\nB\r\nhellohello!\r\n0\r\n\r\n"),
        &[Forward(chunked("POST", "/a", b"hellohellohellohello!"))],
    ),
    case(
        "an extension",
        chunks!("5;a=b\r\nhello\r\n0;c\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "a quoted extension",
        chunks!("5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "space before an extension",
        chunks!("5 ;a=b\r\nhello\r\n0\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "chunks that look like messages",
        chunks!("1c\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\nxx\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a chunk that looks like the end and a message",
        chunks!("1c\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\nxxxx\r\n0\r\n\r\n"),
        &[Forward(chunked(
            "POST",
            "/a",
            b"0\r\n\r\nGET /b HTTP/1.1\r\n\r\nxxxx",
        ))],
    ),
    case(
        "a request behind the end",
        chunks!("5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n"),
        &[Forward(HELLO), Forward(plain("GET", "/b"))],
    ),
    case("no size", chunks!("\r\nhello\r\n0\r\n\r\n"), &[Broken(400)]),
    case(
        "no size but an extension",
        chunks!(";a\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a size that is none",
        chunks!("x\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "0x before the size",
        chunks!("0x5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a plus sign",
        chunks!("+5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a minus sign",
        chunks!("-5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "an underscore",
        chunks!("0_5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a comma",
        chunks!("5,5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a space within",
        chunks!("0 5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a space before the size",
        chunks!(" 5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a tab before the size",
        chunks!("\t5\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a space after the size",
        chunks!("5 \r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    )
    .fails(
        "hyper lets white space stand after a size, and it goes no further",
        &[Forward(HELLO)],
    ),
    case(
        "a vertical tab after the size",
        chunks!("5\u{b}\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a NUL after the size",
        chunks!("5\0\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a letter past f",
        chunks!("5g\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a size of 2^64",
        chunks!("10000000000000000\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a size of 2^64 and 5: no wrapping around",
        chunks!("10000000000000005\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a size of 2^32 and 5: no wrapping around",
        chunks!("100000005\r\nhello\r\n0\r\n\r\n"),
        &[Broken(499)],
    )
    .finished(),
    case(
        "zeros without end",
        chunks!("0000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "a bare LF after the size",
        chunks!("5\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare CR after the size",
        chunks!("5\rhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "CR CR LF after the size",
        chunks!("5\r\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF after the data",
        chunks!("5\r\nhello\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare CR after the data",
        chunks!("5\r\nhello\r0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "no CRLF after the data",
        chunks!("5\r\nhello0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "two CRLFs after the data",
        chunks!("5\r\nhello\r\n\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "longer than its size",
        chunks!("4\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "shorter than its size",
        chunks!("6\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF in an extension",
        chunks!("5;a\nb\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF that ends an extension",
        chunks!("5;a\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare CR in an extension",
        chunks!("5;a\rb\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a NUL in an extension",
        chunks!("5;a\0b\r\nhello\r\n0\r\n\r\n"),
        &[Broken(400)],
    )
    .fails(
        "hyper reads no extension, and none goes further",
        &[Forward(HELLO)],
    ),
    case(
        "the end without its empty line",
        chunks!("5\r\nhello\r\n0\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF after the last size",
        chunks!("5\r\nhello\r\n0\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF as the empty line, and a request behind it",
        chunks!("5\r\nhello\r\n0\r\n\nGET /b HTTP/1.1\r\nhost: b\r\n\r\n"),
        &[Broken(400)],
    )
    .fails(
        "hyper takes what is behind for trailers, and drops them",
        &[Forward(HELLO)],
    ),
    case(
        "a bare CR as the empty line",
        chunks!("5\r\nhello\r\n0\r\n\r"),
        &[Broken(400)],
    ),
    case("no end", chunks!("5\r\nhello\r\n"), &[Broken(499)]).finished(),
    case("no chunk", chunks!(""), &[Broken(499)]).finished(),
    case(
        "an end within a chunk",
        chunks!("6\r\nhello"),
        &[Broken(499)],
    )
    .finished(),
    case(
        "a trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "the length in a trailer",
        chunks!("5\r\nhello\r\n0\r\ncontent-length: 3\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "the coding in a trailer",
        chunks!("5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "Host in a trailer",
        chunks!("5\r\nhello\r\n0\r\nhost: b\r\n\r\n"),
        &[Forward(HELLO)],
    ),
    case(
        "announced trailers that must not be any",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
          trailer: content-length, transfer-encoding, host, x-sum\r\n\r\n5\r\nhello\r\n0\r\n\
          content-length: 3\r\ntransfer-encoding: chunked\r\nhost: b\r\nx-sum: 1\r\n\r\n",
        &[Forward(HELLO)],
    ),
    case(
        "a trailer without a colon",
        chunks!("5\r\nhello\r\n0\r\nx-sum\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a space before the colon of a trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum : 1\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a folded trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1\r\n 2\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare LF in a trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1\nhost: b\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a bare CR in a trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1\rhost: b\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a NUL in a trailer",
        chunks!("5\r\nhello\r\n0\r\nx-sum: \0\r\n\r\n"),
        &[Broken(400)],
    ),
    case(
        "a trailer that never ends",
        chunks!("5\r\nhello\r\n0\r\nx-sum: 1"),
        &[Broken(499)],
    )
    .finished(),
];

#[test]
fn chunks() {
    run::requests(CASES);
}

/// Extensions that cost more than their chunk, and trailers without bound.
#[test]
fn sizes() {
    let extension = Box::leak(format!("5;{}\r\n", "x".repeat(20_000)).into_boxed_str());
    let head = chunks!("");
    let long = [head, extension.as_bytes(), b"hello\r\n0\r\n\r\n"].concat();
    let trailer = format!("x-{}: 1\r\n", "x".repeat(100));
    let many = [head, b"0\r\n", trailer.repeat(10_000).as_bytes(), b"\r\n"].concat();
    run::requests(&[
        case("an extension of 20 kB", long.leak(), &[Broken(400)]),
        case("trailers of 1 MB", many.leak(), &[Broken(400)]),
    ]);
}
