use proptest::prelude::*;

use super::*;

fn name(name: &str, port: u16) -> Result<Target, BadTarget> {
    let host = Host::Name(name.into());
    Ok(Target { host, port })
}

fn ip(ip: &str, port: u16) -> Result<Target, BadTarget> {
    let host = Host::Ip(ip.parse().unwrap());
    Ok(Target { host, port })
}

#[test]
fn authorities_are_read_strictly() {
    use BadTarget::*;
    let long = "a".repeat(63);
    let too_long = format!("{long}a:80");
    let longest = [&long[..], &long, &long, &long[..61]].join(".");
    for (text, expected) in [
        ("example.com:443", name("example.com", 443)),
        ("EXAMPLE.Com.:443", name("example.com", 443)),
        ("example.com", name("example.com", 80)),
        ("a_b.local:1", name("a_b.local", 1)),
        ("_grpc:65535", name("_grpc", 65535)),
        ("localhost:80", name("localhost", 80)),
        (
            "xn--bcher-kva.example:80",
            name("xn--bcher-kva.example", 80),
        ),
        ("1.2.3.4.example:80", name("1.2.3.4.example", 80)),
        ("0x7f.1.com", name("0x7f.1.com", 80)),
        ("1.2.3.4a:80", name("1.2.3.4a", 80)),
        ("0x7g:80", name("0x7g", 80)),
        (&longest, name(&longest, 80)),
        ("127.0.0.1:80", ip("127.0.0.1", 80)),
        ("255.255.255.255", ip("255.255.255.255", 80)),
        ("[::1]:443", ip("::1", 443)),
        ("[2001:DB8::1]", ip("2001:db8::1", 80)),
        ("[::ffff:127.0.0.1]:80", ip("127.0.0.1", 80)),
        ("[::ffff:7f00:1]:80", ip("127.0.0.1", 80)),
        ("[::127.0.0.1]:80", ip("::7f00:1", 80)),
        ("", Err(Host)),
        (".", Err(Host)),
        (":80", Err(Host)),
        (".example.com:80", Err(Host)),
        ("example..com:80", Err(Host)),
        ("example.com..:80", Err(Host)),
        ("-a.com:80", Err(Host)),
        ("a-.com:80", Err(Host)),
        ("b\u{fc}cher.example:80", Err(Host)),
        ("\u{ff11}27.0.0.1:80", Err(Host)),
        ("user@example.com:80", Err(Host)),
        ("user:secret@example.com:80", Err(Ipv6)),
        ("exa mple.com:80", Err(Host)),
        ("example.com/x:80", Err(Host)),
        ("example%2ecom:80", Err(Host)),
        ("*.example.com:80", Err(Host)),
        ("example.com\0:80", Err(Host)),
        (&too_long, Err(Host)),
        (&format!("{longest}a"), Err(Host)),
        ("127.1:80", Err(OddIpv4)),
        ("0x7f.1:80", Err(OddIpv4)),
        ("0X7F000001:80", Err(OddIpv4)),
        ("127.0.0.0x1:80", Err(OddIpv4)),
        ("0x:80", Err(OddIpv4)),
        ("2130706433:80", Err(OddIpv4)),
        ("0177.0.0.1:80", Err(OddIpv4)),
        ("127.0.0.01:80", Err(OddIpv4)),
        ("127.0.0.256:80", Err(OddIpv4)),
        ("127.0.0.1.1:80", Err(OddIpv4)),
        ("127.0.0.1.:80", Err(OddIpv4)),
        ("example.1:80", Err(OddIpv4)),
        ("[::1", Err(Ipv6)),
        ("[]:80", Err(Ipv6)),
        ("[127.0.0.1]:80", Err(Ipv6)),
        ("[fe80::1%eth0]:80", Err(Ipv6)),
        ("[fe80::1%25eth0]:80", Err(Ipv6)),
        ("[v1.x]:80", Err(Ipv6)),
        ("[[::1]]:80", Err(Host)),
        ("[::1]80", Err(Host)),
        ("[::1].:80", Err(Host)),
        ("::1", Err(Ipv6)),
        ("2001:db8::1", Err(Ipv6)),
        ("example.com:", Err(Port)),
        ("example.com:0", Err(Port)),
        ("example.com:00080", Err(Port)),
        ("example.com:+80", Err(Port)),
        ("example.com:65536", Err(Port)),
        ("example.com:80:80", Err(Ipv6)),
        ("example.com: 80", Err(Port)),
        ("example.com:http", Err(Port)),
        ("example.com:\u{0668}\u{0660}", Err(Port)),
    ] {
        assert_eq!(Target::parse(text, Some(80)), expected, "{text:?}");
    }
}

#[test]
fn a_target_of_connect_has_a_port() {
    assert_eq!(Target::parse("example.com", None), Err(BadTarget::NoPort));
    assert_eq!(Target::parse("[::1]", None), Err(BadTarget::NoPort));
    assert_eq!(Target::parse("example.com:1", None), name("example.com", 1));
}

proptest! {
    #[test]
    fn what_is_read_is_written_in_one_form(text in "[a-zA-Z0-9.:x%@_\\[\\]-]{0,30}") {
        if let Ok(target) = Target::parse(&text, Some(80)) {
            let written = target.to_string();
            prop_assert_eq!(Target::parse(&written, None), Ok(target.clone()), "{}", written);
            if let Host::Name(name) = &target.host {
                // Nobody's idea of an address.
                prop_assert!(name.parse::<IpAddr>().is_err());
                prop_assert!(name.rsplit('.').next().unwrap().parse::<u64>().is_err());
                prop_assert_eq!(name.to_ascii_lowercase(), &**name);
            }
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text: String, port: Option<u16>) {
        let _ = Target::parse(&text, port);
    }

    #[test]
    fn addresses_are_read_back(ip: IpAddr, port in 1_u16..) {
        let ip = ip.to_canonical();
        let target = Target { host: Host::Ip(ip), port };
        prop_assert_eq!(Target::parse(&target.to_string(), None), Ok(target));
    }
}
