//! Every timer, to the millisecond of virtual time, and what each expiry says about the upstream.

use std::time::Duration;

use outrigger::lifecycle::tasks;
use outrigger::resilience::breaker::{Cause, Operation, State};
use outrigger::time;

use crate::caller::{Got, get, post};
use crate::upstream::{Reach, Step, Upstream, dripping, ms, ok, ok_after, send};
use crate::world::{World, settle, simulate};

/// Reads the request and never answers.
fn hangs() -> Upstream {
    Upstream::new(|_| vec![Step::Body, Step::Hang])
}

/// Sends the head and `part` of a long body, and nothing more.
fn stalls(part: &'static str) -> Upstream {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{part}");
    Upstream::new(move |_| vec![Step::Body, send(head.clone()), Step::Hang])
}

/// Sends a body that no buffer holds.
fn floods() -> Upstream {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
    Upstream::new(move |_| vec![Step::Body, send(head), send(vec![b'x'; 1_000_000])])
}

/// Writes `request`, and has the response with the time that it took.
async fn timed(world: &World, request: &[(Duration, String)]) -> (Got, Duration) {
    let mut caller = world.caller();
    let begun = time::now();
    let request = request.to_vec();
    for (pause, text) in request {
        time::sleep(pause).await;
        caller.write(text).await;
    }
    let got = caller.response().await;
    (got, time::now().saturating_duration_since(begun))
}

async fn timed_get(world: &World) -> (Got, Duration) {
    timed(world, &[(Duration::ZERO, get("/"))]).await
}

/// One request that a timer ends: with this status and reason, at this time, with this verdict.
#[track_caller]
fn expires(
    settings: &str,
    script: &Upstream,
    request: &[(Duration, String)],
    expected: (u16, &str, Duration, &str),
) {
    let (status, reason, at, verdict) = expected;
    simulate(1, async {
        let world = World::new(settings, script);
        let (got, took) = timed(&world, request).await;
        assert_eq!((got.status, got.reason()), (status, reason));
        assert_eq!(took, at);
        settle().await;
        world.check_nothing_held();
        assert_eq!(world.attempts(verdict), 1, "{verdict}");
        assert_eq!(world.attempts(""), 1);
        world.end().await;
    });
}

fn one(text: String) -> Vec<(Duration, String)> {
    vec![(Duration::ZERO, text)]
}

#[test]
fn connect() {
    let script = hangs().reached(|| Reach::Never);
    let expected = (504, "connect_timeout", ms(700), "failure");
    let settings = "[upstreams.u.timeouts]\nconnect = \"700ms\"";
    expires(settings, &script, &one(get("/")), expected);
}

#[test]
fn connecting_counts_for_the_first_byte() {
    let script = hangs().reached(|| Reach::After(ms(600)));
    let expected = (504, "attempt_timeout", ms(900), "failure");
    let settings = "[upstreams.u.timeouts]\nfirst_byte = \"900ms\"";
    expires(settings, &script, &one(get("/")), expected);
}

#[test]
fn first_byte() {
    let expected = (504, "attempt_timeout", ms(5000), "failure");
    expires("", &hangs(), &one(get("/")), expected);
}

#[test]
fn the_first_byte_does_not_wait_for_a_slow_upload() {
    let request = [
        (Duration::ZERO, post("/", 6)),
        (ms(100), "ab".to_owned()),
        (ms(3000), "cd".to_owned()),
        (ms(3000), "ef".to_owned()),
    ];
    // Only the time after the last byte is the upstream's.
    let expected = (504, "attempt_timeout", ms(6100 + 1000), "failure");
    let settings = "[upstreams.u.timeouts]\nfirst_byte = \"1s\"";
    expires(settings, &hangs(), &request, expected);
}

