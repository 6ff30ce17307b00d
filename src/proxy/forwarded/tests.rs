use http::Request;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ALL: Forwarding = Forwarding {
    via: true,
    forwarded: true,
    x_forwarded: true,
};

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_bytes(text.as_bytes()).unwrap()
}

fn seen<'a>(peer: &str, host: Option<&'a HeaderValue>) -> Seen<'a> {
    Seen {
        peer: match peer {
            "unix" => Peer::Unix,
            "unknown" => Peer::Unknown,
            ip => Peer::Ip(ip.parse().unwrap()),
        },
        is_tls: false,
        version: Version::HTTP_11,
        host,
    }
}

/// All lines of a field.
fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .collect()
}

#[test]
fn peers_and_hosts_are_written_as_the_rfc_has_them() {
    for (peer, host, forwarded, x_for) in [
        (
            "192.0.2.1",
            "a.example",
            "for=192.0.2.1;proto=http;host=a.example",
            "192.0.2.1",
        ),
        (
            "192.0.2.1",
            "a.example:8080",
            r#"for=192.0.2.1;proto=http;host="a.example:8080""#,
            "192.0.2.1",
        ),
        (
            "2001:db8::1",
            "[::1]:80",
            r#"for="[2001:db8::1]";proto=http;host="[::1]:80""#,
            "2001:db8::1",
        ),
        (
            "::ffff:192.0.2.1",
            "a",
            "for=192.0.2.1;proto=http;host=a",
            "192.0.2.1",
        ),
        ("unix", "", "for=_unix;proto=http", "unknown"),
        ("unknown", "", "for=unknown;proto=http", "unknown"),
        (
            "192.0.2.1",
            r#"a"b\c"#,
            r#"for=192.0.2.1;proto=http;host="a\"b\\c""#,
            "192.0.2.1",
        ),
    ] {
        let host = value(host);
        let mut headers = HeaderMap::new();
        add(&mut headers, ALL, &seen(peer, Some(&host)));
        assert_eq!(lines(&headers, "forwarded"), [forwarded]);
        assert_eq!(lines(&headers, "x-forwarded-for"), [x_for]);
        assert_eq!(headers["x-forwarded-host"], host);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["via"], "1.1 outrigger");
    }
}

