use proptest::prelude::*;

use super::*;

fn guard(exceptions: &[&str]) -> AddressGuard {
    AddressGuard {
        exceptions: exceptions
            .iter()
            .map(|text| text.parse().unwrap())
            .collect(),
    }
}

#[track_caller]
fn refuses(exceptions: &[&str], ip: &str, expected: Option<&str>) {
    let found = guard(exceptions).refuses(ip.parse().unwrap());
    assert_eq!(found, expected, "{ip} with {exceptions:?}");
}

#[test]
fn neighbours_are_refused_in_every_disguise() {
    for (ip, expected) in [
        ("169.254.169.254", Some("metadata")),
        ("100.100.100.200", Some("metadata")),
        ("168.63.129.16", Some("metadata")),
        ("fd00:ec2::254", Some("metadata")),
        ("fd00:ec2::23", Some("metadata")),
        ("fd20:ce::254", Some("metadata")),
        ("169.254.0.1", Some("link_local")),
        ("169.254.170.2", Some("link_local")),
        ("fe80::1", Some("link_local")),
        ("febf:ffff::1", Some("link_local")),
        ("127.0.0.1", Some("loopback")),
        ("127.255.255.254", Some("loopback")),
        ("::1", Some("loopback")),
        ("0.0.0.0", Some("unspecified")),
        ("0.1.2.3", Some("unspecified")),
        ("::", Some("unspecified")),
        ("224.0.0.1", Some("multicast")),
        ("239.255.255.255", Some("multicast")),
        ("ff02::1", Some("multicast")),
        ("255.255.255.255", Some("broadcast")),
        // Mapped, compatible, translated, NAT64 (three ways), 6to4.
        ("::ffff:127.0.0.1", Some("loopback")),
        ("::ffff:a9fe:a9fe", Some("metadata")),
        ("::169.254.169.254", Some("metadata")),
        ("::2", Some("unspecified")),
        ("::ffff:0:169.254.169.254", Some("metadata")),
        ("64:ff9b::7f00:1", Some("loopback")),
        ("64:ff9b:1::a9fe:a9fe", Some("metadata")),
        ("64:ff9b:1:a9fe:a9:fe00::", Some("metadata")),
        ("2002:a9fe:a9fe::", Some("metadata")),
        ("2002:7f00:1:5::6", Some("loopback")),
        ("2002:e000:1::", Some("multicast")),
        // These may be reached.
        ("10.0.0.1", None),
        ("192.168.1.1", None),
        ("100.100.100.201", None),
        ("126.255.255.255", None),
        ("128.0.0.1", None),
        ("223.255.255.255", None),
        ("255.255.255.254", None),
        ("1.1.1.1", None),
        ("::ffff:10.0.0.1", None),
        ("64:ff9b::a00:1", None),
        ("2002:a00:1::", None),
        ("fd00:ec3::254", None),
        ("fec0::1", None),
        ("fd12::1", None),
        ("2001:db8::1", None),
    ] {
        refuses(&[], ip, expected);
    }
}

#[test]
fn exceptions_are_named_by_the_configuration() {
    for (exceptions, ip, expected) in [
        (&["127.0.0.0/8"][..], "127.0.0.1", None),
        (&["127.0.0.0/8"], "::ffff:127.0.0.1", None),
        (&["127.0.0.0/8"], "64:ff9b::7f00:1", None),
        (&["127.0.0.0/8"], "::1", Some("loopback")),
        (&["127.0.0.0/8"], "169.254.1.1", Some("link_local")),
        (&["169.254.170.2"], "169.254.170.2", None),
        (&["169.254.170.2"], "169.254.169.254", Some("metadata")),
        (&["64:ff9b::/96"], "64:ff9b::7f00:1", None),
        (&["64:ff9b::/96"], "127.0.0.1", Some("loopback")),
        (&["fe80::/10", "::1"], "::1", None),
        (&["0.0.0.0/0"], "0.0.0.0", None),
        (&["0.0.0.0/0"], "::1", Some("loopback")),
    ] {
        refuses(exceptions, ip, expected);
    }
}

proptest! {
    #[test]
    fn a_disguise_changes_nothing(ip: Ipv4Addr, rest: u128) {
        let plain = guard(&[]).refuses(ip.into());
        let bits = u128::from(ip.to_bits());
        let below = rest & ((1 << 80) - 1);
        for wide in [
            0xffff << 32 | bits,
            0xffff_0000 << 32 | bits,
            0x64_ff9b << 96 | bits,
            0x2002 << 112 | bits << 80 | below,
        ] {
            let wide = Ipv6Addr::from(wide);
            prop_assert_eq!(guard(&[]).refuses(wide.into()), plain, "{}", wide);
        }
        if bits > 1 {
            prop_assert_eq!(guard(&[]).refuses(Ipv6Addr::from(bits).into()), plain);
        }
    }

    #[test]
    fn what_std_calls_special_is_refused(ip: IpAddr) {
        let special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast();
        prop_assert!(!special || guard(&[]).refuses(ip).is_some());
        let all = guard(&["0.0.0.0/0", "::/0"]);
        prop_assert_eq!(all.refuses(ip), None);
    }
}
