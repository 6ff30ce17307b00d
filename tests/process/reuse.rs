//! Which connection carries a request, and what happens when it turns out to be dead.

use std::thread;
use std::time::Duration;

use outrigger::proxy::error::ProxyError;

use crate::expect::{API, CONNECTIONS, RESENDS, assert_nothing_held, assert_row};
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::gate::Gate;
use crate::support::upstream::{Call, Record, Step, Upstream, message, reply, send, then};

/// One worker, so that "the" idle connections are one list; no timer in the way.
fn daemon(upstreams: &[&Upstream], bulkhead: &str) -> Daemon {
    let endpoints: Vec<_> = upstreams.iter().map(|upstream| upstream.url()).collect();
    let settings = format!(
        "timeouts = {{ first_byte = \"50s\", request = \"50s\" }}\n\
         breaker = {{ mode = \"off\" }}\n\
         bulkhead = {{ queue_timeout = \"50s\", {bulkhead} }}\n\
         [runtime]\nworkers = 1"
    );
    Daemon::proxying(&endpoints, &settings)
}

const KEEP: &str = "idle_timeout = \"60s\"";

fn await_idle(daemon: &Daemon, count: f64) {
    daemon.await_metric(CONNECTIONS, &[API, ("state", "idle")], count);
}

/// The connection that each request came on.
fn connections(record: &Record) -> Vec<usize> {
    record.requests.iter().map(|seen| seen.connection).collect()
}

/// Answers the first request of each connection (without a body, which suits HEAD as well), and does `steps` to the later ones.
fn dies_when_reused(steps: Vec<Step>) -> impl Fn(&Call<'_>) -> Vec<Step> {
    move |call| {
        if call.earlier == 0 {
            reply(200, "")
        } else {
            steps.clone()
        }
    }
}

#[test]
fn one_connection_carries_many_requests_of_many_callers() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&[&upstream], KEEP);
    for _ in 0..3 {
        let mut client = daemon.client();
        assert_eq!(client.get("/").text(), "x");
        assert_eq!(client.post("/", b"body").text(), "x");
    }
    assert_eq!(connections(&upstream.seen()), [0; 6]);
    await_idle(&daemon, 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn the_connection_used_last_is_used_next() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let own = gates.clone();
    let upstream = Upstream::start(move |call| match call.path() {
        "/0" => vec![Step::Await(own[0].clone()), Step::Send(message(200, "x"))],
        "/1" => vec![Step::Await(own[1].clone()), Step::Send(message(200, "x"))],
        "/2" => vec![Step::Await(own[2].clone()), Step::Send(message(200, "x"))],
        _ => reply(200, "x"),
    });
    let daemon = daemon(&[&upstream], KEEP);
    let mut clients = Vec::new();
    for target in ["/0", "/1", "/2"] {
        let mut client = daemon.client();
        client.request("GET", target, &[], b"");
        clients.push(client);
        upstream.wait_in_progress(clients.len());
    }
    for (idle, last) in [2, 0, 1].into_iter().enumerate() {
        gates[last].open();
        assert_eq!(
            clients[last]
                .response("GET")
                .expect("a whole response")
                .status,
            200
        );
        await_idle(&daemon, (idle + 1) as f64);
    }
    for _ in 0..3 {
        assert_eq!(daemon.client().get("/next").status, 200);
    }
    assert_eq!(connections(&upstream.seen()), [0, 1, 2, 1, 1, 1]);
}

fn call_an_upstream_that_keeps_a_connection_for(
    idle: Duration,
    method: &str,
    rounds: usize,
    after: impl Fn(&Daemon),
) {
    let upstream = Upstream::start(move |_| then(reply(200, "x"), Step::KeepFor(idle)));
    let daemon = daemon(&[&upstream], KEEP);
    let mut client = daemon.client();
    for _ in 0..rounds {
        let response = client
            .call(method, "/", &[], b"")
            .expect("a whole response");
        assert_eq!(response.status, 200, "{response:?}");
        upstream.wait_closed();
        after(&daemon);
    }
    assert_eq!(
        connections(&upstream.seen()),
        (0..rounds).collect::<Vec<_>>()
    );
    assert_nothing_held(&daemon);
}

/// Its end has arrived: how soon it does is the system's to say, not ours.
#[test]
fn a_connection_that_died_idle_is_replaced_without_a_word() {
    let idle = Duration::from_millis(60);
    call_an_upstream_that_keeps_a_connection_for(idle, "POST", 5, |daemon| {
        daemon.await_metric(CONNECTIONS, &[API], 0.0);
    });
}

#[test]
fn a_connection_that_died_at_once_costs_no_idempotent_request() {
    let idle = Duration::from_millis(1);
    call_an_upstream_that_keeps_a_connection_for(idle, "GET", 20, |_| {});
}

