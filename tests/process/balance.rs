//! Which endpoint gets a request, by each of the policies.
//!
//! Requests come one after the other over one connection, so that what is in flight is known.
//! Where chance decides, the bounds are some six standard deviations wide.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::expect::API;
use crate::support::client::Client;
use crate::support::daemon::{Daemon, await_until};
use crate::support::dns::{Answer, Dns};
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message};

const ENDPOINT_LATENCY: &str = "outrigger_endpoint_latency_seconds";
const ENDPOINT_IN_FLIGHT: &str = "outrigger_endpoint_in_flight";

const NAMES: [&str; 3] = ["first", "second", "third"];

fn upstreams() -> [Upstream; 3] {
    NAMES.map(Upstream::answering)
}

fn urls(upstreams: &[Upstream]) -> Vec<String> {
    upstreams.iter().map(Upstream::url).collect()
}

fn hits(upstreams: &[Upstream]) -> Vec<usize> {
    let hits = |upstream: &Upstream| upstream.seen().requests.len();
    upstreams.iter().map(hits).collect()
}

fn daemon(upstreams: &[Upstream], balance: &str) -> Daemon {
    let settings = format!("breaker = {{ mode = \"off\" }}\n{balance}");
    Daemon::proxying(&urls(upstreams), &settings)
}

fn bodies(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.get("/").text()).collect()
}

#[test]
fn a_busy_endpoint_gets_nothing_while_another_is_idle() {
    for balance in ["", "balance = { policy = \"least_inflight\" }"] {
        let gate = Gate::new();
        let upstream = |name: &'static str| {
            let gate = gate.clone();
            Upstream::start(move |call| {
                let held = (call.path() == "/held").then(|| Step::Await(gate.clone()));
                let answer = Step::Send(message(200, name));
                [Step::ReadBody]
                    .into_iter()
                    .chain(held)
                    .chain([answer])
                    .collect()
            })
        };
        let both = [upstream("first"), upstream("second")];
        let daemon = daemon(&both, balance);
        let mut held = daemon.client();
        held.request("GET", "/held", &[], b"");
        daemon.await_metric(ENDPOINT_IN_FLIGHT, &[API], 1.0);
        // It counts before it arrives there.
        await_until("it arrives", || hits(&both).iter().sum::<usize>() == 1);
        let (busy, idle) = match hits(&both)[..] {
            [0, _] => ("second", "first"),
            _ => ("first", "second"),
        };
        assert_eq!(bodies(&mut daemon.client(), 50), [idle; 50]);
        gate.open();
        let response = held.response("GET").expect("a whole response");
        assert_eq!(response.text(), busy);
    }
}

#[test]
fn round_robin_takes_one_after_the_other() {
    let upstreams = upstreams();
    let daemon = daemon(&upstreams, "balance = { policy = \"round_robin\" }");
    let bodies = bodies(&mut daemon.client(), 30);
    let mut round = bodies[..3].to_vec();
    for (turn, body) in bodies.iter().enumerate() {
        assert_eq!(*body, round[turn % 3], "{bodies:?}");
    }
    round.sort_unstable();
    assert_eq!(round, NAMES);
}

#[test]
fn weights_are_proportions() {
    // Weights mean nothing to round robin.
    for (policy, expected) in [
        ("weighted", 240..=360),
        ("least_inflight", 240..=360),
        ("round_robin", 200..=200),
    ] {
        let [first, second, _] = upstreams();
        let both = [first, second];
        let balance = format!("weights = [3, 1]\nbalance = {{ policy = \"{policy}\" }}");
        let daemon = daemon(&both, &balance);
        bodies(&mut daemon.client(), 400);
        let [first, second] = hits(&both)[..] else {
            panic!("two endpoints");
        };
        assert_eq!(first + second, 400);
        assert!(expected.contains(&first), "{policy}: {first}");
    }
}

fn slow(millis: u64) -> Upstream {
    Upstream::start(move |_| {
        let delay = Step::Delay(Duration::from_millis(millis));
        vec![Step::ReadBody, delay, Step::Send(message(200, "slow"))]
    })
}

