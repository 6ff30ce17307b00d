//! What is spoken: TLS, HTTP/2, TCP upstreams, hosts that callers name, gRPC.

use super::lints::assert_in_manual;
use super::{asked, drawn, explained, ms, parse, rows};
use crate::config::model::Config;
use crate::explain::{Lost, explain, text};

/// One upstream with these lines in its table, at one listener with those.
fn upstream(lines: &str, listener: &str) -> Config {
    parse(&format!(
        "[upstreams.a]\n{lines}\n[[listeners]]\nname = \"a\"\n\
         address = \"127.0.0.1:9001\"\nroutes = [{{ upstream = \"a\" }}]\n{listener}"
    ))
}

const PLAIN: &str = "dns = \"one:8080\"";
const SECURE: &str = "dns = \"one:8443\"\ntls = {}";

/// The ids of the lints of a request with these fields.
fn ids(config: &Config, headers: &[&str]) -> Vec<&'static str> {
    let request = asked("POST", "/x", headers, None);
    let answers = explained(config, &request);
    answers[0].lints.iter().map(|lint| lint.id).collect()
}

/// What is said about a request.
fn said(config: &Config) -> String {
    let request = asked("GET", "/x", &[], None);
    text::write(&request, &explained(config, &request))
}

#[test]
fn one_pin_alone_is_pointed_out() {
    let pin = |letter: &str| format!("\"sha256/{}=\"", letter.repeat(43));
    let pinned = |pins: &[String]| {
        let lines = format!("dns = \"one:8443\"\ntls.pins = [{}]", pins.join(", "));
        ids(&upstream(&lines, ""), &[])
    };
    assert_eq!(pinned(&[pin("A")]), ["no-backup-pin"]);
    assert_eq!(pinned(&[pin("A"), pin("A")]), ["no-backup-pin"]);
    assert!(pinned(&[pin("A"), pin("E")]).is_empty());
    assert!(pinned(&[]).is_empty());
    assert_in_manual("no-backup-pin");
}

#[test]
fn a_proxy_open_to_everything_is_pointed_out() {
    let open = |allow: &str| ids(&upstream(&format!("forward.allow = {allow}"), ""), &[]);
    assert_eq!(open("[\"a.test\", \"*\"]"), ["forward-allows-everything"]);
    assert!(open("[\"*:443\", \"*.test\"]").is_empty());
    assert_in_manual("forward-allows-everything");
}

#[test]
fn grpc_needs_http2_on_both_sides() {
    const GRPC: &str = "content-type: application/grpc+proto";
    let both = ["grpc-over-http1", "grpc-over-http1"];
    let http1 = "protocol = \"http1\"";
    let plain = upstream(PLAIN, http1);
    assert_eq!(ids(&plain, &[GRPC]), both);
    assert!(ids(&plain, &["content-type: application/json"]).is_empty());
    assert_eq!(ids(&upstream(PLAIN, ""), &[GRPC]), both[1..]);
    for lines in [SECURE, "dns = \"one:80\"\nprotocol = \"http2\""] {
        assert!(ids(&upstream(lines, ""), &[GRPC]).is_empty(), "{lines}");
    }
    assert_in_manual("grpc-over-http1");
    let slow = upstream(SECURE, "downstream.min_body_rate = \"1KiB\"");
    assert_eq!(ids(&slow, &[GRPC]), ["body-rate-ends-streams"]);
    assert!(ids(&slow, &[]).is_empty());
    assert_in_manual("body-rate-ends-streams");
}

#[test]
fn streams_share_connections() {
    let few = |protocol: &str, streams: usize| {
        let lines = format!(
            "{PLAIN}\nprotocol = \"{protocol}\"\nhttp2.max_streams = {streams}\n\
             bulkhead = {{ max_connections = 2, max_requests = 64 }}"
        );
        ids(&upstream(&lines, ""), &[])
    };
    assert_eq!(few("http1", 100), ["too-few-connections"]);
    assert_eq!(few("http2", 31), ["too-few-connections"]);
    assert!(few("http2", 32).is_empty());
    // What TLS agrees on is not known.
    let lines = format!("{SECURE}\nbulkhead.max_connections = 2");
    assert!(ids(&upstream(&lines, ""), &[]).is_empty());
}