#[test]
fn a_caller_waits_no_longer_than_that_for_an_upstream_that_does_not_know_expect() {
    let limit = "[upstreams.u.timeouts]\nfirst_byte = \"1s\"";
    for (settings, told) in [("", ms(2500)), (limit, ms(500))] {
        simulate(1, async {
            let world = World::new(settings, &Upstream::new(|_| ok()));
            let mut caller = world.caller();
            let begun = time::now();
            let head = post("/", 6).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
            caller.write(head).await;
            assert_eq!(caller.any_head().await.unwrap().word(1), "100");
            assert_eq!(time::now().saturating_duration_since(begun), told);
            // The rest of the time is the upstream's, however long the caller takes now.
            time::sleep(ms(2000)).await;
            caller.write("abcdef").await;
            assert_eq!(caller.response().await.status, 200);
            world.end().await;
        });
    }
}

#[test]
fn an_upstream_that_stops_reading_uses_up_the_first_byte() {
    let request = post("/", 1_000_000) + &"x".repeat(1_000_000);
    let script = Upstream::new(|_| vec![Step::Hang]);
    simulate(1, async {
        let world = World::new("[upstreams.u.timeouts]\nfirst_byte = \"1s\"", &script);
        let mut caller = world.caller();
        let begun = time::now();
        // The rest of the upload is never taken: only the closed pipe ends the writing.
        caller.write(request).await;
        assert_eq!(time::now().saturating_duration_since(begun), ms(1000));
        let got = caller.response().await;
        assert_eq!((got.status, got.reason()), (504, "attempt_timeout"));
        settle().await;
        assert_eq!(world.attempts("failure"), 1);
        world.end().await;
    });
}

#[test]
fn an_upstream_that_stops_reading_is_idle() {
    let request = post("/", 1_000_000) + &"x".repeat(1_000_000);
    let script = Upstream::new(|_| vec![Step::Hang]);
    simulate(1, async {
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"2s\"";
        let world = World::new(settings, &script);
        let mut caller = world.caller();
        let begun = time::now();
        caller.write(request).await;
        assert_eq!(time::now().saturating_duration_since(begun), ms(2000));
        let got = caller.response().await;
        assert_eq!((got.status, got.reason()), (504, "upstream_idle"));
        settle().await;
        assert_eq!(world.attempts("failure"), 1);
        world.end().await;
    });
}

#[test]
fn a_caller_that_stops_sending_is_not_the_upstreams_fault() {
    let request = [(Duration::ZERO, post("/", 6)), (ms(300), "ab".to_owned())];
    let expected = (408, "client_timeout", ms(300 + 2000), "ignored");
    let settings = "[upstreams.u.timeouts]\nstream_idle = \"2s\"\nfirst_byte = \"1s\"";
    expires(settings, &hangs(), &request, expected);
}

#[test]
fn a_caller_that_is_too_slow_is_not_the_upstreams_fault() {
    let request = [
        (Duration::ZERO, post("/", 6)),
        (ms(300), "ab".to_owned()),
        (ms(600), "cd".to_owned()),
    ];
    let expected = (504, "deadline", ms(1000), "ignored");
    let settings = "[upstreams.u.timeouts]\nrequest = \"1s\"\nfirst_byte = \"1s\"";
    expires(settings, &hangs(), &request, expected);
}

/// Pieces of a body of 1200 bytes, one each second.
fn pieces(count: usize, piece: &str) -> Vec<(Duration, String)> {
    let head = (Duration::ZERO, post("/", 1200));
    let pieces = (0..count).map(|_| (ms(1000), piece.to_owned()));
    std::iter::once(head).chain(pieces).collect()
}

const BODY_RATE: &str = "[defaults.downstream]\nmin_body_rate = \"50B\"\n\
     [upstreams.u.timeouts]\nrequest = \"1m\"\ntotal = \"2m\"";

#[test]
fn a_caller_below_the_body_rate_is_told_so_after_ten_seconds() {
    let expected = (408, "client_timeout", ms(10_000), "ignored");
    let slow = "x".repeat(49);
    expires(BODY_RATE, &hangs(), &pieces(9, &slow), expected);
}