#[test]
fn a_slow_endpoint_gets_little_until_that_is_forgotten() {
    for (decay, delay, expected) in [("1h", 2000, 1..=3), ("1ms", 20, 4..=40)] {
        let both = [Upstream::answering("quick"), slow(delay)];
        let balance = format!("balance = {{ policy = \"peak_ewma\", decay = \"{decay}\" }}");
        let daemon = daemon(&both, &balance);
        bodies(&mut daemon.client(), 60);
        let slow = hits(&both)[1];
        assert!(expected.contains(&slow), "{decay}: {slow}");
        if decay == "1h" {
            let address = both[1].address().to_string();
            let labels = [API, ("endpoint", address.as_str())];
            assert!(daemon.metric(ENDPOINT_LATENCY, &labels) >= 2.0);
        }
    }
}

/// Asks with this field for each of 60 users, and returns who answered.
fn ring(daemon: &Daemon, name: &str, before: &str) -> Vec<String> {
    let mut client = daemon.client();
    let answer = |user| {
        let value = format!("{before}{user}");
        let response = client.call("GET", "/", &[(name, &value)], b"");
        response.expect("a whole response").text()
    };
    (0..60).map(answer).collect()
}

#[test]
fn the_same_key_goes_to_the_same_endpoint() {
    let upstreams = upstreams();
    let by_header = "balance = { policy = \"ring_hash\", hash_header = \"X-User\" }";
    let by_cookie = "balance = { policy = \"ring_hash\", hash_cookie = \"user\" }";
    let first = daemon(&upstreams, by_header);
    let expected = ring(&first, "x-user", "");
    for name in NAMES {
        assert!(
            expected.iter().any(|body| body == name),
            "nothing for {name}"
        );
    }
    assert_eq!(ring(&first, "x-user", ""), expected);
    drop(first);
    // Another process with the same endpoints, in another order.
    let mut turned = urls(&upstreams);
    turned.rotate_left(1);
    let again = Daemon::proxying(&turned, by_header);
    assert_eq!(ring(&again, "x-user", ""), expected);
    let by_cookie = daemon(&upstreams, by_cookie);
    assert_eq!(ring(&by_cookie, "cookie", "theme=user; user="), expected);
}

#[test]
fn requests_without_a_key_are_spread() {
    let upstreams = upstreams();
    let ring = "balance = { policy = \"ring_hash\", hash_cookie = \"user\" }";
    let daemon = daemon(&upstreams, ring);
    let mut client = daemon.client();
    for _ in 0..90 {
        let other = client.call("GET", "/", &[("cookie", "theme=user")], b"");
        assert_eq!(other.expect("a whole response").status, 200);
    }
    let hits = hits(&upstreams);
    assert!(hits.iter().all(|hits| *hits > 3), "{hits:?}");
}

/// An endpoint that came a moment ago has a tenth of its share for a while.
#[test]
fn a_new_endpoint_starts_slowly() {
    for (balance, expected) in [
        ("slow_start = \"1h\"", 1..=50),
        ("policy = \"weighted\", slow_start = \"1h\"", 1..=50),
        ("slow_start = \"off\"", 60..=160),
    ] {
        let both = Upstream::neighbours(["first", "second"]);
        let addresses = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
        let dns = Dns::start(Answer::Addresses(addresses[..1].to_vec(), 0));
        let config = format!(
            r#"
[discovery]
dns = {{ servers = ["{}"], min_ttl = "20ms", max_ttl = "20ms" }}
[upstreams.api]
listen = "127.0.0.1:0"
dns = "search.test:{}"
breaker = {{ mode = "off" }}
balance = {{ {balance} }}
"#,
            dns.server(),
            both[0].address().port()
        );
        let daemon = Daemon::start(&config);
        let mut client = daemon.client();
        assert_eq!(bodies(&mut client, 10), ["first"; 10]);
        dns.answer(Answer::Addresses(addresses.to_vec(), 0));
        daemon.await_metric("outrigger_endpoints", &[API], 2.0);
        let bodies = bodies(&mut client, 220);
        let new = bodies.iter().filter(|body| *body == "second").count();
        assert!(expected.contains(&new), "{balance}: {new}");
    }
}