#[test]
fn a_connection_that_died_idle_is_not_counted_as_one_for_long() {
    let idle = Duration::from_millis(20);
    let upstream = Upstream::start(move |_| then(reply(200, "x"), Step::KeepFor(idle)));
    let daemon = daemon(&[&upstream], KEEP);
    assert_eq!(daemon.client().get("/").status, 200);
    upstream.wait_closed();
    await_idle(&daemon, 0.0);
    daemon.await_metric(CONNECTIONS, &[API], 0.0);
}

#[test]
fn an_idempotent_request_is_resent_once_when_its_reused_connection_dies() {
    for (steps, end) in [(Step::Reset, "reset"), (Step::Close, "closed")] {
        let upstream = Upstream::start(dies_when_reused(vec![Step::ReadBody, steps]));
        let daemon = daemon(&[&upstream], KEEP);
        let mut client = daemon.client();
        assert_eq!(client.get("/first").status, 200);
        for (resent, method) in ["GET", "HEAD", "OPTIONS", "DELETE"].into_iter().enumerate() {
            let response = client
                .call(method, "/again", &[], b"")
                .expect("a whole response");
            assert_eq!(response.status, 200, "{method}, {end}: {response:?}");
            let seen = upstream.seen();
            assert_eq!(connections(&seen).last(), Some(&(resent + 1)));
            assert_eq!(seen.requests.len(), 1 + 2 * (resent + 1));
        }
        daemon.await_metric(RESENDS, &[API], 4.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn a_post_is_not_resent_when_its_reused_connection_dies() {
    for (steps, end) in [(Step::Reset, "reset"), (Step::Close, "closed")] {
        let upstream = Upstream::start(dies_when_reused(vec![Step::ReadBody, steps]));
        let daemon = daemon(&[&upstream], KEEP);
        let mut client = daemon.client();
        assert_eq!(client.get("/first").status, 200);
        assert_row(&client.post("/pay", b"10 EUR"), ProxyError::UpstreamReset);
        assert_eq!(upstream.seen().targets(), ["/first", "/pay"], "{end}");
        daemon.await_metric(RESENDS, &[API], 0.0);
        assert_nothing_held(&daemon);
    }
}

#[test]
fn nothing_is_resent_once_the_answer_began() {
    let begun = then(send("HTTP/1.1 200 OK\r\nconte"), Step::Close);
    let upstream = Upstream::start(dies_when_reused(begun));
    let daemon = daemon(&[&upstream], KEEP);
    let mut client = daemon.client();
    assert_eq!(client.get("/first").status, 200);
    assert_row(&client.get("/again"), ProxyError::UpstreamReset);
    assert_eq!(upstream.seen().targets(), ["/first", "/again"]);
    assert_nothing_held(&daemon);
}

#[test]
fn nothing_is_resent_twice() {
    let upstream = Upstream::start(|call| match call.path() {
        "/first" => reply(200, "x"),
        _ => vec![Step::Reset],
    });
    let daemon = daemon(&[&upstream], KEEP);
    let mut client = daemon.client();
    assert_eq!(client.get("/first").status, 200);
    assert_row(&client.get("/again"), ProxyError::UpstreamReset);
    assert_eq!(upstream.seen().targets(), ["/first", "/again", "/again"]);
    assert_nothing_held(&daemon);
}

#[test]
fn the_upstreams_keep_alive_timeout_is_honoured() {
    let upstream = Upstream::start(|call| {
        let keep = if call.path() == "/short" {
            "timeout=2"
        } else {
            "timeout=1, max=5"
        };
        send(format!(
            "HTTP/1.1 200 OK\r\nkeep-alive: {keep}\r\ncontent-length: 0\r\n\r\n"
        ))
    });
    let daemon = daemon(&[&upstream], KEEP);
    // A second is kept back for the way: of one nothing is left, of two one.
    assert_eq!(daemon.client().get("/none").status, 200);
    assert_eq!(upstream.wait_closed().ended_by_peer(), 1);
    assert_eq!(daemon.client().get("/short").status, 200);
    assert_eq!(upstream.wait_closed().ended_by_peer(), 2);
    await_idle(&daemon, 0.0);
}

#[test]
fn an_announced_close_is_respected_by_both() {
    let upstream = Upstream::start(|_| {
        send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
    });
    let daemon = daemon(&[&upstream], KEEP);
    let mut client = daemon.client();
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "x");
    }
    let seen = upstream.wait_closed();
    assert_eq!(
        (connections(&seen), seen.ended_by_peer()),
        (vec![0, 1, 2], 3)
    );
    await_idle(&daemon, 0.0);
}

#[test]
fn an_http_1_0_answer_ends_its_connection() {
    let upstream = Upstream::start(|_| send("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"));
    let daemon = daemon(&[&upstream], KEEP);
    let mut client = daemon.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "x");
    }
    assert_eq!(connections(&upstream.wait_closed()), [0, 1]);
}