#[test]
fn a_caller_above_the_body_rate_has_all_its_time() {
    simulate(1, async {
        let world = World::new(BODY_RATE, &Upstream::new(|_| ok()));
        let (got, took) = timed(&world, &pieces(20, &"x".repeat(60))).await;
        assert_eq!((got.status, took), (200, ms(20_000)));
        world.end().await;
    });
}

#[test]
fn the_body_rate_holds_for_streams_too() {
    simulate(1, async {
        let world = World::new(BODY_RATE, &hangs());
        let mut caller = world.caller();
        caller.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        caller.write([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
        // HEADERS of a POST whose body follows, and an octet of it.
        caller.write([0, 0, 6, 1, 4, 0, 0, 0, 1]).await;
        caller.write([0x83, 0x86, 0x84, 0x41, 1, b'a']).await;
        caller.write([0, 0, 1, 0, 0, 0, 0, 0, 1, b'x']).await;
        let replies = || world.sum("local_replies_total", &[("reason", "client_timeout")]);
        time::sleep(ms(9_900)).await;
        assert_eq!(replies(), 0);
        time::sleep(ms(200)).await;
        assert_eq!(replies(), 1);
        world.check_nothing_held();
        drop(caller);
        world.end().await;
    });
}

#[test]
fn request_counts_the_time_in_the_queue() {
    simulate(1, async {
        let settings = "[upstreams.u.bulkhead]\nmax_requests = 1\nqueue_timeout = \"800ms\"\n\
                        [upstreams.u.timeouts]\nrequest = \"1s\"";
        let script = Upstream::new(|arrived| match arrived.path() {
            "/other" => ok_after(ms(701)),
            _ => vec![Step::Hang],
        });
        let world = World::new(settings, &script);
        world.get("/other");
        settle().await;
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.reason()), (504, "deadline"));
        assert_eq!(took, ms(1000));
        settle().await;
        assert_eq!(script.arrived()[1].at, script.arrived()[0].at + ms(701));
        assert_eq!(world.attempts("failure"), 1);
        assert_eq!(world.attempts("success"), 1);
        world.end().await;
    });
}

#[test]
fn request_ends_in_the_queue() {
    simulate(1, async {
        let settings = "[upstreams.u.bulkhead]\nmax_requests = 1\nqueue_timeout = \"800ms\"\n\
                        [upstreams.u.timeouts]\nrequest = \"300ms\"\nfirst_byte = \"300ms\"\n";
        let script = Upstream::new(|_| dripping(100, ms(100)));
        let world = World::new(settings, &script);
        world.get("/other");
        time::sleep(ms(100)).await;
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.reason()), (504, "deadline"));
        assert_eq!(took, ms(300));
        world.check(1);
        assert_eq!(world.attempts(""), 0);
        assert_eq!(script.arrived().len(), 1);
        world.end().await;
    });
}

#[test]
fn queue_timeout() {
    simulate(1, async {
        let settings = "[upstreams.u.bulkhead]\nmax_requests = 1\nqueue_timeout = \"100ms\"";
        let world = World::new(settings, &hangs());
        world.get("/other");
        settle().await;
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.reason()), (503, "queue_timeout"));
        assert_eq!(took, ms(100));
        world.check(1);
        world.end().await;
    });
}

#[test]
fn the_wait_for_a_connection_is_ours() {
    simulate(1, async {
        let settings = "[upstreams.u.bulkhead]\nmax_connections = 1\nqueue_timeout = \"100ms\"";
        let world = World::new(settings, &hangs());
        world.get("/other");
        settle().await;
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.reason()), (503, "pool_full"));
        assert_eq!(took, ms(100));
        settle().await;
        world.check(1);
        assert_eq!(world.attempts("ignored"), 1);
        assert_eq!(world.calls("ignored"), 1);
        world.end().await;
    });
}

