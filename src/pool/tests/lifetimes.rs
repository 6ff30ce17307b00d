//! How connections end.

use std::time::Duration;

use super::support::{Bench, Script, exchange, request, settings, settle, simulate};
use crate::pool::{Checkout, Closed, SendError, Upload};
use crate::time;

const SOON: Duration = Duration::from_millis(10);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_farewell_lets_what_is_in_flight_end_and_nothing_new_begin() {
    simulate(async {
        let bench = Bench::new(settings(2), Script::ok_after(secs(1)));
        let mut one = bench.get().await.unwrap();
        let (status, ()) = tokio::join!(exchange(&mut one), async {
            time::sleep(SOON).await;
            bench.upstream.goaway.notify_one();
            time::sleep(SOON).await;
            let two = bench.get().await.unwrap();
            assert!(!two.reused());
            assert_eq!(bench.upstream.dialled(), 2);
        });
        assert_eq!(status.unwrap(), 200);
        drop(one);
        settle().await;
        bench.check(1);
        assert_eq!(bench.told.closed(), [Closed::Asked]);
    });
}

#[test]
fn a_farewell_to_an_idle_connection_frees_its_place() {
    simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(SOON));
        let mut one = bench.get().await.unwrap();
        exchange(&mut one).await.unwrap();
        drop(one);
        bench.upstream.goaway.notify_one();
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.closed(), [Closed::Asked]);
        assert!(matches!(bench.checkout(0, 1), Checkout::Dial(_)));
    });
}

#[test]
fn one_that_is_silent_while_it_owes_an_answer_is_closed() {
    simulate(async {
        let mut settings = settings(1);
        settings.http2.ping_interval = Some(secs(30));
        settings.http2.ping_timeout = secs(20);
        let mut script = Script::ok_after(SOON);
        script.deaf_after = Some(1);
        let bench = Bench::new(settings, script);
        let begun = time::now();
        let mut one = bench.get().await.unwrap();
        let failed = exchange(&mut one).await.unwrap_err();
        assert!(matches!(failed, SendError::Reset { .. }));
        let took = time::now().saturating_duration_since(begun);
        assert_eq!(took.as_secs(), 50);
        drop(one);
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.closed(), [Closed::PingTimeout]);
    });
}

#[test]
fn only_one_that_was_idle_may_have_died_unnoticed() {
    simulate(async {
        let mut settings = settings(1);
        settings.http2.ping_interval = Some(secs(30));
        let mut script = Script::ok_after(SOON);
        script.deaf_after = Some(3);
        let bench = Bench::new(settings, script);
        for _ in 0..2 {
            let mut one = bench.get().await.unwrap();
            assert_eq!(exchange(&mut one).await.unwrap(), 200);
            drop(one);
            settle().await;
        }
        // It was silent since the first was sent, but the second was sent into no silence.
        let mut first = bench.get().await.unwrap();
        let mut second = bench.get().await.unwrap();
        let (first, second) = tokio::join!(exchange(&mut first), exchange(&mut second));
        assert!(matches!(first, Err(SendError::Reset { answered: false })));
        assert!(matches!(second, Err(SendError::Reset { answered: true })));
    });
}

#[test]
fn one_that_was_heard_of_had_not_died() {
    simulate(async {
        let mut settings = settings(1);
        settings.http2.ping_interval = Some(secs(30));
        let answered = std::sync::atomic::AtomicUsize::new(0);
        let mut script = Script::new(move |_, mut respond| {
            let nth = answered.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                // The second is left without an answer; the third is answered.
                if nth == 1 {
                    std::future::pending::<()>().await;
                }
                let _ = respond.send_response(http::Response::new(()), true);
            }
        });
        script.deaf_after = Some(4);
        let bench = Bench::new(settings, script);
        let mut one = bench.get().await.unwrap();
        exchange(&mut one).await.unwrap();
        drop(one);
        let mut one = bench.get().await.unwrap();
        let (failed, ()) = tokio::join!(exchange(&mut one), async {
            let mut two = bench.get().await.unwrap();
            exchange(&mut two).await.unwrap();
            let _ = tokio::time::timeout(SOON, exchange(&mut two)).await;
        });
        assert!(matches!(failed, Err(SendError::Reset { answered: true })));
    });
}

