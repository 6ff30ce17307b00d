//! RFC 7541 as an encoder: that the proxy's field blocks can be read, within the table it is allowed.

use crate::case::Permit::Alive;
use crate::case::{case, run, status};
use crate::peer::Peer;

const HEADER_TABLE_SIZE: u16 = 1;

/// Asks for `/fields`, and that the answer can be read whole.
fn fields(peer: &mut Peer, stream: u32) {
    peer.get(stream, "/fields");
    let fields = peer.head(stream);
    assert_eq!(status(&fields), Some(200));
    let ones = fields.iter().filter(|field| field.0 == b"x-one").count();
    let long = fields.iter().find(|field| field.0 == b"x-long");
    assert!(ones == 8 && long.is_some_and(|field| field.1 == [b'y'; 6000]));
}

#[test]
fn tables() {
    run(&[
        case(
            "4.1 a table as there is without a setting",
            |peer| {
                for stream in [1, 3, 5, 7] {
                    fields(peer, stream);
                }
            },
            &[Alive],
        ),
        case(
            "4.2 no table",
            |peer| {
                peer.settle(&[(HEADER_TABLE_SIZE, 0)]);
                peer.decoder().allow(0);
                for stream in [1, 3] {
                    fields(peer, stream);
                }
                assert_eq!(peer.decoder().limit(), 0);
            },
            &[Alive],
        ),
        case(
            "4.2 a table that shrinks once it is full",
            |peer| {
                peer.acknowledged(1);
                fields(peer, 1);
                peer.settings(&[(HEADER_TABLE_SIZE, 100)]);
                peer.acknowledged(1);
                peer.decoder().allow(100);
                for stream in [3, 5] {
                    fields(peer, stream);
                }
                assert!(peer.decoder().limit() <= 100);
            },
            &[Alive],
        ),
        case(
            "4.2 a table that is gone and comes back",
            |peer| {
                peer.acknowledged(1);
                fields(peer, 1);
                peer.settings(&[(HEADER_TABLE_SIZE, 0)]);
                peer.settings(&[(HEADER_TABLE_SIZE, 4096)]);
                peer.acknowledged(2);
                for stream in [3, 5] {
                    fields(peer, stream);
                }
            },
            &[Alive],
        ),
        case(
            "4.2 a table as great as can be",
            |peer| {
                peer.settle(&[(HEADER_TABLE_SIZE, u32::MAX)]);
                peer.decoder().allow(usize::MAX);
                for stream in [1, 3, 5] {
                    fields(peer, stream);
                }
            },
            &[Alive],
        ),
        case(
            "RFC 9113 §4.3 blocks of more than a frame",
            |peer| {
                peer.get(1, "/huge");
                let fields = peer.head(1);
                let long = fields.iter().find(|field| field.0 == b"x-long");
                assert!(long.is_some_and(|field| field.1 == [b'Z'; 30_000]));
            },
            &[Alive],
        ),
    ]);
}
