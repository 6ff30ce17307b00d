//! Deadlines of callers: what remains of them is sent on, and they are nobody's failure.

use outrigger::time;

use crate::caller::Got;
use crate::upstream::{Reach, Step, Upstream, ms, ok, ok_after};
use crate::world::{World, settle, simulate};

const HEADER: &str = "[upstreams.u.timeouts]\ndeadline_header = \"x-left\"\n";

/// Sends a GET with these fields, each ended by its line's end.
async fn get_with(world: &World, fields: &str) -> Got {
    let mut caller = world.caller();
    let request = format!("GET / HTTP/1.1\r\nhost: simulated\r\n{fields}\r\n");
    caller.write(request).await;
    caller.response().await
}

/// What the upstream saw in the field, request by request.
fn seen(world: &World, field: &str) -> Vec<Option<String>> {
    let arrived = world.script.arrived();
    let field = |head: &crate::wire::Head| head.field(field).map(str::to_owned);
    arrived.iter().map(|arrived| field(&arrived.head)).collect()
}

#[test]
fn the_remaining_time_is_sent_on() {
    simulate(1, async {
        let world = World::new(HEADER, &Upstream::new(|_| ok()));
        get_with(&world, "").await;
        get_with(&world, "x-left: 700\r\n").await;
        get_with(&world, "x-left: 70000\r\n").await;
        get_with(&world, "x-left: soon\r\n").await;
        let expected = ["10000", "700", "10000", "10000"].map(|left| Some(left.to_owned()));
        assert_eq!(seen(&world, "x-left"), expected);
        world.end().await;
    });
}

#[test]
fn grpc_timeout_is_sent_on_where_it_came() {
    simulate(1, async {
        let world = World::new("", &Upstream::new(|_| ok()));
        get_with(&world, "").await;
        get_with(&world, "grpc-timeout: 700m\r\n").await;
        get_with(&world, "grpc-timeout: 1H\r\n").await;
        let expected = [
            None,
            Some("700000u".to_owned()),
            Some("10000000u".to_owned()),
        ];
        assert_eq!(seen(&world, "grpc-timeout"), expected);
        world.end().await;
    });
}

#[test]
fn time_spent_in_the_queue_and_on_connecting_is_taken_off() {
    simulate(1, async {
        let settings = format!("{HEADER}[upstreams.u.bulkhead]\nmax_requests = 1\n");
        let mut first = true;
        let script = Upstream::new(|_| {
            let mut steps = ok_after(ms(59));
            // No connection is kept: the next one has to be opened, too.
            steps.push(Step::Close);
            steps
        })
        .reached(move || {
            let wait = if std::mem::take(&mut first) { 0 } else { 300 };
            Reach::After(ms(wait))
        });
        let world = World::new(&settings, &script);
        world.get("/other");
        time::sleep(ms(9)).await;
        assert_eq!(get_with(&world, "x-left: 1000\r\n").await.status, 200);
        // 50 ms in the queue, 300 ms on connecting.
        assert_eq!(seen(&world, "x-left")[1], Some("650".to_owned()));
        world.end().await;
    });
}

#[test]
fn time_spent_on_a_dead_connection_is_taken_off() {
    simulate(1, async {
        let script = Upstream::new(|arrived| match arrived.nth {
            0 => ok(),
            _ => vec![Step::Sleep(ms(200)), Step::Close],
        });
        let world = World::new(HEADER, &script);
        get_with(&world, "").await;
        assert_eq!(get_with(&world, "x-left: 1000\r\n").await.status, 200);
        let expected = ["10000", "1000", "800"].map(|left| Some(left.to_owned()));
        assert_eq!(seen(&world, "x-left"), expected);
        assert_eq!(world.sum("transparent_resends_total", &[]), 1);
        world.end().await;
    });
}

#[test]
fn a_deadline_that_has_passed_reaches_no_upstream() {
    simulate(1, async {
        let world = World::new(HEADER, &Upstream::new(|_| ok()));
        let got = get_with(&world, "x-left: 0\r\n").await;
        assert_eq!((got.status, got.reason()), (504, "deadline"));
        assert_eq!(world.attempts(""), 0);
        assert_eq!(world.script.arrived().len(), 0);
        world.end().await;
    });
}

#[test]
fn a_caller_in_a_hurry_makes_no_failures() {
    simulate(1, async {
        let world = World::new(HEADER, &Upstream::new(|_| vec![Step::Hang]));
        for _ in 0..30 {
            let begun = time::now();
            let got = get_with(&world, "x-left: 20\r\n").await;
            assert_eq!((got.status, got.reason()), (504, "deadline"));
            assert_eq!(time::now().saturating_duration_since(begun), ms(20));
        }
        assert_eq!(world.calls("ignored"), 30);
        assert_eq!(world.attempts("abandoned"), 30);
        // Cut short when it was slow already is a slow call, and still no failure.
        get_with(&world, "x-left: 2501\r\n").await;
        settle().await;
        assert_eq!(world.calls("success"), 1);
        assert_eq!(world.sum("breaker_slow_calls_total", &[]), 1);
        assert_eq!(world.calls("failure"), 0);
        world.end().await;
    });
}