#[test]
fn an_upstream_whose_body_stalls_has_failed() {
    simulate(1, async {
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"2s\"";
        let world = World::new(settings, &stalls("01234"));
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.whole), (200, false));
        assert_eq!(got.body, b"01234");
        assert_eq!(took, ms(2000));
        settle().await;
        world.check_nothing_held();
        assert_eq!(world.attempts("failure"), 1);
        let aborted = [("reason", "upstream_idle")];
        assert_eq!(world.sum("aborted_responses_total", &aborted), 1);
        world.end().await;
    });
}

#[test]
fn a_reader_that_stalls_is_not_the_upstreams_fault() {
    simulate(1, async {
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"2s\"";
        let world = World::new(settings, &floods());
        let mut caller = world.caller();
        caller.write(get("/")).await;
        time::sleep(ms(1999)).await;
        world.check(1);
        time::sleep(ms(1)).await;
        settle().await;
        world.check_nothing_held();
        assert_eq!(world.attempts("ignored"), 1);
        let aborted = [("reason", "client_timeout")];
        assert_eq!(world.sum("aborted_responses_total", &aborted), 1);
        drop(caller);
        world.end().await;
    });
}

#[test]
fn bytes_in_either_direction_put_the_idle_timer_off() {
    simulate(1, async {
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"150ms\"";
        let script = Upstream::new(|_| dripping(10, ms(149)));
        let world = World::new(settings, &script);
        let (got, took) = timed_get(&world).await;
        assert!(got.whole);
        assert_eq!(got.body.len(), 20);
        assert_eq!(took, ms(9 * 149));
        world.end().await;
    });
}

#[test]
fn total_aborts_a_body_that_flows() {
    simulate(1, async {
        let settings = "[upstreams.u.timeouts]\ntotal = \"1s\"";
        let script = Upstream::new(|_| dripping(100, ms(30)));
        let world = World::new(settings, &script);
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.whole), (200, false));
        assert_eq!(took, ms(1000));
        settle().await;
        world.check_nothing_held();
        assert_eq!(
            world.sum("aborted_responses_total", &[("reason", "deadline")]),
            1
        );
        world.end().await;
    });
}

/// A breaker whose open wait is over after 5 s to the millisecond.
const HALF_OPEN_SOON: &str = "[upstreams.u.breaker]\nopen_jitter = 0.0\n";

/// A world whose next request is a probe.
async fn probing(script: &Upstream) -> World {
    let world = World::new(HALF_OPEN_SOON, script);
    let tripped = world.upstream.breaker.operate(Operation::Trip, time::now());
    assert_eq!(tripped, Ok(()));
    time::sleep(Duration::from_secs(5)).await;
    world
}

/// Settles 5 s after its head, whatever becomes of the stream.
async fn settles(world: World) {
    time::sleep(ms(4999)).await;
    assert_eq!(world.breaker().probes_left, 2);
    assert_eq!(world.breaker().counts.calls, 0);
    time::sleep(ms(1)).await;
    settle().await;
    assert_eq!(world.breaker().state, State::HalfOpen);
    assert_eq!(world.breaker().counts.calls, 1);
    assert_eq!(world.attempts("success"), 1);
    world.check(1);
}

#[test]
fn a_probe_with_a_long_stream_settles() {
    simulate(1, async {
        let world = probing(&Upstream::new(|_| dripping(1000, ms(100)))).await;
        let reader = world.get("/");
        settles(world).await;
        reader.abort();
    });
}

#[test]
fn a_probe_settles_though_its_reader_has_stalled() {
    simulate(1, async {
        let world = probing(&floods()).await;
        let mut caller = world.caller();
        caller.write(get("/")).await;
        settles(world).await;
    });
}

