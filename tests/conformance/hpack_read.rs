//! RFC 7541 as a decoder: what the proxy reads of a caller's field blocks.

use crate::case::Permit::{Alive, GoAway, Status};
use crate::case::{COMPRESSION_ERROR, Permit, case, run};
use crate::h2raw::{END_STREAM, HEADERS};
use crate::peer::{Peer, block, request};

const WRONG: &[Permit] = &[GoAway(COMPRESSION_ERROR)];

/// A request with these bytes at the end of its block.
fn ending(peer: &mut Peer, stream: u32, path: &str, bytes: &[u8]) {
    let fields = [&block(&request("GET", path))[..], bytes].concat();
    peer.block(stream, &fields, true);
}

/// One with these bytes before everything else.
fn beginning(peer: &mut Peer, stream: u32, bytes: &[u8]) {
    let fields = [bytes, &block(&request("GET", "/"))].concat();
    peer.block(stream, &fields, true);
}

/// `x-a: y`, to be remembered.
const REMEMBERED: &[u8] = b"\x40\x03x-a\x01y";

/// The field that was remembered last.
const NEWEST: &[u8] = b"\xbe";

#[test]
fn indices() {
    run(&[
        case(
            "2.3.3 of nothing",
            |peer| ending(peer, 1, "/bad", &[0x80]),
            WRONG,
        ),
        case(
            "2.3.3 beyond the table",
            |peer| ending(peer, 1, "/bad", NEWEST),
            WRONG,
        ),
        case(
            "2.3.3 far beyond the table",
            |peer| ending(peer, 1, "/bad", b"\xff\xff\x7f"),
            WRONG,
        ),
        case(
            "2.3.3 of a name, beyond the table",
            |peer| ending(peer, 1, "/bad", b"\x7f\x10\x01y"),
            WRONG,
        ),
        case(
            "6.1 the static table's",
            |peer| peer.block(1, b"\x82\x86\x84\x41\x06a.test", true),
            &[Status(1, 200)],
        ),
        case(
            "6.2.1 of what was remembered, in the same block and later",
            |peer| {
                ending(peer, 1, "/seen", &[REMEMBERED, NEWEST].concat());
                peer.answered(1, b"x-a=y|x-a=y");
                ending(peer, 3, "/seen", NEWEST);
                peer.answered(3, b"x-a=y");
            },
            &[Alive],
        ),
        case(
            "6.2.1 of a name that was remembered",
            |peer| {
                ending(peer, 1, "/seen", REMEMBERED);
                peer.answered(1, b"x-a=y");
                ending(peer, 3, "/seen", b"\x7e\x01z\xbe\xbf");
                peer.answered(3, b"x-a=z|x-a=z|x-a=y");
            },
            &[Alive],
        ),
        case(
            "6.2.2 what is not indexed is not remembered",
            |peer| {
                ending(peer, 1, "/seen", b"\x00\x03x-a\x01y");
                peer.answered(1, b"x-a=y");
                ending(peer, 3, "/bad", NEWEST);
            },
            WRONG,
        ),
        case(
            "6.2.3 what is never indexed is not remembered",
            |peer| {
                ending(peer, 1, "/seen", b"\x10\x03x-a\x01y");
                peer.answered(1, b"x-a=y");
                ending(peer, 3, "/bad", NEWEST);
            },
            WRONG,
        ),
        case(
            "6.2.1 trailers are remembered as well",
            |peer| {
                peer.post(1, "/");
                peer.block(1, REMEMBERED, true);
                peer.answered(1, b"ok");
                ending(peer, 3, "/seen", NEWEST);
                peer.answered(3, b"x-a=y");
            },
            &[Alive],
        ),
    ]);
}

#[test]
fn table_sizes() {
    run(&[
        case(
            "4.2 above the limit",
            // 5000
            |peer| beginning(peer, 1, b"\x3f\xe9\x26"),
            WRONG,
        ),
        case(
            "4.2 one above the limit",
            // 4097
            |peer| beginning(peer, 1, b"\x3f\xe2\x1f"),
            WRONG,
        ),
        case(
            "4.2 at the limit",
            // 4096
            |peer| beginning(peer, 1, b"\x3f\xe1\x1f"),
            &[Status(1, 200)],
        ),
        case(
            "4.2 behind a field",
            |peer| ending(peer, 1, "/bad", b"\x20"),
            WRONG,
        ),
        case(
            "4.2 two in a row",
            |peer| beginning(peer, 1, b"\x20\x3f\xe1\x1f"),
            &[Status(1, 200)],
        ),
        case(
            "4.3 of nothing forgets everything",
            |peer| {
                ending(peer, 1, "/seen", REMEMBERED);
                peer.answered(1, b"x-a=y");
                beginning(peer, 3, b"\x20\x3f\xe1\x1f");
                peer.answered(3, b"ok");
                ending(peer, 5, "/bad", NEWEST);
            },
            WRONG,
        ),
        case(
            "4.3 that fits forgets nothing",
            |peer| {
                ending(peer, 1, "/seen", REMEMBERED);
                peer.answered(1, b"x-a=y");
                // 36: the size of that field.
                beginning(peer, 3, b"\x3f\x05");
                peer.answered(3, b"ok");
                ending(peer, 5, "/seen", NEWEST);
                peer.answered(5, b"x-a=y");
            },
            &[Alive],
        ),
        case(
            "4.3 one below forgets it",
            |peer| {
                ending(peer, 1, "/seen", REMEMBERED);
                peer.answered(1, b"x-a=y");
                // 35
                beginning(peer, 3, b"\x3f\x04");
                peer.answered(3, b"ok");
                ending(peer, 5, "/bad", NEWEST);
            },
            WRONG,
        ),
        case(
            "4.4 a field larger than the table empties it",
            |peer| {
                let large = [b"\x40\x03x-b\x7f\xa1\x1f".as_slice(), &[b'z'; 4128]].concat();
                ending(peer, 1, "/", &[REMEMBERED, &large].concat());
                peer.answered(1, b"ok");
                ending(peer, 3, "/bad", NEWEST);
            },
            WRONG,
        ),
        case(
            "4.4 the oldest goes first",
            |peer| {
                // Room for two of those.
                beginning(peer, 1, b"\x3f\x29");
                peer.answered(1, b"ok");
                let three = [REMEMBERED, b"\x40\x03x-b\x01y", b"\x40\x03x-c\x01y"].concat();
                ending(peer, 3, "/", &three);
                peer.answered(3, b"ok");
                ending(peer, 5, "/seen", b"\xbe\xbf\x00\x04x-ad\x01z");
                peer.answered(5, b"x-ad=z");
                ending(peer, 7, "/bad", b"\xc0");
            },
            WRONG,
        ),
    ]);
}

