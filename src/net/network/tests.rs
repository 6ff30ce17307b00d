use proptest::prelude::*;

use super::*;

fn net(text: &str) -> Network {
    text.parse().unwrap()
}

#[test]
fn networks_hold_what_shares_their_prefix() {
    for (network, ip, holds) in [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.0", false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", true),
        ("10.0.0.0/8", "::10.0.0.1", false),
        ("10.0.0.7", "10.0.0.7", true),
        ("10.0.0.7", "10.0.0.6", false),
        ("10.0.0.6/31", "10.0.0.7", true),
        ("0.0.0.0/0", "255.255.255.255", true),
        ("0.0.0.0/0", "::1", false),
        ("::/0", "::1", true),
        ("::/0", "1.2.3.4", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true),
        ("[2001:db8::]/32", "2001:db9::", false),
        ("::1", "::1", true),
        ("[::1]/128", "::", false),
        ("::ffff:0:0/96", "::ffff:1.2.3.4", true),
    ] {
        assert_eq!(
            net(network).contains(ip.parse().unwrap()),
            holds,
            "{network} {ip}"
        );
    }
}

#[test]
fn texts_that_are_none_say_why() {
    use BadNetwork::{Address, Bits, Prefix};
    for (text, expected) in [
        ("", Address),
        ("example.com", Address),
        ("10.0.0/8", Address),
        ("010.0.0.0/8", Address),
        ("[10.0.0.0]/8", Address),
        ("[::1/128", Address),
        ("10.0.0.0/", Prefix),
        ("10.0.0.0/33", Prefix),
        ("10.0.0.0/08", Prefix),
        ("10.0.0.0/+8", Prefix),
        ("10.0.0.0/8/8", Prefix),
        ("::/129", Prefix),
        ("::/256", Prefix),
        ("10.0.0.1/8", Bits(net("10.0.0.0/8"))),
        ("10.0.0.1/0", Bits(net("0.0.0.0/0"))),
        ("2001:db8::1/32", Bits(net("2001:db8::/32"))),
    ] {
        assert_eq!(text.parse::<Network>(), Err(expected), "{text}");
    }
    assert_eq!(
        net("10.0.0.0/8").to_string() + &net("::1").to_string(),
        "10.0.0.0/8::1/128"
    );
}

/// The first so many bits of an address, as text.
fn bits(ip: IpAddr, prefix: u8) -> String {
    let bits = match ip {
        IpAddr::V4(ip) => format!("4{:032b}", ip.to_bits()),
        IpAddr::V6(ip) => format!("6{:0128b}", ip.to_bits()),
    };
    bits[..=usize::from(prefix)].to_owned()
}

proptest! {
    #[test]
    fn prefixes_are_compared_bit_by_bit(a: IpAddr, b: IpAddr, prefix in 0_u8..=128) {
        let (Ok(network) | Err(BadNetwork::Bits(network))) = Network::new(a, prefix) else {
            prop_assert!(a.is_ipv4() && prefix > 32);
            return Ok(());
        };
        prop_assert!(network.contains(a));
        let b = if a.is_ipv4() { b.to_canonical() } else { b };
        let same = a.is_ipv4() == b.is_ipv4() && bits(a, prefix) == bits(b, prefix);
        prop_assert_eq!(network.contains(b), same);
        prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
    }
}