#[test]
fn hung_calls_trip_the_breaker_when_enough_are_overdue() {
    simulate(1, async {
        let world = World::new("", &hangs());
        let begun = time::now();
        let at = |millis| time::sleep(ms(millis).saturating_sub(since(begun)));
        for _ in 0..20 {
            world.get("/hung");
            time::sleep(ms(10)).await;
        }
        // The last one was dispatched at 190 ms, and 2.5 s are not yet too slow.
        at(2690).await;
        assert_eq!(world.breaker().counts.overdue, 19);
        assert_eq!(world.breaker().state, State::Closed);
        at(2691).await;
        let view = world.breaker();
        assert_eq!(view.state, State::Open);
        let last = view.last.expect("it has changed its state");
        assert_eq!(last.cause, Cause::Overdue);
        assert_eq!(last.counts.overdue, 20);
        // As of the instant, not of the look.
        let wait = last.open_wait.expect("it opened");
        let overdue_for = ms(1) - Duration::from_nanos(1);
        assert_eq!(view.open_remaining, wait - overdue_for);
        // Before the first timeout, at once, and without a word to the upstream.
        let (got, took) = timed_get(&world).await;
        assert_eq!((got.status, got.reason()), (503, "breaker_open"));
        assert_eq!(took, Duration::ZERO);
        assert_eq!(world.attempts(""), 0);
        assert_eq!(world.script.arrived().len(), 20);
        at(5300).await;
        assert_eq!(world.calls("late"), 20);
        assert_eq!(world.attempts("failure"), 20);
        world.check_nothing_held();
        world.end().await;
    });
}

fn since(begun: std::time::Instant) -> Duration {
    time::now().saturating_duration_since(begun)
}

#[test]
fn quick_answers_beside_hung_calls_keep_the_breaker_closed() {
    simulate(1, async {
        let script = Upstream::new(|arrived| match arrived.path() {
            "/hung" => vec![Step::Hang],
            _ => ok(),
        });
        let world = World::new(
            "[upstreams.u.breaker]\nconsecutive_failures = \"off\"",
            &script,
        );
        for _ in 0..20 {
            world.get("/hung");
        }
        for _ in 0..21 {
            settle().await;
            assert_eq!(timed_get(&world).await.0.status, 200);
        }
        time::sleep(ms(2600)).await;
        assert_eq!(world.breaker().counts.overdue, 20);
        assert_eq!(world.breaker().state, State::Closed);
        world.end().await;
    });
}

#[test]
fn a_request_head_has_its_time_however_it_drips() {
    simulate(1, async {
        let world = World::new("[defaults.downstream]\nheader_timeout = \"3s\"", &hangs());
        let mut caller = world.caller();
        time::sleep(ms(500)).await;
        let begun = time::now();
        let mut dripping = world.caller();
        let dripping = tasks::spawn_local("caller", async move {
            for byte in get("/").bytes().take(20) {
                dripping.write([byte]).await;
                time::sleep(ms(500)).await;
            }
        });
        caller.write("GET / HT").await;
        caller.closed().await;
        assert_eq!(since(begun), ms(3000));
        settle().await;
        assert_eq!(world.sum("downstream_header_timeouts_total", &[]), 2);
        dripping.abort();
        world.end().await;
    });
}

#[test]
fn an_idle_connection_is_closed() {
    simulate(1, async {
        let script = Upstream::new(|_| ok_after(ms(4000)));
        let world = World::new("[defaults.downstream]\nidle_timeout = \"3s\"", &script);
        // Before the first request, and after each.
        let mut silent = world.caller();
        let begun = time::now();
        silent.closed().await;
        assert_eq!(since(begun), ms(3000));
        let mut caller = world.caller();
        time::sleep(ms(2000)).await;
        for _ in 0..2 {
            assert!(caller.get("/").await.whole);
        }
        let begun = time::now();
        caller.closed().await;
        assert_eq!(since(begun), ms(3000));
        assert_eq!(world.sum("downstream_header_timeouts_total", &[]), 0);
        world.end().await;
    });
}

