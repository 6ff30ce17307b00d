use proptest::prelude::*;

use super::*;

/// What a receiver learns: `None` is LOCAL.
type Heard = Option<(SocketAddr, SocketAddr)>;

/// Reads a header as §2.2 describes it, and gives back what follows.
fn read(bytes: &[u8]) -> (Heard, &[u8]) {
    let signature = [
        0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
    ];
    assert_eq!(&bytes[..12], signature);
    assert_eq!(bytes[12] >> 4, 2, "version");
    let length = usize::from(bytes[14]) << 8 | usize::from(bytes[15]);
    let (addresses, rest) = bytes[16..].split_at(length);
    let port = |at: usize| u16::from(addresses[at]) << 8 | u16::from(addresses[at + 1]);
    let heard = match (bytes[12] & 0xf, bytes[13]) {
        (0, 0) => None,
        (1, 0x11) => {
            let ip = |at: usize| <[u8; 4]>::try_from(&addresses[at..at + 4]).unwrap();
            assert_eq!(length, 12);
            Some(((ip(0), port(8)).into(), (ip(4), port(10)).into()))
        }
        (1, 0x21) => {
            let ip = |at: usize| <[u8; 16]>::try_from(&addresses[at..at + 16]).unwrap();
            assert_eq!(length, 36);
            Some(((ip(0), port(32)).into(), (ip(16), port(34)).into()))
        }
        (command, family) => panic!("command {command}, family {family}"),
    };
    (heard, rest)
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn the_octets_are_those_of_the_specification() {
    let bytes = header(Some(at("10.1.2.3:258")), Some(at("127.0.0.1:9001")));
    let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
        \x0a\x01\x02\x03\x7f\x00\x00\x01\x01\x02\x23\x29";
    assert_eq!(bytes, expected);
    let local = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x20\x00\x00\x00";
    assert_eq!(header(None, None), local);
}

#[test]
fn families_are_told_as_they_are_or_made_one() {
    for (source, destination, heard) in [
        ("10.1.2.3:1", "10.9.9.9:2", ("10.1.2.3:1", "10.9.9.9:2")),
        ("[::1]:1", "[2001:db8::9]:2", ("[::1]:1", "[2001:db8::9]:2")),
        ("10.1.2.3:1", "[::1]:2", ("[::ffff:10.1.2.3]:1", "[::1]:2")),
        ("[::1]:1", "10.1.2.3:2", ("[::1]:1", "[::ffff:10.1.2.3]:2")),
        (
            "[::ffff:10.1.2.3]:1",
            "[::ffff:10.9.9.9]:2",
            ("10.1.2.3:1", "10.9.9.9:2"),
        ),
        (
            "[::ffff:10.1.2.3]:65535",
            "127.0.0.1:0",
            ("10.1.2.3:65535", "127.0.0.1:0"),
        ),
    ] {
        let bytes = header(Some(at(source)), Some(at(destination)));
        let heard = Some((at(heard.0), at(heard.1)));
        assert_eq!(read(&bytes), (heard, &b""[..]), "{source} {destination}");
    }
}

#[test]
fn without_both_addresses_the_connection_is_local() {
    let some = Some(at("10.1.2.3:1"));
    for (source, destination) in [(None, None), (some, None), (None, some)] {
        assert_eq!(read(&header(source, destination)), (None, &b""[..]));
    }
}

/// What is told of an address, beside one of the other family.
fn told(address: SocketAddr, wide: bool) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) if wide => (ip.to_ipv6_mapped(), address.port()).into(),
        ip => (ip, address.port()).into(),
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, mut after: Vec<u8>) {
        let mut bytes = header(Some(source), Some(destination));
        let payload = after.clone();
        bytes.append(&mut after);
        let (heard, rest) = read(&bytes);
        let wide = [source, destination].iter().any(|a| a.ip().to_canonical().is_ipv6());
        prop_assert_eq!(heard, Some((told(source, wide), told(destination, wide))));
        prop_assert_eq!(rest, payload);
    }
}
