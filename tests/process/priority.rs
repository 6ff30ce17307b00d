//! Classes of requests: who gets a slot that comes free, and who a place in the queue.
//!
//! Each request in flight has a gate of its own, so a test decides whose slot comes free, and the
//! upstream sees who got it.

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, QUEUED, assert_nothing_held, assert_replies, assert_row};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Step, Upstream, message};

const RESERVED: &str = "outrigger_bulkhead_class_reserved";
const CLASS_IN_FLIGHT: &str = "outrigger_bulkhead_class_in_flight";
const CLASS_QUEUED: &str = "outrigger_bulkhead_class_queued";
const CLASS_REJECTED: &str = "outrigger_bulkhead_class_rejected_total";
const WOULD_REORDER: &str = "outrigger_bulkhead_would_reorder_total";

const TIMEOUTS: &str = "timeouts = { first_byte = \"50s\", request = \"50s\" }";

/// An upstream that answers the request for `/N` once the gate N is open.
fn gated(gates: &[Gate]) -> Upstream {
    let gates = gates.to_vec();
    Upstream::start(move |call| {
        let number = call.path().trim_start_matches('/').parse::<usize>();
        let gate = number.ok().and_then(|number| gates.get(number));
        vec![
            Step::ReadBody,
            Step::Await(gate.expect("a gate for each").clone()),
            Step::Send(message(200, "through")),
        ]
    })
}

fn gates<const N: usize>() -> [Gate; N] {
    std::array::from_fn(|_| Gate::new())
}

/// One upstream with so many slots and places, and these classes.
fn daemon(upstream: &Upstream, [slots, places]: [usize; 2], priority: &str) -> Daemon {
    let settings = format!(
        "bulkhead = {{ max_requests = {slots}, max_queued = {places}, queue_timeout = \"50s\" }}\n\
         breaker = {{ mode = \"off\" }}\n{TIMEOUTS}\npriority = {{ {priority} }}"
    );
    Daemon::proxying(&[upstream.url()], &settings)
}

const TWO: &str = "header = \"x-priority\", default = \"batch\",
    classes = { live = { share = 0.5 }, batch = {} }";

/// Sends one GET of this class on a connection of its own and leaves the answer for later.
fn ask(daemon: &Daemon, number: usize, class: &str) -> Client {
    let mut client = daemon.client();
    let target = format!("/{number}");
    client.request("GET", &target, &[("x-priority", class)], b"");
    client
}

fn class(name: &str) -> [(&str, &str); 2] {
    [API, ("class", name)]
}

#[track_caller]
fn assert_served(clients: Vec<Client>) {
    for mut client in clients {
        let response = client.response("GET").expect("a whole response");
        assert_eq!(response.status, 200);
    }
}

/// Opens one gate after the other, and returns what the upstream was asked, in order: the first
/// `slots` at once, each other one as a slot came free.
fn serve(upstream: &Upstream, gates: &[Gate], slots: usize) -> Vec<usize> {
    let numbers = |targets: Vec<&str>| -> Vec<usize> {
        let number = |target: &str| target[1..].parse().expect("a number");
        targets.into_iter().map(number).collect()
    };
    for opened in 0..gates.len() {
        let expected = gates.len().min(slots + opened);
        let seen = upstream.wait_until("the next request", |record| {
            record.requests.len() == expected
        });
        gates[numbers(seen.targets())[opened]].open();
    }
    numbers(upstream.seen().targets())
}

#[test]
fn a_flood_of_one_class_leaves_the_other_a_place_and_the_next_slot() {
    let gates = gates::<6>();
    let upstream = gated(&gates);
    let daemon = daemon(&upstream, [2, 4], TWO);
    let mut clients = Vec::new();
    for (number, queued) in [(0, 0.0), (1, 0.0), (2, 1.0), (3, 2.0)] {
        clients.push(ask(&daemon, number, "batch"));
        daemon.await_metric(CLASS_QUEUED, &class("batch"), queued);
        upstream.wait_in_progress(2.min(number + 1));
    }
    // Two of the four places are kept.
    for _ in 0..2 {
        assert_row(&daemon.client().get("/0"), ProxyError::BulkheadFull);
    }
    daemon.await_metric(CLASS_REJECTED, &class("batch"), 2.0);
    for (number, queued) in [(4, 1.0), (5, 2.0)] {
        clients.push(ask(&daemon, number, "live"));
        daemon.await_metric(CLASS_QUEUED, &class("live"), queued);
    }
    daemon.await_metric(QUEUED, &[API], 4.0);
    daemon.await_metric(RESERVED, &class("live"), 1.0);
    daemon.await_metric(RESERVED, &class("batch"), 0.0);
    daemon.await_metric(CLASS_IN_FLIGHT, &class("live"), 0.0);
    daemon.await_metric(CLASS_IN_FLIGHT, &class("batch"), 2.0);

    // Its reserve is one slot: while 4 holds that, it is the turn of 2.
    let asked = serve(&upstream, &gates, 2);
    assert_eq!(asked, [0, 1, 4, 2, 5, 3]);
    assert_served(clients);
    daemon.await_metric(CLASS_REJECTED, &class("live"), 0.0);
    daemon.await_metric(WOULD_REORDER, &[API], 0.0);
    assert_replies(&daemon, ProxyError::BulkheadFull, 2.0);
    for name in ["live", "batch"] {
        daemon.await_metric(CLASS_IN_FLIGHT, &class(name), 0.0);
        daemon.await_metric(CLASS_QUEUED, &class(name), 0.0);
    }
    assert_nothing_held(&daemon);
}

