//! Who is given what: streams, dials, places.

use std::sync::Arc;
use std::time::Duration;

use super::support::{Bench, Script, exchange, get, settings, settle, spawn};
use crate::config::model::Protocol;
use crate::pool::{Checkout, Closed, Granted, Spoken, Want, is_our_limit, is_too_long};
use crate::time;

const SOON: Duration = Duration::from_millis(10);

#[test]
fn exchanges_share_one_connection_up_to_what_the_upstream_allows() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.max_streams = Some(2);
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let mut two = bench.get().await.unwrap();
        let Checkout::Wait(third) = bench.checkout(0, 1) else {
            panic!("a third stream")
        };
        let Checkout::Wait(fourth) = bench.checkout(1, 1) else {
            panic!("a stream for another worker")
        };
        let both = tokio::join!(exchange(&mut one), exchange(&mut two));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (200, 200));
        one.checkin(time::now());
        let Granted::Idle(third) = third.granted().await else {
            panic!("no stream")
        };
        let mut third = third.revive().await.unwrap();
        assert_eq!(exchange(&mut third).await.unwrap(), 200);
        // A stream that is dropped is free as well.
        drop(third);
        let Granted::Idle(fourth) = fourth.granted().await else {
            panic!("no stream")
        };
        drop((two, fourth));
        settle().await;
        bench.check(1);
        assert_eq!(bench.upstream.dialled(), 1);
        assert_eq!(bench.told.uses(), (1, 2));
    });
}

#[test]
fn a_second_connection_is_opened_below_the_cap() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.max_streams = Some(1);
        let bench = Bench::new(settings(2), script);
        let one = bench.get().await.unwrap();
        let two = bench.get().await.unwrap();
        assert_eq!(bench.upstream.open(), 2);
        assert_eq!(bench.pool.counts(), (2, 0));
        drop((one, two));
        settle().await;
        bench.check(2);
    });
}

#[test]
fn our_own_limit_on_streams_holds() {
    super::support::simulate(async {
        let mut settings = settings(1);
        settings.http2.max_streams = 1;
        let bench = Bench::new(settings, Script::ok_after(SOON));
        let one = bench.get().await.unwrap();
        assert!(matches!(bench.checkout(0, 1), Checkout::Wait(_)));
        assert!(!bench.pool.has_room(&super::support::endpoint(1)));
        drop(one);
        assert!(matches!(bench.checkout(1, 1), Checkout::Idle(_)));
    });
}

#[test]
fn those_who_come_while_it_is_dialled_share_the_connection() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, false);
        let bench = Bench::new(settings(10), script);
        let all: Vec<_> = (0..5).map(|_| bench.start_get()).collect();
        let mut connections = Vec::new();
        for one in all {
            let connection = one.await.unwrap().unwrap();
            assert!(!connection.reused());
            connections.push(connection);
        }
        assert_eq!(bench.upstream.dialled(), 1);
        assert_eq!(bench.told.uses(), (1, 4));
        drop(connections);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn more_than_there_are_streams_for_ask_again() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, false);
        script.max_streams = Some(2);
        let bench = Bench::new(settings(10), script);
        let all: Vec<_> = (0..5).map(|_| bench.start_get()).collect();
        let mut held = Vec::new();
        for one in all {
            held.push(one.await.unwrap().unwrap());
        }
        assert_eq!(bench.upstream.dialled(), 3);
        drop(held);
        settle().await;
        bench.check(3);
    });
}

#[test]
fn a_dial_that_fails_fails_for_all_of_them() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, true);
        let bench = Bench::new(settings(10), script);
        let all: Vec<_> = (0..3).map(|_| bench.start_get()).collect();
        for one in all {
            let error = one.await.unwrap().err().unwrap();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
            assert!(!is_our_limit(&error) && !is_too_long(&error));
        }
        assert_eq!(bench.upstream.dialled(), 1);
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.uses(), (0, 0));
    });
}

#[test]
fn a_dial_ends_at_its_limit_for_all_of_them() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (Duration::from_secs(30), false);
        let bench = Bench::new(settings(10), script);
        let begun = time::now();
        let one = bench.start_get();
        time::sleep(SOON).await;
        let two = bench.start_get();
        for one in [one, two] {
            assert!(is_too_long(&one.await.unwrap().err().unwrap()));
        }
        let took = time::now().saturating_duration_since(begun);
        assert_eq!(took, Duration::from_secs(1));
        settle().await;
        bench.check(0);
    });
}

#[test]
fn an_upstream_that_does_not_speak_http2_is_not_connected_to() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.says = Some("HTTP/1.1 400 Bad Request\r\n\r\n");
        let bench = Bench::new(settings(1), script);
        assert!(bench.get().await.is_err());
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.uses(), (0, 0));
        assert!(bench.told.closed().is_empty());
    });
}