#[test]
fn no_more_than_max_idle_are_kept() {
    let gate = Gate::new();
    let upstream = Upstream::gated(&gate);
    let daemon = daemon(&[&upstream], "idle_timeout = \"60s\", max_idle = 2");
    let mut clients: Vec<_> = (0..5).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.request("GET", "/", &[], b"");
    }
    upstream.wait_in_progress(5);
    gate.open();
    for client in &mut clients {
        assert_eq!(
            client.response("GET").expect("a whole response").status,
            200
        );
    }
    upstream.wait_until("the end of three", |record| record.ended_by_peer() == 3);
    await_idle(&daemon, 2.0);
    assert_eq!(upstream.seen().open(), 2);
}

#[test]
fn an_idle_connection_is_closed_after_the_idle_timeout() {
    let upstream = Upstream::answering("x");
    let daemon = daemon(&[&upstream], "idle_timeout = \"200ms\"");
    assert_eq!(daemon.client().get("/").status, 200);
    assert_eq!(upstream.wait_closed().ended_by_peer(), 1);
    await_idle(&daemon, 0.0);
}

#[test]
fn a_connection_past_its_age_is_not_used_again() {
    let upstream = Upstream::start(|call| match call.path() {
        "/long" => {
            let answer = Step::Send(message(200, "x"));
            vec![Step::Delay(Duration::from_millis(300)), answer]
        }
        _ => reply(200, "x"),
    });
    let daemon = daemon(&[&upstream], "idle_timeout = \"60s\", max_age = \"200ms\"");
    let mut client = daemon.client();
    assert_eq!(client.get("/long").status, 200);
    assert_eq!(client.get("/next").status, 200);
    assert_eq!(connections(&upstream.seen()), [0, 1]);
}

#[test]
fn at_the_cap_an_idle_connection_makes_way_for_another_endpoint() {
    let first = Upstream::answering("first");
    let second = Upstream::answering("second");
    let daemon = daemon(
        &[&first, &second],
        "idle_timeout = \"60s\", max_connections = 1",
    );
    let mut client = daemon.client();
    let answers: Vec<_> = (0..40).map(|_| client.get("/").text()).collect();
    for name in ["first", "second"] {
        assert!(
            answers.iter().any(|answer| answer == name),
            "{name} was never chosen"
        );
    }
    // At last one of them has the one connection, and the other none.
    let last = answers.last().map(String::as_str);
    let (keeps, evicted) = if last == Some("first") {
        (&first, &second)
    } else {
        (&second, &first)
    };
    assert!(evicted.wait_closed().ended_by_peer() > 0);
    let kept = keeps.wait_until("one connection", |record| record.open() == 1);
    assert!(kept.ended_by_peer() > 0);
    daemon.await_metric(CONNECTIONS, &[API], 1.0);
    assert_nothing_held(&daemon);
}

#[test]
fn a_connection_with_an_abandoned_exchange_is_closed() {
    let upstream = Upstream::start(|call| match call.path() {
        "/hang" => vec![Step::Hang],
        "/stream" => then(
            send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
            Step::Hang,
        ),
        _ => reply(200, "mine"),
    });
    let daemon = daemon(&[&upstream], KEEP);
    for (gone, target) in ["/hang", "/stream"].into_iter().enumerate() {
        let mut client = daemon.client();
        client.request("GET", target, &[], b"");
        if target == "/stream" {
            client.head();
        }
        upstream.wait_until(target, |record| record.targets().contains(&target));
        drop(client);
        upstream.wait_until("that the proxy gave up", |record| {
            record.ended_by_peer() == gone + 1
        });
        assert_nothing_held(&daemon);
        await_idle(&daemon, 0.0);
    }
    assert_eq!(daemon.client().get("/").text(), "mine");
}

/// The upstream closes each connection at about the time of its reuse.
#[test]
fn an_upstream_that_closes_idle_connections_costs_no_get_and_doubles_no_post() {
    let idle = Duration::from_millis(50);
    let upstream = Upstream::start(move |_| then(reply(200, "x"), Step::KeepFor(idle)));
    let daemon = Daemon::proxying(
        &[upstream.url()],
        "timeouts = { first_byte = \"50s\", request = \"50s\" }\n\
         breaker = { mode = \"off\" }\n\
         bulkhead = { idle_timeout = \"60s\" }",
    );
    let callers: Vec<_> = (0..20)
        .map(|caller| {
            let address = daemon.api();
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let pause = Gate::new();
                for round in 0..40 {
                    let target = format!("/{caller}/{round}");
                    if round % 4 == 3 {
                        let response = client.post(&target, b"once");
                        assert!(matches!(response.status, 200 | 502), "{response:?}");
                    } else {
                        let response = client.get(&target);
                        assert_eq!(response.status, 200, "{response:?}");
                    }
                    pause.pass_within(idle + Duration::from_millis(round % 10) - idle / 10);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().expect("no error seen by the caller");
    }
    let seen = upstream.seen();
    let mut posts: Vec<_> = seen
        .requests
        .iter()
        .filter(|seen| seen.head.word(0) == "POST")
        .collect();
    let all = posts.len();
    posts.sort_by_key(|seen| seen.head.start.clone());
    posts.dedup_by_key(|seen| seen.head.start.clone());
    assert_eq!(posts.len(), all, "a POST was delivered twice");
    assert_nothing_held(&daemon);
}
