//! `Transfer-Encoding`: one field, `chunked` and nothing else, in HTTP/1.1 and without a length
//! beside it (RFC 9112 §6.1).

use crate::case::Expect::{Forward, Last, Reject};
use crate::case::{Case, case, chunked};
use crate::run;

const DROPPED: &str = "hyper drops a length beside a coding before anyone sees it, and closes";

pub(crate) const CASES: &[Case] = &[
    case(
        "chunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forward(chunked("POST", "/a", b"hello"))],
    ),
    case(
        "names and values know no case",
        b"POST /a HTTP/1.1\r\nhost: a\r\nTRANSFER-encoding: ChunKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forward(chunked("POST", "/a", b"hello"))],
    ),
    case(
        "spaces and tabs around",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \t chunked \t\r\n\r\n5\r\nhello\r\n\
          0\r\n\r\n",
        &[Forward(chunked("POST", "/a", b"hello"))],
    ),
    case(
        "an empty body",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[Forward(chunked("POST", "/a", b""))],
    ),
    case(
        "a GET in chunks",
        b"GET /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forward(chunked("GET", "/a", b"hello"))],
    ),
    case(
        "before a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        &[Reject(400)],
    )
    .fails(DROPPED, &[Last(chunked("POST", "/a", b"hello"))]),
    case(
        "after a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        &[Reject(400)],
    )
    .fails(DROPPED, &[Last(chunked("POST", "/a", b"hello"))]),
    case(
        "between two lengths",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\
          content-length: 6\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Reject(400)],
    )
    .fails(DROPPED, &[Last(chunked("POST", "/a", b"hello"))]),
    case(
        "beside a length that is none",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n\
          5\r\nhello\r\n0\r\n\r\n",
        &[Reject(400)],
    )
    .fails(DROPPED, &[Last(chunked("POST", "/a", b"hello"))]),
    case(
        "beside a length, and a request hidden behind it",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 38\r\ntransfer-encoding: chunked\r\n\r\n\
          0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: b\r\n\r\n",
        &[Reject(400)],
    )
    .fails(DROPPED, &[Last(chunked("POST", "/a", b""))]),
    case(
        "another coding beside a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: gzip\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "empty beside a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding:\r\n\r\nhello",
        &[Reject(400)],
    ),
    case(
        "empty",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "identity",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "identity beside a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\ncontent-length: 5\r\n\r\n\
          hello",
        &[Reject(400)],
    ),
    case(
        "identity, chunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "chunked, identity",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "gzip, chunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "chunked, gzip",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "chunked, chunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an empty member before",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: , chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an empty member after",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked,\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "xchunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "chunkedx",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunkedx\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "x chunked",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: x chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "quoted",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a parameter",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked;a=b\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "an empty parameter",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked;\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
          transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice, the second unknown",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
          transfer-encoding: cow\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice, the first unknown",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: identity\r\n\
          transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "twice, the first empty",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n\
          transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a vertical tab before",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a form feed after",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\x0c\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a NUL after",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\0\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a byte above ASCII after",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\xff\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a no-break space before",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \xa0chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "folded",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a space before the colon",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "a bare CR before the value",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\rchunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "with an underscore",
        b"POST /a HTTP/1.1\r\nhost: a\r\ntransfer_encoding: chunked\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "with an underscore beside a length",
        b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nTransfer_Encoding: chunked\r\n\r\n\
          hello",
        &[Reject(400)],
    ),
    case(
        "in HTTP/1.0",
        b"POST /a HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[Reject(400)],
    ),
    case(
        "in HTTP/1.0 beside a length",
        b"POST /a HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n\
          hello",
        &[Reject(400)],
    ),
    case(
        "named in Connection, and still what frames the message",
        b"POST /a HTTP/1.1\r\nhost: a\r\nconnection: transfer-encoding\r\n\
          transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        &[Forward(chunked("POST", "/a", b"hello"))],
    ),
];

#[test]
fn transfer_encoding() {
    run::requests(CASES);
}
