//! Endpoints by name: found off the request path, followed by TTL, kept when nobody answers.

use std::net::Ipv4Addr;

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, assert_replies, assert_row};
use crate::support::client::{self, Client};
use crate::support::daemon::{Daemon, await_until};
use crate::support::dns::{Answer, Dns};
use crate::support::upstream::Upstream;

const FAILURES: &str = "outrigger_dns_failures_total";

const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Asks again at once, so that what changes is seen soon.
const EAGER: &str = "min_ttl = \"20ms\", max_ttl = \"20ms\", timeout = \"50s\"";

/// And waits for no answer.
const HASTY: &str = "min_ttl = \"20ms\", max_ttl = \"20ms\", timeout = \"100ms\"";

fn config(dns: &Dns, settings: &str, port: u16) -> String {
    format!(
        r#"
[discovery]
dns = {{ servers = ["{}"], {settings} }}
[upstreams.api]
listen = "127.0.0.1:0"
dns = "search.test:{port}"
breaker = {{ mode = "off" }}
timeouts = {{ first_byte = "50s", request = "50s" }}
"#,
        dns.server()
    )
}

fn addresses(addresses: &[Ipv4Addr], ttl: u32) -> Answer {
    Answer::Addresses(addresses.to_vec(), ttl)
}

/// Asks until this answer comes.
fn await_answer(client: &mut Client, expected: &str) {
    while client.get("/").text() != expected {}
}

#[test]
fn every_address_of_a_name_is_an_endpoint() {
    let [first, second] = Upstream::neighbours(["first", "second"]);
    let port = first.address().port();
    let dns = Dns::start(addresses(&[FIRST, SECOND], 3600));
    for name in [
        format!("dns = \"search.test:{port}\""),
        format!("endpoints = [\"http://search.test:{port}\"]"),
    ] {
        let written = config(&dns, "", port);
        let named = written.replace(&format!("dns = \"search.test:{port}\""), &name);
        let daemon = Daemon::start(&named);
        let mut client = daemon.client();
        await_answer(&mut client, "first");
        await_answer(&mut client, "second");
        let hosts = |upstream: &Upstream| upstream.seen().requests[0].head.all("host").join(" ");
        let expected = format!("search.test:{port}");
        assert_eq!(
            [hosts(&first), hosts(&second)],
            [expected.clone(), expected]
        );
    }
}

#[test]
fn requests_ask_no_server() {
    let [first] = Upstream::neighbours(["first"]);
    let dns = Dns::start(addresses(&[FIRST], 3600));
    let daemon = Daemon::start(&config(&dns, "", first.address().port()));
    let asked = dns.asked();
    for _ in 0..50 {
        assert_eq!(daemon.client().get("/").text(), "first");
    }
    assert_eq!((asked, dns.asked()), (1, 1));
}

#[test]
fn traffic_follows_the_answer() {
    let [first, second] = Upstream::neighbours(["first", "second"]);
    let dns = Dns::start(addresses(&[FIRST], 0));
    let daemon = Daemon::start(&config(&dns, EAGER, first.address().port()));
    let mut client = daemon.client();
    assert_eq!(client.get("/").text(), "first");
    dns.answer(addresses(&[SECOND], 0));
    daemon.await_logged("endpoints changed", 2);
    first.wait_closed();
    assert_eq!(client.get("/").text(), "second");
    assert_eq!(first.seen().requests.len(), 1);
    assert_eq!(second.seen().requests.len(), 1);
}

/// With the defaults, either would ask less than once a second.
#[test]
fn an_answer_is_kept_for_its_ttl_within_bounds() {
    let [first] = Upstream::neighbours(["first"]);
    for (settings, ttl) in [
        ("min_ttl = \"20ms\"", 0),
        ("min_ttl = \"1ms\", max_ttl = \"20ms\"", 3600),
    ] {
        let dns = Dns::start(addresses(&[FIRST], ttl));
        let daemon = Daemon::start(&config(&dns, settings, first.address().port()));
        dns.wait_asked(65);
        daemon.await_metric(FAILURES, &[API], 0.0);
    }
}

#[test]
fn the_last_good_answer_is_kept() {
    let [first] = Upstream::neighbours(["first"]);
    let dns = Dns::start(addresses(&[FIRST], 0));
    let daemon = Daemon::start(&config(&dns, HASTY, first.address().port()));
    let mut client = daemon.client();
    // The first answer may come too late for `timeout`.
    await_answer(&mut client, "first");
    let failed = |reason: &str| daemon.metric(FAILURES, &[API, ("reason", reason)]);
    for (answer, reason) in [
        (Answer::NotFound, "not_found"),
        (Answer::Empty, "not_found"),
        (Answer::Failure, "error"),
        (Answer::Silence, "timeout"),
    ] {
        let before = failed(reason);
        dns.answer(answer.clone());
        let what = format!("{answer:?} is a failure by `{reason}`");
        await_until(&what, || failed(reason) > before);
        assert_eq!(client.get("/").text(), "first", "{answer:?}");
        dns.answer(addresses(&[FIRST], 0));
        dns.wait_asked_again(2);
    }
    assert_eq!(daemon.await_logged("endpoints changed", 1).len(), 1);
}

/// With the default timeout, these questions would take longer than the test waits.
#[test]
fn an_unanswered_question_is_asked_again_after_the_timeout() {
    let dns = Dns::start(Answer::Silence);
    let _daemon = Daemon::begin(&config(&dns, HASTY, 80));
    dns.wait_asked(35);
}

#[test]
fn it_is_not_ready_until_every_name_was_tried() {
    let [first] = Upstream::neighbours(["first"]);
    let dns = Dns::start(Answer::Silence);
    let settings = "timeout = \"50s\"";
    let daemon = Daemon::begin(&config(&dns, settings, first.address().port()));
    dns.wait_asked(1);
    let metrics = daemon.address("metrics");
    assert_eq!(client::get(metrics, "/readyz").status, 503);
    assert_eq!(client::get(metrics, "/livez").status, 200);
    assert_row(&daemon.client().get("/"), ProxyError::NoEndpoint);
    drop(daemon);

    dns.answer(addresses(&[FIRST], 3600));
    let daemon = Daemon::start(&config(&dns, settings, first.address().port()));
    assert_eq!(
        client::get(daemon.address("metrics"), "/readyz").status,
        200
    );
    assert_eq!(daemon.client().get("/").text(), "first");
}

#[test]
fn nothing_found_is_ready_and_says_that_there_is_no_endpoint() {
    let [first] = Upstream::neighbours(["first"]);
    let dns = Dns::start(Answer::NotFound);
    let daemon = Daemon::start(&config(&dns, EAGER, first.address().port()));
    let mut client = daemon.client();
    assert_row(&client.get("/"), ProxyError::NoEndpoint);
    assert_replies(&daemon, ProxyError::NoEndpoint, 1.0);
    dns.answer(addresses(&[FIRST], 0));
    daemon.await_logged("endpoints changed", 1);
    assert_eq!(client.get("/").text(), "first");
}