#[test]
fn numbers_and_strings() {
    run(&[
        case(
            "5.1 a number without end",
            |peer| ending(peer, 1, "/bad", &[0xff; 20]),
            WRONG,
        ),
        case(
            "5.1 an index beyond 32 bits",
            |peer| ending(peer, 1, "/bad", b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
            WRONG,
        ),
        case(
            "5.1 a length beyond the block",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x7f\xff\xff\xff\x07y"),
            WRONG,
        ),
        case(
            "5.1 a number that is cut",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x7f\x80"),
            WRONG,
        ),
        case(
            "5.1 a number with zeros behind it",
            |peer| {
                // 127 + 1, twice as long as it need be.
                let value = [b"\x00\x04x-ad\x7f\x81\x80\x00".as_slice(), &[b'z'; 128]].concat();
                ending(peer, 1, "/seen", &value);
                peer.answered(1, &[b"x-ad=".as_slice(), &[b'z'; 128]].concat());
            },
            &[Alive],
        ),
        case(
            "5.2 by Huffman codes",
            |peer| {
                // `www.example.com` (appendix C.4.1)
                let coded = b"\x00\x03x-a\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
                ending(peer, 1, "/seen", coded);
                peer.answered(1, b"x-a=www.example.com");
            },
            &[Alive],
        ),
        case(
            "5.2 a coded string of nothing",
            |peer| {
                ending(peer, 1, "/seen", b"\x00\x03x-a\x80");
                peer.answered(1, b"x-a=");
            },
            &[Alive],
        ),
        case(
            "5.2 padding of eight bits",
            |peer| {
                // `aaaaaaaa` takes five whole bytes.
                ending(peer, 1, "/bad", b"\x00\x03x-a\x86\x18\xc6\x31\x8c\x63\xff");
            },
            WRONG,
        ),
        case(
            "5.2 padding alone",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x81\xff"),
            WRONG,
        ),
        case(
            "5.2 padding of zeros",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x81\x18"),
            WRONG,
        ),
        case(
            "5.2 padding of ones",
            |peer| {
                ending(peer, 1, "/seen", b"\x00\x03x-a\x81\x1f");
                peer.answered(1, b"x-a=a");
            },
            &[Alive],
        ),
        case(
            "5.2 the end of a string within it",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x84\xff\xff\xff\xff"),
            WRONG,
        ),
        case(
            "5.2 the end of a string within it, and more",
            // EOS, then `a` and three bits of padding.
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a\x85\xff\xff\xff\xfc\x7f"),
            WRONG,
        ),
        case(
            "6.2 a name and no value",
            |peer| ending(peer, 1, "/bad", b"\x00\x03x-a"),
            WRONG,
        ),
        case(
            "6.2 a literal and no name",
            |peer| ending(peer, 1, "/bad", b"\x00"),
            WRONG,
        ),
    ]);
}

#[test]
fn fragments() {
    run(&[
        case(
            "RFC 9113 §4.3 cut within a coded string",
            |peer| {
                let coded = b"\x40\x03x-a\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
                let fields = [&block(&request("GET", "/seen"))[..], coded].concat();
                let (first, rest) = fields.split_at(fields.len() - 7);
                peer.frame(HEADERS, END_STREAM, 1, first);
                peer.continuation(1, rest, true);
                peer.answered(1, b"x-a=www.example.com");
                ending(peer, 3, "/seen", NEWEST);
                peer.answered(3, b"x-a=www.example.com");
            },
            &[Alive],
        ),
        case(
            "RFC 9113 §4.3 cut within a number",
            |peer| {
                let long = "z".repeat(300);
                let fields = [&request("GET", "/seen")[..], &[("x-a", &long)]].concat();
                let fields = block(&fields);
                let (first, rest) = fields.split_at(fields.len() - 301);
                peer.frame(HEADERS, END_STREAM, 1, first);
                peer.continuation(1, rest, true);
                peer.answered(1, format!("x-a={long}").as_bytes());
            },
            &[Alive],
        ),
        case(
            "RFC 9113 §4.3 a mistake in the second piece",
            |peer| {
                peer.frame(HEADERS, END_STREAM, 1, &block(&request("GET", "/bad")));
                peer.continuation(1, NEWEST, true);
            },
            WRONG,
        ),
    ]);
}
