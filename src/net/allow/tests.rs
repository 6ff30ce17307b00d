use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn list(patterns: &[&str]) -> AllowList {
    AllowList(patterns.iter().map(|text| text.parse().unwrap()).collect())
}

fn target(text: &str) -> Target {
    Target::parse(text, None).unwrap()
}

#[test]
fn patterns_match_hosts_and_ports() {
    for (pattern, matches, differs) in [
        (
            "api.example.com",
            &["api.example.com:80", "API.example.com.:443"][..],
            &[
                "api.example.com:8080",
                "example.com:80",
                "x.api.example.com:80",
                "api.example.com.evil.net:80",
            ][..],
        ),
        (
            "*.Example.com:443",
            &["a.example.com:443", "a.b.example.com:443"],
            &["example.com:443", "a.example.com:80", "aexample.com:443"],
        ),
        ("db.local:*", &["db.local:1", "db.local:65535"], &["db:1"]),
        ("db.local.:5432", &["db.local:5432"], &["db.local:443"]),
        (
            "10.0.0.0/8:5432",
            &["10.1.2.3:5432", "[::ffff:10.1.2.3]:5432"],
            &["10.1.2.3:443", "11.0.0.0:5432", "ten.local:5432"],
        ),
        (
            "10.1.2.3",
            &["10.1.2.3:80"],
            &["10.1.2.4:80", "[::10.1.2.3]:80"],
        ),
        ("10.0.0.0/8:*", &["10.1.2.3:1"], &["9.1.2.3:1"]),
        (
            "[2001:db8::]/32",
            &["[2001:db8::1]:443"],
            &["[2001:db8::1]:8443", "[2001:db9::1]:443"],
        ),
        (
            "[2001:db8::]/32:8443",
            &["[2001:db8::1]:8443"],
            &["[2001:db8::1]:443"],
        ),
        (
            "2001:db8::/32:*",
            &["[2001:db8::1]:7"],
            &["[2001:db9::1]:7"],
        ),
        ("[::1]:*", &["[::1]:7"], &["[::2]:7", "127.0.0.1:7"]),
        ("*", &["a:80", "1.2.3.4:443", "[::1]:80"], &["a:8080"]),
        ("*:*", &["a:1", "1.2.3.4:22", "[::1]:80"], &[]),
        ("*:22", &["a:22"], &["a:80"]),
    ] {
        let list = list(&[pattern]);
        for text in matches {
            assert!(list.allows(&target(text)), "{pattern} and {text}");
        }
        for text in differs {
            assert!(!list.allows(&target(text)), "{pattern} and {text}");
        }
    }
}

#[test]
fn an_empty_list_allows_nothing_and_one_match_is_enough() {
    assert!(!AllowList::default().allows(&target("a:80")));
    assert!(list(&["a", "b"]).allows(&target("b:80")));
}

#[test]
fn texts_that_are_no_pattern_say_why() {
    use BadPattern::{Network, Star, Target};
    for (text, expected) in [
        ("", Target(BadTarget::Host)),
        ("a b", Target(BadTarget::Host)),
        ("http://a", Network(BadNetwork::Address)),
        ("a:b", Target(BadTarget::Port)),
        ("a:0", Target(BadTarget::Port)),
        ("a:", Target(BadTarget::Port)),
        ("127.1", Target(BadTarget::OddIpv4)),
        ("[::1", Target(BadTarget::Ipv6)),
        ("[::1]x", Target(BadTarget::Host)),
        ("10.0.0.0/33", Network(BadNetwork::Prefix)),
        ("10.0.0.0/8:x", Target(BadTarget::Port)),
        ("a/8", Network(BadNetwork::Address)),
        (
            "10.0.0.1/8",
            Network(BadNetwork::Bits("10.0.0.0/8".parse().unwrap())),
        ),
        ("a.*.com", Star),
        ("**", Star),
        ("*a.com", Star),
        ("*.*.com", Star),
        ("*.1.2.3.4", Star),
        ("*.", Target(BadTarget::Host)),
        ("*.-a", Target(BadTarget::Host)),
    ] {
        assert_eq!(text.parse::<Pattern>(), Err(expected), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "[a-c0-9.:*/\\[\\]-]{0,20}|\\PC{0,20}") {
        let _ = text.parse::<Pattern>();
    }

    #[test]
    fn names_match_label_by_label(
        labels in vec("[ab]{1,2}", 1..5),
        pattern in vec("[ab]{1,2}", 1..4),
        star: bool,
    ) {
        let text = format!("{}{}", if star { "*." } else { "" }, pattern.join("."));
        let allows = list(&[&text]).allows(&target(&format!("{}:80", labels.join("."))));
        let expected = if star {
            labels.len() > pattern.len() && labels.ends_with(&pattern)
        } else {
            labels == pattern
        };
        prop_assert_eq!(allows, expected);
    }
}