#[test]
fn a_slow_dial_is_not_the_callers_idleness() {
    simulate(1, async {
        let script = Upstream::new(|_| ok_after(ms(1))).reached(|| Reach::After(ms(1500)));
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"1s\"\nconnect = \"3s\"";
        let world = World::new(settings, &script);
        let request = [(Duration::ZERO, post("/", 2)), (ms(1600), "ab".to_owned())];
        let (got, took) = timed(&world, &request).await;
        assert_eq!((got.status, took), (200, ms(1601)));
    });
}

#[test]
fn a_wait_for_a_connection_is_not_the_upstreams_idleness() {
    simulate(1, async {
        let script = Upstream::new(|arrived| match arrived.path() {
            "/other" => ok_after(ms(1500)),
            _ => ok_after(ms(1)),
        });
        let settings = "[upstreams.u.timeouts]\nstream_idle = \"1s\"\n[upstreams.u.bulkhead]\nmax_connections = 1\nqueue_timeout = \"5s\"";
        let world = World::new(settings, &script);
        world.get("/other");
        settle().await;
        let request = [(Duration::ZERO, post("/", 2) + "ab")];
        let (got, took) = timed(&world, &request).await;
        assert_eq!((got.status, got.reason(), took), (200, "", ms(1500)));
    });
}

#[test]
fn an_idle_connection_is_evicted_though_a_dead_one_is_older() {
    use outrigger::config::model;
    use outrigger::net::frames::Flood;
    use outrigger::pool::{
        Checkout, Closed, Connection, Limits, Observer, Pool, Settings, Upload, Want,
    };
    struct Nobody;
    impl Observer for Nobody {
        fn opened(&self, _: Duration) {}
        fn reused(&self) {}
        fn closed(&self, _: Closed) {}
        fn flooded(&self, _: Flood) {}
        fn tls_failed(&self, _: outrigger::tls::Reason) {}
    }
    async fn dial(pool: &std::sync::Arc<Pool>, port: u16) -> Connection {
        let at = outrigger::net::Address::from(([192, 0, 2, 1], port));
        match pool.checkout(0, &at, Want::Fresh, time::now()) {
            Checkout::Dial(dialing) => dialing
                .open(&std::sync::Arc::default(), None)
                .await
                .unwrap()
                .unwrap(),
            _ => panic!("no place"),
        }
    }
    async fn exchange(connection: &mut Connection, path: &str) {
        let request = http::Request::get(path)
            .header("host", "u")
            .body(Upload::empty())
            .unwrap();
        connection.send(request).await.unwrap();
    }
    simulate(1, async {
        let script = Upstream::new(|arrived| {
            let mut steps = ok_after(ms(1));
            if arrived.path() == "/dies" {
                steps.extend([Step::Sleep(ms(5)), Step::Close]);
            }
            steps
        });
        let limits = Limits {
            max_connections: 2,
            max_idle: 2,
            idle_timeout: Duration::from_secs(60),
            max_age: None,
        };
        let settings = Settings {
            limits,
            protocol: model::Protocol::Http1,
            http2: model::Http2 {
                max_streams: 100,
                stream_window: 65_535,
                connection_window: 65_535,
                ping_interval: None,
                ping_timeout: Duration::from_secs(20),
            },
            tls: false,
            keeps_header_case: false,
        };
        let pool = Pool::new(settings, 1, std::sync::Arc::new(script), Box::new(Nobody));
        let mut one = dial(&pool, 1).await;
        let mut two = dial(&pool, 1).await;
        exchange(&mut one, "/dies").await;
        exchange(&mut two, "/lives").await;
        one.checkin(time::now());
        time::sleep(ms(2)).await;
        two.checkin(time::now());
        time::sleep(ms(20)).await;
        let _held = dial(&pool, 2).await;
        let at = outrigger::net::Address::from(([192, 0, 2, 1], 3));
        let Checkout::Wait(waiting) = pool.checkout(0, &at, Want::Any, time::now()) else {
            panic!("below the cap")
        };
        let granted = tokio::time::timeout(Duration::from_secs(30), waiting.granted()).await;
        assert!(granted.is_ok(), "starves beside an idle connection");
    });
}