#[test]
fn a_tcp_upstream_is_waited_for_until_it_is_connected() {
    let config = upstream(
        "dns = \"db:5432\"\nprotocol = \"tcp\"\nproxy_protocol = true\n\
         timeouts = { connect = \"600ms\", tunnel_idle = \"5m\" }",
        "[defaults]\ntimeouts.request = \"50ms\"\nretry.mode = \"off\"",
    );
    let line = drawn(&config, "GET", &[]);
    let expected = [("queue", 0, Some(100)), ("attempt", 100, Some(700))];
    assert_eq!(rows(&line), expected);
    assert_eq!(
        (line.deadline, line.without_deadline),
        (None, Some(ms(700)))
    );
    let text = said(&config);
    for words in [
        "protocol   TCP: bytes pass as they are\n",
        "connect 600ms, tunnel_idle 5m\n",
        "the connection takes at most 700 ms, with 1 attempt\n",
        "64 connections stand at once",
        "proxy_protocol",
    ] {
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    for words in ["retry", "first_byte", "Little", "warning"] {
        assert!(!text.contains(words), "{words} is in\n{text}");
    }
    let manual = include_str!("../../../docs/explain.md");
    assert!(manual.contains("| `tunnel` |"));
    let endless = upstream(
        "dns = \"db:5432\"\nprotocol = \"tcp\"\ntimeouts.connect = \"off\"",
        "",
    );
    assert_eq!(ids(&endless, &[]), ["no-time-limit"]);
}

#[test]
fn what_is_spoken_is_said() {
    let tls = "tls = { cert = \"c\", key = \"k\" }";
    for (lines, listener, expected) in [
        (PLAIN, "", &["protocol   HTTP/1.1\n", ":9001\n"][..]),
        (
            SECURE,
            tls,
            &[
                "protocol   HTTP/2 or HTTP/1.1, as TLS agrees on\n",
                ":9001, over TLS\n",
                "min_version 1.2, ca that of the system\n",
                "(where TLS agrees on HTTP/2)",
            ],
        ),
        (
            "dns = \"a:1\"\nprotocol = \"http2\"\nforwarding.via = true\n\
             tls = { ca = \"/ca.pem\", server_name = \"a.test\", min_version = \"1.3\" }",
            "protocol = \"http2\"",
            &[
                "protocol   HTTP/2, over TLS\n",
                ":9001, HTTP/2 alone\n",
                "min_version 1.3, ca /ca.pem, server_name a.test\n",
                "max_streams 100",
                "via true\n",
            ],
        ),
        (
            "forward = { allow = [\"*.test\"], allow_addresses = [\"10.0.0.0/8\"] }",
            "",
            &[
                "host       the host that the caller names\n",
                "allow [*.test], allow_addresses [10.0.0.0/8]",
            ],
        ),
    ] {
        let text = said(&upstream(lines, listener));
        for words in expected {
            assert!(text.contains(words), "{words} is missing in\n{text}");
        }
    }
}

#[test]
fn a_target_is_named_to_a_forward_proxy() {
    let config = upstream("forward.allow = [\"*.test\"]", "");
    let said = |method, url| {
        let request = asked(method, url, &[], None);
        let found = explain(&config, &request, ms(0)).map(|found| text::write(&request, &found));
        found.map_err(|lost| format!("{lost:?}"))
    };
    for (method, url, words) in [
        ("CONNECT", "a.test:443", "a.test:443 may be named"),
        ("CONNECT", "a.test:22", "a.test:22 is refused with 403"),
        ("GET", "http://a.test/x", "a.test:80 may be named"),
        ("GET", "http://b.example/x", "b.example:80 is refused"),
        ("GET", "/x", "names no host is refused with 400"),
    ] {
        let text = said(method, url).unwrap().replace("\n", " ");
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{words} is missing in\n{text}");
    }
    let lost = said("GET", "https://a.test/").unwrap_err();
    assert!(lost.contains("CONNECT a.test:443"), "{lost}");

    let plain = upstream(PLAIN, "");
    let request = asked("CONNECT", "127.0.0.1:9001", &[], None);
    let Err(Lost::NoRoute(missed)) = explain(&plain, &request, ms(0)) else {
        panic!("CONNECT is served")
    };
    assert!(missed[0].because[0].starts_with("CONNECT is served"));
}

#[test]
fn the_scheme_of_the_url_is_that_of_the_listener() {
    let lost = |config: &Config, url: &str| {
        let request = asked("GET", url, &[], None);
        match explain(config, &request, ms(0)) {
            Err(Lost::Unclear(problem)) => Some(problem),
            Ok(_) => None,
            Err(other) => panic!("{other:?}"),
        }
    };
    let plain = upstream(PLAIN, "");
    let secure = upstream(PLAIN, "tls = { cert = \"c\", key = \"k\" }");
    let [http, https] = ["http://127.0.0.1:9001/", "https://127.0.0.1:9001/"];
    assert_eq!((lost(&plain, http), lost(&secure, https)), (None, None));
    assert!(lost(&plain, https).unwrap().ends_with("write `http://`"));
    assert!(lost(&secure, http).unwrap().ends_with("write `https://`"));
}