#[test]
fn observing_it_is_the_order_of_arrival_and_counts() {
    let gates = gates::<6>();
    let upstream = gated(&gates);
    let daemon = daemon(&upstream, [2, 4], &format!("mode = \"observe\", {TWO}"));
    let classes = ["batch", "batch", "batch", "batch", "live", "batch"];
    let mut clients = Vec::new();
    for (number, class) in classes.into_iter().enumerate() {
        clients.push(ask(&daemon, number, class));
        upstream.wait_in_progress(2.min(number + 1));
        daemon.await_metric(QUEUED, &[API], number.saturating_sub(1) as f64);
    }
    assert_eq!(serve(&upstream, &gates, 2), [0, 1, 2, 3, 4, 5]);
    assert_served(clients);
    // Both times a slot came free before its turn, `live` would have had it.
    daemon.await_metric(WOULD_REORDER, &[API], 2.0);
    daemon.await_metric(CLASS_REJECTED, &[API], 0.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_slot_goes_to_the_class_furthest_below_its_reserve() {
    let gates = gates::<10>();
    let upstream = gated(&gates);
    let classes = "header = \"x-priority\",
        classes = { a = { share = 0.5 }, b = { share = 0.25 }, rest = { share = 0.0 } }";
    let daemon = daemon(&upstream, [4, 12], classes);
    let coming = [
        "rest", "rest", "rest", "rest", "rest", "b", "a", "a", "a", "b",
    ];
    let mut clients = Vec::new();
    for (number, class) in coming.into_iter().enumerate() {
        clients.push(ask(&daemon, number, class));
        upstream.wait_in_progress(4.min(number + 1));
        daemon.await_metric(QUEUED, &[API], number.saturating_sub(3) as f64);
    }
    for (name, reserved) in [("a", 2.0), ("b", 1.0), ("rest", 0.0)] {
        daemon.await_metric(RESERVED, &class(name), reserved);
    }
    let asked = serve(&upstream, &gates, 4);
    // `a` lacks two, `b` one: one of `a`, then the older one of both, then the other. Then nobody
    // lacks any, until those of `a` and `b` have left.
    assert_eq!(asked[..7], [0, 1, 2, 3, 6, 5, 7]);
    assert_eq!(asked[7..], [4, 8, 9]);
    assert_served(clients);
    assert_nothing_held(&daemon);
}

#[test]
fn the_class_is_that_of_the_route_or_of_the_field_or_the_default() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let config = format!(
        r#"
[upstreams.api]
endpoints = ["{url}"]
breaker = {{ mode = "off" }}
{TIMEOUTS}
[upstreams.api.priority]
header = "X-Priority"
default = "rest"
[upstreams.api.priority.classes]
live = {{ share = 0.2 }}
rest = {{}}
batch = {{ share = 0.001 }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [
  {{ path_prefix = "/export", upstream = "api", class = "batch" }},
  {{ upstream = "api" }},
]
"#,
        url = upstream.url()
    );
    let daemon = Daemon::start(&config);
    let field = |value| Some(("x-priority", value));
    let mut clients = Vec::new();
    for (target, field, expected, count) in [
        ("/export", None, "batch", 1.0),
        ("/export", field("live"), "batch", 2.0),
        ("/", field("live"), "live", 1.0),
        ("/", field("batch"), "batch", 3.0),
        ("/", None, "rest", 1.0),
        ("/", field("Live"), "rest", 2.0),
        ("/", field(""), "rest", 3.0),
        ("/", field("no such"), "rest", 4.0),
    ] {
        let mut client = Client::connect(daemon.address("edge"));
        client.request("GET", target, field.as_slice(), b"");
        clients.push(client);
        daemon.await_metric(CLASS_IN_FLIGHT, &class(expected), count);
        daemon.await_metric(CLASS_IN_FLIGHT, &[API], clients.len() as f64);
    }
    // Of 64 slots; a share is worth one at least.
    for (name, reserved) in [("live", 12.0), ("rest", 0.0), ("batch", 1.0)] {
        daemon.await_metric(RESERVED, &class(name), reserved);
    }
    gate.open();
    assert_served(clients);
    assert_nothing_held(&daemon);
}

#[test]
fn the_default_is_the_first_class() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    // Without a field only routes name a class.
    let daemon = daemon(&upstream, [9, 9], "classes = { one = {}, two = {} }");
    let client = ask(&daemon, 0, "two");
    daemon.await_metric(CLASS_IN_FLIGHT, &class("one"), 1.0);
    daemon.await_metric(CLASS_IN_FLIGHT, &class("two"), 0.0);
    gate.open();
    assert_served(vec![client]);
}

#[test]
fn inherited_classes_are_taken_away() {
    let upstream = Upstream::answering("x");
    for (own, series) in [
        ("", 2),
        ("priority = false", 0),
        ("priority = { mode = \"off\" }", 0),
    ] {
        let defaults = "[defaults.priority]\nclasses = { live = { share = 1.0 }, batch = {} }";
        let daemon = Daemon::proxying(&[upstream.url()], &format!("{own}\n{defaults}"));
        let samples = daemon.scrape();
        let found = samples.iter().filter(|sample| sample.name == RESERVED);
        assert_eq!(found.count(), series, "{own}");
        assert_eq!(daemon.client().get("/").status, 200);
    }
}
