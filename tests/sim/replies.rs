//! Local replies while the request's body is still on its way.

use outrigger::resilience::breaker::Operation;
use outrigger::time;

use crate::caller::post;
use crate::upstream::{Upstream, ms, ok};
use crate::world::{World, simulate};

/// What a refused caller is told about its connection, and whether that holds.
fn refused(request: &str, rest: &str, closes: bool) {
    simulate(1, async {
        let world = World::new("", &Upstream::new(|_| ok()));
        let until = time::now() + ms(60_000);
        let forced = Operation::ForcedOpen { until };
        assert_eq!(world.upstream.breaker.operate(forced, time::now()), Ok(()));
        let mut caller = world.caller();
        caller.write(request).await;
        let got = caller.response().await;
        assert_eq!((got.status, got.reason()), (503, "breaker_open"));
        assert_eq!(got.head.field("connection") == Some("close"), closes);
        caller.write(rest).await;
        assert_eq!(caller.get("/").await.status == 0, closes, "{request:?}");
        world.end().await;
    });
}

#[test]
fn a_refused_body_that_came_with_its_head_costs_no_connection() {
    refused(&(post("/", 6) + "abcdef"), "", false);
}

#[test]
fn a_refused_body_that_comes_later_does_and_the_caller_is_told() {
    refused(&post("/", 6), "abcdef", true);
    refused(&(post("/", 6) + "abc"), "def", true);
}

#[test]
fn a_caller_that_asked_first_is_not_told_to_go_on() {
    let head = post("/", 6).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    refused(&head, "abcdef", true);
}