#[test]
fn whoever_began_the_dial_may_leave() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, false);
        let bench = Bench::new(settings(1), script);
        let first = bench.start_get();
        let second = bench.start_get();
        let third = bench.start_get();
        settle().await;
        first.abort();
        third.abort();
        let mut second = second.await.unwrap().unwrap();
        assert_eq!(exchange(&mut second).await.unwrap(), 200);
        assert_eq!(bench.upstream.dialled(), 1);
        drop(second);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn a_dial_that_everybody_left_gives_its_place_back() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (Duration::from_millis(500), false);
        let bench = Bench::new(settings(1), script);
        let first = bench.start_get();
        let second = bench.start_get();
        settle().await;
        // One to somewhere else waits for the place.
        let other = spawn(get(Arc::clone(&bench.pool), 0, 2));
        settle().await;
        first.abort();
        second.abort();
        assert!(other.await.unwrap().is_ok());
        assert_eq!(bench.upstream.dialled(), 2);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn leaving_at_any_point_of_a_dial_leaks_nothing() {
    super::support::simulate(async {
        for turns in 0..40 {
            let bench = Bench::new(settings(1), Script::ok_after(SOON));
            let (one, two) = (bench.start_get(), bench.start_get());
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            one.abort();
            two.abort();
            drop((one.await, two.await));
            settle().await;
            let (busy, idle) = bench.pool.counts();
            assert_eq!((busy, idle), (0, bench.upstream.open()), "after {turns}");
            let mut next = bench.get().await.unwrap();
            assert_eq!(exchange(&mut next).await.unwrap(), 200);
        }
    });
}

#[test]
fn where_it_turns_out_to_be_http1_the_others_dial_for_themselves() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, false);
        script.spoken = Spoken::Http1;
        script.says = Some("");
        let mut settings = settings(3);
        settings.protocol = Protocol::Auto;
        settings.tls = true;
        let bench = Bench::new(settings, script);
        let all: Vec<_> = (0..3).map(|_| bench.start_get()).collect();
        let mut held = Vec::new();
        for one in all {
            held.push(one.await.unwrap().unwrap());
        }
        assert_eq!(bench.upstream.dialled(), 3);
        assert_eq!(bench.upstream.open(), 3);
        // That is known from now on.
        assert!(matches!(bench.checkout(1, 1), Checkout::Wait(_)));
        drop(held);
        settle().await;
        bench.check(0);
    });
}

#[test]
fn an_idle_connection_makes_room_for_another_endpoint() {
    super::support::simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(SOON));
        let mut one = bench.get().await.unwrap();
        assert_eq!(exchange(&mut one).await.unwrap(), 200);
        let other = spawn(get(Arc::clone(&bench.pool), 0, 2));
        settle().await;
        assert_eq!(bench.upstream.dialled(), 1);
        one.checkin(time::now());
        let other = other.await.unwrap().unwrap();
        assert_eq!(bench.told.closed(), [Closed::Evicted]);
        assert_eq!(bench.upstream.open(), 1);
        drop(other);
        settle().await;
        let third = spawn(get(Arc::clone(&bench.pool), 1, 1));
        drop(third.await.unwrap().unwrap());
        assert_eq!(bench.told.closed(), [Closed::Evicted; 2]);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn a_busy_connection_makes_room_for_another_endpoint_in_the_end() {
    super::support::simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(SOON));
        let mut one = bench.get().await.unwrap();
        let other = spawn(get(Arc::clone(&bench.pool), 0, 2));
        settle().await;
        // It takes no more streams: whoever comes now is behind the other.
        let third = bench.start_get();
        settle().await;
        assert_eq!(exchange(&mut one).await.unwrap(), 200);
        assert_eq!(bench.upstream.open(), 1);
        one.checkin(time::now());
        drop(other.await.unwrap().unwrap());
        drop(third.await.unwrap().unwrap());
        assert_eq!(bench.told.closed(), [Closed::Evicted; 2]);
        settle().await;
        bench.check(1);
    });
}

#[test]
fn a_stream_that_was_granted_to_one_who_left_passes_on() {
    super::support::simulate(async {
        let mut settings = settings(1);
        settings.http2.max_streams = 1;
        let bench = Bench::new(settings, Script::ok_after(SOON));
        let one = bench.get().await.unwrap();
        let (Checkout::Wait(leaves), Checkout::Wait(stays)) =
            (bench.checkout(0, 1), bench.checkout(1, 1))
        else {
            panic!("a second stream")
        };
        drop(one);
        drop(leaves);
        assert!(matches!(stays.granted().await, Granted::Idle(_)));
        settle().await;
        bench.check(1);
    });
}

#[test]
fn more_streams_serve_those_who_wait() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        // Settings: one stream at once, and then two.
        script.says = Some("\0\0\u{6}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{1}");
        script.then_says = Some("\0\0\u{6}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{2}");
        let bench = Bench::new(settings(1), script);
        let one = bench.get().await.unwrap();
        let Checkout::Wait(second) = bench.checkout(0, 1) else {
            panic!("a second stream")
        };
        bench.upstream.goaway.notify_one();
        let Granted::Idle(second) = second.granted().await else {
            panic!("no stream")
        };
        drop((one, second));
        settle().await;
        bench.check(1);
    });
}

#[test]
fn a_new_connection_serves_those_who_want_no_other() {
    super::support::simulate(async {
        let mut script = Script::ok_after(SOON);
        script.reach = (SOON, false);
        let bench = Bench::new(settings(1), script);
        let ask = |worker, want| {
            let endpoint = super::support::endpoint(1);
            bench.pool.checkout(worker, &endpoint, want, time::now())
        };
        let dialling = bench.start_get();
        settle().await;
        let (Checkout::Wait(fresh), Checkout::Wait(alone)) =
            (ask(1, Want::Fresh), ask(1, Want::Alone))
        else {
            panic!("a place")
        };
        let Granted::Idle(fresh) = fresh.granted().await else {
            panic!("no stream")
        };
        assert!(!fresh.revive().await.unwrap().reused());
        drop(dialling.await.unwrap().unwrap());
        // A stream is not a connection of its own.
        assert!(matches!(alone.granted().await, Granted::Dial(_)));
        settle().await;
        bench.check(0);
    });
}