#[test]
fn what_was_there_comes_first_and_proto_and_host_are_ours() {
    let mut headers = HeaderMap::new();
    for (name, text) in [
        ("via", "1.0 fred"),
        ("via", "1.1 p.example (a comment)"),
        ("forwarded", "for=192.0.2.43, for=\"[2001:db8:cafe::17]\""),
        ("forwarded", "for=unknown"),
        ("x-forwarded-for", "192.0.2.43"),
        ("x-forwarded-for", ""),
        ("x-forwarded-for", "198.51.100.17"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "elsewhere.example"),
    ] {
        headers.append(name, value(text));
    }
    let seen = Seen {
        is_tls: true,
        version: Version::HTTP_2,
        ..seen("192.0.2.1", None)
    };
    add(&mut headers, ALL, &seen);
    for (name, expected) in [
        (
            "via",
            &["1.0 fred, 1.1 p.example (a comment), 2 outrigger"][..],
        ),
        (
            "forwarded",
            &[
                "for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=unknown, for=192.0.2.1;proto=https",
            ],
        ),
        ("x-forwarded-for", &["192.0.2.43, 198.51.100.17, 192.0.2.1"]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-host", &[]),
    ] {
        assert_eq!(lines(&headers, name), expected, "{name}");
    }
}

#[test]
fn a_quote_that_stays_open_swallows_nothing() {
    for (text, kept) in [
        (r#"for="a"#, false),
        (r#"for="a\""#, false),
        (r#"for="a\"b""#, true),
        (r#"for="a\\""#, true),
        (r"for=a\", true),
        (r#"for="a";by="b, for="c""#, false),
    ] {
        let mut headers = HeaderMap::new();
        headers.append("forwarded", value("for=192.0.2.43"));
        headers.append("forwarded", value(text));
        add(&mut headers, ALL, &seen("192.0.2.1", None));
        let ours = "for=192.0.2.1;proto=http";
        let expected = if kept {
            format!("for=192.0.2.43, {text}, {ours}")
        } else {
            ours.to_owned()
        };
        assert_eq!(lines(&headers, "forwarded"), [expected]);
    }
}

#[test]
fn each_is_switched_by_itself() {
    let names = ["via", "forwarded", "x-forwarded-for", "x-forwarded-proto"];
    for (via, forwarded, x_forwarded) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (false, false, true),
    ] {
        let mut headers = HeaderMap::new();
        let forwarding = Forwarding {
            via,
            forwarded,
            x_forwarded,
        };
        add(&mut headers, forwarding, &seen("192.0.2.1", None));
        let found = names.map(|name| headers.contains_key(name));
        assert_eq!(found, [via, forwarded, x_forwarded, x_forwarded]);
    }
}

#[test]
fn via_names_the_version_that_was_received() {
    for (version, expected) in [
        (Version::HTTP_10, "1.0 outrigger"),
        (Version::HTTP_11, "1.1 outrigger"),
        (Version::HTTP_2, "2 outrigger"),
    ] {
        let mut headers = HeaderMap::new();
        add_via(&mut headers, version);
        assert_eq!(headers["via"], expected);
    }
}

#[test]
fn the_targets_host_goes_before_the_field() {
    for (target, field, expected) in [
        ("/x", Some("a.example"), Some("a.example")),
        (
            "http://b.example:81/x",
            Some("a.example"),
            Some("b.example:81"),
        ),
        ("/x", None, None),
    ] {
        let mut request = Request::new(());
        *request.uri_mut() = target.parse().unwrap();
        if let Some(field) = field {
            request.headers_mut().insert("host", value(field));
        }
        assert_eq!(asked_host(&request), expected.map(value));
    }
}

/// Reads a `Forwarded` list: elements of pairs, with quotes taken off.
fn read(text: &[u8]) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut elements = vec![vec![(vec![], vec![])]];
    let (mut in_value, mut quoted) = (false, false);
    let mut bytes = text.iter().copied();
    while let Some(mut byte) = bytes.next() {
        let pairs = elements.last_mut().unwrap();
        match byte {
            b'"' if in_value => {
                quoted = !quoted;
                continue;
            }
            b'\\' if quoted => byte = bytes.next().unwrap(),
            b',' if !quoted => {
                elements.push(vec![(vec![], vec![])]);
                in_value = false;
                continue;
            }
            b';' if !quoted => {
                pairs.push((vec![], vec![]));
                in_value = false;
                continue;
            }
            b'=' if !in_value => {
                in_value = true;
                continue;
            }
            b' ' if !quoted => continue,
            _ => {}
        }
        let (name, value) = pairs.last_mut().unwrap();
        if in_value { value } else { name }.push(byte);
    }
    assert!(!quoted, "a quote stays open");
    elements
}

fn field() -> impl Strategy<Value = HeaderValue> {
    let bytes = vec(
        prop_oneof![
            Just(b'"'),
            Just(b'\\'),
            Just(b','),
            0x20_u8..0x7f,
            0x80_u8..
        ],
        0..20,
    );
    bytes.prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap())
}

proptest! {
    #[test]
    fn the_last_element_is_ours(
        before in vec(field(), 0..3),
        host in field(),
        ip: IpAddr,
    ) {
        let mut headers = HeaderMap::new();
        for value in before {
            for name in ["forwarded", "x-forwarded-for", "via"] {
                headers.append(name, value.clone());
            }
        }
        let peer = Peer::Ip(ip);
        add(&mut headers, ALL, &Seen { peer, ..seen("unix", Some(&host)) });

        let line = headers["forwarded"].as_bytes();
        let own = element(&Seen { peer, ..seen("unix", Some(&host)) });
        prop_assert!(line.ends_with(&own));
        let elements = read(&own);
        prop_assert_eq!(elements.len(), 1);
        let ip = ip.to_canonical();
        let node = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
        prop_assert_eq!(&elements[0][0], &(b"for".to_vec(), node.into_bytes()));
        if let Some(pair) = elements[0].get(2) {
            prop_assert_eq!(pair, &(b"host".to_vec(), host.as_bytes().to_vec()));
        }
        // What comes before it leaves no quote open.
        let before = HeaderValue::from_bytes(&line[..line.len() - own.len()]).unwrap();
        prop_assert!(is_closed(&before));

        let x_for = headers["x-forwarded-for"].as_bytes();
        let last = x_for.rsplit(|byte| *byte == b' ').next();
        prop_assert_eq!(last.map(<[u8]>::to_vec), Some(ip.to_string().into_bytes()));
        prop_assert!(headers["via"].as_bytes().ends_with(b"1.1 outrigger"));
        for name in ["forwarded", "x-forwarded-for", "via"] {
            prop_assert_eq!(headers.get_all(name).iter().count(), 1);
        }
    }
}
