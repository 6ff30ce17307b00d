//! Interim answers (RFC 9110 §15.2): they neither end nor break what comes after them, and none
//! switches a protocol that nobody asked to switch.

use crate::case::Body::{Length, None};
use crate::case::Outcome::{Pass, Refuse};
use crate::case::{Answer, Reply, answer, reply};
use crate::run;

const OK: Answer = answer(200, Length(b"hello"));

macro_rules! after {
    ($interim:literal) => {
        concat!(
            $interim,
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
        )
        .as_bytes()
    };
}

pub(crate) const REPLIES: &[Reply] = &[
    reply(
        "100 that nobody asked for",
        after!("HTTP/1.1 100 Continue\r\n\r\n"),
        Pass(OK),
    ),
    reply("102", after!("HTTP/1.1 102 Processing\r\n\r\n"), Pass(OK)),
    reply(
        "103 with fields",
        after!("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        Pass(OK.lacks(&["link"])),
    ),
    reply("199", after!("HTTP/1.1 199 Odd\r\n\r\n"), Pass(OK)),
    reply(
        "several",
        after!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
              HTTP/1.1 103 Early Hints\r\n\r\n"
        ),
        Pass(OK),
    ),
    reply(
        "a length, which frames nothing",
        after!("HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\n"),
        Pass(OK),
    ),
    reply(
        "a coding, which frames nothing",
        after!("HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\n"),
        Pass(OK),
    ),
    reply(
        "an interim answer that is none",
        after!("HTTP/1.1 103 Early Hints\r\nx y: z\r\n\r\n"),
        Refuse(502),
    ),
    reply(
        "103, and no more",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        Refuse(502),
    )
    .closed(),
    reply(
        "103 before 204",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        Pass(answer(204, None)),
    ),
    reply(
        "101 that nobody asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "101 that says to what it does not switch",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Refuse(502),
    ),
    reply(
        "101 to h2c",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n\
          \0\0\0\x04\0\0\0\0\0",
        Refuse(502),
    ),
    reply(
        "101 with a length",
        b"HTTP/1.1 101 Switching Protocols\r\ncontent-length: 5\r\n\r\nhello",
        Refuse(502),
    ),
    reply(
        "101 to HEAD",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        Refuse(502),
    )
    .to("HEAD"),
];

#[test]
fn interim() {
    run::responses(REPLIES);
}

/// Interim answers without an end, as far as patience goes.
#[test]
fn floods() {
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1_000);
    let many = format!("{many}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    let replies = vec![reply("a thousand", many.into_bytes().leak(), Pass(OK))];
    run::responses(replies.leak());
}