#[test]
fn one_that_answers_pings_may_take_its_time() {
    simulate(async {
        let mut settings = settings(1);
        settings.http2.ping_interval = Some(secs(30));
        settings.http2.ping_timeout = secs(20);
        let bench = Bench::new(settings, Script::ok_after(secs(600)));
        let mut one = bench.get().await.unwrap();
        assert_eq!(exchange(&mut one).await.unwrap(), 200);
        drop(one);
        // Nobody asks one without streams.
        time::sleep(secs(50)).await;
        bench.check(1);
    });
}

#[test]
fn an_idle_one_is_closed_after_its_time() {
    simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(SOON));
        drop(bench.get().await.unwrap());
        time::sleep(secs(59)).await;
        bench.pool.reap(time::now());
        settle().await;
        bench.check(1);
        time::sleep(secs(1)).await;
        bench.pool.reap(time::now());
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.closed(), [Closed::IdleTimeout]);
    });
}

#[test]
fn an_old_one_takes_no_new_streams_and_ends_with_the_last() {
    simulate(async {
        let mut settings = settings(2);
        settings.limits.max_age = Some(secs(10));
        let bench = Bench::new(settings, Script::ok_after(secs(30)));
        let mut one = bench.get().await.unwrap();
        let (status, ()) = tokio::join!(exchange(&mut one), async {
            time::sleep(secs(11)).await;
            drop(bench.get().await.unwrap());
            assert_eq!(bench.upstream.open(), 2);
        });
        assert_eq!(status.unwrap(), 200);
        drop(one);
        settle().await;
        assert_eq!(bench.told.closed(), [Closed::MaxAge]);
        bench.check(1);
    });
}

#[test]
fn only_so_many_idle_ones_are_kept() {
    simulate(async {
        let mut settings = settings(3);
        settings.limits.max_idle = 1;
        settings.http2.max_streams = 1;
        let bench = Bench::new(settings, Script::ok_after(SOON));
        let all = (
            bench.get().await.unwrap(),
            bench.get().await.unwrap(),
            bench.get().await.unwrap(),
        );
        drop(all);
        settle().await;
        bench.check(1);
        assert_eq!(bench.told.closed(), [Closed::MaxIdle; 2]);
    });
}

#[test]
fn one_whose_endpoint_is_gone_ends_with_its_last_stream() {
    simulate(async {
        let bench = Bench::new(settings(2), Script::ok_after(secs(1)));
        let mut one = bench.get().await.unwrap();
        bench.pool.retain(|_| false);
        assert_eq!(exchange(&mut one).await.unwrap(), 200);
        assert_eq!(bench.upstream.open(), 1);
        drop(one);
        settle().await;
        bench.check(0);
        assert_eq!(bench.told.closed(), [Closed::Removed]);
    });
}

#[test]
fn one_that_was_closed_while_it_rested_says_so_before_anything_is_sent() {
    simulate(async {
        let bench = Bench::new(settings(1), Script::ok_after(SOON));
        let mut one = bench.get().await.unwrap();
        bench.upstream.goaway.notify_one();
        settle().await;
        let sent = one.send(request(Upload::empty())).await;
        assert!(matches!(sent, Err(SendError::Unsent(_))));
        drop(one);
        settle().await;
        bench.check(0);
    });
}

#[test]
fn one_that_does_not_read_our_farewell_is_closed_all_the_same() {
    simulate(async {
        let mut script = Script::ok_after(SOON);
        script.deaf_after = Some(1);
        let bench = Bench::new(settings(1), script);
        let mut one = bench.get().await.unwrap();
        let _ = tokio::time::timeout(SOON, exchange(&mut one)).await;
        drop(one);
        settle().await;
        bench.pool.retain(|_| false);
        time::sleep(secs(2)).await;
        bench.check(0);
        assert_eq!(bench.told.closed(), [Closed::Removed]);
    });
}
