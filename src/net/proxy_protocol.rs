//! The PROXY protocol, version 2: tells a TCP upstream who the caller is.
//!
//! The header goes before the first byte of a connection that carries one caller's bytes and nobody
//! else's; hence on TCP upstreams alone. Written after `proxy-protocol.txt` §2.2 of HAProxy.
//! What is absent: reading it, version 1, and TLVs. Its setting: `proxy_protocol` of an upstream.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, LOCAL: the connection is the proxy's own, or its caller has no address.
const LOCAL: u8 = 0x20;
/// Version 2, PROXY: on behalf of the caller whose addresses follow.
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Writes the header for a connection that a caller at `source` made to our listener at
/// `destination`. IPv4 mapped into IPv6 is written as IPv4; where one of both is IPv4 alone, it is
/// mapped. Without both addresses (unix sockets, connections of our own) the command is LOCAL, and
/// the upstream takes the addresses of the connection itself.
pub fn header(source: Option<SocketAddr>, destination: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(52);
    bytes.extend(SIGNATURE);
    let (Some(source), Some(destination)) = (source, destination) else {
        bytes.extend([LOCAL, UNSPECIFIED, 0, 0]);
        return bytes;
    };
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend([PROXY, TCP_OVER_IPV4, 0, 12]);
            bytes.extend(from.octets());
            bytes.extend(to.octets());
        }
        (from, to) => {
            bytes.extend([PROXY, TCP_OVER_IPV6, 0, 36]);
            bytes.extend(wide(from).octets());
            bytes.extend(wide(to).octets());
        }
    }
    bytes.extend(source.port().to_be_bytes());
    bytes.extend(destination.port().to_be_bytes());
    bytes
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests;
